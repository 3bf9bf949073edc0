/**
 * Cursors of SCAN: numbers that stand for where a scan goes on, which to the handler is a key. They
 * are remembered here, in bounded memory, for all connections of a server.
 *
 * A cursor stays good until so many others were given out that its memory is needed; then the
 * client is told to begin anew. One that was used is forgotten sooner than one that was not: a scan
 * that goes on needs only its last one.
 *
 * Invariant: a number never stands for two places.
 */

const BYTES_MAX = 16 * 1024 * 1024
const USED_BYTES_MAX = 1024 * 1024
/** What a place takes besides the bytes of its key. */
const OVERHEAD = 128
/** The first number is this far from zero, so that numbers of an earlier process mean nothing. */
const FIRST_RANGE = 2 ** 32

export class ScanCursors {
  readonly #fresh = new BoundedPlaces(BYTES_MAX)
  readonly #used = new BoundedPlaces(USED_BYTES_MAX)
  #next: number

  /** `draw` is uniform in [0, 2^32). */
  constructor(draw: (limit: number) => number) {
    this.#next = 1 + draw(FIRST_RANGE) * 2 ** 16
  }

  /** A number for the place. */
  give(place: Uint8Array): string {
    const number = this.#next++
    this.#fresh.set(number, place)
    return String(number)
  }

  /** Undefined for a number that stands for nothing, any more. */
  take(number: number): Uint8Array | undefined {
    const place = this.#fresh.delete(number) ?? this.#used.delete(number)
    if (place !== undefined) this.#used.set(number, place)
    return place
  }
}

/** The places that were set last, as far as memory goes. */
class BoundedPlaces {
  readonly #bytesMax: number
  readonly #places = new Map<number, Uint8Array>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  set(number: number, place: Uint8Array): void {
    this.#places.set(number, place)
    this.#bytes += place.length + OVERHEAD
    for (const oldest of this.#places.keys()) {
      if (this.#bytes <= this.#bytesMax) return
      this.delete(oldest)
    }
  }

  delete(number: number): Uint8Array | undefined {
    const place = this.#places.get(number)
    if (place === undefined) return undefined
    this.#places.delete(number)
    this.#bytes -= place.length + OVERHEAD
    return place
  }
}

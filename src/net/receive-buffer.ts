/**
 * What a decoder has of its stream: the chunk at hand, and the beginning of a message that did not
 * come whole. frame.ts cuts it into frames, resp/resp-decoder.ts into commands.
 *
 * Invariants:
 *  1. A message that lies in one chunk is handed out where it lies. Any other is gathered in a
 *     buffer that grows with the bytes that came, never with the bytes that were promised.
 *  2. At most one message is in the making, and its buffer is charged to the budget; so is a copy
 *     of what could not be looked at at once.
 */
import { assert } from '../assert.ts'

/**
 * The first allocation for a message that comes in pieces, kept between messages and not charged
 * to the budget; anything larger is charged, and given back once its message was handled.
 */
const CAPACITY_MIN = 1024

/** Memory for messages that come in pieces, shared by all connections of a server. */
export interface ReceiveBudget {
  /** False refuses; then nothing was taken. */
  reserve(size: number): boolean
  release(size: number): void
}

const NOTHING = new Uint8Array(0)

export class ReceiveBuffer {
  /** The bytes not looked at yet are chunk[at, end); whoever reads them moves `at`. */
  chunk: Uint8Array = NOTHING
  at = 0
  end = 0
  /** The message in the making: gathered[0, length). Empty when there is none. */
  gathered: Uint8Array = NOTHING
  length = 0
  /** True from handing out a gathered message until `finish`. */
  handedOut = false
  readonly #budget: ReceiveBudget | undefined
  /** Bytes charged for a chunk that is a copy of our own; 0 when it is lent. */
  #keptSize = 0
  #reserved = 0

  constructor(budget: ReceiveBudget | undefined) {
    this.#budget = budget
  }

  /** True while a message has begun and not ended. */
  get incomplete(): boolean {
    return this.length > 0 && !this.handedOut
  }

  /** Bytes pushed and not looked at yet. */
  get pending(): number {
    return this.end - this.at
  }

  /** Takes chunk[0, size), borrowed until it is used up or kept. */
  push(chunk: Uint8Array, size: number): void {
    assert(this.pending === 0, 'the previous chunk was used up')
    this.#releaseKept()
    this.chunk = chunk
    this.at = 0
    this.end = size
  }

  /**
   * Copies what is left of the chunk, so that whoever lent it has it back. The message at hand is
   * given up. False when the budget does not have the memory; the decoder is useless then.
   */
  keep(): boolean {
    const size = this.pending
    if (this.#keptSize > 0 || size === 0) return true
    if (this.#budget !== undefined && !this.#budget.reserve(size)) return false
    this.chunk = this.chunk.slice(this.at, this.end)
    this.at = 0
    this.end = this.#keptSize = size
    return true
  }

  /** The chunk was used up. Returns what `next` of a decoder then says. */
  endOfChunk(): false {
    this.chunk = NOTHING
    this.at = this.end = 0
    this.#releaseKept()
    return false
  }

  #releaseKept(): void {
    if (this.#keptSize > 0) this.#budget?.release(this.#keptSize)
    this.#keptSize = 0
  }

  /**
   * Moves the next bytes of the chunk behind what is gathered, of a message of at most `sizeMax`
   * bytes as far as is known. False, and nothing was moved, when the budget has no memory for it.
   */
  gather(size: number, sizeMax: number): boolean {
    const { length } = this
    if (!this.#ensureCapacity(length + size, sizeMax)) return false
    this.gathered.set(this.chunk.subarray(this.at, this.at + size), length)
    this.at += size
    this.length = length + size
    return true
  }

  #ensureCapacity(needed: number, sizeMax: number): boolean {
    const capacity = this.gathered.length
    if (needed <= capacity) return true
    const doubled = Math.max(needed, capacity * 2, CAPACITY_MIN)
    const wanted = Math.max(needed, CAPACITY_MIN, Math.min(doubled, sizeMax))
    if (this.#budget !== undefined && wanted > CAPACITY_MIN) {
      if (!this.#budget.reserve(wanted - this.#reserved)) return false
      this.#reserved = wanted
    }
    const grown = new Uint8Array(wanted)
    grown.set(this.gathered.subarray(0, this.length))
    this.gathered = grown
    return true
  }

  /** Forgets all of the message in the making but its first `size` bytes, at most CAPACITY_MIN. */
  cut(size: number): void {
    const kept = this.gathered.slice(0, Math.min(size, this.length))
    this.drop()
    this.gathered = new Uint8Array(CAPACITY_MIN)
    this.gathered.set(kept)
    this.length = kept.length
  }

  /** True when a gathered message is at hand whose memory would not be used again. */
  get isDisposable(): boolean {
    return this.handedOut && this.gathered.length > CAPACITY_MIN
  }

  /** The gathered message was handled. */
  finish(): void {
    if (this.gathered.length > CAPACITY_MIN) this.drop()
    this.handedOut = false
    this.length = 0
  }

  /** Gives up the gathered message with its memory. */
  drop(): void {
    if (this.#reserved > 0) this.#budget?.release(this.#reserved)
    this.#reserved = 0
    this.gathered = NOTHING
    this.length = 0
    this.handedOut = false
  }

  /** Gives back what is charged to the budget. */
  dispose(): void {
    this.endOfChunk()
    this.drop()
  }
}

/**
 * What the ordered scans of a node hold together, and who gives way when that is too much.
 *
 * A fixed amount for buffers is divided by the open scans. Beyond it each holds one entry of every
 * partition, which it cannot do without; so the number of scans is limited, and what they hold is
 * counted. When either is used up, the scan that has been idle longest is closed, for whoever reads
 * on can begin again behind the last key; when none is idle, who came last is refused.
 */
import { assert } from '../assert.ts'
import type { Clock } from '../clock.ts'
import { OverloadedError } from '../errors.ts'

const MIB = 1024 * 1024
/** Bytes that the buffers of all ordered scans of a node may hold together. */
const BUFFERED_BYTES_MAX = 64 * MIB
/** The same with the entries that no scan can do without. */
const HELD_BYTES_MAX = 2 * BUFFERED_BYTES_MAX
/** Bytes that the buffers of one scan hold when it is alone. */
const SCAN_BYTES_MAX = 16 * MIB
/** Open at once; with a thousand partitions each takes half a megabyte at least. */
const SCANS_MAX = 256
/** A scan that nobody reads for so long may be closed for others. */
const IDLE_MS = 1000
const RETRY_AFTER_MS = 100

/** An ordered scan, as something that holds memory. */
export interface HoldingScan {
  /** When it was last read, in monotonic milliseconds; undefined while it is being read. */
  readonly idleSinceMs: number | undefined
  /** Closes it, and gives back what it holds. */
  evict(): void
}

export class ScanMemory {
  readonly #clock: Clock
  readonly #scans = new Set<HoldingScan>()
  #heldBytes = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get open(): number {
    return this.#scans.size
  }

  /** Bytes that the scans have reported. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Bytes that the buffers of one scan may hold now. */
  get share(): number {
    return Math.min(SCAN_BYTES_MAX, BUFFERED_BYTES_MAX / Math.max(1, this.#scans.size))
  }

  /** Throws OverloadedError when too many scans are open and all of them are being read. */
  enter(scan: HoldingScan): void {
    if (this.#scans.size >= SCANS_MAX && !this.#evictIdlest(scan)) {
      throw new OverloadedError(
        `${SCANS_MAX} ordered scans are open: finish some, or scan with order 'unordered'`,
        RETRY_AFTER_MS,
      )
    }
    this.#scans.add(scan)
  }

  leave(scan: HoldingScan): void {
    const wasOpen = this.#scans.delete(scan)
    assert(wasOpen, 'a scan leaves once')
  }

  /** A scan holds so much more, or less. */
  add(bytes: number): void {
    this.#heldBytes += bytes
    assert(this.#heldBytes >= 0, 'no more is given back than was taken')
  }

  /** Throws OverloadedError when `scan` is one too many for what they hold. */
  check(scan: HoldingScan): void {
    while (this.#heldBytes > HELD_BYTES_MAX && this.#scans.size > 1) {
      if (this.#evictIdlest(scan)) continue
      throw new OverloadedError(
        `the ordered scans that are open hold ${this.#heldBytes} bytes: finish some, ` +
          "or scan with order 'unordered'",
        RETRY_AFTER_MS,
      )
    }
  }

  /** False when none but `asking` is idle for long enough. */
  #evictIdlest(asking: HoldingScan): boolean {
    let idlest: HoldingScan | undefined
    let sinceMs = this.#clock.monotonicMs() - IDLE_MS
    for (const scan of this.#scans) {
      const { idleSinceMs } = scan
      if (scan === asking || idleSinceMs === undefined || idleSinceMs > sinceMs) continue
      idlest = scan
      sinceMs = idleSinceMs
    }
    idlest?.evict()
    return idlest !== undefined
  }
}

/**
 * One file of the simulated disk: what a reader sees now, what a power loss would leave for
 * certain, and the writes between the two.
 *
 * Invariants:
 *  1. `live` = `durable` with all of `unsynced` and `doomed` applied.
 *  2. A sync makes durable exactly the writes that were finished when it was called.
 *  3. A doomed write met a failed sync: it stays readable until a crash, and no later sync makes
 *     it durable, though it may have reached the disk by itself.
 */
import { equalBytes } from '../../src/bytes.ts'
import type { Random } from '../../src/random.ts'

/** What a power loss does to writes that no sync covered. */
export interface CrashOptions {
  /**
   * `nothing` drops all that was not synced, `all` keeps all of it (the order in which the machine
   * could have written it back happened to be complete), `random` decides write by write.
   */
  readonly keep: 'nothing' | 'all' | 'random'
  /** Of `random`: the chance that a write or directory operation survives whole. Default 0.5. */
  readonly probability?: number
  /** Of `random`: whether writes that do not survive whole may survive in part. Default true. */
  readonly tear?: boolean
}

const KEEP_PROBABILITY = 0.5
/** The units in which disks and page caches tear a write. */
const TEAR_SIZES = [512, 4096] as const

/** Whether one thing that no sync covered survives whole. */
export function survives(random: Random, options: CrashOptions): boolean {
  if (options.keep !== 'random') return options.keep === 'all'
  return random.next() < (options.probability ?? KEEP_PROBABILITY)
}

/**
 * Growing bytes that are shared between crash clones until one of them writes. The first owner
 * goes on appending in place; everybody else copies before the first write.
 */
class Content {
  #bytes: Uint8Array
  #size: number
  /** A write below this offset would be seen by a clone, so it copies first. */
  #sharedBelow: number

  constructor(bytes: Uint8Array, size: number, sharedBelow: number) {
    this.#bytes = bytes
    this.#size = size
    this.#sharedBelow = sharedBelow
  }

  get size(): number {
    return this.#size
  }

  equals(other: Content): boolean {
    if (this.#size !== other.#size) return false
    // What is shared is not written to below its size.
    if (this.#bytes === other.#bytes) return true
    const [mine, theirs] = [this.#bytes.subarray(0, this.#size), other.#bytes]
    return equalBytes(mine, theirs.subarray(0, this.#size))
  }

  /** The same bytes for another owner, without copying them. */
  share(): Content {
    this.#sharedBelow = Math.max(this.#sharedBelow, this.#size)
    return new Content(this.#bytes, this.#size, Number.POSITIVE_INFINITY)
  }

  read(target: Uint8Array, targetOffset: number, length: number, position: number): number {
    const size = Math.max(0, Math.min(length, this.#size - position))
    target.set(this.#bytes.subarray(position, position + size), targetOffset)
    return size
  }

  write(data: Uint8Array, position: number): void {
    if (data.length === 0) return
    this.#reserve(position, position + data.length)
    this.#bytes.set(data, position)
    this.#size = Math.max(this.#size, position + data.length)
  }

  /** Makes the file at least so long; the new bytes are zeros. */
  extend(size: number): void {
    if (size <= this.#size) return
    this.#reserve(this.#size, size)
    this.#size = size
  }

  #reserve(position: number, end: number): void {
    const shared = Math.min(position, this.#size) < this.#sharedBelow
    if (!shared && end <= this.#bytes.length) return
    const capacity = end > this.#bytes.length ? Math.max(end, 2 * this.#bytes.length, 256) : end
    const copy = new Uint8Array(Math.max(capacity, this.#size))
    copy.set(this.#bytes.subarray(0, this.#size))
    this.#bytes = copy
    this.#sharedBelow = 0
  }
}

interface Write {
  readonly position: number
  readonly data: Uint8Array
}

/** An asynchronous write that was called and has not finished. */
export type PendingWrite = Write

export class MemoryInode {
  readonly kind = 'file'
  #live: Content
  #durable: Content
  #unsynced: Write[] = []
  #doomed: Write[] = []
  readonly #pending = new Set<PendingWrite>()

  constructor(live = emptyContent(), durable = emptyContent()) {
    this.#live = live
    this.#durable = durable
  }

  get size(): number {
    return this.#live.size
  }

  read(target: Uint8Array, targetOffset: number, length: number, position: number): number {
    return this.#live.read(target, targetOffset, length, position)
  }

  /** Whether it reads the same. */
  holdsSameAs(other: MemoryInode): boolean {
    return this.#live.equals(other.#live)
  }

  /** Keeps `data`. */
  write(data: Uint8Array, position: number): void {
    this.#live.write(data, position)
    if (data.length > 0) this.#unsynced.push({ position, data })
  }

  /** Announces a write that is under way; a crash may let it happen. Keeps `data`. */
  beginWrite(data: Uint8Array, position: number): PendingWrite {
    const write = { position, data }
    this.#pending.add(write)
    return write
  }

  endWrite(write: PendingWrite): void {
    this.#pending.delete(write)
  }

  /** Announces a sync and returns what makes it happen. */
  beginSync(): () => void {
    const covered = this.#unsynced.at(-1)
    return () => {
      const count = covered === undefined ? 0 : this.#unsynced.indexOf(covered) + 1
      for (const write of this.#unsynced.splice(0, count)) {
        this.#durable.write(write.data, write.position)
      }
    }
  }

  /** A sync failed: no later sync brings these bytes to the disk. */
  doomUnsynced(): void {
    this.#doomed.push(...this.#unsynced)
    this.#unsynced = []
  }

  /** The file after the process was killed: all finished writes are there, synced or not. */
  cloneAfterProcessCrash(random: Random | undefined): MemoryInode {
    const clone = new MemoryInode(this.#live.share(), this.#durable.share())
    clone.#unsynced = [...this.#unsynced]
    clone.#doomed = [...this.#doomed]
    if (random === undefined) return clone
    for (const { position, data } of this.#pending) {
      const size = random.below(2) === 0 ? data.length : random.below(data.length + 1)
      clone.write(data.subarray(0, size), position)
    }
    return clone
  }

  /** The file after a power loss. Nothing of the clone is unsynced. */
  cloneAfterPowerLoss(random: Random, options: CrashOptions): MemoryInode {
    const content = this.#durable.share()
    const holesStart = content.size
    // `all` keeps the writes that finished; whether one under way happened is up to chance alone.
    const pending = options.keep === 'random' ? this.#pending : []
    for (const write of [...this.#doomed, ...this.#unsynced, ...pending]) {
      if (survives(random, options)) content.write(write.data, write.position)
      else if (options.keep === 'random' && options.tear !== false) {
        tear(content, write, holesStart, random)
      }
    }
    return new MemoryInode(content, content.share())
  }

  /** Replaces the file by durable `bytes`, as damage or a copy from elsewhere would. */
  replace(bytes: Uint8Array): void {
    this.#live = new Content(bytes.slice(), bytes.length, 0)
    this.#durable = this.#live.share()
    this.#unsynced = []
    this.#doomed = []
  }

  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.size)
    this.read(bytes, 0, bytes.length, 0)
    return bytes
  }
}

function emptyContent(): Content {
  return new Content(NOTHING, 0, 0)
}

const NOTHING = new Uint8Array(0)

/**
 * Lets some units of the write reach the disk, and perhaps its length without its bytes. What did
 * not arrive keeps its old bytes; from `holesStart` on, where the file had none, it may also read
 * as zeros or as whatever the disk held there before.
 */
function tear(content: Content, write: Write, holesStart: number, random: Random): void {
  if (random.below(2) === 0) return
  const unit = TEAR_SIZES[random.below(TEAR_SIZES.length)]!
  const end = write.position + write.data.length
  const garbage = random.below(2) === 0
  if (random.below(2) === 0) content.extend(end)
  for (let start = write.position; start < end; ) {
    const stop = Math.min(end, (Math.floor(start / unit) + 1) * unit)
    const from = start - write.position
    if (random.below(2) === 0) {
      content.write(write.data.subarray(from, from + stop - start), start)
    } else if (garbage && stop > holesStart && stop <= content.size) {
      const hole = Math.max(start, holesStart)
      content.write(random.bytes(stop - hole), hole)
    }
    start = stop
  }
}

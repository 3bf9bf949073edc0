/**
 * The workloads, named as LevelDB's db_bench names them, and the data they work on.
 *
 * One seed decides everything: key number `index` is always the same 16 bytes and always maps to
 * the same value, in every process and for every product, so that what was read can be checked
 * and every product sees the same requests.
 *
 * Keys are spread uniformly over the key space and incompressible (the worst case for prefix
 * compression), values are incompressible (so no product wins by compressing). The key of an odd
 * `slot` is never written: it lies between written keys, so only a filter or a lookup can tell
 * that it is absent, not the bounds of the data.
 */
import { seededRandom } from '../src/random.ts'

export const KEY_SIZE = 16
export const VALUE_SIZE = 100
export const SEED = 20_261_124

/** What db_bench calls it, and what it does here. */
export const WORKLOADS = {
  fillseq: 'new keys in ascending order, not synced',
  fillsync: 'random keys, each write synced before its caller goes on',
  fillrandom: 'new keys in random order, not synced',
  overwrite: 'writes to random keys that exist, not synced, one caller',
  readrandom: 'existing keys, uniform',
  readmissing: 'absent keys between existing ones, uniform',
  readhot: 'existing keys, zipfian 0.99',
  readseq: 'every entry in key order',
  seekrandom: 'from a random key on, the next 100 entries',
  deleterandom: 'deletes of random keys that exist, not synced, one caller',
} as const
export type WorkloadName = keyof typeof WORKLOADS

/** Values are slices of one pool of random bytes, at a place that depends on the key. */
const POOL_SIZE = 1024 * 1024

/** A bijection of 32-bit numbers (the finaliser of MurmurHash3), so keys never collide. */
function mix(number: number): number {
  let hash = number | 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

export interface DatasetOptions {
  readonly keyCount: number
  readonly valueSize?: number
  readonly seed?: number
}

/** The keys and values of one run. Buffers it returns are views: they are not to be written. */
export class Dataset {
  readonly keyCount: number
  readonly valueSize: number
  readonly seed: number
  readonly #pool: Buffer

  constructor(options: DatasetOptions) {
    this.keyCount = options.keyCount
    this.valueSize = options.valueSize ?? VALUE_SIZE
    this.seed = options.seed ?? SEED
    this.#pool = Buffer.from(seededRandom(this.seed).bytes(POOL_SIZE + this.valueSize))
  }

  /** Bytes of all keys and values, each counted once. */
  get liveSize(): number {
    return this.keyCount * (KEY_SIZE + this.valueSize)
  }

  /** The keys of these indices, as views of one buffer made before the clock starts. */
  keys(indices: ArrayLike<number>): Buffer[] {
    return this.#views(indices, (index, target, offset) => {
      this.#writeKey(2 * index, target, offset)
    })
  }

  /** As many keys that were never written. */
  missingKeys(indices: ArrayLike<number>): Buffer[] {
    return this.#views(indices, (index, target, offset) => {
      this.#writeKey(2 * index + 1, target, offset)
    })
  }

  /** Keys that ascend with the index: 16 decimal digits, as in db_bench. */
  ascendingKeys(indices: ArrayLike<number>): Buffer[] {
    return this.#views(indices, (index, target, offset) => {
      target.write(String(index).padStart(KEY_SIZE, '0'), offset, 'latin1')
    })
  }

  /** Writes one key into memory of the caller, who makes many and keeps none. */
  writeKey(index: number, target: Buffer): void {
    this.#writeKey(2 * index, target, 0)
  }

  value(index: number): Buffer {
    const start = mix(index ^ this.seed) % POOL_SIZE
    return this.#pool.subarray(start, start + this.valueSize)
  }

  values(indices: ArrayLike<number>): Buffer[] {
    return Array.from(indices, index => this.value(index))
  }

  #views(
    indices: ArrayLike<number>,
    write: (index: number, target: Buffer, offset: number) => void,
  ): Buffer[] {
    const slab = Buffer.allocUnsafeSlow(indices.length * KEY_SIZE)
    const views: Buffer[] = []
    for (let position = 0; position < indices.length; position++) {
      const offset = position * KEY_SIZE
      write(indices[position] ?? 0, slab, offset)
      views.push(slab.subarray(offset, offset + KEY_SIZE))
    }
    return views
  }

  #writeKey(slot: number, target: Buffer, offset: number): void {
    const first = mix(slot ^ this.seed)
    target.writeUInt32BE(first, offset)
    target.writeUInt32BE(mix(first + 0x9e3779b9), offset + 4)
    target.writeUInt32BE(mix(first + 0x3c6ef372), offset + 8)
    target.writeUInt32BE(mix(first + 0xdaa66d2b), offset + 12)
  }
}

/** The integers from `start` to `end`, without `end`. */
export function range(start: number, end: number): number[] {
  return Array.from({ length: Math.max(0, end - start) }, (_, position) => start + position)
}

/** Reading a range chunk by chunk: the one primitive behind every scan, embedded or remote. */
import type { Snapshot } from '../key-value-store.ts'

export interface RangeRead {
  readonly gt?: Uint8Array | undefined
  readonly gte?: Uint8Array | undefined
  readonly lt?: Uint8Array | undefined
  readonly lte?: Uint8Array | undefined
  readonly reverse: boolean
  /** Leaves RangeChunk.values empty, and reads no more of a value than its length. */
  readonly keysOnly: boolean
  /** At most so many entries, at least 1. */
  readonly countMax: number
  /** Stops after the entry that brings keys and values to this many bytes. */
  readonly bytesMax: number
  readonly snapshot?: Snapshot | undefined
}

export interface RangeChunk {
  readonly keys: Uint8Array[]
  readonly values: Uint8Array[]
  /** Bytes of keys and values together. */
  readonly size: number
  /** True when nothing of the range is left after this chunk. */
  readonly done: boolean
}

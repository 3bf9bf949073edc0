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

/** The entry that a LeapRead has come to. Borrowed until the call it was passed to returns. */
export interface LeapEntry {
  readonly keyBytes: Uint8Array
  /** The key is keyBytes[keyStart, keyEnd). */
  readonly keyStart: number
  readonly keyEnd: number
  readonly valueBytes: Uint8Array
  /** The value is valueBytes[valueStart, valueEnd). */
  readonly valueStart: number
  readonly valueEnd: number
}

/** What a LeapRead does after an entry: look from `from` on, take the next entry, or stop. */
export type LeapStep = 'leap' | 'next' | 'stop'

/**
 * A read in one direction that says after each entry where to look next, and so passes over as many
 * entries as it likes for the price of a seek. All its seeks share one merge of memtables and
 * tables, and those that would lead a table to where it stands already cost a comparison.
 */
export interface LeapRead {
  readonly reverse: boolean
  readonly snapshot?: Snapshot | undefined
  /** Nothing is read at or behind this key, in the direction of the read; undefined: no end. */
  readonly end: Uint8Array | undefined
  /** Where to look: at the first key from there on, in the direction of the read. */
  readonly from: Uint8Array
  /** True when an entry at `from` itself is looked for, too. */
  readonly isInclusive: boolean
  /** Looks at the entry that was found, and sets `from` behind it, whatever comes next. */
  arrive(entry: LeapEntry): LeapStep
}

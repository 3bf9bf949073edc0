/**
 * A cursor: a position among internal entries, in internal order (internal-key.ts).
 *
 * Plain fields instead of getters or entry objects, so that moving allocates nothing. Key and
 * value are borrowed: they are ranges of somebody's buffer, valid until the next call on the
 * cursor. Read them only while `valid`.
 *
 * A cursor on the main thread may need a block that is not in memory. It then throws BlockMiss
 * (block-source.ts), after which it is not valid and must be positioned by a seek again.
 */
import { compareRanges } from '../bytes.ts'
import { NO_SEQUENCE } from './internal-key.ts'

export abstract class Cursor {
  /** False before the first positioning call, past either end, and after an error. */
  valid = false
  /** User key: keyBytes[keyStart, keyEnd). */
  keyBytes: Uint8Array = NOTHING
  keyStart = 0
  keyEnd = 0
  sequence = NO_SEQUENCE
  /** An EntryKind. */
  kind = 0
  /** Value: valueBytes[valueStart, valueEnd). */
  valueBytes: Uint8Array = NOTHING
  valueStart = 0
  valueEnd = 0

  abstract seekToFirst(): void
  abstract seekToLast(): void
  /**
   * Moves to the first entry at or after (key, sequence): the newest version of `key` that is not
   * newer than `sequence`, or else the first entry of a later key.
   */
  abstract seek(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void
  /**
   * seek() for one whose last seek was to an earlier place, and which has since moved forward only,
   * over entries before the sought one: where it stands already it stays.
   */
  seekOnward(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    if (this.valid) {
      const order = compareRanges(this.keyBytes, this.keyStart, this.keyEnd, key, keyStart, keyEnd)
      if (order > 0 || (order === 0 && this.sequence <= sequence)) return
    }
    this.seek(key, keyStart, keyEnd, sequence)
  }
  /** Requires valid. */
  abstract next(): void
  /** Requires valid. */
  abstract prev(): void
}

const NOTHING = new Uint8Array(0)

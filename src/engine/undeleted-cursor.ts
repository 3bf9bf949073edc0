/**
 * What range tombstones leave of the entries of a memtable, table or run, for a reader at one
 * sequence: a cursor over another one that passes over what they hide.
 *
 * A tombstone of a newer source hides whatever it covers here, so the cursor jumps over its whole
 * range, and a scan over much that was deleted is quick. A tombstone of the same source hides only
 * what is older than itself, entry by entry.
 *
 * What is hidden may go on for long, while the event loop waits. So one call passes a few entries
 * only, and then shows the hidden one that it has come to as a tombstone, for the reader to pass:
 * no older version of its key is visible either.
 */
import { assert } from '../assert.ts'
import type { BlockSource } from './block-source.ts'
import { Cursor } from './cursor.ts'
import { EntryKind } from './internal-key.ts'
import { LevelCursor } from './level-cursor.ts'
import type { Memtable } from './memtable.ts'
import { newestKnown, type RangeFragment } from './range-fragment.ts'
import { FragmentProbe, type RangeProbe, RunProbe } from './range-probe.ts'
import type { TableMetadata } from './table-metadata.ts'

/** No version of a key stands before this sequence. */
const NEWEST = Number.MAX_SAFE_INTEGER
/** Hidden entries passed one by one before a jump, which costs as much as several steps. */
const STEPS_BEFORE_JUMP = 4
/** Hidden entries passed in one call, a jump included. */
const STEPS_MAX = 6

export class UndeletedCursor extends Cursor {
  readonly #source: Cursor
  readonly #newer: readonly RangeProbe[]
  readonly #own: RangeProbe | undefined
  readonly #maxSequence: number

  /**
   * `newer` are the range tombstones of all newer sources, `own` those of the same one. Those that
   * a reader at `maxSequence` does not know hide nothing.
   */
  constructor(
    source: Cursor,
    newer: readonly RangeProbe[],
    own: RangeProbe | undefined,
    maxSequence: number,
  ) {
    super()
    this.#source = source
    this.#newer = newer
    this.#own = own
    this.#maxSequence = maxSequence
  }

  override seekToFirst(): void {
    this.valid = false
    this.#source.seekToFirst()
    this.#findForward()
  }

  override seekToLast(): void {
    this.valid = false
    this.#source.seekToLast()
    this.#findReverse()
  }

  override seek(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    this.valid = false
    const source = this.#source
    source.seek(key, keyStart, keyEnd, sequence)
    // Nothing is passed here: a prev() must come to what stands before the sought place.
    const isHidden = source.valid && (this.#hidingRange() !== undefined || this.#isHiddenHere())
    if (isHidden) this.#showHidden()
    else this.#show()
  }

  override next(): void {
    assert(this.valid, 'only a valid cursor moves')
    this.valid = false
    this.#source.next()
    this.#findForward()
  }

  override prev(): void {
    assert(this.valid, 'only a valid cursor moves')
    this.valid = false
    this.#source.prev()
    this.#findReverse()
  }

  #findForward(): void {
    const source = this.#source
    for (let steps = 0; source.valid; steps++) {
      const range = this.#hidingRange()
      if (range === undefined && !this.#isHiddenHere()) break
      if (steps === STEPS_MAX) {
        this.#showHidden()
        return
      }
      if (range === undefined || steps < STEPS_BEFORE_JUMP) source.next()
      else source.seek(range.end, 0, range.end.length, NEWEST)
    }
    this.#show()
  }

  #findReverse(): void {
    const source = this.#source
    for (let steps = 0; source.valid; steps++) {
      const range = this.#hidingRange()
      if (range === undefined && !this.#isHiddenHere()) break
      if (steps === STEPS_MAX) {
        this.#showHidden()
        return
      }
      if (range === undefined || steps < STEPS_BEFORE_JUMP) {
        source.prev()
        continue
      }
      source.seek(range.start, 0, range.start.length, NEWEST)
      if (source.valid) source.prev()
      else source.seekToLast()
    }
    this.#show()
  }

  /** A range of a newer source that hides the source's entry, and with it all that it covers. */
  #hidingRange(): RangeFragment | undefined {
    const { keyBytes, keyStart, keyEnd } = this.#source
    for (const probe of this.#newer) {
      const range = probe.find(keyBytes, keyStart, keyEnd)
      if (range !== undefined && newestKnown(range, this.#maxSequence) > 0) return range
    }
    return undefined
  }

  #isHiddenHere(): boolean {
    const { keyBytes, keyStart, keyEnd, sequence } = this.#source
    const range = this.#own?.find(keyBytes, keyStart, keyEnd)
    return range !== undefined && newestKnown(range, this.#maxSequence) > sequence
  }

  #showHidden(): void {
    this.#show()
    this.kind = EntryKind.delete
    this.valueEnd = this.valueStart
  }

  #show(): void {
    const source = this.#source
    this.valid = source.valid
    if (!this.valid) return
    this.keyBytes = source.keyBytes
    this.keyStart = source.keyStart
    this.keyEnd = source.keyEnd
    this.sequence = source.sequence
    this.kind = source.kind
    this.valueBytes = source.valueBytes
    this.valueStart = source.valueStart
    this.valueEnd = source.valueEnd
  }
}

/**
 * Makes the cursors of a scan where there are range tombstones. Asked for the sources from the
 * newest to the oldest, each once.
 */
export class UndeletedCursors {
  readonly #maxSequence: number
  /** Of the sources so far, those that have range tombstones: each makes a probe of its own. */
  readonly #newer: (() => RangeProbe)[] = []

  constructor(maxSequence: number) {
    this.#maxSequence = maxSequence
  }

  memtable(memtable: Memtable): Cursor {
    const { ranges } = memtable
    return this.#layer(
      memtable.cursor(),
      ranges.length === 0 ? undefined : () => new FragmentProbe(ranges),
    )
  }

  /** A run of tables, or one of level 0. */
  run(tables: readonly TableMetadata[], source: BlockSource): Cursor {
    const deleting = tables.filter(table => table.rangeTombstoneCount > 0)
    return this.#layer(
      new LevelCursor(tables, source),
      deleting.length === 0 ? undefined : () => new RunProbe(deleting, source),
    )
  }

  #layer(cursor: Cursor, own: (() => RangeProbe) | undefined): Cursor {
    if (own === undefined && this.#newer.length === 0) return cursor
    const newer = this.#newer.map(probe => probe())
    if (own !== undefined) this.#newer.push(own)
    return new UndeletedCursor(cursor, newer, own?.(), this.#maxSequence)
  }
}

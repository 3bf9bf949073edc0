/**
 * Asks the range tombstones of one memtable, table or run what covers one key after another. It
 * remembers where it stood, so that each key of a scan, either way, costs a few comparisons.
 */
import { compareRanges } from '../bytes.ts'
import type { BlockSource } from './block-source.ts'
import { findTable } from './level-cursor.ts'
import {
  beginsAtOrBefore,
  findFragment,
  type RangeFragment,
  type RangeFragments,
} from './range-fragment.ts'
import type { TableMetadata } from './table-metadata.ts'

export interface RangeProbe {
  /** The fragment that the key is in, or undefined. May throw BlockMiss. */
  find(key: Uint8Array, keyStart: number, keyEnd: number): RangeFragment | undefined
}

/** Over one list of fragments. */
export class FragmentProbe implements RangeProbe {
  readonly #fragments: RangeFragments
  /** The first fragment that ends behind the last key asked for. */
  #at = 0

  constructor(fragments: RangeFragments) {
    this.#fragments = fragments
  }

  find(key: Uint8Array, keyStart: number, keyEnd: number): RangeFragment | undefined {
    const fragments = this.#fragments
    const before = fragments[this.#at - 1]
    let fragment = fragments[this.#at]
    const isThere =
      (before === undefined || !endsBehind(before, key, keyStart, keyEnd)) &&
      (fragment === undefined || endsBehind(fragment, key, keyStart, keyEnd))
    if (!isThere) {
      this.#at = findFragment(fragments, key, keyStart, keyEnd)
      fragment = fragments[this.#at]
    }
    if (fragment === undefined || !beginsAtOrBefore(fragment, key, keyStart, keyEnd)) {
      return undefined
    }
    return fragment
  }
}

/** Over the tables of a run, which are opened when a key of theirs is asked for. */
export class RunProbe implements RangeProbe {
  readonly #tables: readonly TableMetadata[]
  readonly #source: BlockSource
  #table: TableMetadata | undefined
  #probe: FragmentProbe | undefined

  /** `tables` ascend by key and do not overlap. */
  constructor(tables: readonly TableMetadata[], source: BlockSource) {
    this.#tables = tables
    this.#source = source
  }

  find(key: Uint8Array, keyStart: number, keyEnd: number): RangeFragment | undefined {
    if (this.#table === undefined || !holds(this.#table, key, keyStart, keyEnd)) {
      const table = this.#tables[findTable(this.#tables, key, keyStart, keyEnd)]
      if (table === undefined || !holds(table, key, keyStart, keyEnd)) return undefined
      this.#table = undefined
      this.#probe = new FragmentProbe(this.#source.open(table).ranges)
      this.#table = table
    }
    return this.#probe?.find(key, keyStart, keyEnd)
  }
}

function endsBehind(
  { end }: RangeFragment,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
): boolean {
  return compareRanges(end, 0, end.length, key, keyStart, keyEnd) > 0
}

function holds(table: TableMetadata, key: Uint8Array, keyStart: number, keyEnd: number): boolean {
  const { smallestKey, largestKey } = table
  return (
    compareRanges(smallestKey, 0, smallestKey.length, key, keyStart, keyEnd) <= 0 &&
    compareRanges(largestKey, 0, largestKey.length, key, keyStart, keyEnd) >= 0
  )
}

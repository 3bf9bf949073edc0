/**
 * Entries for tests of blocks, tables and cursors: made from a seed, sorted, and as plain values.
 */
import { compareBytes, writeUint64 } from '../../src/bytes.ts'
import { Cursor } from '../../src/engine/cursor.ts'
import type { FileSystem } from '../../src/engine/file-system.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import type { TableOptions } from '../../src/engine/job.ts'
import { NO_FRAGMENTS, type RangeFragments } from '../../src/engine/range-fragment.ts'
import { SstableWriter } from '../../src/engine/sstable-writer.ts'
import type { TableMetadata } from '../../src/engine/table-metadata.ts'
import type { Hasher } from '../../src/hash.ts'
import type { Random } from '../../src/random.ts'

export interface ModelEntry {
  readonly key: Uint8Array
  readonly sequence: number
  readonly kind: number
  readonly value: Uint8Array
}

export const tableOptions: TableOptions = { blockSize: 4096, filterBitsPerKey: 10 }

/** Internal order: by key, then from the newest version down. */
export function compareEntries(a: ModelEntry, b: ModelEntry): number {
  return compareBytes(a.key, b.key) || b.sequence - a.sequence
}

export interface EntryShape {
  readonly count: number
  /** Distinct keys are drawn from so many; few make many versions. */
  readonly keySpace: number
  readonly keyLengthMax?: number
  readonly valueLengthMax?: number
  readonly sequenceMax?: number
  /** Share of deletes and of expiring puts, each. */
  readonly specialShare?: number
}

/** `count` entries with distinct sequences, in internal order. */
export function randomEntries(random: Random, shape: EntryShape): ModelEntry[] {
  const { count, keySpace, keyLengthMax = 24, valueLengthMax = 120, specialShare = 0.1 } = shape
  const sequences = new Set<number>()
  while (sequences.size < count) sequences.add(1 + random.below(shape.sequenceMax ?? count * 4))
  const keys = Array.from({ length: keySpace }, () => randomKey(random, keyLengthMax))
  const entries: ModelEntry[] = []
  for (const sequence of sequences) {
    const key = keys[random.below(keySpace)]!
    const draw = random.next()
    const value = random.bytes(random.below(valueLengthMax + 1))
    if (draw < specialShare) {
      entries.push({ key, sequence, kind: EntryKind.delete, value: new Uint8Array(0) })
    } else if (draw < 2 * specialShare) {
      entries.push({
        key,
        sequence,
        kind: EntryKind.putExpiring,
        value: expiringValue(1 + random.below(2000), value),
      })
    } else {
      entries.push({ key, sequence, kind: EntryKind.put, value })
    }
  }
  return entries.sort(compareEntries)
}

/** Keys of few different bytes, so that they share prefixes and some begin others. */
function randomKey(random: Random, lengthMax: number): Uint8Array {
  const key = random.bytes(1 + random.below(lengthMax))
  const spread = [2, 4, 256][random.below(3)]!
  return key.map(byte => (spread === 256 ? byte : 0x61 + (byte % spread)))
}

export function expiringValue(expiryMs: number, value: Uint8Array): Uint8Array {
  const stored = new Uint8Array(8 + value.length)
  writeUint64(new DataView(stored.buffer), 0, expiryMs)
  stored.set(value, 8)
  return stored
}

export function textEntry(key: string, sequence: number, value: string): ModelEntry {
  const encoder = new TextEncoder()
  return {
    key: encoder.encode(key),
    sequence,
    kind: EntryKind.put,
    value: encoder.encode(value),
  }
}

/** A copy of the entry that the cursor shows. */
export function entryAt(cursor: Cursor): ModelEntry {
  return {
    key: new Uint8Array(cursor.keyBytes.subarray(cursor.keyStart, cursor.keyEnd)),
    sequence: cursor.sequence,
    kind: cursor.kind,
    value: new Uint8Array(cursor.valueBytes.subarray(cursor.valueStart, cursor.valueEnd)),
  }
}

/** All entries from where the cursor stands to the end. */
export function entriesAhead(cursor: Cursor): ModelEntry[] {
  const entries: ModelEntry[] = []
  for (; cursor.valid; cursor.next()) entries.push(entryAt(cursor))
  return entries
}

export function addEntry(writer: SstableWriter, entry: ModelEntry): void {
  const { key, sequence, kind, value } = entry
  writer.add(key, 0, key.length, sequence, kind, value, 0, value.length)
}

/** Writes the entries, which stand in internal order, and the fragments as one table. */
export function writeTable(
  fileSystem: FileSystem,
  directory: string,
  fileNumber: number,
  entries: readonly ModelEntry[],
  hasher: Hasher,
  options: TableOptions = tableOptions,
  ranges: RangeFragments = NO_FRAGMENTS,
): TableMetadata {
  const writer = new SstableWriter(fileSystem, directory, fileNumber, options, hasher)
  for (const entry of entries) addEntry(writer, entry)
  return writer.finish(ranges)
}

/**
 * A cursor over entries in memory. Like the real ones it lends its buffers only until the next
 * call, and what was lent before is overwritten, so that a user who holds on to it is found out.
 */
export class ArrayCursor extends Cursor {
  readonly #entries: readonly ModelEntry[]
  #at = -1
  #lent: Uint8Array[] = []

  constructor(entries: readonly ModelEntry[]) {
    super()
    this.#entries = entries
  }

  override seekToFirst(): void {
    this.#move(0)
  }

  override seekToLast(): void {
    this.#move(this.#entries.length - 1)
  }

  override seek(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    const wanted = { key: key.slice(keyStart, keyEnd), sequence, kind: 1, value: key }
    const at = this.#entries.findIndex(entry => compareEntries(entry, wanted) >= 0)
    this.#move(at < 0 ? this.#entries.length : at)
  }

  override next(): void {
    if (!this.valid) throw new Error('only a valid cursor moves')
    this.#move(this.#at + 1)
  }

  override prev(): void {
    if (!this.valid) throw new Error('only a valid cursor moves')
    this.#move(this.#at - 1)
  }

  #move(at: number): void {
    for (const bytes of this.#lent) bytes.fill(0xee)
    this.#at = at
    const entry = this.#entries[at]
    this.valid = entry !== undefined
    if (entry === undefined) return
    this.keyBytes = new Uint8Array(entry.key.length + 2)
    this.keyBytes.set(entry.key, 1)
    this.keyStart = 1
    this.keyEnd = 1 + entry.key.length
    this.valueBytes = entry.value.slice()
    this.valueStart = 0
    this.valueEnd = entry.value.length
    this.sequence = entry.sequence
    this.kind = entry.kind
    this.#lent = [this.keyBytes, this.valueBytes]
  }
}

/** The entries dealt out at random to `count` cursors' worth of sorted lists. */
export function dealOut(
  random: Random,
  entries: readonly ModelEntry[],
  count: number,
): ModelEntry[][] {
  const lists = Array.from({ length: count }, (): ModelEntry[] => [])
  for (const entry of entries) lists[random.below(count)]!.push(entry)
  return lists
}

/** Cuts sorted entries into tables of a run; a key's versions may stand on both sides of a cut. */
export function cutIntoTables(
  random: Random,
  entries: readonly ModelEntry[],
  countMax: number,
): ModelEntry[][] {
  const tables: ModelEntry[][] = []
  for (let from = 0; from < entries.length; ) {
    const to = from + 1 + random.below(Math.ceil((entries.length * 2) / countMax))
    tables.push(entries.slice(from, to))
    from = to
  }
  return tables
}

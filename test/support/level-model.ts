/**
 * A model of tables as sets of entries, to carry out flushes and compaction plans on without files:
 * what the picker decides can then be checked against what the entries say.
 */
import { utf8Encode } from '../../src/bytes.ts'
import { type CompactionPlan, planChanges } from '../../src/engine/compaction-plan.ts'
import type { TableMetadata } from '../../src/engine/table-metadata.ts'
import { Version } from '../../src/engine/version.ts'

export interface ModelEntry {
  readonly key: number
  readonly sequence: number
  readonly kind: 'put' | 'delete' | 'expiring'
  readonly size: number
  /** Of expiring ones. */
  readonly expiryMs: number
}

const TOMBSTONE_SIZE = 20

export class LevelModel {
  version = Version.empty()
  sequence = 0
  /** Bytes that compactions read and wrote. */
  bytesRead = 0
  bytesWritten = 0
  readonly #tableSizeTarget: number
  readonly #entries = new Map<number, readonly ModelEntry[]>()
  /** What a reader without a snapshot should see. */
  readonly #newest = new Map<number, ModelEntry>()
  #fileNumber = 1

  constructor(tableSizeTarget: number) {
    this.#tableSizeTarget = tableSizeTarget
  }

  /** Bytes of the entries that a reader sees. */
  liveSize(wallMs: number): number {
    let size = 0
    for (const entry of this.#newest.values()) if (isLive(entry, wallMs)) size += entry.size
    return size
  }

  put(key: number, size: number): ModelEntry {
    return this.#write({ key, sequence: ++this.sequence, kind: 'put', size, expiryMs: 0 })
  }

  putExpiring(key: number, size: number, expiryMs: number): ModelEntry {
    return this.#write({ key, sequence: ++this.sequence, kind: 'expiring', size, expiryMs })
  }

  delete(key: number): ModelEntry {
    const sequence = ++this.sequence
    return this.#write({ key, sequence, kind: 'delete', size: TOMBSTONE_SIZE, expiryMs: 0 })
  }

  #write(entry: ModelEntry): ModelEntry {
    this.#newest.set(entry.key, entry)
    return entry
  }

  /** Makes a level-0 table of the entries, of which the last of each key counts. */
  flush(entries: readonly ModelEntry[]): void {
    const newest = new Map(entries.map(entry => [entry.key, entry]))
    const table = this.#table([...newest.values()].sort((a, b) => a.key - b.key))
    this.version = this.version.apply({ added: [{ level: 0, table }] })
  }

  /** Puts a table with these entries, ascending by key, right into a level. */
  place(level: number, entries: readonly ModelEntry[]): void {
    this.version = this.version.apply({ added: [{ level, table: this.#table(entries) }] })
  }

  /** What a job for the plan would do; tombstones with larger sequences than the bound stay. */
  carryOut(plan: CompactionPlan, wallMs: number, purgeableBelow: number): void {
    if (plan.kind !== 'merge') {
      this.version = this.version.apply(planChanges(plan, []))
      return
    }
    const newest = new Map<number, ModelEntry>()
    for (const table of plan.runs.toReversed().flat()) {
      for (const entry of this.entriesOf(table)) {
        const known = newest.get(entry.key)
        if (known !== undefined && known.sequence >= entry.sequence) {
          throw new Error(`run order: ${entry.key} has ${entry.sequence} above ${known.sequence}`)
        }
        newest.set(entry.key, entry)
      }
    }
    const ranges = plan.deeper.map(table => [keyOf(table.smallestKey), keyOf(table.largestKey)])
    const kept = [...newest.values()].filter(entry => {
      if (isLive(entry, wallMs) || entry.sequence >= purgeableBelow) return true
      return ranges.some(([low, high]) => low! <= entry.key && entry.key <= high!)
    })
    kept.sort((a, b) => a.key - b.key)
    const outputs: TableMetadata[] = []
    for (let from = 0; from < kept.length; ) {
      let size = 0
      let to = from
      while (to < kept.length && size < this.#tableSizeTarget) size += kept[to++]!.size
      outputs.push(this.#table(kept.slice(from, to)))
      from = to
    }
    this.bytesRead += plan.size
    for (const table of outputs) this.bytesWritten += table.size
    this.version = this.version.apply(planChanges(plan, outputs))
  }

  entriesOf(table: TableMetadata): readonly ModelEntry[] {
    return this.#entries.get(table.fileNumber)!
  }

  /** Throws unless every key reads, newest level first, as it was written. */
  checkReads(wallMs: number): void {
    const found = new Map<number, ModelEntry>()
    for (const { table } of this.version.tables()) {
      for (const entry of this.entriesOf(table)) {
        if (!found.has(entry.key)) found.set(entry.key, entry)
      }
    }
    for (const [key, expected] of this.#newest) {
      const actual = found.get(key)
      const seen = actual !== undefined && isLive(actual, wallMs) ? actual.sequence : 0
      const wanted = isLive(expected, wallMs) ? expected.sequence : 0
      if (seen !== wanted) throw new Error(`key ${key} reads ${seen}, written was ${wanted}`)
    }
  }

  #table(entries: readonly ModelEntry[]): TableMetadata {
    const fileNumber = this.#fileNumber++
    this.#entries.set(fileNumber, entries)
    const sequences = entries.map(entry => entry.sequence)
    const expiring = entries.filter(entry => entry.kind === 'expiring')
    const size = entries.reduce((sum, entry) => sum + entry.size, 0)
    return {
      fileNumber,
      size,
      smallestKey: keyBytes(entries[0]!.key),
      largestKey: keyBytes(entries.at(-1)!.key),
      smallestSequence: Math.min(...sequences),
      largestSequence: Math.max(...sequences),
      entryCount: entries.length,
      rangeTombstoneCount: 0,
      tombstoneCount: entries.filter(entry => entry.kind === 'delete').length,
      expiringCount: expiring.length,
      expiryMax: Math.max(0, ...expiring.map(entry => entry.expiryMs)),
      rawSize: size,
      fileChecksum: 0,
    }
  }
}

function isLive(entry: ModelEntry, wallMs: number): boolean {
  return entry.kind === 'put' || (entry.kind === 'expiring' && entry.expiryMs >= wallMs)
}

export function keyBytes(key: number): Uint8Array {
  return utf8Encode(String(key).padStart(9, '0'))
}

function keyOf(bytes: Uint8Array): number {
  return Number(new TextDecoder().decode(bytes))
}

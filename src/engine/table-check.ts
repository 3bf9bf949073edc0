/**
 * Checks one table as a whole: what reads check block by block, and what no read can see.
 *
 * Holds when there is no finding:
 *  1. Every checksum is right: of each block, section and footer, and of the whole file.
 *  2. Entries ascend in internal order, and the index leads to each of them.
 *  3. Neither the filter nor a fingerprint denies a key that is there.
 *  4. Counts, bounds and sequences are those that the properties and the MANIFEST record.
 */
import { compareBytes, compareRanges, copyBytes, equalBytes } from '../bytes.ts'
import { CorruptionError } from '../errors.ts'
import { type Hasher, xxh32 } from '../hash.ts'
import { BlockAnswer, BlockReader, findInBlock } from './block.ts'
import { BlockView, showBlock } from './block-source.ts'
import { digestSync } from './copy-file.ts'
import { EntryFields } from './entry-fields.ts'
import type { File } from './file-system.ts'
import type { FindingList } from './finding.ts'
import { EntryKind, readExpiry } from './internal-key.ts'
import { LookupResult } from './lookup-result.ts'
import { addProgress, type JobControl, throwIfCancelled } from './maintenance-job.ts'
import { lastKeyBefore } from './range-fragment.ts'
import { SstableReader } from './sstable-reader.ts'
import type { TableMetadata } from './table-metadata.ts'

/** What was looked at. */
export interface CheckedTable {
  readonly blocks: number
  readonly entries: number
  readonly rangeTombstones: number
}

const NOTHING_CHECKED: CheckedTable = { blocks: 0, entries: 0, rangeTombstones: 0 }

export interface TableCheckParts {
  readonly hasher: Hasher
  readonly findings: FindingList
  readonly control: JobControl
}

/** Closes the file. Throws AbortedError, VersionMismatchError, or what is no matter of the file. */
export function checkTable(
  file: File,
  metadata: TableMetadata,
  parts: TableCheckParts,
): CheckedTable {
  const { findings, hasher, control } = parts
  let reader: SstableReader
  try {
    reader = SstableReader.openSync(file, metadata, hasher)
  } catch (error) {
    findings.addError(error, file.path)
    addProgress(control, metadata.size)
    return NOTHING_CHECKED
  }
  try {
    return new TableCheck(reader, parts).run()
  } catch (error) {
    findings.addError(error, file.path)
    return NOTHING_CHECKED
  } finally {
    reader.close()
  }
}

class TableCheck {
  readonly #reader: SstableReader
  readonly #findings: FindingList
  readonly #parts: TableCheckParts
  readonly #view = new BlockView()
  readonly #block = new BlockReader()
  readonly #entry = new EntryFields()
  readonly #answer = new LookupResult()
  /** Key and sequence of the entry before. */
  #key: Uint8Array = new Uint8Array(256)
  #keyLength = 0
  #sequence = 0
  #firstKey: Uint8Array | undefined
  #entryCount = 0
  #tombstoneCount = 0
  #expiringCount = 0
  #expiryMax = 0
  #rawSize = 0
  #smallestSequence = Number.POSITIVE_INFINITY
  #largestSequence = 0
  #isWhole = true

  constructor(reader: SstableReader, parts: TableCheckParts) {
    this.#reader = reader
    this.#parts = parts
    this.#findings = parts.findings
  }

  run(): CheckedTable {
    const reader = this.#reader
    const { blockCount, metadata, ranges } = reader
    this.#checkFile()
    for (let ordinal = 0; ordinal < blockCount; ordinal++) {
      throwIfCancelled(this.#parts.control)
      this.#checkBlock(ordinal)
    }
    for (const { sequences } of ranges) {
      this.#largestSequence = Math.max(this.#largestSequence, sequences[0]!)
      this.#smallestSequence = Math.min(this.#smallestSequence, sequences.at(-1)!)
    }
    // Of a table that lacks a block no count is right.
    if (this.#isWhole) this.#checkCounts(metadata)
    return { blocks: blockCount, entries: this.#entryCount, rangeTombstones: ranges.length }
  }

  #checkFile(): void {
    const { file, metadata } = this.#reader
    const { hasher, control } = this.#parts
    const { checksum } = digestSync(file, hasher, control)
    if (checksum === metadata.fileChecksum) return
    const sums = { expected: hex(metadata.fileChecksum), actual: hex(checksum) }
    this.#findings.damage(file.path, 0, 'the file has another checksum than it had', sums)
  }

  #checkBlock(ordinal: number): void {
    const reader = this.#reader
    const view = this.#view
    const size = reader.storedSize(ordinal)
    if (view.scratch.length < size) view.scratch = new Uint8Array(size)
    const offset = reader.blockOffset(ordinal)
    try {
      const length = reader.file.readSync(view.scratch, 0, size, offset)
      if (length !== size) throw reader.shortRead(ordinal, length)
      showBlock(reader, ordinal, view.scratch, 0, size, view)
    } catch (error) {
      this.#findings.addError(error, reader.file.path, offset)
      this.#isWhole = false
      return
    }
    const block = this.#block
    block.open(view.bytes, view.start, view.end)
    for (let index = 0; index < block.count; index++) {
      block.show(index, this.#entry)
      const fault = this.#faultOf(ordinal)
      if (fault !== undefined) {
        this.#damage(offset, `entry ${index} of the block ${fault}`)
        this.#isWhole = false
      }
      this.#count()
    }
  }

  /** What is wrong with the entry at hand. */
  #faultOf(ordinal: number): string | undefined {
    const { keyBytes, keyStart, keyEnd, sequence } = this.#entry
    const isFirst = this.#firstKey === undefined
    const order = isFirst
      ? -1
      : compareRanges(this.#key, 0, this.#keyLength, keyBytes, keyStart, keyEnd)
    if (order > 0 || (order === 0 && sequence >= this.#sequence)) return 'is out of order'
    const found = this.#reader.findBlock(keyBytes, keyStart, keyEnd)
    // Versions of one key may go on in the next block; the index then leads to the first of them.
    if (found !== ordinal && !(found < ordinal && order === 0)) return 'is not where the index says'
    const hash = xxh32(keyBytes, keyStart, keyEnd, 0)
    if (!this.#reader.mayContain(hash)) return 'has a key that the filter denies'
    const { bytes, start, end } = this.#view
    const answer = this.#answer
    const isFound =
      findInBlock(bytes, start, end, hash, keyBytes, keyStart, keyEnd, sequence, answer) ===
        BlockAnswer.found && answer.sequence === sequence
    return isFound ? undefined : 'has a key with another fingerprint'
  }

  #count(): void {
    const { keyBytes, keyStart, keyEnd, sequence, kind, valueBytes, valueStart, valueEnd } =
      this.#entry
    this.#firstKey ??= copyBytes(keyBytes, keyStart, keyEnd)
    const length = keyEnd - keyStart
    if (length > this.#key.length) this.#key = new Uint8Array(length * 2)
    this.#key.set(keyBytes.subarray(keyStart, keyEnd))
    this.#keyLength = length
    this.#sequence = sequence
    this.#entryCount++
    this.#rawSize += length + valueEnd - valueStart
    this.#smallestSequence = Math.min(this.#smallestSequence, sequence)
    this.#largestSequence = Math.max(this.#largestSequence, sequence)
    if (kind === EntryKind.delete) this.#tombstoneCount++
    if (kind !== EntryKind.putExpiring) return
    this.#expiringCount++
    this.#expiryMax = Math.max(this.#expiryMax, readExpiry(valueBytes, valueStart))
  }

  #checkCounts(metadata: TableMetadata): void {
    const counts = {
      entryCount: this.#entryCount,
      tombstoneCount: this.#tombstoneCount,
      expiringCount: this.#expiringCount,
      expiryMax: this.#expiryMax,
      rawSize: this.#rawSize,
      smallestSequence: this.#smallestSequence,
      largestSequence: this.#largestSequence,
    }
    for (const [name, actual] of Object.entries(counts) as [keyof typeof counts, number][]) {
      if (metadata[name] === actual) continue
      const numbers = { expected: String(metadata[name]), actual: String(actual) }
      this.#findings.damage(this.#reader.file.path, 0, `${name} is not what is recorded`, numbers)
    }
    const [smallest, largest] = this.#bounds()
    if (!equalBytes(smallest, metadata.smallestKey)) this.#damage(0, 'smallestKey is another')
    if (!equalBytes(largest, metadata.largestKey)) this.#damage(0, 'largestKey is another')
  }

  /** The keys of the first and the last entry, moved outward to what ranges cover. */
  #bounds(): [smallest: Uint8Array, largest: Uint8Array] {
    const { ranges } = this.#reader
    const [first, last] = [ranges[0], ranges.at(-1)]
    let smallest = this.#firstKey
    let largest = smallest === undefined ? undefined : this.#key.subarray(0, this.#keyLength)
    if (first !== undefined && last !== undefined) {
      const end = lastKeyBefore(last.end)
      if (smallest === undefined || compareBytes(first.start, smallest) < 0) smallest = first.start
      if (largest === undefined || compareBytes(end, largest) > 0) largest = end
    }
    if (smallest === undefined || largest === undefined) {
      const { path } = this.#reader.file
      throw new CorruptionError({ path, offset: 0 }, 'the table is empty')
    }
    return [smallest, largest]
  }

  #damage(offset: number, what: string): void {
    this.#findings.damage(this.#reader.file.path, offset, what)
  }
}

function hex(checksum: number): string {
  return `0x${checksum.toString(16).padStart(8, '0')}`
}

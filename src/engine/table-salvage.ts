/**
 * Takes out of a damaged table what is whole: each block whose checksum holds, and the range
 * tombstones if theirs does, written to a new table. Where the index is lost the blocks are
 * searched for.
 *
 * Invariant: what is written stood in a block with a right checksum, in the order of the table.
 */
import { compareRanges, copyBytes, DecodeError } from '../bytes.ts'
import { CorruptionError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { BlockReader } from './block.ts'
import { BLOCK_TRAILER_SIZE } from './block-codec.ts'
import { BlockIndex } from './block-index.ts'
import { BlockSearch } from './block-search.ts'
import { EntryFields } from './entry-fields.ts'
import type { File, FileSystem } from './file-system.ts'
import type { FindingList } from './finding.ts'
import type { TableOptions } from './job.ts'
import { addProgress, type JobControl, throwIfCancelled } from './maintenance-job.ts'
import { NO_FRAGMENTS, type RangeFragments } from './range-fragment.ts'
import { decodeRangeTombstones } from './range-tombstone-format.ts'
import { shortRead } from './short-read.ts'
import type { BlockHandle, Footer } from './sstable-format.ts'
import { verifyStoredBlock } from './sstable-reader.ts'
import { SstableWriter } from './sstable-writer.ts'
import type { TableMetadata } from './table-metadata.ts'
import { readFooterOf, readSection } from './table-metadata-reader.ts'

export interface SalvageParts {
  readonly fileSystem: FileSystem
  readonly directory: string
  readonly hasher: Hasher
  readonly findings: FindingList
  readonly control: JobControl
  readonly tableOptions: TableOptions
  /** A number that no file has. */
  readonly newFileNumber: () => number
}

export interface SalvagedTable {
  /** Undefined when nothing could be read. */
  readonly table: TableMetadata | undefined
  readonly blocks: number
  /** Stretches of the file that are lost. */
  readonly lostBlocks: number
}

/** Reads what can be read of table `fileNumber`. The new table is synced; its name is not. */
export function salvageTable(file: File, fileNumber: number, parts: SalvageParts): SalvagedTable {
  return new TableSalvage(file, fileNumber, parts).run()
}

class TableSalvage {
  readonly #file: File
  readonly #fileNumber: number
  readonly #parts: SalvageParts
  readonly #block = new BlockReader()
  readonly #entry = new EntryFields()
  #writer: SstableWriter | undefined
  #ranges: RangeFragments = NO_FRAGMENTS
  #lastKey: Uint8Array | undefined
  #lastSequence = 0
  #blocks = 0
  #lostBlocks = 0

  constructor(file: File, fileNumber: number, parts: SalvageParts) {
    this.#file = file
    this.#fileNumber = fileNumber
    this.#parts = parts
  }

  run(): SalvagedTable {
    const footer = this.#attempt(0, () =>
      readFooterOf(this.#file, this.#fileNumber, this.#parts.hasher),
    )
    const index = footer && this.#section(footer.index, BlockIndex.decode)
    if (footer !== undefined && footer.ranges.size > 0) {
      this.#ranges = this.#section(footer.ranges, decodeRangeTombstones) ?? NO_FRAGMENTS
    }
    try {
      if (index === undefined) this.#search(footer)
      else this.#readIndexed(index)
      return { table: this.#finish(), blocks: this.#blocks, lostBlocks: this.#lostBlocks }
    } finally {
      this.#writer?.abandon()
    }
  }

  #section<T>(
    handle: BlockHandle,
    decode: (bytes: Uint8Array, start: number, end: number) => T,
  ): T | undefined {
    return this.#attempt(handle.offset, () =>
      readSection(this.#file, this.#fileNumber, handle, this.#parts.hasher, decode),
    )
  }

  #readIndexed(index: BlockIndex): void {
    const { offsets, blockCount } = index
    for (let ordinal = 0; ordinal < blockCount; ordinal++) {
      throwIfCancelled(this.#parts.control)
      const offset = offsets[ordinal]!
      const size = offsets[ordinal + 1]! - offset
      const isWhole = this.#attempt(offset, () => this.#take({ offset, size }))
      addProgress(this.#parts.control, size)
      if (isWhole !== undefined) continue
      const after = ordinal === 0 ? undefined : index.separator(ordinal - 1)
      this.#lost(offset, size, spanOf(after, index.separator(ordinal)))
    }
  }

  /** Takes every block that is found; without an index nobody knows which keys the others had. */
  #search(footer: Footer | undefined): void {
    const { control, hasher } = this.#parts
    const size = this.#file.sizeSync()
    const end = Math.min(size, footer === undefined ? size : dataEnd(footer))
    const search = new BlockSearch(this.#file, this.#fileNumber, hasher, end)
    let from = 0
    for (;;) {
      throwIfCancelled(control)
      const found = this.#attempt(from, () => search.next(from))
      const gapEnd = found?.offset ?? end
      // Behind the last block stand sections and the footer, of which nothing is missed.
      const isTail = found === undefined && footer === undefined
      if (gapEnd > from && !isTail) this.#lost(from, gapEnd - from, 'of keys that nobody knows')
      if (found === undefined) break
      this.#takeFound(found)
      addProgress(control, found.offset + found.size - from)
      from = found.offset + found.size
    }
  }

  /** A block, or a section, which ends with a checksum like one. */
  #takeFound(found: BlockHandle): void {
    try {
      this.#take(found)
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error
      if (this.#ranges.length > 0) return
      const { hasher } = this.#parts
      const decode = (bytes: Uint8Array, start: number, end: number) => {
        try {
          return decodeRangeTombstones(bytes, start, end)
        } catch (cause) {
          if (!(cause instanceof DecodeError)) throw cause
          return NO_FRAGMENTS
        }
      }
      this.#ranges = readSection(this.#file, this.#fileNumber, found, hasher, decode)
    }
  }

  /** Adds the entries of a block. Throws CorruptionError before the first one. */
  #take({ offset, size }: BlockHandle): true {
    const file = this.#file
    const bytes = new Uint8Array(size)
    const count = file.readSync(bytes, 0, size, offset)
    if (count !== size) throw shortRead(file, offset, size, count, 'the file ends inside a block')
    const place = { path: file.path, fileNumber: this.#fileNumber }
    const inflated = verifyStoredBlock(bytes, 0, size, place, offset, this.#parts.hasher)
    if (inflated === undefined) this.#block.open(bytes, 0, size - BLOCK_TRAILER_SIZE)
    else this.#block.open(inflated, 0, inflated.length)
    this.#blocks++
    for (let index = 0; index < this.#block.count; index++) {
      this.#block.show(index, this.#entry)
      this.#add(offset)
    }
    return true
  }

  #add(offset: number): void {
    const entry = this.#entry
    const { keyBytes, keyStart, keyEnd, sequence, kind, valueBytes, valueStart, valueEnd } = entry
    const last = this.#lastKey
    const order =
      last === undefined ? -1 : compareRanges(last, 0, last.length, keyBytes, keyStart, keyEnd)
    if (order > 0 || (order === 0 && sequence >= this.#lastSequence)) {
      this.#parts.findings.damage(this.#file.path, offset, 'an entry is out of order; left out')
      return
    }
    const writer = this.#open()
    writer.add(keyBytes, keyStart, keyEnd, sequence, kind, valueBytes, valueStart, valueEnd)
    if (order !== 0) this.#lastKey = copyBytes(keyBytes, keyStart, keyEnd)
    this.#lastSequence = sequence
  }

  #open(): SstableWriter {
    const { fileSystem, directory, tableOptions, hasher, newFileNumber } = this.#parts
    this.#writer ??= new SstableWriter(fileSystem, directory, newFileNumber(), tableOptions, hasher)
    return this.#writer
  }

  #finish(): TableMetadata | undefined {
    if (this.#writer === undefined && this.#ranges.length === 0) return undefined
    const table = this.#open().finish(this.#ranges)
    this.#writer = undefined
    return table
  }

  #lost(offset: number, size: number, keys: string): void {
    this.#lostBlocks++
    this.#parts.findings.damage(this.#file.path, offset, `${size} bytes are lost, ${keys}`)
  }

  /** What `read` gives, or undefined when it meets damage, which is noted. */
  #attempt<T>(offset: number, read: () => T): T | undefined {
    try {
      return read()
    } catch (error) {
      this.#parts.findings.addError(error, this.#file.path, offset)
      return undefined
    }
  }
}

/** Where the data blocks end. */
function dataEnd({ filter, index }: Footer): number {
  return filter.size > 0 ? filter.offset : index.offset
}

const KEY_SHOWN_MAX = 40

function spanOf(after: Uint8Array | undefined, last: Uint8Array): string {
  const from = after === undefined ? 'the first of the table' : `behind ${showKey(after)}`
  return `of keys from ${from} to ${showKey(last)}`
}

/** As text where it is printable, else in hex. */
export function showKey(key: Uint8Array): string {
  const shown = key.subarray(0, KEY_SHOWN_MAX)
  const isText = shown.every(byte => byte >= 0x20 && byte < 0x7f)
  const text = isText
    ? `"${String.fromCharCode(...shown)}"`
    : `0x${[...shown].map(byte => byte.toString(16).padStart(2, '0')).join('')}`
  return key.length > KEY_SHOWN_MAX ? `${text}…` : text
}

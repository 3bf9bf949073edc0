/**
 * Blocks for a job on a worker thread, which reads whole tables once, front to back: no cache, but
 * big sequential reads with synchronous calls. Each view has a window of the file of its own.
 */

import type { Hasher } from '../hash.ts'
import { BlockSource, type BlockView, showBlock } from './block-source.ts'
import { BufferPool } from './buffer-pool.ts'
import { formatFileName } from './file-names.ts'
import { type FileSystem, joinPath } from './file-system.ts'
import { SstableReader } from './sstable-reader.ts'
import type { OpenOptions } from './sstable-sections.ts'
import type { TableMetadata } from './table-metadata.ts'

/** Bytes of a read; several runs have a window each. */
const WINDOW_SIZE = 256 * 1024

interface Window {
  readonly bytes: Uint8Array<ArrayBuffer>
  reader: SstableReader | undefined
  /** The blocks in the window stand in the file from here on. */
  position: number
  first: number
  last: number
}

export class ReadAheadSource extends BlockSource {
  /** Bytes of blocks read so far. */
  bytesRead = 0
  readonly #fileSystem: FileSystem
  readonly #directory: string
  readonly #hasher: Hasher
  readonly #buffers: BufferPool
  readonly #options: OpenOptions
  readonly #readers = new Map<number, SstableReader>()
  readonly #windows = new Map<BlockView, Window>()

  /** `options.buffers` are lent until close(). */
  constructor(
    fileSystem: FileSystem,
    directory: string,
    hasher: Hasher,
    options: OpenOptions = {},
  ) {
    super()
    this.#fileSystem = fileSystem
    this.#directory = directory
    this.#hasher = hasher
    this.#options = options
    this.#buffers = options.buffers ?? new BufferPool(0)
  }

  override open(table: TableMetadata): SstableReader {
    const open = this.#readers.get(table.fileNumber)
    if (open !== undefined) return open
    const path = joinPath(this.#directory, formatFileName('table', table.fileNumber))
    const file = this.#fileSystem.openSync(path)
    const reader = SstableReader.openSync(file, table, this.#hasher, this.#options)
    this.#readers.set(table.fileNumber, reader)
    return reader
  }

  override fetch(reader: SstableReader, ordinal: number, view: BlockView): void {
    const size = reader.storedSize(ordinal)
    let window = this.#windows.get(view)
    if (window === undefined) {
      window = {
        bytes: this.#buffers.take(WINDOW_SIZE),
        reader: undefined,
        position: 0,
        first: 0,
        last: -1,
      }
      this.#windows.set(view, window)
    }
    if (size > WINDOW_SIZE) {
      this.#fetchAlone(reader, ordinal, size, view)
      return
    }
    if (window.reader !== reader || ordinal < window.first || ordinal > window.last) {
      this.#fill(window, reader, ordinal)
    }
    const start = reader.blockOffset(ordinal) - window.position
    showBlock(reader, ordinal, window.bytes, start, size, view)
  }

  /** Closes the tables that were opened. */
  close(): void {
    for (const reader of this.#readers.values()) reader.close()
    this.#readers.clear()
    for (const { bytes } of this.#windows.values()) this.#buffers.giveBack(bytes)
    this.#windows.clear()
  }

  /** Reads `ordinal` and the blocks behind it, as many as the window holds. */
  #fill(window: Window, reader: SstableReader, ordinal: number): void {
    const position = reader.blockOffset(ordinal)
    let last = ordinal
    while (last + 1 < reader.blockCount && reader.blockOffset(last + 2) - position <= WINDOW_SIZE) {
      last++
    }
    const size = reader.blockOffset(last + 1) - position
    window.reader = undefined
    const length = reader.file.readSync(window.bytes, 0, size, position)
    if (length !== size) throw reader.shortRead(ordinal, length)
    window.reader = reader
    window.position = position
    window.first = ordinal
    window.last = last
    this.bytesRead += size
  }

  #fetchAlone(reader: SstableReader, ordinal: number, size: number, view: BlockView): void {
    const bytes = new Uint8Array(size)
    const length = reader.file.readSync(bytes, 0, size, reader.blockOffset(ordinal))
    if (length !== size) throw reader.shortRead(ordinal, length)
    this.bytesRead += size
    showBlock(reader, ordinal, bytes, 0, size, view)
  }
}

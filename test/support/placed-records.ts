/**
 * Every record of a database with the bytes it stands in, so that a test which damages bytes knows
 * which records must survive. Reads sound files only.
 */
import { copyBytes } from '../../src/bytes.ts'
import { BlockReader } from '../../src/engine/block.ts'
import { BlockView, readBlockSync } from '../../src/engine/block-source.ts'
import { EntryFields } from '../../src/engine/entry-fields.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import { readManifestStateSync } from '../../src/engine/manifest.ts'
import { END_OF_KEYS } from '../../src/engine/range-fragment.ts'
import { SstableReader } from '../../src/engine/sstable-reader.ts'
import { readFooterOf } from '../../src/engine/table-metadata-reader.ts'
import { scanWalSegment } from '../../src/engine/wal-check.ts'
import type { WalVisitor } from '../../src/engine/wal-reader.ts'
import type { Hasher } from '../../src/hash.ts'
import type { MemoryFileSystem } from './memory-file-system.ts'

export interface PlacedRecord {
  readonly path: string
  /** Bytes of the file: all of them right, or the record is lost. */
  readonly start: number
  readonly end: number
  readonly sequence: number
  readonly kind: number
  readonly key: Uint8Array
  /** Of a delete range the end of the range. */
  readonly value: Uint8Array
}

export async function placedRecords(
  disk: MemoryFileSystem,
  directory: string,
  hasher: Hasher,
): Promise<PlacedRecord[]> {
  const { state } = readManifestStateSync(disk, directory)!
  const records: PlacedRecord[] = []
  const tables = [...state.version.tables()].map(({ table }) => table)
  for (const path of disk.paths()) {
    const number = Number(/(\d+)\.(?:sst|wal)$/.exec(path)?.[1])
    if (path.endsWith('.sst')) {
      const table = tables.find(other => other.fileNumber === number)
      if (table === undefined)
        throw new Error(`${path} is an orphan: nobody knows what of it counts`)
      const file = disk.openSync(path)
      const { ranges: section } = readFooterOf(file, number, hasher)
      const reader = SstableReader.openSync(file, table, hasher)
      records.push(...recordsOfTable(reader))
      for (const { start, end, sequences } of reader.ranges) {
        for (const sequence of sequences) {
          const place = { path, start: section.offset, end: section.offset + section.size }
          const kind = EntryKind.deleteRange
          records.push({ ...place, sequence, kind, key: start, value: end })
        }
      }
      reader.close()
    }
    if (path.endsWith('.wal') && number >= state.logNumber) {
      records.push(...(await recordsOfSegment(disk, path, number, state.databaseId, hasher)))
    }
  }
  return records
}

function recordsOfTable(reader: SstableReader): PlacedRecord[] {
  const records: PlacedRecord[] = []
  const view = new BlockView()
  const block = new BlockReader()
  const entry = new EntryFields()
  for (let ordinal = 0; ordinal < reader.blockCount; ordinal++) {
    readBlockSync(reader, ordinal, view)
    block.open(view.bytes, view.start, view.end)
    const start = reader.blockOffset(ordinal)
    for (let index = 0; index < block.count; index++) {
      block.show(index, entry)
      records.push({
        path: reader.file.path,
        start,
        end: start + reader.storedSize(ordinal),
        sequence: entry.sequence,
        kind: entry.kind,
        key: copyBytes(entry.keyBytes, entry.keyStart, entry.keyEnd),
        value: copyBytes(entry.valueBytes, entry.valueStart, entry.valueEnd),
      })
    }
  }
  return records
}

async function recordsOfSegment(
  disk: MemoryFileSystem,
  path: string,
  fileNumber: number,
  databaseId: Uint8Array,
  hasher: Hasher,
): Promise<PlacedRecord[]> {
  const records: PlacedRecord[] = []
  const file = disk.openSync(path)
  let start = 64
  let end = 64
  const visitor: WalVisitor = {
    op: (kind, sequence, key, keyStart, keyEnd, value, valueStart, valueEnd) => {
      const isEndless = kind === EntryKind.deleteRange && valueStart === valueEnd
      records.push({
        path,
        start,
        end,
        sequence,
        kind,
        key: copyBytes(key, keyStart, keyEnd),
        value: isEndless ? END_OF_KEYS : copyBytes(value, valueStart, valueEnd),
      })
      return false
    },
  }
  const onFrame = (offset: number, frameSize: number) => {
    start = offset
    end = offset + frameSize
  }
  const size = file.sizeSync()
  await scanWalSegment({ file, fileNumber, size, databaseId, hasher, onFrame }, visitor)
  file.closeSync()
  return records
}

/**
 * What compressing blocks saves and costs: records of the shape of a package index (or of --file),
 * by codec and block size: bytes on disk, writing a table, a point read of a block that is not in
 * memory, and a scan from the file.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as zlib from 'node:zlib'
import { BlockCodec } from '../src/engine/block-codec.ts'
import { EntryKind } from '../src/engine/internal-key.ts'
import { LevelCursor } from '../src/engine/level-cursor.ts'
import { LookupResult } from '../src/engine/lookup-result.ts'
import { nodeFileSystem } from '../src/engine/node-file-system.ts'
import { SstableWriter } from '../src/engine/sstable-writer.ts'
import { TableCache } from '../src/engine/table-cache.ts'
import type { TableMetadata } from '../src/engine/table-metadata.ts'
import { loadHasher, xxh32 } from '../src/hash.ts'
import { seededRandom } from '../src/random.ts'
import { generateRecords, type ImportRecord, readRecords } from './import/records.ts'

const COUNT = 200_000
const READS = 20_000
const ROUNDS = 3
const BLOCK_SIZES = [4096, 16_384, 65_535]
const CODECS = Object.entries(BlockCodec).filter(
  ([name]) => name !== 'zstd' || 'zstdCompressSync' in zlib,
)

const { values } = parseArgs({ options: { file: { type: 'string' } } })
const directory = mkdtempSync(join(tmpdir(), 'compression-bench-'))
const fileSystem = nodeFileSystem()
const hasher = await loadHasher()

function load(): { keys: Buffer[]; values: Buffer[]; size: number } {
  const path = values.file ?? join(directory, 'records.jsonl')
  if (values.file === undefined) generateRecords(path, COUNT)
  const records: ImportRecord[] = []
  for (const record of readRecords(path)) {
    if (records.push(record) === COUNT) break
  }
  const sorted = records
    .map(({ key, value }) => ({ key: Buffer.from(key), value: Buffer.from(value) }))
    .sort((a, b) => Buffer.compare(a.key, b.key))
  const size = sorted.reduce((sum, { key, value }) => sum + key.length + value.length, 0)
  return { keys: sorted.map(row => row.key), values: sorted.map(row => row.value), size }
}

const rows = load()
let fileNumber = 0

function write(blockSize: number, codec: BlockCodec): TableMetadata {
  const options = { blockSize, filterBitsPerKey: 10, codec }
  const writer = new SstableWriter(fileSystem, directory, ++fileNumber, options, hasher)
  for (const [index, key] of rows.keys.entries()) {
    const value = rows.values[index]!
    writer.add(key, 0, key.length, index + 1, EntryKind.put, value, 0, value.length)
  }
  return writer.finish()
}

/** A cache without room: every read decompresses its block anew. */
function withoutCache(): TableCache {
  return new TableCache({ fileSystem, directory, hasher, budget: 0, openFilesMax: 10 })
}

function readCold(table: TableMetadata): void {
  const tables = withoutCache()
  const result = new LookupResult()
  const random = seededRandom(1)
  for (let read = 0; read < READS; read++) {
    const key = rows.keys[random.below(rows.keys.length)]!
    const hash = xxh32(key, 0, key.length, 0)
    const source = tables.points
    if (!source.open(table).get(key, 0, key.length, hash, 2 ** 50, source, result)) {
      throw new Error('a key is missing')
    }
  }
  tables.closeAll()
}

function scan(table: TableMetadata): void {
  const tables = withoutCache()
  const cursor = new LevelCursor([table], tables.transient)
  let count = 0
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) count++
  if (count !== rows.keys.length) throw new Error('entries are missing')
  tables.closeAll()
}

/** The median, in nanoseconds for each of `count`. */
function time(count: number, action: () => void): number {
  const times = Array.from({ length: ROUNDS }, () => {
    const startMs = performance.now()
    action()
    return ((performance.now() - startMs) * 1e6) / count
  })
  return times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]!
}

const HEAD = ['codec', 'block', 'size', 'write', 'cold get', 'cold scan']
const print = (cells: readonly string[]): void => {
  process.stdout.write(`${cells.map(cell => cell.padStart(11)).join('')}\n`)
}

try {
  print(HEAD)
  for (const blockSize of BLOCK_SIZES) {
    for (const [name, codec] of CODECS) {
      const table = write(blockSize, codec)
      print([
        name,
        String(blockSize),
        `${(table.size / rows.size).toFixed(2)}x`,
        `${time(rows.keys.length, () => void write(blockSize, codec)).toFixed(0)} ns`,
        `${(time(READS, () => readCold(table)) / 1000).toFixed(1)} us`,
        `${time(rows.keys.length, () => scan(table)).toFixed(0)} ns`,
      ])
    }
  }
} finally {
  rmSync(directory, { recursive: true })
}

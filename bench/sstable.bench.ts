/**
 * Tables of 16-byte keys and 100-byte values, 1 million of them in a level of four tables on a real
 * disk: writing, point reads from the cache, full scans, a merge, and a compaction.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/clock.ts'
import type { BlockSource } from '../src/engine/block-source.ts'
import { runCompactionJob } from '../src/engine/compaction.ts'
import { formatFileName } from '../src/engine/file-names.ts'
import { EntryKind } from '../src/engine/internal-key.ts'
import { findTable, LevelCursor } from '../src/engine/level-cursor.ts'
import { LookupResult } from '../src/engine/lookup-result.ts'
import { mergeCursors } from '../src/engine/merging-cursor.ts'
import { nodeFileSystem } from '../src/engine/node-file-system.ts'
import { SstableWriter } from '../src/engine/sstable-writer.ts'
import { TableCache } from '../src/engine/table-cache.ts'
import type { TableMetadata } from '../src/engine/table-metadata.ts'
import { VisibleCursor } from '../src/engine/visible-cursor.ts'
import { loadHasher, xxh32 } from '../src/hash.ts'
import { seededRandom } from '../src/random.ts'

const COUNT = 1_000_000
const KEY_SIZE = 16
const VALUE_SIZE = 100
const TABLES = 4
const READS = 500_000
const directory = mkdtempSync(join(tmpdir(), 'sstable-bench-'))
const fileSystem = nodeFileSystem()
const hasher = await loadHasher()
const clock = systemClock()
const tableOptions = { blockSize: 4096, filterBitsPerKey: 10 }
const random = seededRandom(1)

/** Ascending keys: spread evenly over eight bytes, then random. */
const keys = new Uint8Array(COUNT * KEY_SIZE)
const view = new DataView(keys.buffer)
for (let index = 0; index < COUNT; index++) {
  const at = index * KEY_SIZE
  view.setUint32(at, Math.floor((index / COUNT) * 2 ** 32))
  for (let byte = 4; byte < KEY_SIZE; byte++) keys[at + byte] = random.below(256)
}
const value = random.bytes(VALUE_SIZE)

function report(what: string, count: number, startMs: number): void {
  const ms = performance.now() - startMs
  const each = ((ms * 1e6) / count).toFixed(0)
  process.stdout.write(`${what}: ${each} ns each, ${(count / ms / 1000).toFixed(2)} M/s\n`)
}

/** Writes the entries with index = remainder mod step as `count` tables. */
function write(firstNumber: number, step: number, remainder: number, count: number) {
  const tables: TableMetadata[] = []
  for (let table = 0; table < count; table++) {
    const writer = new SstableWriter(
      fileSystem,
      directory,
      firstNumber + table,
      tableOptions,
      hasher,
    )
    const from = Math.floor((table * COUNT) / count)
    const to = Math.floor(((table + 1) * COUNT) / count)
    for (
      let index = from + ((remainder + step - (from % step)) % step);
      index < to;
      index += step
    ) {
      const start = index * KEY_SIZE
      const sequence = 1 + ((index * 7919) % COUNT)
      writer.add(keys, start, start + KEY_SIZE, sequence, EntryKind.put, value, 0, VALUE_SIZE)
    }
    tables.push(writer.finish())
  }
  return tables
}

function readRandom(tables: readonly TableMetadata[], source: BlockSource): number {
  const result = new LookupResult()
  const key = new Uint8Array(KEY_SIZE)
  let found = 0
  for (let read = 0; read < READS; read++) {
    const start = random.below(COUNT) * KEY_SIZE
    for (let byte = 0; byte < KEY_SIZE; byte++) key[byte] = keys[start + byte]!
    const hash = xxh32(key, 0, KEY_SIZE, 0)
    const table = tables[findTable(tables, key, 0, KEY_SIZE)]!
    if (source.open(table).get(key, 0, KEY_SIZE, hash, 2 ** 50, source, result)) found++
  }
  return found
}

function scan(cursor: VisibleCursor): number {
  let count = 0
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) count++
  return count
}

try {
  let startMs = performance.now()
  const tables = write(1, 1, 0, TABLES)
  report('write', COUNT, startMs)
  const bytes = tables.reduce((sum, { fileNumber }) => {
    return sum + statSync(join(directory, formatFileName('table', fileNumber))).size
  }, 0)
  const raw = COUNT * (KEY_SIZE + VALUE_SIZE)
  process.stdout.write(`size: ${(bytes / raw).toFixed(3)} times keys and values\n`)

  const budget = 256 * 1024 * 1024
  const cache = new TableCache({ fileSystem, directory, hasher, budget, openFilesMax: 100 })
  startMs = performance.now()
  readRandom(tables, cache.points)
  report('get while the cache fills', READS, startMs)
  for (const table of tables) {
    const reader = cache.points.open(table)
    for (let block = 0; block < reader.blockCount; block++) {
      cache.points.fetch(reader, block, cache.points.lookupView)
    }
  }
  for (let round = 0; round < 3; round++) {
    startMs = performance.now()
    readRandom(tables, cache.points)
    report('get from the cache', READS, startMs)
  }
  for (let round = 0; round < 3; round++) {
    startMs = performance.now()
    scan(new VisibleCursor(new LevelCursor(tables, cache.points), 2 ** 50, 0))
    report('scan from the cache', COUNT, startMs)
  }
  cache.closeAll()

  const runs = [10, 20, 30, 40].map((first, remainder) => write(first, 4, remainder, 1))
  const merged = new TableCache({ fileSystem, directory, hasher, budget, openFilesMax: 100 })
  for (let round = 0; round < 2; round++) {
    startMs = performance.now()
    scan(
      new VisibleCursor(
        mergeCursors(runs.map(run => new LevelCursor(run, merged.transient))),
        2 ** 50,
        0,
      ),
    )
    report('scan of four runs from files', COUNT, startMs)
  }
  merged.closeAll()
  const { elapsedMs, entriesWritten, bytesWritten } = runCompactionJob(
    {
      kind: 'compaction',
      directory,
      firstFileNumber: 100,
      fileNumberCount: 100,
      tableOptions,
      snapshots: new Float64Array(0),
      wallMs: 0,
      cancel: new Int32Array(1),
      runs,
      outputLevel: 1,
      tableSizeTarget: 32 * 1024 * 1024,
      deeper: [],
      tombstonePurgeBound: Number.POSITIVE_INFINITY,
    },
    { fileSystem, hasher, clock },
  )
  const rate = (entriesWritten / elapsedMs / 1000).toFixed(2)
  const megabytes = (bytesWritten / elapsedMs / 1000).toFixed(0)
  process.stdout.write(`compaction of four runs: ${rate} M entries/s, ${megabytes} MB/s\n`)
} finally {
  rmSync(directory, { recursive: true })
}

// Goal: a compaction has file numbers enough for its outputs, whatever its inputs were written
// with, so that a database whose compression was turned off goes on compacting.
// Method: jobs that get exactly as many numbers as are reserved, of random tables that compress
// well, with many tiny entries and with many range tombstones; then databases opened anew.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BlockCodec } from '../../src/engine/block-codec.ts'
import { runCompactionJob } from '../../src/engine/compaction.ts'
import { outputCountMax } from '../../src/engine/output-count.ts'
import type { RangeFragment } from '../../src/engine/range-fragment.ts'
import type { TableMetadata } from '../../src/engine/table-metadata.ts'
import { loadHasher } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { compareEntries, type ModelEntry, textEntry, writeTable } from '../support/table-model.ts'

const hasher = await loadHasher()

interface Merge {
  readonly fileSystem: MemoryFileSystem
  readonly runs: readonly (readonly TableMetadata[])[]
  readonly tableSizeTarget: number
}

/** Merges with as many numbers as are reserved, and returns how many tables it made. */
function merge({ fileSystem, runs, tableSizeTarget }: Merge): number {
  const job = {
    kind: 'compaction',
    directory: '/db',
    firstFileNumber: 1000,
    fileNumberCount: outputCountMax(runs.flat(), tableSizeTarget),
    tableOptions: { blockSize: 512, filterBitsPerKey: 10 },
    snapshots: new Float64Array(0),
    wallMs: 0,
    cancel: new Int32Array(new SharedArrayBuffer(4)),
    runs,
    outputLevel: 1,
    tableSizeTarget,
    deeper: [{ smallestKey: new Uint8Array([0]), largestKey: new Uint8Array([255]) }],
    tombstonePurgeBound: Number.POSITIVE_INFINITY,
  } as const
  return runCompactionJob(job, { fileSystem, hasher, clock: new SimClock() }).tables.length
}

/** A key every few, so that runs interleave and nothing of them is dropped. */
function compressible(random: Random, run: number, count: number): ModelEntry[] {
  const valueLengthMax = [0, 1, 300][random.below(3)]!
  const keyLength = [6, 60][random.below(2)]!
  return Array.from({ length: count }, (_, index) => {
    const key = `${100_000 + index * 3 + run}`.padEnd(keyLength, 'k')
    return textEntry(key, 1 + run * count + index, 'v'.repeat(random.below(valueLengthMax + 1)))
  }).sort(compareEntries)
}

function newDisk(): MemoryFileSystem {
  const fileSystem = new MemoryFileSystem()
  fileSystem.makeDirectorySync('/db')
  return fileSystem
}

describe('file numbers of a compaction', () => {
  test('are enough for inputs that were compressed', context => {
    const random = seededRandom(printSeed(context))
    let most = 0
    for (let round = 0; round < 20; round++) {
      const fileSystem = newDisk()
      const options = { blockSize: 4096, filterBitsPerKey: 10, codec: BlockCodec.deflateRaw }
      const runs = Array.from({ length: 1 + random.below(3) }, (_, run) => [
        writeTable(
          fileSystem,
          '/db',
          run + 1,
          compressible(random, run, 1 + random.below(2000)),
          hasher,
          options,
        ),
      ])
      const tableSizeTarget = [1, 700, 4096, 32 * 1024][random.below(4)]!
      most = Math.max(most, merge({ fileSystem, runs, tableSizeTarget }))
    }
    assert.ok(most > 10, `${most} outputs at most`)
  })

  test('are enough for many range tombstones', () => {
    const fileSystem = newDisk()
    const options = { blockSize: 4096, filterBitsPerKey: 10 }
    const ranges = (from: number, count: number, firstSequence: number): RangeFragment[] =>
      Array.from({ length: count }, (_, index) => ({
        start: new TextEncoder().encode(`${100_000 + from + index * 4}`),
        end: new TextEncoder().encode(`${100_000 + from + index * 4 + 3}`),
        sequences: [firstSequence + index],
      }))
    // Those of the runs overlap, so that their fragments are nearly twice as many.
    const first = writeTable(fileSystem, '/db', 1, [], hasher, options, ranges(0, 9000, 1))
    const second = writeTable(fileSystem, '/db', 2, [], hasher, options, ranges(2, 9000, 9001))
    const count = merge({ fileSystem, runs: [[second], [first]], tableSizeTarget: 4096 })
    assert.ok(count > 4, `${count} outputs`)
  })
})

describe('a database whose compression was turned off', () => {
  const tuning = { memtableSize: 64 * 1024, blockSize: 4096, tableSizeTarget: 16 * 1024 }
  const value = '{"url":"https://example.org/a/path"}'.padEnd(200, 'a')
  const keyOf = (index: number) => `key ${`${index}`.padStart(6, '0')}`
  const COUNT = 4000

  async function openCompressed(clock: SimClock): Promise<MemoryFileSystem> {
    const disk = new MemoryFileSystem()
    const db = await openEngine(disk, { clock, options: { ...tuning, compression: 'deflate' } })
    for (let index = 0; index < COUNT; index++) {
      await drive(clock, db.put(keyOf(index), value, { durability: 'none' }))
    }
    await drive(clock, db.compact())
    await drive(clock, db.close())
    return disk
  }

  test('is compacted as a whole', async () => {
    const clock = new SimClock()
    const disk = await openCompressed(clock)
    const db = await openEngine(disk, { clock, options: { ...tuning, compression: 'none' } })
    const before = db.stats().tableBytes
    await drive(clock, db.compact({ rewrite: true }))
    assert.ok(db.stats().tableBytes > 2.5 * before, 'nothing is compressed any more')
    assert.equal((await drive(clock, db.get(keyOf(COUNT - 1))))?.length, value.length)
    await drive(clock, db.close())
  })

  test('goes on compacting by itself', async () => {
    const clock = new SimClock()
    const disk = await openCompressed(clock)
    const errors: Error[] = []
    const db = await openEngine(disk, {
      clock,
      options: {
        ...tuning,
        compression: 'none',
        onEvent: event => void (event.type === 'backgroundError' && errors.push(event.error)),
      },
    })
    for (let index = 0; index < 2 * COUNT; index++) {
      await drive(
        clock,
        db.put(keyOf((index * 7919) % COUNT), value + index, { durability: 'none' }),
      )
    }
    assert.deepEqual(errors, [])
    assert.ok(db.stats().compactions.count > 0)
    await drive(clock, db.close())
  })
})

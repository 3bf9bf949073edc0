// Goal: tables that a deleted range holds whole go without being read, exactly those, and only when
// nobody can see anything of them any more.
// Method: random tables, tombstones and snapshots against the definition, reader by reader, key by
// key and sequence by sequence. Then a database whose deletions must cost no compaction's reads.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { hiddenTables } from '../../src/engine/hidden-tables.ts'
import type { CompactionEndEvent, Db, DbEvent } from '../../src/engine/index.ts'
import type { RangeFragment } from '../../src/engine/range-fragment.ts'
import { fragmentTombstones } from '../../src/engine/range-fragmenter.ts'
import type { TableMetadata } from '../../src/engine/table-metadata.ts'
import { Version } from '../../src/engine/version.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { readState } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const KEY_COUNT = 12

function keyBytes(key: number): Uint8Array {
  return utf8Encode(String.fromCharCode(97 + key))
}

interface Tombstone {
  readonly from: number
  readonly to: number
  readonly sequence: number
}

interface Span {
  readonly smallest: number
  readonly largest: number
  readonly smallestSequence: number
  readonly largestSequence: number
}

function randomSpan(random: Random): Span {
  const [a, b] = [random.below(KEY_COUNT), random.below(KEY_COUNT)]
  const [s, t] = [1 + random.below(20), 1 + random.below(20)]
  return {
    smallest: Math.min(a, b),
    largest: Math.max(a, b),
    smallestSequence: Math.min(s, t),
    largestSequence: Math.max(s, t),
  }
}

function metadataOf(span: Span, fileNumber: number): TableMetadata {
  return {
    fileNumber,
    size: 1000,
    smallestKey: keyBytes(span.smallest),
    largestKey: keyBytes(span.largest),
    smallestSequence: span.smallestSequence,
    largestSequence: span.largestSequence,
    entryCount: 10,
    tombstoneCount: 0,
    rangeTombstoneCount: 0,
    expiringCount: 0,
    expiryMax: 0,
    rawSize: 900,
    fileChecksum: 0,
  }
}

/** The definition: whatever the table may hold, no reader sees it. */
function isHiddenFrom(span: Span, tombstones: readonly Tombstone[], readers: readonly number[]) {
  for (const reader of readers) {
    for (let key = span.smallest; key <= span.largest; key++) {
      for (let at = span.smallestSequence; at <= span.largestSequence && at <= reader; at++) {
        const hides = ({ from, to, sequence }: Tombstone) =>
          from <= key && key < to && at < sequence && sequence <= reader
        if (!tombstones.some(hides)) return false
      }
    }
  }
  return true
}

describe('hidden tables', () => {
  test('are those of which no reader sees anything', t => {
    const random = seededRandom(printSeed(t))
    let hiddenCount = 0
    for (let round = 0; round < 3000; round++) {
      const tombstones = Array.from({ length: 1 + random.below(4) }, () => {
        const { smallest, largest } = randomSpan(random)
        return { from: smallest, to: largest + 1, sequence: 10 + random.below(20) }
      })
      const snapshots = Array.from({ length: random.below(3) }, () => random.below(35))
      const sorted = Float64Array.from(new Set(snapshots)).sort()
      const ranges: RangeFragment[] = tombstones.map(({ from, to, sequence }) => {
        return { start: keyBytes(from), end: keyBytes(to), sequences: [sequence] }
      })
      const spans = Array.from({ length: 4 }, () => randomSpan(random))
      const added = spans.map((span, at) => ({ level: 0, table: metadataOf(span, at + 1) }))
      const version = Version.empty().apply({ added })
      const found = hiddenTables(version, fragmentTombstones(ranges, sorted), sorted)
      const numbers = found.map(({ table }) => table.fileNumber).sort((a, b) => a - b)
      const expected = spans.flatMap((span, at) =>
        isHiddenFrom(span, tombstones, [...snapshots, Number.POSITIVE_INFINITY]) ? [at + 1] : [],
      )
      assert.deepEqual(numbers, expected)
      hiddenCount += expected.length
    }
    assert.ok(hiddenCount > 200, `${hiddenCount} were hidden`)
  })

  test('of a deleted range go without being read', async () => {
    const disk = new MemoryFileSystem()
    const life = await begin(disk)
    await fill(life, ['a', 'b', 'c'])
    const kept = new Map([...(await readState(life.db))].filter(([key]) => key[0] !== 'b'))
    const before = life.db.stats()
    const deletedBytes = await life.db.approximateSize({ gte: 'b', lt: 'c' })
    assert.ok(deletedBytes > 40_000)

    await life.db.deleteRange({ gte: 'b', lt: 'c' })
    await settle(life)
    const after = life.db.stats()
    assert.deepEqual(await readState(life.db), kept)
    assert.ok(after.tableBytes < before.tableBytes - 0.9 * deletedBytes, 'the space is back')
    const read = after.compactions.bytesRead - before.compactions.bytesRead
    assert.ok(read < deletedBytes / 4, `${read} bytes were read to delete ${deletedBytes}`)
    const dropped = life.drops.reduce((sum, { bytesIn }) => sum + bytesIn, 0)
    assert.ok(dropped > 0.8 * deletedBytes, `${dropped} of ${deletedBytes} bytes were dropped`)
    await drive(life.clock, life.db.close())
    const again = await openEngine(disk)
    assert.deepEqual(await readState(again), kept)
    await again.close()
  })

  test('stay while a snapshot sees them', async () => {
    const disk = new MemoryFileSystem()
    const life = await begin(disk)
    await fill(life, ['a', 'b', 'c'])
    const seen = await readState(life.db)
    const snapshot = life.db.snapshot()
    await life.db.deleteRange({})
    await settle(life)
    assert.deepEqual(life.drops, [])
    assert.deepEqual(await readState({ entries: () => life.db.entries({ snapshot }) }), seen)
    snapshot.release()
    await drive(life.clock, life.db.delete('another'))
    await settle(life)
    assert.ok(life.drops.length > 0)
    assert.equal((await readState(life.db)).size, 0)
    await life.clock.advanceAsync(60_000)
    assert.equal(life.db.stats().tableBytes, 0, 'and the tombstone follows')
    const tables = disk.listSync(DIRECTORY).filter(name => name.endsWith('.sst'))
    assert.deepEqual(tables, [])
    await drive(life.clock, life.db.close())
  })
})

interface Life {
  readonly db: Db
  readonly clock: SimClock
  readonly drops: CompactionEndEvent[]
}

async function begin(disk: MemoryFileSystem): Promise<Life> {
  const clock = new SimClock()
  const drops: CompactionEndEvent[] = []
  const onEvent = (event: DbEvent) => {
    if (event.type === 'compactionEnd' && event.kind === 'drop') drops.push(event)
  }
  return { clock, drops, db: await openEngine(disk, { clock, options: { onEvent } }) }
}

async function fill({ db, clock }: Life, prefixes: readonly string[]): Promise<void> {
  for (let index = 0; index < 30; index++) {
    const operations = prefixes.flatMap(prefix =>
      Array.from({ length: 20 }, (_, at) => {
        const key = `${prefix}${String((index * 7 + at * 30) % 600).padStart(4, '0')}`
        return { type: 'put', key, value: `${index}${'.'.repeat(100)}` } as const
      }),
    )
    await drive(clock, db.batch(operations))
  }
  await drive(clock, db.compact())
}

/** Flushes what was written, and lets compactions come to their end. */
async function settle({ db, clock }: Life): Promise<void> {
  await drive(clock, db.checkpoint(`/copies/${db.stats().sequence}-${clock.monotonicMs()}`))
  await clock.advanceAsync(1000)
}

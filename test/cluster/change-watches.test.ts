// Goal: who watches a node's changes gets each change of the prefix once, in order, whatever is
// lost, repeated or overtaken on the way; and watches that nobody reads hold nothing.
// Method: a real engine on a disk in memory; random writes of users, of the node and of deletions,
// and a reader that loses pages, reads twice at once and forgets its watch, beside a list of what
// was written.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ChangeWatches, type WatchedPage } from '../../src/cluster/change-watches.ts'
import { nodeKey, Partitioner } from '../../src/cluster/partition.ts'
import { encodeTombstone, encodeValue } from '../../src/cluster/versioned-value.ts'
import type { Db } from '../../src/engine/index.ts'
import {
  AbortedError,
  ChangesGoneError,
  InvalidArgumentError,
  OverloadedError,
} from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const PARTITIONS = 16
const PARTITIONER = new Partitioner(PARTITIONS)
const PREFIX = Buffer.from('app:')

interface Watched {
  readonly clock: SimClock
  readonly db: Db
  readonly watches: ChangeWatches
}

async function begin(random: Random): Promise<Watched> {
  const clock = new SimClock()
  const db = await openEngine(new MemoryFileSystem(), { clock, options: { memtableSize: 4096 } })
  return {
    clock,
    db,
    watches: new ChangeWatches({ db, clock, random, partitionCount: PARTITIONS }),
  }
}

let versions = 0

function newVersion(): Uint8Array {
  const version = Buffer.alloc(16)
  version.writeUInt32BE(++versions, 8)
  return version
}

/** A batch of a few writes. Gives what a watch of PREFIX is to tell of it. */
async function write({ clock, db }: Watched, random: Random): Promise<string[]> {
  const told: string[] = []
  const count = 1 + random.below(6)
  const operations = Array.from({ length: count }, () => {
    const isWatched = random.below(2) === 0
    const key = Buffer.from(`${isWatched ? 'app:' : 'ap'}${random.below(9)}`)
    const engineKey = PARTITIONER.engineKey(key)
    const version = newVersion()
    switch (random.below(6)) {
      case 0:
        // The node's own, and a removal of what nobody needs any more.
        return { type: 'put', key: nodeKey(3), value: version } as const
      case 1:
        return { type: 'del', key: engineKey } as const
      case 2:
        if (isWatched) told.push(`del ${key} ${Buffer.from(version).toString('base64')}`)
        return { type: 'put', key: engineKey, value: encodeTombstone(version) } as const
      default: {
        if (isWatched) told.push(`put ${key} ${Buffer.from(version).toString('base64')}`)
        const value = encodeValue(version, random.bytes(random.below(40)), 0)
        return { type: 'put', key: engineKey, value } as const
      }
    }
  })
  await drive(clock, db.batch(operations))
  return told
}

function textsOf({ changes }: WatchedPage): string[] {
  return changes.map(({ type, key, version }) => {
    return `${type} ${Buffer.from(key, 'base64')} ${version}`
  })
}

function commandOf(place: Partial<WatchedPage>, waitMs = 100) {
  const { watch, after } = place
  return { prefix: PREFIX.toString('base64'), waitMs, watch, after }
}

describe('a watch', () => {
  test('tells every change of the prefix once, in order, whatever is lost', async t => {
    const random = seededRandom(printSeed(t))
    const world = await begin(random)
    const { clock, watches } = world
    const expected: string[] = []
    const told: string[] = []
    const read = (at: Partial<WatchedPage>) =>
      drive(clock, watches.read(commandOf(at), Number.POSITIVE_INFINITY))
    await write(world, random)
    let place = await read({})
    assert.deepEqual(place.changes, [])
    let forgotten = 0
    for (let round = 0; round < 150; round++) {
      for (let count = random.below(4); count > 0; count--) {
        expected.push(...(await write(world, random)))
      }
      const die = random.below(10)
      if (die < 3) {
        // The page is lost on its way.
        await read(place)
      } else if (die < 5) {
        const first = watches.read(commandOf(place), Number.POSITIVE_INFINITY)
        const overtaken = first.then(
          () => 'answered',
          error => (error instanceof AbortedError ? 'overtaken' : String(error)),
        )
        const page = await read(place)
        assert.match(await drive(clock, overtaken), /^(?:answered|overtaken)$/)
        told.push(...textsOf(page))
        place = page
      } else {
        // The node has forgotten the watch, but not yet the log behind it.
        const isForgotten = die === 5 && ++forgotten < 20
        const page = await read(isForgotten ? { ...place, watch: 'gone' } : place)
        told.push(...textsOf(page))
        place = page
      }
      assert.deepEqual(told, expected.slice(0, told.length))
    }
    for (let rest = 0; told.length < expected.length && rest < 100; rest++) {
      place = await read(place)
      told.push(...textsOf(place))
    }
    assert.deepEqual(told, expected)
    await watches.close()
    await drive(clock, world.db.close())
  })

  test('waits for a change, and answers without one when the time is over', async t => {
    const random = seededRandom(printSeed(t))
    const world = await begin(random)
    const { clock, db, watches } = world
    const place = await drive(clock, watches.read(commandOf({}, 0), 1e9))
    const startMs = clock.monotonicMs()
    const empty = await drive(clock, watches.read(commandOf(place, 5000), 1e9))
    assert.deepEqual(empty.changes, [])
    assert.ok(clock.monotonicMs() - startMs >= 5000)
    // Less time than asked for: something must be left for the way back.
    const lateMs = clock.monotonicMs()
    await drive(clock, watches.read(commandOf(empty, 5000), lateMs + 1000))
    assert.ok(clock.monotonicMs() - lateMs < 1000)
    const waiting = watches.read(commandOf(empty, 5000), 1e9)
    const value = encodeValue(newVersion(), Buffer.alloc(70_000), 123)
    const large = { type: 'put', key: PARTITIONER.engineKey(Buffer.from('app:x')), value } as const
    await drive(clock, db.batch([large]))
    const { changes } = await drive(clock, waiting)
    // A value as large as that is not told.
    const [change] = changes
    assert.deepEqual(
      [changes.length, change?.value, change?.valueBytes, change?.expiryMs],
      [1, undefined, 70_000, 123],
    )
    await watches.close()
    await drive(clock, db.close())
  })

  test('that nobody reads holds nothing, and there are few', async t => {
    const random = seededRandom(printSeed(t))
    const { clock, db, watches } = await begin(random)
    const open = () => drive(clock, watches.read(commandOf({}, 0), 1e9))
    for (let count = 0; count < 32; count++) await open()
    await assert.rejects(open(), OverloadedError)
    assert.ok(db.stats().walHolds.count >= 32)
    await clock.advanceAsync(70_000)
    assert.equal(db.stats().walHolds.count, 0)
    const { watch, after } = await open()
    await assert.rejects(
      drive(clock, watches.read(commandOf({ after: after + 1 }, 0), 1e9)),
      ChangesGoneError,
    )
    for (const wrong of [{ watch }, { watch, after: -1 }, { watch, after: 0.5 }]) {
      await assert.rejects(watches.read(commandOf(wrong, 0), 1e9), InvalidArgumentError)
    }
    await assert.rejects(watches.read({}, 1e9), InvalidArgumentError)
    await watches.close()
    assert.equal(db.stats().walHolds.count, 0)
    await drive(clock, db.close())
  })
})

// Goal: the log stays for as long as somebody holds it and no longer, also over a restart, and a
// reader that died never makes it take more than its bound.
// Method: random lives with holds that come, advance and go; after each burst the segments on the
// disk are read, and must be those that the oldest hold needs, all of them and none beside.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Db, DbEvent, DbOptions, WalHold } from '../../src/engine/index.ts'
import { decodeWalHeader } from '../../src/engine/wal-format.ts'
import { seededRandom } from '../../src/random.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const GONE = { code: 'KV_CHANGES_GONE', action: 'start-over' }

/** First sequences of the segments on the disk that were begun, oldest first. */
function segmentsOn(disk: MemoryFileSystem): number[] {
  const found: number[] = []
  for (const name of disk.listSync(DIRECTORY).sort(compareText)) {
    if (!name.endsWith('.wal')) continue
    const file = disk.openSync(`${DIRECTORY}/${name}`)
    const bytes = new Uint8Array(64)
    const count = file.readSync(bytes, 0, 64, 0)
    file.closeSync()
    if (count === 0) continue
    found.push(decodeWalHeader(bytes, Number.parseInt(name, 10))!.firstSequence)
  }
  return found
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : 1
}

async function write(db: Db, clock: SimClock, count: number): Promise<void> {
  for (let index = 0; index < count; index += 5) {
    const keys = [0, 1, 2, 3, 4].map(at => `key-${(index + at) % 100}`)
    await drive(clock, Promise.all(keys.map(key => db.put(key, 'x'.repeat(150)))))
  }
  await clock.advanceAsync(1)
}

describe('a hold on the log', () => {
  test('keeps what it holds, and nothing else', async t => {
    const random = seededRandom(printSeed(t))
    const disk = new MemoryFileSystem()
    const clock = new SimClock()
    const db = await openEngine(disk, { clock, options: { memtableSize: 4096 } })
    const holds: WalHold[] = []
    let keptMost = 0
    for (let burst = 0; burst < 50; burst++) {
      const die = random.below(4)
      const { sequence } = db.stats()
      if (die === 0 && holds.length < 4) holds.push(db.holdWal(sequence + 1 - random.below(2)))
      const at = random.below(holds.length + 1)
      const hold = holds[at]
      if (die === 1) hold?.advance(hold.sequence + random.below(sequence - hold.sequence + 20))
      if (die === 2 && random.below(3) === 0) holds.splice(at, 1)[0]?.release()
      await write(db, clock, random.below(40))

      const { walHolds, walBytes } = db.stats()
      const oldest = Math.min(Number.POSITIVE_INFINITY, ...holds.map(held => held.sequence))
      const segments = segmentsOn(disk)
      const held = segments.slice(0, walHolds.segments)
      assert.equal(walHolds.count, holds.length)
      assert.ok(walBytes >= 64)
      if (oldest <= db.stats().sequence) assert.ok(segments[0]! <= oldest, 'it is all there')
      // What is only held holds something that is asked for: the next one begins after that.
      if (held.length > 0) assert.ok(segments[1]! > oldest, `${segments} for ${oldest}`)
      keptMost = Math.max(keptMost, held.length)
    }
    assert.ok(keptMost >= 3, `at most ${keptMost} segments were held`)
    for (const hold of holds) hold.release()

    // To the sequence.
    const exact = db.holdWal(db.stats().sequence + 1)
    await write(db, clock, 100)
    const [, second] = segmentsOn(disk)
    exact.advance(second! - 1)
    await clock.advanceAsync(1)
    assert.equal(segmentsOn(disk)[1], second)
    exact.advance(second!)
    await clock.advanceAsync(1)
    assert.equal(segmentsOn(disk)[0], second)
    exact.release()
    await clock.advanceAsync(1)
    assert.equal(db.stats().walHolds.segments, 0)
    assert.ok(segmentsOn(disk).length <= 3)
    await drive(clock, db.close())
  })

  test('is broken when it keeps more than its bound, the oldest first', async () => {
    const disk = new MemoryFileSystem()
    const clock = new SimClock()
    const events: DbEvent[] = []
    const options: DbOptions = { heldWalSizeMax: 20_000, onEvent: event => void events.push(event) }
    const db = await openEngine(disk, { clock, options: { ...options, memtableSize: 4096 } })
    const dead = db.holdWal(0)
    await write(db, clock, 100)
    const alive = db.holdWal(db.stats().sequence)
    for (let round = 0; round < 30; round++) {
      await write(db, clock, 20)
      alive.advance(db.stats().sequence)
      assert.ok(db.stats().walHolds.bytes <= 20_000)
    }
    assert.deepEqual([dead.broken, alive.broken], [true, false])
    const { walHolds } = db.stats()
    assert.deepEqual([walHolds.count, walHolds.broken], [1, 1])
    const broken = events.filter(event => event.type === 'walHoldBroken')
    assert.deepEqual(
      broken.map(({ sequence, reason }) => [sequence, reason]),
      [[1, 'size']],
    )
    assert.ok(broken[0]!.heldBytes > 20_000)
    assert.throws(() => db.holdWal(1), GONE)
    dead.advance(5)
    dead.release()
    assert.equal(db.stats().walHolds.count, 1)
    await drive(clock, db.close())
  })

  test('goes on over restarts where opening asks for it', async () => {
    const disk = new MemoryFileSystem()
    const clock = new SimClock()
    const tiny = { memtableSize: 4096 }
    const first = await openEngine(disk, { clock, options: tiny })
    first.holdWal(1)
    await write(first, clock, 150)
    const before = segmentsOn(disk)
    assert.ok(before.length > 3 && before[0] === 1)
    // Killed and opened twice, then closed and opened.
    let disks = disk.processCrashClone()
    for (const ending of ['kill', 'kill', 'close']) {
      const options = { ...tiny, holdWalFrom: 0 }
      const db = await openEngine(disks, { clock, options })
      assert.deepEqual([db.openingHold!.sequence, db.openingHold!.broken], [1, false])
      assert.deepEqual(segmentsOn(disks).slice(0, before.length), before)
      await write(db, clock, 30)
      const killed = disks.processCrashClone()
      await drive(clock, db.close())
      if (ending === 'kill') disks = killed
    }
    const later = await openEngine(disks, { clock, options: { ...tiny, holdWalFrom: 100 } })
    const kept = segmentsOn(disks)
    assert.ok(kept[0]! <= 100 && kept[1]! > 100, `${kept}`)
    // Also who does not know where it was keeps what an earlier process held.
    const kill = disks.processCrashClone()
    const oldest = await openEngine(kill, { clock, options: { ...tiny, holdWalFrom: 'oldest' } })
    const { openingHold } = oldest
    assert.deepEqual([openingHold!.broken, segmentsOn(kill)[0]], [false, kept[0]])
    assert.ok(openingHold!.sequence <= 100)
    await drive(clock, oldest.close())
    later.openingHold!.release()
    await clock.advanceAsync(1)
    assert.ok(segmentsOn(disks)[0]! > 200)
    await drive(clock, later.close())

    const without = await openEngine(disks, { clock, options: tiny })
    assert.equal(without.openingHold, undefined)
    await drive(clock, without.close())
    const late = await openEngine(disks, { clock, options: { ...tiny, holdWalFrom: 100 } })
    assert.equal(late.openingHold!.broken, true)
    assert.equal(late.stats().walHolds.broken, 1)
    assert.throws(() => late.holdWal(100), GONE)
    await drive(clock, late.close())
  })

  test('is on a sequence, and only advances', async () => {
    const invalid = { code: 'KV_INVALID_ARGUMENT' }
    const db = await openEngine(new MemoryFileSystem())
    for (const sequence of [-1, 0.5, Number.NaN]) {
      assert.throws(() => db.holdWal(sequence), invalid)
      const options = { holdWalFrom: sequence }
      await assert.rejects(async () => openEngine(new MemoryFileSystem(), { options }), invalid)
    }
    const hold = db.holdWal(7)
    assert.throws(() => hold.advance(6), invalid)
    hold.release()
    await db.close()
  })
})

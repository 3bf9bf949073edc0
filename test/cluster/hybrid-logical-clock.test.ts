// Goal: versions never repeat and never go back: not within a process, not over restarts at any
// moment, not when the wall clock does; and nobody else's clock drags this one along.
// Method: a clock moved by hand, a mark that becomes durable when the test says so, and random
// histories of stamps, foreign versions, clock jumps and crashes.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes } from '../../src/bytes.ts'
import type { ClockMarks } from '../../src/cluster/clock-mark.ts'
import {
  HybridLogicalClock,
  LEASE_MS,
  REPLICAS_AHEAD_MAX_MS,
  SKEW_AHEAD_MAX_MS,
  SKEW_BEHIND_MAX_MS,
} from '../../src/cluster/hybrid-logical-clock.ts'
import { ClockSkewError, UnavailableError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { encodeVersion, versionTimeMs } from '../../src/write-version.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const WRITER = new Uint8Array(8).fill(7)
const STRANGER = new Uint8Array(8).fill(9)

/** A mark on a disk that may be slow or broken. */
class Mark {
  durableMs = 0
  storedMs = 0
  writes = 0
  failure: Error | undefined
  readonly persist = async ({ markMs, storedMs }: ClockMarks): Promise<void> => {
    this.writes++
    await Promise.resolve()
    if (this.failure !== undefined) throw this.failure
    this.durableMs = markMs
    this.storedMs = storedMs
  }
}

function start(clock: SimClock, mark: Mark): HybridLogicalClock {
  const newWriter = () => WRITER
  const marks = { markMs: mark.durableMs, storedMs: mark.storedMs }
  return new HybridLogicalClock({ clock, newWriter, marks, persistMarks: mark.persist })
}

describe('hybrid logical clock', () => {
  test('follows the wall clock and counts within a millisecond', () => {
    const clock = new SimClock({ wallMs: 1000 })
    const versions = start(clock, new Mark())
    assert.deepEqual(versions.next(), encodeVersion(1000, 0, WRITER))
    assert.deepEqual(versions.next(), encodeVersion(1000, 1, WRITER))
    clock.advance(5)
    assert.deepEqual(versions.next(), encodeVersion(1005, 0, WRITER))
  })

  test('borrows from the future when a millisecond is used up', () => {
    const versions = start(new SimClock({ wallMs: 1000 }), new Mark())
    let last = versions.next()
    for (let index = 0; index < 70_000; index++) {
      const next = versions.next()
      assert.ok(compareBytes(next, last) > 0)
      last = next
    }
    assert.equal(versionTimeMs(last), 1001)
  })

  test('grows over stamps, strangers, clock jumps and crashes', async t => {
    const random = seededRandom(printSeed(t))
    const clock = new SimClock()
    const mark = new Mark()
    let versions = start(clock, mark)
    let last = versions.next()
    await versions.covered()
    for (let step = 0; step < 5000; step++) {
      const choice = random.below(100)
      if (choice < 2) {
        versions = start(clock, mark)
      } else if (choice < 5) {
        clock.jumpWall(random.below(20_000) - 10_000)
      } else if (choice < 30) {
        clock.advance(random.below(300))
      } else if (choice < 50) {
        const foreign = encodeVersion(Math.floor(clock.wallMs()) + random.below(500), 3, STRANGER)
        try {
          versions.witness(foreign)
          await versions.covered()
          if (compareBytes(foreign, last) > 0) last = foreign
        } catch (error) {
          assert.ok(error instanceof ClockSkewError)
        }
      } else {
        const next = versions.next()
        // Only what is covered is acknowledged, and only that must survive a crash.
        await versions.covered()
        assert.ok(compareBytes(next, last) > 0, `step ${step}`)
        last = next
      }
      assert.ok(versionTimeMs(last) <= mark.durableMs)
    }
    t.diagnostic(`${mark.writes} marks for 5000 steps`)
  })

  test('refuses versions from the far future and the far past, and moves for neither', () => {
    const clock = new SimClock({ wallMs: 10_000_000 })
    const versions = start(clock, new Mark())
    const before = versions.next()
    const ahead = 10_000_000 + SKEW_AHEAD_MAX_MS
    const behind = 10_000_000 - SKEW_BEHIND_MAX_MS
    for (const timeMs of [ahead + 1, behind - 1, 2 ** 48 - 1, 0]) {
      assert.throws(() => versions.witness(encodeVersion(timeMs, 0, STRANGER)), ClockSkewError)
    }
    assert.equal(versionTimeMs(versions.next()), versionTimeMs(before))
    versions.witness(encodeVersion(behind, 0, STRANGER))
    versions.witness(encodeVersion(ahead, 0, STRANGER))
    assert.deepEqual(versions.next(), encodeVersion(ahead, 1, WRITER))
  })

  test('is not dragged along by a stranger who is always just within bounds', () => {
    const clock = new SimClock({ wallMs: 1000 })
    const versions = start(clock, new Mark())
    versions.witness(encodeVersion(1000 + SKEW_AHEAD_MAX_MS, 0, STRANGER))
    const further = encodeVersion(1000 + SKEW_AHEAD_MAX_MS + 1, 0, STRANGER)
    assert.throws(() => versions.witness(further), ClockSkewError)
  })

  test('asks for a mark seldom, and not at all when idle', async () => {
    const clock = new SimClock()
    const mark = new Mark()
    const versions = start(clock, mark)
    for (let ms = 0; ms < 1000; ms++) {
      versions.next()
      await versions.covered()
      clock.advance(1)
    }
    assert.ok(mark.writes <= 1000 / (LEASE_MS / 2) + 1, `${mark.writes} marks in a second`)
    const writes = mark.writes
    clock.advance(60_000)
    assert.equal(mark.writes, writes)
  })

  test('a write that the mark does not cover is not acknowledged', async () => {
    const clock = new SimClock()
    const mark = new Mark()
    mark.failure = new Error('disk')
    const versions = start(clock, mark)
    versions.next()
    await assert.rejects(Promise.resolve(versions.covered()), (error: unknown) => {
      assert.ok(error instanceof UnavailableError)
      return error.outcome === 'unknown' && error.cause === mark.failure
    })
    mark.failure = undefined
    versions.next()
    await versions.covered()
    assert.equal(versions.covered(), undefined)
  })

  test('set back, it goes on from there under another writer, over a restart too', async () => {
    const clock = new SimClock({ wallMs: 1000 })
    const mark = new Mark()
    mark.durableMs = 9_000_000
    const writers = [WRITER, STRANGER]
    const versions = new HybridLogicalClock({
      clock,
      newWriter: () => writers.shift()!,
      marks: { markMs: mark.durableMs, storedMs: mark.durableMs },
      persistMarks: mark.persist,
    })
    assert.deepEqual(versions.next(), encodeVersion(9_000_001, 0, WRITER))
    // The mark for that one is on its way.
    versions.setBack(1000)
    assert.deepEqual(versions.next(), encodeVersion(1001, 0, STRANGER))
    await versions.covered()
    assert.equal(mark.durableMs, 1000 + LEASE_MS)
    assert.deepEqual(start(clock, mark).next(), encodeVersion(1001 + LEASE_MS, 0, WRITER))
    versions.setBack(2000)
    assert.deepEqual(versions.next(), encodeVersion(1001, 1, STRANGER), 'it is not that far')
  })

  test('a restart knows of all that was stored from far ahead, whatever records fail', async t => {
    const random = seededRandom(printSeed(t))
    let noted = 0
    for (let round = 0; round < 300; round++) {
      const clock = new SimClock({ wallMs: 1_000_000 })
      const mark = new Mark()
      mark.durableMs = 1_000_000 + 5000 * random.below(3)
      mark.storedMs = mark.durableMs
      const leadMs = 10_000 * random.below(2)
      const begin = (): HybridLogicalClock => {
        const begun = start(clock, mark)
        begun.setLead(leadMs)
        return begun
      }
      let versions = begin()
      let storedMs = 0
      for (let step = 0; step < 25; step++) {
        const choice = random.below(12)
        if (choice === 0) mark.failure = random.below(2) === 0 ? undefined : new Error('disk')
        else if (choice === 1) versions.setBack(clock.wallMs())
        else if (choice === 2) clock.advance(random.below(1000))
        else if (choice === 3) versions = begin()
        else if (choice === 4) {
          await versions.close().catch(() => undefined)
          versions = begin()
        } else if (choice === 5) {
          // As for what is stored elsewhere.
          const timeMs = clock.wallMs() + random.below(leadMs + 1)
          if (random.below(2) === 0) versions.next()
          else versions.witness(encodeVersion(timeMs, 0, STRANGER))
          await Promise.resolve(versions.covered()).catch(() => undefined)
        } else {
          const [fromMs, rangeMs] = [
            [versions.reachedMs, 2 * LEASE_MS],
            [clock.wallMs(), 15_000],
          ][random.below(2)] as [number, number]
          const foreignMs = fromMs + random.below(rangeMs)
          const isOwn = random.below(2) === 0
          const timeMs = isOwn ? versionTimeMs(versions.next()) : foreignMs
          if (!isOwn) versions.follow(encodeVersion(timeMs, 0, STRANGER))
          const noting = versions.noteStored(timeMs)
          if (noting !== undefined) noted++
          const isNoted = await Promise.resolve(noting).then(
            () => true,
            (error: unknown) => assert.ok(error instanceof UnavailableError),
          )
          if (isNoted === true) storedMs = Math.max(storedMs, timeMs)
        }
        // As the one that would start now.
        const aheadMs = clock.wallMs() + REPLICAS_AHEAD_MAX_MS
        const floorMs = Math.max(start(clock, mark).storedMs, aheadMs)
        assert.ok(storedMs <= floorMs, `round ${round}, step ${step}: ${storedMs} of ${floorMs}`)
      }
    }
    assert.ok(noted > 100, `${noted} were noted`)
  })

  test('a clean close leaves no gap', async () => {
    const clock = new SimClock({ wallMs: 1000 })
    const mark = new Mark()
    const versions = start(clock, mark)
    versions.next()
    await versions.close()
    assert.equal(mark.durableMs, 1000)
    assert.deepEqual(start(clock, mark).next(), encodeVersion(1001, 0, WRITER))
  })
})

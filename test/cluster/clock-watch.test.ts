// Goal: a node whose clock is off takes no writes until it is set, and only such a node: not one
// that alone can tell, not for a slow link, not for what was measured by a clock that was set
// since.
// And no version is made by a clock that was set and that nobody has confirmed; versions that have
// come too far ahead come back, never a second time, and not where most members are there.
// Method: members on one time with wall clocks that the test sets, over fake links.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Clock } from '../../src/clock.ts'
import { BelievedClock } from '../../src/cluster/believed-clock.ts'
import { CLOCK_OFF_MS, CLOCK_WAIT_MS, ClockWatch } from '../../src/cluster/clock-watch.ts'
import { HybridLogicalClock } from '../../src/cluster/hybrid-logical-clock.ts'
import { PeerMessage } from '../../src/cluster/peers.ts'
import { ClockSkewError, ProtocolError, UnavailableError } from '../../src/errors.ts'
import type { LogFields } from '../../src/logger.ts'
import { seededRandom } from '../../src/random.ts'
import { VERSION_SIZE, versionTimeMs, writeVersion } from '../../src/write-version.ts'
import { FakeNetwork, type FakePeers } from '../support/fake-peers.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

type Writable<T> = { -readonly [name in keyof T]: T[name] }

interface Member {
  readonly watch: ClockWatch
  readonly peers: FakePeers
  readonly clock: BelievedClock
  readonly versions: HybridLogicalClock
  /** How far its wall clock is ahead. */
  aheadMs: number
  readonly logged: string[]
}

interface ClocksOptions {
  readonly latencyMaxMs?: number
  /** How far ahead of the time versions were once. */
  readonly marksMs?: readonly number[]
  /** Members whose clocks need nobody to agree with them. */
  readonly known?: readonly number[]
}

class Clocks {
  readonly clock = new SimClock()
  readonly network: FakeNetwork
  readonly members: Member[] = []

  /** `aheadMs`: of the wall clocks. */
  constructor(
    seed: number,
    aheadMs: readonly number[],
    { latencyMaxMs = 5, marksMs = [], known = [] }: ClocksOptions = {},
  ) {
    const random = seededRandom(seed)
    this.network = new FakeNetwork({ clock: this.clock, random, latencyMaxMs })
    const ids = aheadMs.map((_, at) => String(at).repeat(32))
    for (const [at, ahead] of aheadMs.entries()) {
      const peers = this.network.join(ids[at]!)
      const logged: string[] = []
      const note = (message: string, _fields?: LogFields) => void logged.push(message)
      const logger = { debug: () => undefined, info: note, warn: note, error: note }
      const { clock } = this
      const own: Clock = {
        monotonicMs: () => clock.monotonicMs(),
        wallMs: () => clock.wallMs() + member.aheadMs,
        setTimer: (delayMs, callback, options) => clock.setTimer(delayMs, callback, options),
      }
      const member = { peers, aheadMs: ahead, logged } as Writable<Member>
      const wall = new BelievedClock(own, () => ids.length > 1)
      const mark = marksMs[at]
      const markMs = mark === undefined ? 0 : clock.wallMs() + mark
      member.clock = wall
      member.versions = new HybridLogicalClock({
        clock: wall,
        newWriter: () => random.bytes(8),
        marks: { markMs, storedMs: markMs },
        persistMarks: async () => undefined,
      })
      const { versions } = member
      const watched = { peers, members: () => ids, clock: wall, versions, logger }
      member.watch = new ClockWatch({ ...watched, isKnown: known.includes(at) })
      this.members.push(member)
      member.watch.start()
    }
    this.network.announce()
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 10) await this.clock.advanceAsync(10, 1)
  }

  /** Places of the members that take no writes. */
  get off(): number[] {
    return [...this.members.keys()].filter(at => this.members[at]!.watch.offMs !== 0)
  }

  close(): void {
    for (const { watch } of this.members) watch.close()
  }
}

describe('a node whose clock is off', () => {
  test('takes no writes until it is set', async t => {
    const seed = printSeed(t)
    for (const aheadMs of [600_000, -600_000, 2 * CLOCK_OFF_MS]) {
      const clocks = new Clocks(seed, [0, aheadMs, 30, -40, 0])
      await clocks.pass(100)
      assert.deepEqual(clocks.off, [1], 'as soon as it is linked')
      const [well, off] = clocks.members as [Member, Member]
      const way = aheadMs > 0 ? 'ahead of' : 'behind'
      assert.throws(() => off.watch.ready(), new RegExp(`${way} those of most other nodes`))
      assert.equal(well.watch.ready(), undefined)
      await clocks.pass(20_000)
      const said = (member: Member) => member.logged.join()
      assert.match(said(off), /the clock of this node is off[^,]*$/)
      assert.ok(off.logged.length <= 2, said(off))
      assert.match(said(well), /^the clocks of some members differ[^,]*$/)
      off.aheadMs = 20
      void off.watch.ready()
      await clocks.pass(30_000)
      assert.deepEqual(clocks.off, [])
      off.aheadMs = aheadMs
      assert.deepEqual(clocks.off, [], 'what was measured before says nothing')
      await clocks.pass(100)
      assert.deepEqual(clocks.off, [1], 'and is measured anew')
      assert.throws(() => off.watch.ready(), UnavailableError)
      clocks.close()
    }
  })

  test('is not one that differs by little, or that no majority differs from', async t => {
    const seed = printSeed(t)
    const aheads = [[400, -400, 0], [600_000], [600_000, 0], [0, 0, 3000, 3000]]
    for (const aheadMs of aheads) {
      const clocks = new Clocks(seed, aheadMs)
      await clocks.pass(10_000)
      assert.deepEqual(clocks.off, [], aheadMs.join())
      clocks.close()
    }
    const far = new Clocks(seed, [600_000, 0, -600_000])
    await far.pass(10_000)
    assert.deepEqual(far.off, [0, 2])
    far.close()
  })

  test('is not found by slow links, and stays off when the others are gone', async t => {
    const slow = new Clocks(printSeed(t), [0, 700, -700, 0, 0], { latencyMaxMs: 800 })
    await slow.pass(60_000)
    assert.deepEqual(slow.off, [])
    slow.close()
    const clocks = new Clocks(printSeed(t), [600_000, 0, 0])
    await clocks.pass(5000)
    assert.deepEqual(clocks.off, [0])
    for (const { peers } of clocks.members.slice(1)) clocks.network.stop(peers.self)
    await clocks.pass(30_000)
    assert.deepEqual(clocks.off, [0])
    clocks.members[0]!.aheadMs = 0
    assert.deepEqual(clocks.off, [])
    clocks.close()
  })

  test('does not believe what is no time', async t => {
    const clocks = new Clocks(printSeed(t), [0, 600_000, 600_000])
    for (const { peers } of clocks.members) {
      peers.handlers.set(PeerMessage.clock, () => Uint8Array.of(1))
    }
    await clocks.pass(5000)
    assert.deepEqual(clocks.off, [])
    for (const { peers } of clocks.members) {
      peers.handlers.set(PeerMessage.clock, () => {
        throw new ProtocolError('an older build')
      })
    }
    await clocks.pass(5000)
    assert.deepEqual(clocks.off, [])
    clocks.close()
  })
})

const HOUR_MS = 3_600_000

/** How far a version that this member makes now is ahead of the true time. */
function aheadNow({ versions }: Member, { clock }: Clocks): number {
  return versionTimeMs(versions.next()) - clock.wallMs()
}

describe('a clock that is set', () => {
  test('makes no version before most members agree', async t => {
    for (const byMs of [3 * HOUR_MS, -3 * HOUR_MS, 5000]) {
      const clocks = new Clocks(printSeed(t), [0, 0, 0], { latencyMaxMs: 40 })
      const [set] = clocks.members as [Member]
      await clocks.pass(500)
      assert.equal(set.watch.ready(), undefined)
      set.aheadMs = byMs
      const deciding = set.watch.ready()
      assert.ok(deciding instanceof Promise, 'writes wait')
      for (let passed = 0; passed < 5000; passed += 10) {
        const ahead = aheadNow(set, clocks)
        assert.ok(Math.abs(ahead) <= 200, `${passed} ms after the step: ${ahead}`)
        await clocks.pass(10)
      }
      await deciding
      assert.throws(() => set.watch.ready(), UnavailableError)
      // The others have been set, too: it was this one that was right.
      for (const member of clocks.members) member.aheadMs = byMs
      await clocks.pass(5000)
      for (const member of clocks.members) {
        assert.equal(member.watch.ready(), undefined)
        const ahead = aheadNow(member, clocks)
        assert.ok(ahead >= byMs && ahead <= Math.max(byMs, 200), `${ahead} ms`)
      }
      clocks.close()
    }
  })

  test('is not gone by where nobody can be asked', async t => {
    const clocks = new Clocks(printSeed(t), [0, 0, 0])
    const [set, ...others] = clocks.members as [Member, ...Member[]]
    await clocks.pass(500)
    for (const { peers } of others) clocks.network.stop(peers.self)
    set.aheadMs = 3 * HOUR_MS
    const deciding = set.watch.ready()
    await clocks.pass(CLOCK_WAIT_MS + 100)
    await deciding
    assert.equal(set.watch.ready(), undefined, 'it takes writes')
    const ahead = aheadNow(set, clocks)
    assert.ok(Math.abs(ahead) <= 200, `${ahead} ms`)
    clocks.close()
  })

  test('is gone by after a standstill in which clocks drift as far, and told', () => {
    for (const [byMs, isBelieved] of [
      [-17_000, true],
      [40_000, true],
      [-60_000, false],
      [HOUR_MS, false],
    ] as const) {
      let [wallMs, monotonicMs] = [1e9, 0]
      const machine = new SimClock()
      machine.wallMs = () => wallMs
      machine.monotonicMs = () => monotonicMs
      const clock = new BelievedClock(machine, () => true)
      let steps = 0
      clock.onStep = () => {
        steps++
      }
      for (const passedMs of [100, 25 * HOUR_MS]) {
        wallMs += passedMs
        monotonicMs += passedMs
        assert.equal(clock.wallMs(), wallMs)
      }
      // Nothing looks meanwhile.
      wallMs += 25 * HOUR_MS + byMs
      monotonicMs += 25 * HOUR_MS
      assert.equal(clock.wallMs(), isBelieved ? wallMs : wallMs - byMs, `set by ${byMs}`)
      assert.equal(steps, 1)
      // At once the same is doubted.
      wallMs += byMs
      assert.equal(clock.wallMs(), isBelieved ? wallMs - byMs : wallMs - 2 * byMs)
    }
  })

  test('is right again after a standstill in which it was set, if it was off before', () => {
    for (const [nearMs, isBelieved] of [
      [-24_600, true],
      [60_000, false],
    ] as const) {
      let [wallMs, monotonicMs] = [1e9, 0]
      const machine = new SimClock()
      machine.wallMs = () => wallMs
      machine.monotonicMs = () => monotonicMs
      const clock = new BelievedClock(machine, () => true)
      wallMs += HOUR_MS
      assert.equal(clock.wallMs(), wallMs - HOUR_MS, 'it was set, and is off')
      wallMs += 25 * HOUR_MS - HOUR_MS + nearMs
      monotonicMs += 25 * HOUR_MS
      assert.equal(clock.wallMs(), isBelieved ? wallMs : wallMs - nearMs, `near by ${nearMs}`)
    }
  })

  test('of two members is wrong, where the other one differs', async t => {
    const clocks = new Clocks(printSeed(t), [0, 0])
    await clocks.pass(500)
    clocks.members[0]!.aheadMs = 3 * HOUR_MS
    await clocks.pass(5000)
    assert.deepEqual(clocks.off, [0])
    clocks.members[1]!.aheadMs = 3 * HOUR_MS
    await clocks.pass(5000)
    assert.deepEqual(clocks.off, [])
    clocks.close()
  })
})

describe('a node that has just started', () => {
  test('takes no writes by a clock with which nobody agrees, and says so', async t => {
    for (const nodes of [2, 3, 5]) {
      const clocks = new Clocks(
        printSeed(t),
        Array.from({ length: nodes }, () => 0),
      )
      const [alone, ...others] = clocks.members as [Member, ...Member[]]
      alone.aheadMs = 3 * HOUR_MS
      for (const { peers } of others) clocks.network.cut(alone.peers.self, peers.self)
      const deciding = alone.watch.ready()
      assert.ok(deciding instanceof Promise, 'writes wait')
      await clocks.pass(CLOCK_WAIT_MS + 100)
      await deciding
      for (let time = 0; time < 3; time++) {
        assert.throws(() => alone.watch.ready(), /no other member agrees yet with its clock/)
        assert.ok(alone.watch.isUnconfirmed)
        await clocks.pass(5000)
      }
      assert.equal(alone.logged.length, 1, alone.logged.join())
      if (nodes > 2) assert.equal(others[0]!.watch.ready(), undefined, 'the others agree')
      alone.aheadMs = 0
      clocks.network.mend()
      await clocks.pass(500)
      assert.equal(alone.watch.ready(), undefined)
      assert.ok(!alone.watch.isUnconfirmed)
      for (const { peers } of others) clocks.network.stop(peers.self)
      await clocks.pass(30_000)
      assert.equal(alone.watch.ready(), undefined, 'once known it stays so')
      clocks.close()
    }
  })

  test('takes them with one that agrees, or that is vouched for, or where all were asked', async t => {
    const ahead = 3 * HOUR_MS
    for (const { aheadMs, known = [], reached = [] } of [
      { aheadMs: [0, 0, 0, 0, 0], reached: [1] },
      { aheadMs: [ahead, 0, 0], known: [0] },
      { aheadMs: [ahead, 0], reached: [1] },
      { aheadMs: [ahead] },
    ]) {
      const clocks = new Clocks(printSeed(t), aheadMs, { known })
      for (const [at, { peers }] of clocks.members.entries()) {
        if (at > 0 && !reached.includes(at)) clocks.network.stop(peers.self)
      }
      await clocks.pass(CLOCK_WAIT_MS + 100)
      assert.equal(clocks.members[0]!.watch.ready(), undefined, `${aheadMs}`)
      clocks.close()
    }
    const wrong = new Clocks(printSeed(t), [ahead, 0, 0])
    wrong.network.stop(wrong.members[2]!.peers.self)
    await wrong.pass(CLOCK_WAIT_MS + 100)
    assert.throws(() => wrong.members[0]!.watch.ready(), UnavailableError, 'one differs')
    wrong.close()
  })
})

describe('versions that have come far ahead', () => {
  test('go back to where most members are, and none comes twice', async t => {
    for (const [far, others] of [
      [3 * HOUR_MS, 0],
      [9 * HOUR_MS, 3 * HOUR_MS],
    ] as const) {
      const marksMs = [far, others, others]
      const clocks = new Clocks(printSeed(t), [0, 0, 0], { marksMs })
      const made = clocks.members.map(({ versions }) => versions.next())
      await clocks.pass(5000)
      assert.deepEqual(clocks.off, [])
      for (const member of clocks.members) {
        const ahead = aheadNow(member, clocks)
        assert.ok(Math.abs(ahead - others) <= (others === 0 ? 600 : 6000), `${ahead} ms`)
        made.push(member.versions.next())
      }
      // What the others make is no skew, wherever they are.
      for (const { versions } of clocks.members) versions.witness(made.at(-1)!)
      const names = made.map(version => Buffer.from(version).toString('hex'))
      assert.equal(new Set(names).size, names.length)
      clocks.close()
    }
  })

  test('are no excuse for clocks that were set together', async t => {
    const clocks = new Clocks(printSeed(t), [17_000, 17_000, 17_000], { latencyMaxMs: 40 })
    await clocks.pass(500)
    for (const member of clocks.members) member.aheadMs = 0
    const foreign = new Uint8Array(VERSION_SIZE).fill(1)
    for (let passed = 0; passed < 5000; passed += 10) {
      for (const { watch, versions } of clocks.members) {
        if (watch.ready() !== undefined) continue
        writeVersion(foreign, clocks.clock.wallMs() + 15_000, 0, foreign.subarray(0, 8))
        assert.throws(() => versions.witness(foreign), ClockSkewError, `after ${passed} ms`)
      }
      await clocks.pass(10)
    }
    for (const { watch } of clocks.members) assert.equal(watch.ready(), undefined)
    clocks.close()
  })

  test('stay where nobody can be asked', async t => {
    const clocks = new Clocks(printSeed(t), [0, 0, 0], { marksMs: [3 * HOUR_MS] })
    for (const { peers } of clocks.members.slice(1)) clocks.network.stop(peers.self)
    await clocks.pass(5000)
    const ahead = aheadNow(clocks.members[0]!, clocks)
    assert.ok(ahead > 2 * HOUR_MS, `${ahead} ms`)
    clocks.close()
  })
})

// Goal: a node whose clock is off takes no writes until it is set, and only such a node: not one
// that alone can tell, not for a slow link, not for what was measured by a clock that was set
// since.
// Method: members on one time with wall clocks that the test sets, over fake links.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Clock } from '../../src/clock.ts'
import { CLOCK_OFF_MS, ClockWatch } from '../../src/cluster/clock-watch.ts'
import { PeerMessage } from '../../src/cluster/peers.ts'
import { ProtocolError, UnavailableError } from '../../src/errors.ts'
import type { LogFields } from '../../src/logger.ts'
import { seededRandom } from '../../src/random.ts'
import { FakeNetwork, type FakePeers } from '../support/fake-peers.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

interface Member {
  readonly watch: ClockWatch
  readonly peers: FakePeers
  /** How far its wall clock is ahead. */
  aheadMs: number
  readonly logged: string[]
}

class Clocks {
  readonly clock = new SimClock()
  readonly network: FakeNetwork
  readonly members: Member[] = []

  constructor(seed: number, aheadMs: readonly number[], latencyMaxMs = 5) {
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
      const member = { peers, aheadMs: ahead, logged } as unknown as Member & { watch: ClockWatch }
      member.watch = new ClockWatch({ peers, members: () => ids, clock: own, logger })
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
      assert.throws(() => off.watch.check(), new RegExp(`${way} those of most other nodes`))
      well.watch.check()
      await clocks.pass(20_000)
      const said = (member: Member) => member.logged.join()
      assert.match(said(off), /the clock of this node is off[^,]*$/)
      assert.ok(off.logged.length <= 2, said(off))
      assert.match(said(well), /^the clocks of some members differ[^,]*$/)
      off.aheadMs = 20
      off.watch.check()
      await clocks.pass(30_000)
      assert.deepEqual(clocks.off, [])
      off.aheadMs = aheadMs
      assert.deepEqual(clocks.off, [], 'what was measured before says nothing')
      await clocks.pass(100)
      assert.deepEqual(clocks.off, [1], 'and is measured anew')
      assert.throws(() => off.watch.check(), UnavailableError)
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
    const slow = new Clocks(printSeed(t), [0, 900, -900, 0, 0], 800)
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

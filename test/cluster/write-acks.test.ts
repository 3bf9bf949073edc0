// Goal: slots are counted, not nodes; who hangs is taken out of the way, and comes back by itself.
// Method: random acknowledgements against the definition of a quorum; a breaker on simulated time.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Breaker } from '../../src/cluster/breaker.ts'
import { beginLeave, beginReplace } from '../../src/cluster/ring-change.ts'
import { RingTable } from '../../src/cluster/ring-table.ts'
import { otherOwners, type Slot, slotsOf, WriteAcks } from '../../src/cluster/write-acks.ts'
import { seededRandom } from '../../src/random.ts'
import { randomMember, ringOf } from '../support/random-ring.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const SPEC = {
  partitionCount: 16,
  replicationFactor: 3,
  virtualNodes: 16,
  members: [{}, {}, {}, {}, {}],
}

describe('slots', () => {
  test('are counted by the definition, decided once', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 500; round++) {
      const slots: Slot[] = [['a'], random.below(2) === 0 ? ['b', 'd'] : ['b'], ['c']]
      const needed = 1 + random.below(3)
      const acks = new WriteAcks([{ slots, needed }])
      const nodes = slots.flat().sort(() => random.next() - 0.5)
      const good = new Set<string>()
      const bad = new Set<string>()
      let expected: string | undefined
      for (const node of nodes) acks.sent(node)
      acks.seal()
      for (const node of nodes) {
        if (random.below(3) > 0) {
          acks.acked(node)
          good.add(node)
        } else {
          acks.failed(node)
          bad.add(node)
        }
        const acked = slots.filter(slot => slot.every(owner => good.has(owner))).length
        const left = slots.filter(slot => !slot.some(owner => bad.has(owner))).length
        if (acked >= needed) expected ??= 'reached'
        else if (left < needed) expected ??= 'impossible'
        assert.equal(acks.isDecided, expected !== undefined)
      }
      assert.equal(await acks.verdict, expected)
    }
  })

  test('wait for a peer until it has all entries, and all were sent', () => {
    const acks = new WriteAcks([{ slots: [['a']], needed: 1 }])
    acks.sent('a')
    acks.acked('a')
    assert.equal(acks.isDecided, false, 'more may be sent')
    acks.sent('a')
    acks.seal()
    assert.equal(acks.isDecided, false, 'one entry is missing')
    acks.acked('a')
    assert.equal(acks.isDecided, true)
  })

  test('that are lenient wait for nobody when nobody can be had', async () => {
    const acks = new WriteAcks([{ slots: [['a'], ['b']], needed: 1, isLenient: true }])
    for (const peer of ['a', 'b']) acks.sent(peer)
    acks.seal()
    acks.failed('a')
    assert.equal(acks.isDecided, false)
    acks.failed('b')
    assert.equal(await acks.verdict, 'reached')
  })

  test('have both owners while one leaves, and only the new one when one is gone for good', t => {
    const random = seededRandom(printSeed(t))
    const ring = ringOf(random, SPEC)
    const [going] = ring.members.map(({ nodeId }) => nodeId) as [string]
    const leaving = new RingTable(beginLeave(ring, going))
    const fresh = randomMember(random)
    const replacing = new RingTable(beginReplace(ring, going, fresh))
    for (let partition = 0; partition < 16; partition++) {
      const both = slotsOf(leaving, partition).filter(slot => slot.includes(going))
      for (const slot of both) assert.equal(slot.length, 2)
      const slots = slotsOf(replacing, partition)
      assert.equal(slots.length, 3)
      assert.equal(slots.flat().includes(going), false)
      const isHeir = new RingTable(ring).isOwner(partition, going)
      assert.equal(otherOwners(replacing, partition, 'nobody').includes(fresh.nodeId), isHeir)
    }
  })
})

describe('the breaker', () => {
  function breaker() {
    const clock = new SimClock()
    const probes: number[] = []
    const changes: boolean[] = []
    const state = { answers: false }
    const made = new Breaker({
      clock,
      probe: async () => {
        probes.push(clock.monotonicMs())
        return state.answers
      },
      onChange: isOpen => changes.push(isOpen),
    })
    return { clock, probes, changes, state, breaker: made }
  }

  test('opens after three timeouts in a row, and closes when a probe is answered', async () => {
    const { clock, probes, changes, state, breaker: tested } = breaker()
    const timeOut = (times: number): void => {
      for (let count = 0; count < times; count++) {
        clock.advance(250)
        tested.timedOut()
      }
    }
    for (let count = 0; count < 10; count++) {
      timeOut(2)
      tested.succeeded()
    }
    for (let count = 0; count < 10; count++) tested.timedOut()
    assert.deepEqual(changes, [], 'those of one moment count as one')
    timeOut(3)
    assert.deepEqual(changes, [true])
    const openMs = clock.monotonicMs()
    await clock.advanceAsync(12_000)
    const after = probes.map(ms => ms - openMs)
    assert.deepEqual(after, [250, 750, 1750, 3750, 7750])
    state.answers = true
    await clock.advanceAsync(1000)
    assert.deepEqual([changes, tested.isOpen], [[true, false], false])
  })

  test('closes with a new link, whatever an old probe says', async () => {
    const { clock, changes, state, breaker: tested } = breaker()
    tested.trip()
    tested.trip()
    clock.advance(250)
    tested.reset()
    tested.trip()
    state.answers = true
    await clock.advanceAsync(0)
    assert.deepEqual(changes, [true, false, true])
    tested.stop()
    await clock.advanceAsync(60_000)
    assert.deepEqual(changes, [true, false, true])
  })
})

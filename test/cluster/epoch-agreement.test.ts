// Goal: an epoch has one ring, whatever is lost, comes twice, crashes, restarts or is proposed at
// the same time; and a change goes through whenever a majority is there.
// Method: whole agreements over simulated links and engines that keep what was fsynced; single
// stories, and random histories in which every ring that a node ever went by is compared.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Ring } from '../../src/cluster/ring.ts'
import {
  abort,
  beginJoin,
  beginLeave,
  finish,
  moveReads,
  RingChangeError,
  readdress,
} from '../../src/cluster/ring-change.ts'
import { encodeRing } from '../../src/cluster/ring-format.ts'
import type { NodeId } from '../../src/cluster/ring-member.ts'
import { KvError, TimeoutError } from '../../src/errors.ts'
import type { Random } from '../../src/random.ts'
import type { FakeEngine } from '../support/fake-engine.ts'
import { randomMember } from '../support/random-ring.ts'
import { printSeed } from '../support/seed.ts'
import { type SimRingNode, SimRings } from '../support/sim-rings.ts'

function moved(random: Random, nodeId: NodeId): (ring: Ring) => Ring {
  const clientAddress = `h${random.below(2 ** 31)}:1`
  return ring => readdress(ring, nodeId, { clientAddress, peerAddress: '' })
}

/** Lets time pass until the call is settled. */
async function settled<T>(rings: SimRings, call: Promise<T>): Promise<T> {
  let isSettled = false
  const mark = (): void => {
    isSettled = true
  }
  call.then(mark, mark)
  while (!isSettled) await rings.clock.advanceAsync(10)
  return await call
}

async function running(seed: number, count: number, lossRate = 0): Promise<SimRings> {
  const rings = new SimRings(seed, count, lossRate)
  await rings.startAll()
  return rings
}

describe('epoch agreement', () => {
  for (const count of [1, 2, 3, 5]) {
    test(`of ${count} members one changes the ring, and all go by it`, async t => {
      const rings = await running(printSeed(t), count)
      const [id] = rings.ids
      const { agreement } = rings.nodes.get(id!)!
      const ring = await settled(rings, agreement.change(moved(rings.random, id!), 5000))
      assert.equal(ring.epoch, rings.first.epoch + 1)
      await rings.clock.advanceAsync(1000)
      for (const node of rings.nodes.values()) assert.deepEqual(node.ring.bytes, encodeRing(ring))
    })
  }

  test('all propose at once: every change goes through, one after another', async t => {
    const rings = await running(printSeed(t), 4)
    const calls = rings.ids.map(id =>
      rings.nodes.get(id)!.agreement.change(moved(rings.random, id), 60_000),
    )
    const results = await settled(rings, Promise.all(calls))
    await rings.clock.advanceAsync(2000)
    const epochs = new Set(results.map(({ epoch }) => epoch))
    assert.equal(epochs.size, 4)
    for (const node of rings.nodes.values()) assert.equal(node.ring.ring.epoch, Math.max(...epochs))
  })

  test('a majority is enough, half is not, and the error says who is missing', async t => {
    const rings = await running(printSeed(t), 4)
    const [one, two, three, four] = rings.ids
    rings.crash(four!)
    const { agreement } = rings.nodes.get(one!)!
    await settled(rings, agreement.change(moved(rings.random, one!), 5000))
    rings.crash(three!)
    await assert.rejects(
      settled(rings, agreement.change(moved(rings.random, one!), 5000)),
      error =>
        error instanceof TimeoutError &&
        error.outcome === 'rejected' &&
        error.message.includes('3 of 4') &&
        error.message.includes(three!) &&
        !error.message.includes(two!),
    )
    assert.equal(rings.nodes.get(two!)!.ring.ring.epoch, rings.first.epoch + 1)
  })

  test('a disk that was taken back as an old copy has no vote until it is compared', async t => {
    const rings = await running(printSeed(t), 3)
    const [one, two, three] = rings.ids
    const { agreement } = rings.nodes.get(one!)!
    const change = () => settled(rings, agreement.change(moved(rings.random, one!), 5000))
    rings.forgetful.add(three!)
    await change()
    await rings.clock.advanceAsync(1000)
    const { epoch } = rings.nodes.get(three!)!.ring.ring
    assert.equal(epoch, rings.first.epoch + 1, 'it goes by what the others decide')
    rings.crash(two!)
    await assert.rejects(change(), error => error instanceof KvError)
    assert.equal(rings.nodes.get(one!)!.ring.ring.epoch, epoch)
    rings.forgetful.delete(three!)
    assert.equal((await change()).epoch, epoch + 1)
  })

  test('a member that was away is brought up to the epoch, and then has its say', async t => {
    const rings = await running(printSeed(t), 3)
    const [one, two, three] = rings.ids
    const disk = rings.crash(three!)
    const { agreement } = rings.nodes.get(one!)!
    for (let change = 0; change < 3; change++) {
      await settled(rings, agreement.change(moved(rings.random, one!), 5000))
    }
    rings.crash(two!)
    await rings.start(three!, disk)
    await rings.clock.advanceAsync(50)
    const ring = await settled(rings, agreement.change(moved(rings.random, one!), 5000))
    await rings.clock.advanceAsync(100)
    assert.deepEqual(rings.nodes.get(three!)!.ring.bytes, encodeRing(ring))
  })

  test('what was decided stays, though who decided it dies at once and the witness restarts', async t => {
    const rings = await running(printSeed(t), 3)
    const [one, two, three] = rings.ids
    rings.network.cut(one!, three!)
    const { agreement, ring } = rings.nodes.get(one!)!
    const disks = new Map<NodeId, FakeEngine>()
    ring.onChange(() => {
      for (const id of [one!, two!]) disks.set(id, rings.crash(id))
    })
    const decided = agreement.change(moved(rings.random, one!), 5000)
    await rings.clock.advanceAsync(1000)
    const first = await decided
    await rings.start(two!, disks.get(two!)!)
    await rings.clock.advanceAsync(100)
    const other = rings.nodes.get(three!)!.agreement
    const second = await settled(rings, other.change(moved(rings.random, three!), 5000))
    assert.equal(second.epoch, first.epoch + 1)
    assert.deepEqual(rings.history.get(first.epoch), encodeRing(first))
    await rings.start(one!, disks.get(one!)!)
  })

  test('one operation at a time: the second finds the first under way', async t => {
    const rings = await running(printSeed(t), 3)
    const [one, two] = rings.ids
    const join = (ring: Ring): Ring => beginJoin(ring, newcomer)
    const newcomer = randomMember(rings.random)
    const other = randomMember(rings.random)
    const first = rings.nodes.get(one!)!.agreement.change(join, 30_000)
    const second = rings.nodes.get(two!)!.agreement.change(ring => beginJoin(ring, other), 30_000)
    const results = await settled(rings, Promise.allSettled([first, second]))
    const failed = results.filter(result => result.status === 'rejected')
    assert.equal(failed.length, 1)
    assert.ok(failed[0]!.reason instanceof RingChangeError && failed[0]!.reason.reason === 'busy')
  })

  test('who has no say yet cannot propose, and a stranger is refused', async t => {
    const rings = await running(printSeed(t), 3)
    const [one] = rings.ids
    const newcomer = randomMember(rings.random)
    const { agreement } = rings.nodes.get(one!)!
    const join = (ring: Ring): Ring => beginJoin(ring, newcomer)
    const ring = await settled(rings, agreement.change(join, 5000))
    const joining = await rings.start(newcomer.nodeId, ring)
    await rings.clock.advanceAsync(50)
    const early = joining.agreement.change(moved(rings.random, one!), 1000)
    await assert.rejects(settled(rings, early), RingChangeError)
    await settled(rings, agreement.change(moveReads, 5000))
    await settled(rings, agreement.change(finish, 5000))
    await rings.clock.advanceAsync(1000)
    await settled(rings, joining.agreement.change(moved(rings.random, newcomer.nodeId), 5000))
  })

  test('random histories: never two rings of one epoch, and in peace it goes on', async t => {
    const seed = printSeed(t)
    for (let round = 0; round < 25; round++) await randomHistory(seed + round)
  })
})

/** What may come next of the ring, among the nodes that there are. */
function anyChange(random: Random, ids: readonly NodeId[]): (ring: Ring) => Ring {
  const pick = ids[random.below(ids.length)]!
  const clientAddress = `h${random.below(2 ** 31)}:1`
  const kind = random.below(4)
  return ring => {
    if (kind === 0 && ring.phase === 'stable' && ring.members.length > 2) {
      const { nodeId } = ring.members[random.below(ring.members.length)]!
      return beginLeave(ring, nodeId, { allowFewerReplicas: true })
    }
    if (kind === 1 && ring.phase === 'readOld') return abort(ring)
    if (kind < 3 && ring.phase === 'readOld') return moveReads(ring)
    if (kind < 3 && ring.phase === 'readNew') return finish(ring)
    const member = ring.members.find(({ nodeId }) => nodeId === pick) ?? ring.members[0]!
    return readdress(ring, member.nodeId, { clientAddress, peerAddress: '' })
  }
}

/** One of them changes the ring. What was accepted before and decided now may take it out. */
async function changeByOne(rings: SimRings, members: readonly SimRingNode[]): Promise<Ring> {
  for (const { agreement } of members) {
    try {
      const change = anyChange(rings.random, rings.ids)
      return await settled(rings, agreement.change(change, 30_000))
    } catch (error) {
      if (!(error instanceof RingChangeError) || error.reason !== 'unknown-member') throw error
    }
  }
  throw new Error('somebody has a say')
}

async function randomHistory(seed: number): Promise<void> {
  const rings = await running(seed, 3 + (seed % 3), (seed % 4) * 0.1)
  const { random, ids } = rings
  const disks = new Map<NodeId, FakeEngine>()
  const changed: Ring[] = []
  const propose = (node: SimRingNode): void => {
    node.agreement.change(anyChange(random, ids), 3000).then(
      ring => {
        changed.push(ring)
      },
      error => assert.ok(error instanceof KvError, error),
    )
  }
  for (let step = 0; step < 120; step++) {
    const id = ids[random.below(ids.length)]!
    const node = rings.nodes.get(id)
    const what = random.below(10)
    if (node === undefined) {
      if (what < 4) await rings.start(id, disks.get(id)!)
    } else if (what < 2) {
      disks.set(id, rings.crash(id))
    } else if (what === 2) {
      rings.network.cut(id, ids[random.below(ids.length)]!)
    } else if (what === 3) {
      rings.network.healAll()
    } else {
      propose(node)
    }
    if (random.below(3) === 0) rings.gossip()
    await rings.clock.advanceAsync(random.below(100), 2)
  }
  rings.network.healAll()
  rings.network.lossRate = 0
  for (const id of ids) if (!rings.nodes.has(id)) await rings.start(id, disks.get(id)!)
  for (let second = 0; second < 5; second++) {
    rings.gossip()
    await rings.clock.advanceAsync(1000, 2)
  }
  for (const ring of changed) {
    assert.deepEqual(rings.history.get(ring.epoch), encodeRing(ring), `seed ${seed}`)
  }
  const members = [...rings.nodes.values()].filter(node =>
    node.ring.ring.members.some(({ nodeId }) => nodeId === node.peers.self),
  )
  const last = await changeByOne(rings, members)
  for (let second = 0; second < 20; second++) {
    rings.gossip()
    await rings.clock.advanceAsync(1000, 2)
  }
  const latest = Math.max(...rings.history.keys())
  assert.ok(latest >= last.epoch)
  for (const node of rings.nodes.values())
    assert.equal(node.ring.ring.epoch, latest, `seed ${seed}`)
}

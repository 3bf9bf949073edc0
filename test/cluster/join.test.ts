// Goal: nodes that join an empty cluster all become members, whoever crashes or is away meanwhile;
// nobody joins where there is data, and who cannot join is told why.
// Method: whole joins over simulated links and engines that keep what was fsynced, one story each.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { adoptCluster } from '../../src/cluster/cluster-discovery.ts'
import {
  decodeEmptiness,
  decodeJoinAnswer,
  decodeJoinRequest,
  encodeEmptiness,
  encodeIsEmpty,
  encodeJoin,
  encodeJoinAnswer,
} from '../../src/cluster/join-format.ts'
import { createRing } from '../../src/cluster/ring.ts'
import { initRing } from '../../src/cluster/ring-change.ts'
import type { NewMember, NodeId } from '../../src/cluster/ring-member.ts'
import { InvalidArgumentError, IoError, ProtocolError } from '../../src/errors.ts'
import { FakeEngine } from '../support/fake-engine.ts'
import { readProjectFile } from '../support/project-files.ts'
import { randomId, randomMember } from '../support/random-ring.ts'
import { printSeed } from '../support/seed.ts'
import { SimRings } from '../support/sim-rings.ts'

async function running(seed: number, count: number): Promise<SimRings> {
  const rings = new SimRings(seed, count)
  await rings.startAll()
  return rings
}

function newcomerOf(rings: SimRings): NewMember {
  const member = randomMember(rings.random)
  return { ...member, peerAddress: `new-${member.nodeId.slice(0, 8)}:1` }
}

async function until(rings: SimRings, holds: () => boolean, maxMs = 30_000): Promise<void> {
  const endMs = rings.clock.monotonicMs() + maxMs
  while (!holds()) {
    assert.ok(rings.clock.monotonicMs() < endMs, 'in time')
    await rings.clock.advanceAsync(20)
  }
}

async function settled<T>(rings: SimRings, call: Promise<T>): Promise<T> {
  let isSettled = false
  const mark = (): void => {
    isSettled = true
  }
  call.then(mark, mark)
  await until(rings, () => isSettled, 120_000)
  return await call
}

function isMember(rings: SimRings, id: NodeId): boolean {
  return [...rings.nodes.values()].every(({ ring }) => {
    const member = ring.ring.members.find(({ nodeId }) => nodeId === id)
    return ring.ring.phase === 'stable' && member?.state === 'normal'
  })
}

describe('join', () => {
  test('four nodes join a cluster of one at the same time', async t => {
    const rings = await running(printSeed(t), 1)
    const newcomers = Array.from({ length: 4 }, () => newcomerOf(rings))
    for (const { nodeId } of newcomers) await rings.start(nodeId, rings.first)
    await rings.clock.advanceAsync(50)
    await settled(rings, Promise.all(newcomers.map(member => rings.join(member))))
    await until(rings, () => newcomers.every(({ nodeId }) => isMember(rings, nodeId)))
    const [first] = rings.nodes.values()
    assert.equal(first!.ring.ring.members.length, 5)
    assert.equal(first!.ring.ring.epoch, rings.first.epoch + 3 * 4)
    for (const member of newcomers) {
      const found = first!.ring.ring.members.find(({ nodeId }) => nodeId === member.nodeId)
      assert.equal(found?.peerAddress, member.peerAddress)
      assert.equal(found?.clientAddress, member.clientAddress)
    }
  })

  for (const phase of ['readOld', 'readNew'] as const) {
    test(`a member that leads a join dies in phase ${phase}: another one goes on`, async t => {
      const rings = await running(printSeed(t), 3)
      const member = newcomerOf(rings)
      await rings.start(member.nodeId, rings.first)
      await rings.clock.advanceAsync(50)
      let leader: NodeId | undefined
      let disk: FakeEngine | undefined
      for (const [id, node] of [...rings.nodes]) {
        if (id === member.nodeId) continue
        node.ring.onChange(ring => {
          if (leader !== undefined || ring.phase !== phase) return
          // The first to go by the ring is who had it decided.
          leader = id
          rings.clock.setTimer(5, () => {
            disk = rings.crash(id)
          })
        })
      }
      const joined = rings.join(member)
      await until(rings, () => disk !== undefined)
      await rings.clock.advanceAsync(3000)
      await rings.start(leader!, disk!)
      await settled(rings, joined)
      await until(rings, () => isMember(rings, member.nodeId))
    })
  }

  test('a node that dies while it joins goes on when it is started again', async t => {
    const rings = await running(printSeed(t), 2)
    const member = newcomerOf(rings)
    const node = await rings.start(member.nodeId, rings.first)
    await rings.clock.advanceAsync(50)
    let disk: FakeEngine | undefined
    node.ring.onChange(() => {
      disk ??= rings.crash(member.nodeId)
    })
    void rings.join(member).catch(() => undefined)
    await until(rings, () => disk !== undefined)
    await rings.clock.advanceAsync(20_000)
    await rings.start(member.nodeId, disk!)
    await rings.clock.advanceAsync(50)
    await settled(rings, rings.join(member))
    await until(rings, () => isMember(rings, member.nodeId))
  })

  test('a join waits for a member that is away', async t => {
    const rings = await running(printSeed(t), 3)
    const [away] = rings.ids
    const disk = rings.crash(away!)
    const member = newcomerOf(rings)
    await rings.start(member.nodeId, rings.first)
    await rings.clock.advanceAsync(50)
    const joined = rings.join(member)
    await rings.clock.advanceAsync(10_000)
    const [any] = rings.nodes.values()
    assert.equal(any!.ring.ring.epoch, rings.first.epoch, 'nothing has begun')
    await rings.start(away!, disk)
    await settled(rings, joined)
    await until(rings, () => isMember(rings, member.nodeId))
  })

  test('nobody joins where there is data, and the error says what to do', async t => {
    const rings = await running(printSeed(t), 2)
    rings.filled.add(rings.ids[1]!)
    const member = newcomerOf(rings)
    await rings.start(member.nodeId, rings.first)
    await rings.clock.advanceAsync(50)
    await assert.rejects(settled(rings, rings.join(member)), error => {
      return error instanceof InvalidArgumentError && /export the data/.test(error.message)
    })
    for (const { ring } of rings.nodes.values()) assert.equal(ring.ring.epoch, rings.first.epoch)
  })

  test('where there is data nobody waits to join for a member that is away, as a lost disk is', async t => {
    const rings = await running(printSeed(t), 3)
    rings.filled.add(rings.ids[1]!)
    rings.crash(rings.ids[2]!)
    const member = newcomerOf(rings)
    await rings.start(member.nodeId, rings.first)
    await rings.clock.advanceAsync(50)
    await assert.rejects(settled(rings, rings.join(member)), error => {
      return error instanceof InvalidArgumentError && /export the data/.test(error.message)
    })
  })

  test('nobody joins whom a member does not reach where it says that it is', async t => {
    const rings = await running(printSeed(t), 2)
    const member = newcomerOf(rings)
    await rings.start(member.nodeId, rings.first)
    await rings.clock.advanceAsync(50)
    rings.at.set(member.peerAddress, undefined)
    const joined = rings.join(member)
    await rings.clock.advanceAsync(10_000)
    for (const { ring } of rings.nodes.values()) assert.equal(ring.ring.epoch, rings.first.epoch)
    rings.at.set(member.peerAddress, member.nodeId)
    await settled(rings, joined)
    const other = { ...newcomerOf(rings), peerAddress: member.peerAddress }
    await rings.start(other.nodeId, rings.first)
    await rings.clock.advanceAsync(50)
    await assert.rejects(settled(rings, rings.join(other)), /the members find another one/)
  })

  test('a write that comes while a node joins takes the join back', async t => {
    const rings = await running(printSeed(t), 2)
    const member = newcomerOf(rings)
    await rings.start(member.nodeId, rings.first)
    await rings.clock.advanceAsync(50)
    const [id] = rings.ids
    rings.nodes.get(id!)!.ring.onChange(({ phase }) => {
      if (phase === 'readOld') rings.filled.add(id!)
    })
    await assert.rejects(settled(rings, rings.join(member)), InvalidArgumentError)
    await rings.clock.advanceAsync(1000)
    for (const { ring } of rings.nodes.values()) {
      assert.equal(ring.ring.phase, 'stable')
      assert.ok(ring.ring.removedIds.includes(member.nodeId))
    }
  })

  test('who was removed, or hides where it is, is refused', async t => {
    const seed = printSeed(t)
    const rings = new SimRings(seed, 1)
    const removed = newcomerOf(rings)
    const ring = createRing({ ...rings.first, removedIds: [removed.nodeId] })
    await rings.start(rings.ids[0]!, ring)
    await rings.start(removed.nodeId, ring)
    await rings.clock.advanceAsync(50)
    await assert.rejects(settled(rings, rings.join(removed)), /has left this cluster for good/)
    const hidden = { ...newcomerOf(rings), peerAddress: '' }
    await rings.start(hidden.nodeId, ring)
    await rings.clock.advanceAsync(50)
    await assert.rejects(settled(rings, rings.join(hidden)), /where others reach it/)
  })

  test('a cluster with too many partitions for peers takes nobody in', async t => {
    const rings = new SimRings(printSeed(t), 1)
    const ids = { clusterId: rings.first.clusterId, partitionCount: 65_536, virtualNodes: 1 }
    const first = { nodeId: rings.ids[0]!, clientAddress: '', peerAddress: 'a:1' }
    rings.first = initRing(first, ids)
    await rings.startAll()
    const member = newcomerOf(rings)
    await rings.start(member.nodeId, rings.first)
    await rings.clock.advanceAsync(50)
    await assert.rejects(settled(rings, rings.join(member)), /at most 32768/)
  })

  test('a node whose members cannot be reached goes on asking until it is told to stop', async t => {
    const rings = await running(printSeed(t), 1)
    const member = newcomerOf(rings)
    rings.crash(rings.ids[0]!)
    await rings.start(member.nodeId, rings.first)
    const stop = new AbortController()
    const joined = rings.join(member, stop.signal)
    await rings.clock.advanceAsync(60_000)
    stop.abort(new Error('enough'))
    await assert.rejects(settled(rings, joined), /enough/)
  })
})

test('a full disk ends a join before the cluster hears of it', async () => {
  const rings = new SimRings(1, 1)
  const engine = new FakeEngine({ wallMs: () => 0 })
  const adoption = {
    path: '/data',
    nodeId: 'ab'.repeat(16),
    ring: rings.first,
    partitionCount: undefined,
    createdMs: 1,
  }
  engine.failNextWrite = new IoError('no space left on the disk')
  await assert.rejects(adoptCluster(engine, adoption), /no space left/)
  assert.equal(engine.rows.length, 0)
  await adoptCluster(engine, adoption)
  assert.equal(engine.rows.length, 2)
  await assert.rejects(adoptCluster(engine, adoption), /directory of its own/)
})

describe('join format', () => {
  const from = '11'.repeat(16)

  test('the example of the page is what the code writes and reads', () => {
    const page = readProjectFile('src/cluster/PROTOCOL.md')
    const [, block] = /^```hex join\n([\s\S]*?)^```$/m.exec(page) ?? []
    assert.ok(block !== undefined, 'the page has the example')
    const hex = block.replace(/ {2,}.*$/gm, '').replaceAll(/\s/g, '')
    const bytes = new Uint8Array(Buffer.from(hex, 'hex'))
    const member = {
      nodeId: from,
      clientAddress: '10.0.0.1:7700',
      peerAddress: '10.0.0.1:7800',
      rack: 'a',
      weight: 1,
    }
    assert.deepEqual(encodeJoin(member), bytes)
    assert.deepEqual(decodeJoinRequest(bytes, from), { step: 'join', member })
  })

  test('messages are read as they were written', () => {
    const member = {
      nodeId: from,
      clientAddress: '10.0.0.1:7700',
      peerAddress: '[::1]:1',
      rack: 'a',
      weight: 2,
    }
    assert.deepEqual(decodeJoinRequest(encodeJoin(member), from), { step: 'join', member })
    const empty = { step: 'isEmpty', epoch: 7 } as const
    assert.deepEqual(decodeJoinRequest(encodeIsEmpty(7), from), empty)
    for (const outcome of ['joined', 'later', 'refused'] as const) {
      const answer = { outcome, text: 'why, for whom' }
      assert.deepEqual(decodeJoinAnswer(encodeJoinAnswer(answer), from), answer)
    }
    for (const isEmpty of [true, false]) {
      const emptiness = { epoch: 3, isEmpty }
      assert.deepEqual(decodeEmptiness(encodeEmptiness(emptiness), from), emptiness)
    }
  })

  test('anything else is refused, naming who sent it', () => {
    const member = { ...randomMemberOf(), peerAddress: 'a:1' }
    const bytes = encodeJoin(member)
    const wrong = [...bytes.keys()].map(size => bytes.subarray(0, size))
    for (const cut of [...wrong, bytes.with(0, 2), bytes.with(1, 3), bytes.with(2, 65)]) {
      assert.throws(
        () => decodeJoinRequest(cut, from),
        error => error instanceof ProtocolError && error.message.includes(from),
      )
    }
    assert.throws(() => decodeJoinAnswer(Uint8Array.of(1, 9), from), ProtocolError)
  })
})

function randomMemberOf(): NewMember {
  const rings = new SimRings(1, 1)
  return { ...randomMember(rings.random), nodeId: randomId(rings.random) }
}

// Goal: rings change by one operation at a time, through its phases, and nobody who left returns.
// Method: random histories held against the invariants of ring.ts; every refusal, by its reason.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createRing, findMember, operationOf, type Ring } from '../../src/cluster/ring.ts'
import {
  abort,
  beginJoin,
  beginLeave,
  beginRemove,
  beginReplace,
  finish,
  initRing,
  moveReads,
  RingChangeError,
  type RingRefusal,
  readdress,
} from '../../src/cluster/ring-change.ts'
import { nodeIdOf } from '../../src/cluster/ring-member.ts'
import { InvalidArgumentError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { anyStep, joined, randomId, randomMember, ringOf, specs } from '../support/random-ring.ts'
import { printSeed } from '../support/seed.ts'

const random = seededRandom(11)
const RULES = { partitionCount: 16, replicationFactor: 2, virtualNodes: 8 }

function newRing(members: number): Ring {
  return ringOf(random, { ...RULES, members: Array.from({ length: members }, () => ({})) })
}

function refused(reason: RingRefusal, change: () => unknown): void {
  assert.throws(change, (error: unknown) => {
    assert.ok(error instanceof RingChangeError, String(error))
    assert.equal(error.reason, reason)
    assert.equal(error.code, 'KV_INVALID_ARGUMENT')
    assert.equal(error.action, reason === 'busy' ? 'retry-later' : 'fix-request')
    return true
  })
}

function states(ring: Ring): Record<string, string> {
  return Object.fromEntries(ring.members.map(({ nodeId, state }) => [nodeId, state]))
}

test('random histories keep to the invariants', t => {
  const seed = printSeed(t)
  const run = fc.property(specs(4), fc.integer(), (spec, ids) => {
    const choices = seededRandom(ids)
    let ring = ringOf(choices, spec)
    const everMembers = new Set(ring.members.map(({ nodeId }) => nodeId))
    for (let step = 0; step < 60; step++) {
      const next = anyStep(choices, ring)
      assert.equal(next.epoch, ring.epoch + 1)
      assert.deepEqual(createRing(next), next)
      assert.ok(Object.isFrozen(next) && Object.isFrozen(next.members))
      assert.equal(next.phase === 'stable', operationOf(next.members) === undefined)
      for (const id of ring.removedIds) assert.ok(next.removedIds.includes(id))
      for (const { nodeId } of next.members) everMembers.add(nodeId)
      assert.equal(everMembers.size, next.members.length + next.removedIds.length)
      ring = next
    }
  })
  fc.assert(run, { seed, numRuns: 40 })
})

describe('a ring begins', () => {
  test('as epoch 1 with one member', () => {
    const member = randomMember(random)
    const ring = initRing(member, { clusterId: randomId(random), partitionCount: 1024 })
    assert.equal(ring.epoch, 1)
    assert.equal(ring.phase, 'stable')
    assert.equal(ring.replicationFactor, 3)
    assert.equal(ring.virtualNodes, 128)
    assert.deepEqual(states(ring), { [member.nodeId]: 'normal' })
  })

  test('not with what is out of bounds', () => {
    const clusterId = randomId(random)
    const member = randomMember(random)
    for (const [fields, options] of [
      [{ nodeId: 'me' }, {}],
      [{ nodeId: member.nodeId.toUpperCase() }, {}],
      [{ weight: 0 }, {}],
      [{ weight: 65 }, {}],
      [{ weight: 1.5 }, {}],
      [{ rack: 'a b' }, {}],
      [{ rack: 'r'.repeat(65) }, {}],
      [{ clientAddress: 'nowhere' }, {}],
      [{ peerAddress: `${'h'.repeat(250)}:12345` }, {}],
      [{}, { clusterId: '' }],
      [{}, { partitionCount: 1000 }],
      [{}, { replicationFactor: 0 }],
      [{}, { replicationFactor: 8 }],
      [{}, { virtualNodes: 0 }],
      [{}, { virtualNodes: 1025 }],
    ] as const) {
      const all = { clusterId, partitionCount: 16, ...options }
      assert.throws(() => initRing({ ...member, ...fields }, all), InvalidArgumentError)
    }
  })
})

describe('a node that joins', () => {
  const ring = newRing(3)
  const member = randomMember(random)

  test('becomes a member like the others', () => {
    const begun = beginJoin(ring, member, 9)
    assert.equal(begun.phase, 'readOld')
    assert.equal(findMember(begun, member.nodeId)?.state, 'joining')
    assert.equal(findMember(begun, member.nodeId)?.tokenSalt, 9)
    assert.deepEqual(operationOf(begun.members), { type: 'join', joining: member.nodeId })
    const moved = moveReads(begun)
    assert.equal(moved.phase, 'readNew')
    const done = finish(moved)
    assert.equal(done.members.length, 4)
    assert.deepEqual(new Set(Object.values(states(done))), new Set(['normal']))
    assert.deepEqual(done.removedIds, [])
  })

  test('and is given up does not come back', () => {
    const back = abort(beginJoin(ring, member))
    assert.deepEqual(back.members, ring.members)
    assert.deepEqual(back.removedIds, [member.nodeId])
    refused('removed', () => beginJoin(back, member))
  })

  test('is refused when it is there, alone counts, or out of bounds', () => {
    refused('member', () => beginJoin(ring, { ...member, nodeId: ring.members[1]!.nodeId }))
    refused('limit', () => beginJoin(ring, { ...member, weight: 65 }))
    refused('limit', () => beginJoin(ring, member, 0x1_0000))
    refused('busy', () => beginJoin(beginJoin(ring, member), randomMember(random)))
  })

  test('with the tokens of another is no member', () => {
    const { members } = beginJoin(ring, member)
    const twin = members.map(other =>
      other.nodeId === member.nodeId ? { ...other, tokenId: ring.members[0]!.tokenId } : other,
    )
    const doubled = { ...ring, phase: 'readOld', members: twin } as const
    assert.throws(() => createRing(doubled), InvalidArgumentError)
  })
})

describe('a member', () => {
  const ring = newRing(3)
  const { nodeId } = ring.members[1]!

  test('that leaves is remembered', () => {
    const begun = beginLeave(ring, nodeId)
    assert.deepEqual(operationOf(begun.members), { type: 'leave', going: nodeId })
    const done = finish(moveReads(begun))
    assert.equal(done.members.length, 2)
    assert.deepEqual(done.removedIds, [nodeId])
    refused('removed', () => beginJoin(done, { ...randomMember(random), nodeId }))
    assert.deepEqual(abort(begun), { ...ring, epoch: ring.epoch + 2 })
  })

  test('leaves no fewer than there are to be replicas, unless that is meant', () => {
    const two = finish(moveReads(beginLeave(ring, nodeId)))
    const other = two.members[0]!.nodeId
    refused('too-few-members', () => beginLeave(two, other))
    const one = finish(moveReads(beginLeave(two, other, { allowFewerReplicas: true })))
    refused('last-member', () => beginLeave(one, one.members[0]!.nodeId))
    refused('last-member', () => beginRemove(one, one.members[0]!.nodeId))
    assert.equal(beginRemove(two, other).phase, 'readOld')
  })

  test('that is removed is remembered', () => {
    const begun = beginRemove(ring, nodeId)
    assert.deepEqual(operationOf(begun.members), { type: 'remove', going: nodeId })
    assert.deepEqual(finish(moveReads(begun)).removedIds, [nodeId])
  })

  test('that is replaced hands on its tokens and weight, again and again', () => {
    const heavy = joined(ring, randomMember(random, { weight: 3 }), 77)
    const going = heavy.members.find(({ weight }) => weight === 3)!
    const first = randomMember(random, { weight: 1 })
    const begun = beginReplace(heavy, going.nodeId, first)
    const operation = { type: 'replace', going: going.nodeId, joining: first.nodeId }
    assert.deepEqual(operationOf(begun.members), operation)
    const second = randomMember(random)
    const done = finish(moveReads(begun))
    const again = finish(moveReads(beginReplace(done, first.nodeId, second)))
    const { tokenId, tokenSalt, weight, state } = findMember(again, second.nodeId)!
    assert.deepEqual([tokenId, tokenSalt, weight, state], [going.tokenId, 77, 3, 'normal'])
    assert.deepEqual(new Set(again.removedIds), new Set([going.nodeId, first.nodeId]))
    const back = abort(begun)
    assert.deepEqual(back.members, heavy.members)
    assert.deepEqual(back.removedIds, [first.nodeId])
    refused('member', () => beginReplace(heavy, going.nodeId, { ...first, nodeId }))
    refused('removed', () => beginReplace(done, first.nodeId, { ...first, nodeId: going.nodeId }))
  })

  test('that is none cannot go', () => {
    const nobody = randomId(random)
    refused('unknown-member', () => beginLeave(ring, nobody))
    refused('unknown-member', () => beginRemove(ring, nobody))
    refused('unknown-member', () => beginReplace(ring, nobody, randomMember(random)))
    refused('unknown-member', () => readdress(ring, nobody, ring.members[0]!))
  })

  test('is reached elsewhere at any time, and nothing else changes', () => {
    const addresses = { clientAddress: '[::1]:1', peerAddress: 'host.example:2' }
    for (const now of [ring, beginLeave(ring, nodeId), moveReads(beginLeave(ring, nodeId))]) {
      const moved = readdress(now, nodeId, addresses)
      assert.equal(moved.epoch, now.epoch + 1)
      assert.deepEqual(findMember(moved, nodeId), { ...findMember(now, nodeId), ...addresses })
      assert.deepEqual(states(moved), states(now))
      assert.equal(moved.phase, now.phase)
    }
    refused('limit', () => readdress(ring, nodeId, { ...addresses, clientAddress: 'x' }))
  })
})

test('phases come in their order', () => {
  const ring = newRing(3)
  const begun = beginRemove(ring, ring.members[0]!.nodeId)
  const moved = moveReads(begun)
  for (const change of [moveReads, finish, abort]) refused('not-under-way', () => change(ring))
  refused('not-under-way', () => finish(begun))
  refused('not-under-way', () => moveReads(moved))
  refused('too-late', () => abort(moved))
  const other = ring.members[1]!.nodeId
  for (const now of [begun, moved]) {
    refused('busy', () => beginJoin(now, randomMember(random)))
    refused('busy', () => beginLeave(now, other))
    refused('busy', () => beginRemove(now, other))
    refused('busy', () => beginReplace(now, other, randomMember(random)))
  }
})

test('a mixture of operations, or a phase without one, is no ring', () => {
  const ring = newRing(3)
  const [a, b, c] = ring.members
  for (const members of [
    [{ ...a!, state: 'leaving' }, { ...b!, state: 'leaving' }, c!],
    [{ ...a!, state: 'leaving' }, { ...b!, state: 'joining' }, c!],
    [{ ...a!, state: 'replaced' }, b!, c!],
    [{ ...a!, state: 'replaced' }, { ...b!, state: 'joining' }, c!],
    [a!, b!, c!],
    [a!, a!, { ...c!, state: 'leaving' }],
  ] as const) {
    assert.throws(() => createRing({ ...ring, phase: 'readOld', members }), InvalidArgumentError)
  }
  const leaving = [{ ...a!, state: 'leaving' }, b!, c!] as const
  assert.throws(() => createRing({ ...ring, members: leaving }), InvalidArgumentError)
  const removedIds = [a!.nodeId]
  assert.throws(() => createRing({ ...ring, removedIds }), InvalidArgumentError)
  assert.throws(() => createRing({ ...ring, members: [] }), InvalidArgumentError)
})

test('a ring remembers as many ids as it can before it stops changing', () => {
  const ring = newRing(2)
  const ids = Array.from({ length: 65_535 }, () => nodeIdOf(random.bytes(16)))
  const full = createRing({ ...ring, removedIds: ids })
  refused('limit', () => beginJoin(full, randomMember(random)))
  const last = createRing({ ...ring, removedIds: ids.slice(1) })
  assert.equal(abort(beginJoin(last, randomMember(random))).removedIds.length, 65_535)
})

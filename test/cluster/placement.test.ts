// Goal: preference lists are full, distinct, spread over racks, the same for everybody, and change
// as little as they can when a member comes.
// Method: properties over random members, racks and weights; the walk written out naively as a
// model; a golden ring, which pins the hash for every platform and build.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ownerIds, partitionMoves } from '../../src/cluster/partition-moves.ts'
import { Placement } from '../../src/cluster/placement.ts'
import { createRing, type Ring } from '../../src/cluster/ring.ts'
import { beginJoin, initRing } from '../../src/cluster/ring-change.ts'
import { newMember, ownsAfter, ownsBefore } from '../../src/cluster/ring-member.ts'
import { memberTokens, TokenRing } from '../../src/cluster/token-ring.ts'
import { xxh32 } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { randomMember, ringOf, specs } from '../support/random-ring.ts'
import { printSeed } from '../support/seed.ts'

function placementOf(ring: Ring): Placement {
  return new Placement(ring.members, ownsAfter, ring)
}

function lists(placement: Placement): string[][] {
  return Array.from({ length: placement.partitionCount }, (_, partition) =>
    ownerIds(placement, partition),
  )
}

/** The rule of placement.ts in the plainest words: sorted pairs, and as many lists as it takes. */
function modelList(ring: Ring, partition: number): string[] {
  const tokens = ring.members
    .flatMap(member => Array.from(memberTokens(member, ring.virtualNodes), at => ({ at, member })))
    .sort((a, b) => a.at - b.at || (a.member.tokenId < b.member.tokenId ? -1 : 1))
  const start = (partition * 2 ** 32) / ring.partitionCount
  const walk = [...tokens.filter(({ at }) => at >= start), ...tokens]
  const distinct = [...new Set(walk.map(({ member }) => member))]
  const firstOfRack = distinct.filter(
    (member, at) => distinct.findIndex(({ rack }) => rack === member.rack) === at,
  )
  const list = [...new Set([...firstOfRack, ...distinct])]
  return list.slice(0, ring.replicationFactor).map(({ nodeId }) => nodeId)
}

function property(seed: number, membersMax: number, check: (random: Random, ring: Ring) => void) {
  fc.assert(
    fc.property(specs(membersMax), fc.integer(), (spec, ids) => {
      const random = seededRandom(ids)
      check(random, ringOf(random, spec))
    }),
    { seed, numRuns: 150 },
  )
}

describe('a preference list', () => {
  test('has as many distinct owners as there can be, and racks as far as there are', t => {
    property(printSeed(t), 12, (_, ring) => {
      const width = Math.min(ring.replicationFactor, ring.members.length)
      const racks = new Set(ring.members.map(({ rack }) => rack)).size
      const rackOf = new Map(ring.members.map(({ nodeId, rack }) => [nodeId, rack]))
      for (const list of lists(placementOf(ring))) {
        assert.equal(new Set(list).size, width)
        const first = list.slice(0, Math.min(width, racks)).map(id => rackOf.get(id))
        assert.equal(new Set(first).size, first.length)
      }
    })
  })

  test('is the walk of the ring that the rule says', t => {
    property(printSeed(t), 8, (random, ring) => {
      const placement = placementOf(ring)
      const partition = random.below(ring.partitionCount)
      assert.deepEqual(ownerIds(placement, partition), modelList(ring, partition))
    })
  })

  test('is the same whatever the order of the members', t => {
    property(printSeed(t), 8, (random, ring) => {
      const shuffled = ring.members.toSorted(() => random.below(2) - 0.5)
      const again = new Placement(shuffled, ownsAfter, ring)
      assert.deepEqual(lists(again), lists(placementOf(ring)))
    })
  })

  test('changes by one when a member comes, which is the one that comes in', t => {
    property(printSeed(t), 10, (random, ring) => {
      const rack = 'abx'[random.below(3)]!
      const member = randomMember(random, { rack, weight: 1 + random.below(3) })
      const { members } = beginJoin(ring, member)
      const before = new Placement(members, ownsBefore, ring)
      const after = new Placement(members, ownsAfter, ring)
      const moves = partitionMoves(before, after)
      for (const { source, target } of moves) {
        assert.equal(target, member.nodeId)
        assert.equal(source === undefined, before.width < after.width)
      }
      assert.equal(new Set(moves.map(({ partition }) => partition)).size, moves.length)
    })
  })

  test('of a thousand partitions and a hundred members is as it has always been', () => {
    const random = seededRandom(1)
    const members = Array.from({ length: 100 }, (_, at) => ({ rack: `r${at % 7}`, weight: 1 }))
    const rules = { partitionCount: 1024, replicationFactor: 3, virtualNodes: 128 }
    const ring = ringOf(random, { ...rules, members })
    const text = Buffer.from(lists(placementOf(ring)).flat().join(' '))
    assert.equal(xxh32(text, 0, text.length, 0).toString(16), 'f04b7e51')
  })
})

describe('tokens', () => {
  const node = { nodeId: '00112233445566778899aabbccddeeff', clientAddress: '', peerAddress: '' }

  test('are those of every build', () => {
    const tokens = memberTokens(newMember({ ...node, weight: 2 }, 'normal', 0x0102), 2)
    assert.deepEqual([...tokens], [671_747_653, 1_455_116_004, 1_101_256_328, 719_991_485])
    assert.notDeepEqual(memberTokens(newMember(node, 'normal', 0), 2), tokens.subarray(0, 2))
  })

  test('of a heavier member are more, and begin with the same', () => {
    const light = memberTokens(newMember(node, 'normal', 7), 128)
    const heavy = memberTokens(newMember({ ...node, weight: 3 }, 'normal', 7), 128)
    assert.equal(light.length, 128)
    assert.equal(heavy.length, 3 * 128)
    assert.deepEqual(heavy.subarray(0, 128), light)
  })

  test('are found from any position, going round', t => {
    const random = seededRandom(printSeed(t))
    const { members } = ringOf(random, {
      partitionCount: 1,
      replicationFactor: 3,
      virtualNodes: 5,
      members: [{}, {}, {}],
    })
    const ring = new TokenRing(members, [0, 1, 2], 5)
    const sorted = members
      .flatMap((member, owner) => Array.from(memberTokens(member, 5), at => ({ at, owner })))
      .sort((a, b) => a.at - b.at)
    assert.equal(ring.size, sorted.length)
    for (const { at } of sorted) {
      for (const position of [at - 1, at, at + 1]) {
        const next = sorted.find(token => token.at >= position) ?? sorted[0]!
        assert.equal(ring.ownerAt(ring.placeOf(position)), next.owner)
      }
    }
    assert.equal(ring.placeOf(2 ** 32 - 1), 0)
  })

  test('that are equal lie in the order of their ids', () => {
    const ids = ['870e26203bdfeae062e96157ebcc6b00', '60e4dc9aa8ac2fc6c13d0d413e3cdb13']
    const members = ids.map(nodeId => newMember({ ...node, nodeId }, 'normal', 0))
    assert.deepEqual(memberTokens(members[0]!, 1), memberTokens(members[1]!, 1))
    for (const indices of [
      [0, 1],
      [1, 0],
    ]) {
      const ring = new TokenRing(members, indices, 1)
      assert.deepEqual([ring.ownerAt(0), ring.ownerAt(1)], [1, 0])
    }
  })
})

test('a ring of one member has it everywhere', () => {
  const random = seededRandom(5)
  const options = { clusterId: '0'.repeat(32), partitionCount: 16 }
  const ring = createRing(initRing(randomMember(random), options))
  const placement = placementOf(ring)
  assert.equal(placement.width, 1)
  assert.deepEqual([...placement.partitionsOwned()], [16])
})

// Goal: while ownership changes, both generations of owners are known, and a quorum of slots is one
// for readers of either; what moves is exactly what differs.
// Method: random operations on random rings, each phase of them, looked at partition by partition
// and with every set of acknowledgements there can be.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ownerIds, partitionMoves } from '../../src/cluster/partition-moves.ts'
import type { Placement } from '../../src/cluster/placement.ts'
import { operationOf, type Ring } from '../../src/cluster/ring.ts'
import { beginJoin, finish, moveReads } from '../../src/cluster/ring-change.ts'
import type { NodeId } from '../../src/cluster/ring-member.ts'
import { RingTable } from '../../src/cluster/ring-table.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { anyStep, randomMember, ringOf, specs } from '../support/random-ring.ts'
import { printSeed } from '../support/seed.ts'

interface Slot {
  readonly before: NodeId | undefined
  readonly after: NodeId | undefined
}

function slotsOf(table: RingTable, partition: number): Slot[] {
  return Array.from({ length: table.slotCount }, (_, slot) => ({
    before: table.ownerBefore(partition, slot)?.nodeId,
    after: table.ownerAfter(partition, slot)?.nodeId,
  }))
}

/** Rings on the way of random operations, with their table and one of their partitions. */
function property(
  seed: number,
  check: (table: RingTable, partition: number, random: Random, ring: Ring) => void,
) {
  fc.assert(
    fc.property(specs(7), fc.integer(), (spec, ids) => {
      const random = seededRandom(ids)
      let ring = ringOf(random, spec)
      for (let step = 0; step < 12; step++) {
        check(new RingTable(ring), random.below(ring.partitionCount), random, ring)
        ring = anyStep(random, ring)
      }
    }),
    { seed, numRuns: 60 },
  )
}

describe('slots', () => {
  test('have each owner of either generation once, and who stays on both sides', t => {
    property(printSeed(t), (table, partition, _, ring) => {
      const slots = slotsOf(table, partition)
      const before = slots.flatMap(slot => slot.before ?? [])
      const after = slots.flatMap(slot => slot.after ?? [])
      assert.deepEqual(before, ownerIds(table.before, partition))
      assert.equal(after.length, table.after.width)
      assert.deepEqual(new Set(after), new Set(ownerIds(table.after, partition)))
      for (const slot of slots) {
        const stays = slot.before !== undefined && after.includes(slot.before)
        if (stays) assert.equal(slot.after, slot.before)
      }
      for (const { nodeId } of ring.members) {
        const owns = before.includes(nodeId) || after.includes(nodeId)
        assert.equal(table.isOwner(partition, nodeId), owns)
      }
      assert.equal(table.isOwner(partition, 'f'.repeat(32)), false)
    })
  })

  test('are one owner each when nothing is under way', t => {
    property(printSeed(t), (table, partition, _, ring) => {
      if (ring.phase !== 'stable') return
      const ids = ownerIds(table.readers, partition)
      assert.deepEqual(
        slotsOf(table, partition),
        ids.map(id => ({ before: id, after: id })),
      )
    })
  })

  test('make a quorum that every majority of either generation meets', t => {
    property(printSeed(t), (table, partition) => {
      const slots = slotsOf(table, partition)
      const owners = [...new Set(slots.flatMap(({ before, after }) => [before, after]))]
      const known = owners.filter(id => id !== undefined)
      for (let set = 0; set < 2 ** known.length; set++) {
        const acknowledged = (id: NodeId | undefined) =>
          id === undefined || (set & (1 << known.indexOf(id))) !== 0
        const full = slots.filter(slot => acknowledged(slot.before) && acknowledged(slot.after))
        if (full.length < table.quorum) continue
        for (const placement of [table.before, table.after]) {
          const ids = ownerIds(placement, partition)
          const missing = ids.filter(id => !acknowledged(id)).length
          const majority = Math.floor(ids.length / 2) + 1
          assert.ok(missing < majority, `${missing} of ${ids.length} do not have the write`)
        }
      }
    })
  })

  test('do not let a slow joining member hold up a quorum', t => {
    const random = seededRandom(printSeed(t))
    const rules = { partitionCount: 64, replicationFactor: 3, virtualNodes: 32 }
    const ring = ringOf(random, { ...rules, members: [{}, {}, {}, {}, {}] })
    const member = randomMember(random)
    const table = new RingTable(beginJoin(ring, member))
    for (let partition = 0; partition < 64; partition++) {
      const ready = slotsOf(table, partition).filter(({ after }) => after !== member.nodeId)
      assert.ok(ready.length >= table.quorum)
    }
  })
})

describe('readers', () => {
  test('are the old owners, then the new ones', t => {
    const random = seededRandom(printSeed(t))
    const rules = { partitionCount: 64, replicationFactor: 2, virtualNodes: 32 }
    const ring = ringOf(random, { ...rules, members: [{}, {}, {}] })
    const begun = beginJoin(ring, randomMember(random))
    const moved = moveReads(begun)
    const all = (placement: Placement) =>
      Array.from({ length: 64 }, (_, partition) => ownerIds(placement, partition))
    const old = all(new RingTable(ring).readers)
    const current = all(new RingTable(finish(moved)).readers)
    assert.notDeepEqual(old, current)
    assert.deepEqual(all(new RingTable(begun).readers), old)
    assert.deepEqual(all(new RingTable(moved).readers), current)
  })
})

describe('moves', () => {
  test('turn the lists of one generation into those of the other', t => {
    property(printSeed(t), table => {
      const moves = partitionMoves(table.before, table.after)
      for (let partition = 0; partition < table.before.partitionCount; partition++) {
        const owners = new Set(ownerIds(table.before, partition))
        for (const { source, target } of moves.filter(move => move.partition === partition)) {
          if (source !== undefined) assert.ok(owners.delete(source))
          if (target !== undefined) owners.add(target)
        }
        assert.deepEqual(owners, new Set(ownerIds(table.after, partition)))
      }
    })
  })

  test('of a replacement in the same rack go from the old member to the new one alone', t => {
    property(printSeed(t), (table, _, __, ring) => {
      const operation = operationOf(ring.members)
      if (operation?.type !== 'replace') return
      const rackOf = (id: NodeId) => ring.members.find(({ nodeId }) => nodeId === id)!.rack
      if (rackOf(operation.going) !== rackOf(operation.joining)) return
      for (const { source, target } of partitionMoves(table.before, table.after)) {
        assert.equal(source, operation.going)
        assert.equal(target, operation.joining)
      }
    })
  })

  test('of a leaving member all come from it', t => {
    property(printSeed(t), (table, _, __, ring) => {
      const operation = operationOf(ring.members)
      if (operation?.type !== 'leave' && operation?.type !== 'remove') return
      const moves = partitionMoves(table.before, table.after)
      for (const { source } of moves) assert.equal(source, operation.going)
    })
  })
})

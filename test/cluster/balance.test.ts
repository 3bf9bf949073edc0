// Goal: a ring that grows member by member stays balanced and moves no more than it must.
// Method: growth to 20 members from random seeds, each step measured; `npm run ring:balance` does
// the same for a hundred seeds and prints the distribution.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { loads, worstLoad } from '../../src/cluster/balance.ts'
import { Placement } from '../../src/cluster/placement.ts'
import { beginJoin } from '../../src/cluster/ring-change.ts'
import { ownsAfter } from '../../src/cluster/ring-member.ts'
import { chooseTokenSalt, TOKEN_SALTS_TRIED } from '../../src/cluster/token-salt.ts'
import { seededRandom } from '../../src/random.ts'
import { randomMember, ringOf, saltFor } from '../support/random-ring.ts'
import { firstRing, growth } from '../support/ring-balance.ts'
import { printSeed } from '../support/seed.ts'

const SEEDS = 12
const MEMBERS_MAX = 20

describe('a growing ring', () => {
  test('loads nobody with more than 1.15 of the mean, and moves at most 1.05 of the ideal', t => {
    const first = printSeed(t)
    let load = 0
    let moved = 0
    for (let seed = first; seed < first + SEEDS; seed++) {
      for (const step of growth({ seed, membersMax: MEMBERS_MAX })) {
        const where = `seed ${seed}, ${step.ring.members.length} members`
        assert.ok(step.worstLoad <= 1.15, `${where}: a load of ${step.worstLoad}`)
        assert.ok(step.moved <= 1.05, `${where}: moved ${step.moved}`)
        assert.equal(step.movedElsewhere, 0, where)
        load = Math.max(load, step.worstLoad)
        moved = Math.max(moved, step.moved)
      }
    }
    t.diagnostic(`worst load ${load.toFixed(3)}, most moved ${moved.toFixed(3)}`)
  })

  test('gives each its share by weight', t => {
    const seed = printSeed(t)
    const memberAt = (index: number) => ({ weight: 1 + (index % 3) })
    const steps = [...growth({ seed, membersMax: 15, memberAt })]
    const { ring, worstLoad: worst } = steps.at(-1)!
    assert.ok(worst <= 1.15, `a load of ${worst}`)
    for (const { index, owned, ideal } of loads(new Placement(ring.members, ownsAfter, ring))) {
      const { weight } = ring.members[index]!
      assert.ok(owned >= 0.8 * ideal, `weight ${weight} has ${owned} of ${ideal}`)
      assert.ok(Math.abs(ideal - (1024 * 3 * weight) / 30) < 1e-9)
    }
  })
})

describe('the salt', () => {
  test('is what every node would choose, a step a salt', t => {
    const random = seededRandom(printSeed(t))
    const ring = firstRing(random, 64, {})
    const member = randomMember(random)
    assert.equal(saltFor(ring, member), saltFor(ring, member))
    assert.equal([...chooseTokenSalt(ring, member)].length, TOKEN_SALTS_TRIED)
  })

  test('is the best there is of those tried', t => {
    const random = seededRandom(printSeed(t))
    const rules = { partitionCount: 1024, replicationFactor: 1, virtualNodes: 16 }
    const ring = ringOf(random, { ...rules, members: [{}, {}, {}] })
    const member = randomMember(random)
    const scores = Array.from({ length: TOKEN_SALTS_TRIED }, (_, salt) => {
      const { members } = beginJoin(ring, member, salt)
      const all = loads(new Placement(members, ownsAfter, ring))
      const own = all.find(({ index }) => members[index]!.nodeId === member.nodeId)!
      return Math.max((worstLoad(all) - 1) / 0.15, Math.abs(own.owned / own.ideal - 1) / 0.05)
    })
    assert.equal(scores[saltFor(ring, member)], Math.min(...scores))
  })
})

test('a member whose weight asks for more than there is has all of it', () => {
  const random = seededRandom(4)
  const rules = { partitionCount: 64, replicationFactor: 2, virtualNodes: 128 }
  const ring = ringOf(random, { ...rules, members: [{ weight: 9 }, { weight: 1 }, { weight: 2 }] })
  const placement = new Placement(ring.members, ownsAfter, ring)
  for (const { index, ideal } of loads(placement)) {
    const expected = { 9: 64, 2: (64 * 2) / 3, 1: 64 / 3 }[ring.members[index]!.weight]!
    assert.ok(Math.abs(ideal - expected) < 1e-9)
  }
})

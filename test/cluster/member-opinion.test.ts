// Goal: an opinion changes by the rules: only the node itself raises its incarnation, others'
// accusations shorten its time, and only attempts of the one who holds the opinion make it down.
// Method: one opinion, told and tried step by step; the times of a suspicion against the formula.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { aliveClaim, type Claim, type ClaimStatus } from '../../src/cluster/member-claim.ts'
import { Opinion } from '../../src/cluster/member-opinion.ts'
import { suspicionMs, suspicionTimes } from '../../src/cluster/suspicion.ts'

const SELF = '00'.repeat(16)
const NODE = '11'.repeat(16)
const OTHERS = ['22', '33', '44'].map(digits => digits.repeat(16))
/** Of five members: 4 to 24 s, two confirmations wanted. */
const TIMES = suspicionTimes(5, 1000)

function claim(status: ClaimStatus, incarnation: number, accuser = OTHERS[0]!): Claim {
  return { node: NODE, status, incarnation, accuser }
}

function upOpinion(): Opinion {
  const opinion = new Opinion(NODE, SELF, TIMES, 0)
  opinion.hear(aliveClaim(NODE, 10), TIMES, 0)
  return opinion
}

describe('an opinion', () => {
  test('begins as a suspicion that nobody is told of, and ends by two attempts that fail', () => {
    const opinion = new Opinion(NODE, SELF, TIMES, 0)
    assert.equal(opinion.liveness, 'suspect')
    assert.deepEqual(opinion.failToReach(1, TIMES, 1), {})
    assert.deepEqual(opinion.expire(5000), {})
    assert.deepEqual(opinion.failToReach(2, TIMES, 2), {})
    assert.deepEqual(opinion.expire(3999), {})
    assert.deepEqual(opinion.expire(4000), {})
    assert.equal(opinion.liveness, 'down')
    assert.equal(opinion.incarnation, 0)
  })

  test('is never down by what others say alone', () => {
    const opinion = upOpinion()
    for (const accuser of OTHERS) opinion.hear(claim('down', 10, accuser), TIMES, 100)
    opinion.expire(1e9)
    assert.equal(opinion.liveness, 'suspect')
    opinion.failToReach(200, TIMES, 300)
    opinion.expire(1e9)
    assert.equal(opinion.liveness, 'suspect', 'one attempt is not enough')
    opinion.failToReach(400, TIMES, 500)
    assert.deepEqual(opinion.expire(4099), {})
    assert.deepEqual(opinion.expire(4100).news, claim('down', 10, SELF))
    assert.equal(opinion.liveness, 'down')
  })

  test('is answered by an attempt at once, and by a later incarnation only', () => {
    const opinion = upOpinion()
    const accused = opinion.hear(claim('suspect', 10), TIMES, 100)
    assert.equal(accused.tryNow, true)
    assert.deepEqual(accused.news, claim('suspect', 10))
    assert.deepEqual(opinion.hear(aliveClaim(NODE, 10), TIMES, 200), {})
    assert.equal(opinion.liveness, 'suspect')
    assert.deepEqual(opinion.hear(aliveClaim(NODE, 11), TIMES, 300), { news: aliveClaim(NODE, 11) })
    assert.equal(opinion.liveness, 'up')
    assert.deepEqual(opinion.hear(claim('suspect', 10, OTHERS[1]), TIMES, 400), {}, 'it is old')
    assert.equal(opinion.liveness, 'up')
  })

  test('does not count attempts from before the node was heard of, or before a pause', () => {
    const opinion = upOpinion()
    opinion.hear(aliveClaim(NODE, 11), TIMES, 1000)
    assert.deepEqual(opinion.failToReach(900, TIMES, 1900), {})
    assert.equal(opinion.liveness, 'up')
    opinion.restart(5000)
    assert.deepEqual(opinion.failToReach(4000, TIMES, 5000), {})
    assert.equal(opinion.liveness, 'up')
    opinion.failToReach(5100, TIMES, 6100)
    assert.equal(opinion.liveness, 'suspect')
  })

  test('that is down changes when the node has lived longer than that', () => {
    const opinion = upOpinion()
    opinion.failToReach(1, TIMES, 1)
    opinion.failToReach(2, TIMES, 2)
    opinion.expire(1e6)
    assert.equal(opinion.liveness, 'down')
    assert.deepEqual(opinion.hear(claim('suspect', 10), TIMES, 1e6), {})
    assert.equal(opinion.hear(claim('suspect', 12), TIMES, 1e6).tryNow, true)
    assert.equal(opinion.liveness, 'suspect')
    opinion.hear(aliveClaim(NODE, 13), TIMES, 1e6)
    assert.equal(opinion.liveness, 'up')
  })
})

describe('the time to refute', () => {
  test('falls from six times the least to the least with confirmations', () => {
    assert.deepEqual(TIMES, { minMs: 4000, maxMs: 24_000, wanted: 2 })
    assert.equal(suspicionMs(TIMES, 0), 24_000)
    assert.ok(Math.abs(suspicionMs(TIMES, 1) - 11_381) < 1)
    assert.equal(suspicionMs(TIMES, 2), 4000)
  })

  test('is the least where nobody could confirm, and grows with the cluster', () => {
    for (const members of [2, 3]) assert.equal(suspicionMs(suspicionTimes(members, 1000), 0), 4000)
    assert.equal(suspicionTimes(100, 1000).minMs, 8000)
  })
})

// Goal: a version is called the latest only when it is above all that came before for its hash.
// Method: random versions, among few hashes, held against a map; then the floor and equal ones.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LatestVersions } from '../../src/cluster/latest-versions.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

test('only what is above all before it is the latest', t => {
  const random = seededRandom(printSeed(t))
  const latest = new LatestVersions(5)
  const greatest = new Map<number, number>()
  for (let round = 0; round < 5000; round++) {
    // Different slots, and hashes with the highest bit.
    const hash = (random.below(4) * 0x4000_0001) >>> 0
    const [timeMs, counter] = [random.below(40), random.below(3)]
    const order = timeMs * 3 + counter
    const known = Math.max(greatest.get(hash) ?? 0, 5 * 3 + 2)
    assert.equal(latest.isLatest(hash, timeMs, counter), order > known)
    latest.raise(hash, timeMs, counter)
    greatest.set(hash, Math.max(known, order))
  }
})

test('what an earlier process may have used is not', () => {
  const latest = new LatestVersions(1000)
  assert.equal(latest.isLatest(7, 1000, 0xffff), false)
  assert.equal(latest.isLatest(7, 1001, 0), true)
  // What comes from below is remembered all the same: a write of the node's own goes above it.
  latest.raise(7, 900, 3)
  latest.raise(7, 800, 9)
  assert.deepEqual(latest.latest(7), { timeMs: 900, counter: 3 })
  assert.equal(latest.isLatest(7, 901, 0), false)
})

test('of two writers with one time and counter neither is, once one was there', () => {
  const latest = new LatestVersions(0)
  latest.raise(7, 10, 3)
  assert.equal(latest.isLatest(7, 10, 3), false)
  assert.equal(latest.isLatest(7, 10, 4), true)
  assert.equal(latest.isLatest(8, 10, 3), true)
})

// Goal: never more pieces of work at once than there are places, every one done once, clients in
// turn, and a failed one gives its place back.
// Method: pieces of random length and outcome, by a seed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { WorkPlaces } from '../../src/cluster/work-places.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

test('work in places', async t => {
  const random = seededRandom(printSeed(t))
  const places = new WorkPlaces(4)
  const greedy = {}
  let atWork = 0
  let atWorkMax = 0
  let done = 0
  async function piece(): Promise<number> {
    atWork++
    atWorkMax = Math.max(atWorkMax, atWork)
    for (let turns = random.below(4); turns > 0; turns--) await yieldToEventLoop()
    atWork--
    done++
    if (random.below(5) === 0) throw new RangeError('a piece that fails')
    return 7
  }
  const all = Array.from({ length: 500 }, () => places.use(greedy, piece))
  const settled = Promise.allSettled(all)
  await yieldToEventLoop()
  const before = done
  await places.use({}, piece).catch(() => undefined)
  // Seven on average; all of the 500 where nobody's turn comes before those who were first.
  assert.ok(done - before < 100, `${done - before} pieces of another came first`)
  const outcomes = await settled
  assert.equal(done, 501)
  assert.equal(atWorkMax, 4)
  assert.equal(places.waitingCount, 0)
  assert.ok(outcomes.some(outcome => outcome.status === 'rejected'))
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') assert.equal(outcome.value, 7)
    else assert.ok(outcome.reason instanceof RangeError)
  }
})

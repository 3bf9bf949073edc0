// Goal: background work takes no more than its budget, and rests while the event loop is late, in
// proportion to that and never for long.
// Method: a simulated clock whose timers fire so much too late.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../src/clock.ts'
import { BackgroundBudget } from '../../src/cluster/background-budget.ts'
import { SimClock } from '../support/sim-clock.ts'

/** How long the work takes. */
async function duration(
  lagMs: number,
  work: (budget: BackgroundBudget) => Promise<void>,
): Promise<number> {
  const sim = new SimClock()
  const clock: Clock = {
    monotonicMs: () => sim.monotonicMs(),
    wallMs: () => sim.wallMs(),
    setTimer: (delayMs, callback, options) => sim.setTimer(delayMs + lagMs, callback, options),
  }
  const budget = new BackgroundBudget(clock, 1_000_000)
  const startMs = sim.monotonicMs()
  let endMs: number | undefined
  const done = work(budget).then(() => {
    endMs = sim.monotonicMs()
  })
  while (endMs === undefined) await sim.advanceAsync(1, 1)
  await done
  return endMs - startMs
}

test('bytes are paid for in time, beyond a burst of a tenth of a second', async () => {
  assert.equal(await duration(0, budget => budget.spend(100_000)), 0)
  assert.equal(await duration(0, budget => budget.spend(600_000)), 500)
})

test('a late event loop makes it rest four times as long, half a second at most', async () => {
  const rest = (lagMs: number) => duration(lagMs, budget => budget.yieldToForeground())
  assert.equal(await rest(0), 5)
  assert.equal(await rest(50), 55)
  assert.equal(await rest(60), 5 + 60 + 240 + 60)
  assert.equal(await rest(400), 5 + 400 + 500 + 400)
})

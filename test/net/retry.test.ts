// Goal: pauses grow, stay in bounds and differ; retries cannot outnumber successes by much.
// Method: tables and long runs over the pure functions.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { backoffMs, RetryBudget } from '../../src/net/retry.ts'
import { seededRandom } from '../../src/random.ts'

describe('backoffMs', () => {
  const backoff = { delayMinMs: 25, delayMaxMs: 2000 }
  for (const [attempt, ceiling] of [
    [1, 25],
    [2, 50],
    [5, 400],
    [7, 1600],
    [8, 2000],
    [1000, 2000],
  ] as const) {
    test(`attempt ${attempt} waits from ${ceiling / 2} to ${ceiling} ms`, () => {
      const random = seededRandom(attempt)
      const pauses = Array.from({ length: 200 }, () => backoffMs(attempt, backoff, random))
      assert.ok(pauses.every(pause => pause >= ceiling / 2 && pause <= ceiling))
      assert.ok(Math.max(...pauses) - Math.min(...pauses) > ceiling / 3, 'there is jitter')
    })
  }
})

describe('RetryBudget', () => {
  function takeAll(budget: RetryBudget, nowMs: number): number {
    let taken = 0
    while (budget.take(nowMs)) taken++
    return taken
  }

  test('allows a burst, then one in ten of what succeeds', () => {
    const budget = new RetryBudget(0)
    assert.ok(takeAll(budget, 0) >= 2048)
    assert.equal(budget.take(0), false)
    for (let count = 0; count < 1000; count++) budget.succeeded()
    const taken = takeAll(budget, 0)
    assert.ok(taken >= 99 && taken <= 100, `${taken}`)
  })

  test('allows a few a second when nothing succeeds', () => {
    const budget = new RetryBudget(0)
    takeAll(budget, 0)
    assert.equal(takeAll(budget, 1000), 10)
    assert.equal(takeAll(budget, 1050), 0)
  })

  test('does not save up for ever', () => {
    const budget = new RetryBudget(0)
    const burst = takeAll(budget, 0)
    assert.equal(takeAll(budget, 1e12), burst)
  })
})

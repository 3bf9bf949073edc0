// Goal: writers are slowed without a cliff: the granted rate starts above all that is reached,
// falls steadily and by no more than a half from one state to the next, and a stop comes only where
// next to nothing is granted.
// Method: sweeps along each signal in small steps.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type PressureSignals, RATE_MAX, writePressure } from '../../src/engine/write-pressure.ts'

const OPTIONS = { level0CompactionTrigger: 4, baseLevelSize: 1000, frozenMemtablesMax: 2 }
const CALM: PressureSignals = { level0Count: 0, frozenCount: 0, memtableFill: 0, debt: 0 }

describe('writePressure', () => {
  test('a calm database is not slowed at all', () => {
    for (const signals of [CALM, { ...CALM, level0Count: 10, debt: 8000, memtableFill: 1 }]) {
      const pressure = writePressure(signals, OPTIONS)
      assert.deepEqual(pressure, { rate: Infinity, stop: false, reason: undefined })
    }
  })

  test('the rate falls in small steps as debt grows, down to the stop', () => {
    let last = RATE_MAX
    for (let debt = 8010; debt <= 32_000; debt += 10) {
      const { rate, stop, reason } = writePressure({ ...CALM, debt }, OPTIONS)
      assert.ok(rate < last, 'the rate never rises')
      assert.ok(rate > 0.99 * last, `${last} to ${rate}`)
      assert.equal(stop, debt === 32_000)
      assert.equal(reason, 'debt')
      last = rate
    }
    assert.ok(last <= RATE_MAX / 64, 'next to nothing before the stop')
  })

  test('level 0 slows from two and a half times its trigger and stops at six', () => {
    let last = RATE_MAX
    for (let level0Count = 0; level0Count < 28; level0Count++) {
      const { rate, stop, reason } = writePressure({ ...CALM, level0Count }, OPTIONS)
      assert.equal(stop, level0Count >= 24)
      assert.equal(reason, level0Count > 10 ? 'level0' : undefined)
      if (level0Count <= 10) assert.equal(rate, Infinity)
      else if (level0Count <= 24) {
        assert.ok(
          rate < last && rate >= last / 1.5,
          `${last} to ${rate} with ${level0Count} tables`,
        )
        last = rate
      }
    }
  })

  test('full frozen slots slow writers as the active memtable fills, and never stop them', () => {
    let last = RATE_MAX
    for (let memtableFill = 0.51; memtableFill <= 1; memtableFill += 0.01) {
      const { rate, stop } = writePressure({ ...CALM, frozenCount: 2, memtableFill }, OPTIONS)
      assert.ok(rate < last && rate > 0.85 * last, `${last} to ${rate}`)
      assert.equal(stop, false)
      last = rate
    }
    assert.ok(last < RATE_MAX / 32)
    assert.equal(
      writePressure({ ...CALM, frozenCount: 1, memtableFill: 1 }, OPTIONS).rate,
      Infinity,
    )
    assert.equal(writePressure({ ...CALM, frozenCount: 2 }, OPTIONS).rate, Infinity)
  })

  test('the strongest signal counts', () => {
    const both = writePressure({ ...CALM, level0Count: 23, debt: 9000 }, OPTIONS)
    assert.deepEqual(both, writePressure({ ...CALM, level0Count: 23 }, OPTIONS))
  })
})

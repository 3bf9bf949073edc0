// Goal: writers are slowed without a cliff: the delay starts at nothing, rises steadily, and a stop
// comes only where it is longest.
// Method: sweeps along each signal in small steps.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type PressureSignals, writePressure } from '../../src/engine/write-pressure.ts'

const OPTIONS = { level0CompactionTrigger: 4, baseLevelSize: 1000, frozenMemtablesMax: 2 }
const CALM: PressureSignals = { level0Count: 0, frozenCount: 0, memtableFill: 0, debt: 0 }

describe('writePressure', () => {
  test('a calm database is not slowed at all', () => {
    for (const signals of [CALM, { ...CALM, level0Count: 10, debt: 8000, memtableFill: 1 }]) {
      const pressure = writePressure(signals, OPTIONS)
      assert.deepEqual(pressure, { delayMs: 0, stop: false, reason: undefined })
    }
  })

  test('the delay rises in small steps, up to the stop', () => {
    let last = 0
    for (let debt = 8000; debt <= 32_000; debt += 10) {
      const { delayMs, stop, reason } = writePressure({ ...CALM, debt }, OPTIONS)
      assert.ok(delayMs >= last, 'the delay never falls')
      // Never more than a tenth longer than just before, or a hundredth of a millisecond.
      if (delayMs < 25) assert.ok(delayMs - last <= 0.1 * last + 0.01, `${last} to ${delayMs}`)
      assert.equal(stop, debt === 32_000)
      if (debt > 8000) assert.equal(reason, 'debt')
      last = delayMs
    }
    assert.equal(last, 250)
  })

  test('level 0 slows from two and a half times its trigger and stops at five', () => {
    const delays = Array.from({ length: 25 }, (_, level0Count) =>
      writePressure({ ...CALM, level0Count }, OPTIONS),
    )
    assert.equal(delays[10]!.delayMs, 0)
    const { delayMs } = delays[11]!
    assert.ok(delayMs > 0 && delayMs < 1, `${delayMs} ms`)
    assert.equal(delays[11]!.reason, 'level0')
    for (let count = 11; count < 20; count++) {
      const rise = delays[count]!.delayMs - delays[count - 1]!.delayMs
      assert.ok(rise > 0, 'every table more slows more')
      assert.equal(delays[count]!.stop, false)
    }
    assert.equal(delays[20]!.stop, true)
    assert.equal(delays[24]!.stop, true)
  })

  test('full frozen slots slow writers as the active memtable fills, and never stop them', () => {
    let last = -1
    for (let memtableFill = 0; memtableFill <= 1; memtableFill += 0.05) {
      const { delayMs, stop } = writePressure({ ...CALM, frozenCount: 2, memtableFill }, OPTIONS)
      assert.ok(delayMs > last, 'the delay rises')
      assert.equal(stop, false)
      last = delayMs
    }
    assert.equal(writePressure({ ...CALM, frozenCount: 1, memtableFill: 1 }, OPTIONS).delayMs, 0)
    assert.equal(writePressure({ ...CALM, frozenCount: 2 }, OPTIONS).delayMs, 0)
  })

  test('the strongest signal counts', () => {
    const both = writePressure({ ...CALM, level0Count: 19, debt: 9000 }, OPTIONS)
    assert.deepEqual(both, writePressure({ ...CALM, level0Count: 19 }, OPTIONS))
  })
})

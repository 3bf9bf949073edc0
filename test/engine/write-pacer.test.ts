// Goal: writers are held to the granted rate, by bytes, and a tree that is written to faster than
// it can be compacted slows them down evenly: no second stands still, the rate falls by no more
// than a half at once, and whoever waits has a reason.
// Method: single steps on a simulated clock; then a model of the engine a thousandth its size, in
// simulated time: writers at full speed, flushes and compactions with a speed of their own, and the
// real picker and pacer.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type CompactionPlan,
  compactionDebt,
  cursorAfter,
  pickCompaction,
} from '../../src/engine/compaction-picker.ts'
import { WritePacer } from '../../src/engine/write-pacer.ts'
import { type WritePressure, writePressure } from '../../src/engine/write-pressure.ts'
import { seededRandom } from '../../src/random.ts'
import { LevelModel, type ModelEntry } from '../support/level-model.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const NO_PRESSURE: WritePressure = { rate: Infinity, stop: false, reason: undefined }

function at(rate: number, reason: WritePressure['reason'] = 'level0'): WritePressure {
  return { rate, stop: false, reason }
}

describe('a write pacer', () => {
  test('lets everything through without pressure', () => {
    const pacer = new WritePacer(new SimClock(), 1000)
    pacer.update(NO_PRESSURE)
    pacer.charge(1e9)
    pacer.update(NO_PRESSURE)
    assert.equal(pacer.waitMs, 0)
    assert.equal(pacer.isLimited, false)
    assert.equal(pacer.reason, undefined)
  })

  test('lets so many bytes a second through, whatever the size of writes', () => {
    for (const bytes of [7, 100, 450]) {
      const clock = new SimClock()
      const pacer = new WritePacer(clock, 10_000)
      let written = 0
      while (clock.monotonicMs() < 10_000) {
        pacer.update(at(900))
        const { waitMs } = pacer
        if (waitMs > 0) {
          clock.advance(waitMs)
          continue
        }
        pacer.charge(bytes)
        written += bytes
      }
      assert.ok(Math.abs(written - 9000) <= 2 * bytes, `${written} bytes by ${bytes}`)
    }
  })

  test('lets no one wait for more than a second for a write before', () => {
    const clock = new SimClock()
    const pacer = new WritePacer(clock, 10_000)
    pacer.update(at(100))
    pacer.charge(1e6)
    assert.equal(pacer.waitMs, 1000)
    clock.advance(600)
    pacer.update(at(100))
    assert.equal(Math.round(pacer.waitMs), 400)
  })

  test('brings the rate back gradually, and says why until it is back', () => {
    const clock = new SimClock()
    const pacer = new WritePacer(clock, 64_000)
    pacer.update(at(1000))
    let last = 1000
    while (pacer.isLimited) {
      const { recoveryMs } = pacer
      clock.advance(100)
      pacer.update(NO_PRESSURE)
      if (!pacer.isLimited) break
      assert.equal(pacer.reason, 'level0')
      assert.ok(pacer.rate > last && pacer.rate < 1.1 * last, `${last} to ${pacer.rate}`)
      assert.ok(Math.abs(recoveryMs - 100 - pacer.recoveryMs) <= 1)
      last = pacer.rate
    }
    assert.ok(clock.monotonicMs() > 10_000 && clock.monotonicMs() < 60_000)
    pacer.update(at(1003))
    clock.advance(pacer.recoveryMs)
    pacer.update(NO_PRESSURE)
    assert.equal(pacer.isLimited, false)
    assert.equal(pacer.reason, undefined)
  })

  test('after a flush the rate is back at once', () => {
    const pacer = new WritePacer(new SimClock(), 64_000)
    pacer.update(at(1000, 'memtables'))
    assert.equal(pacer.reason, 'memtables')
    pacer.update(NO_PRESSURE)
    assert.equal(pacer.isLimited, false)
  })
})

/** A thousandth of the defaults: bytes, and bytes a second. */
const SCALED = {
  tableSizeTarget: 32 * 1024,
  level0CompactionTrigger: 4,
  baseLevelSize: 256 * 1024,
  levelSizeRatio: 10,
  compactionThreads: 1,
  frozenMemtablesMax: 2,
}
const MEMTABLE_SIZE = 11_000
const ENTRY_SIZE = 100
const KEY_COUNT = 600_000
const RATE_MAX = 64 * 1024
const FLUSH_RATE = 50_000
const STEP_MS = 5

interface Speeds {
  readonly writers: number
  readonly compaction: number
}

interface Paced {
  /** Bytes in each second. */
  readonly seconds: number[]
  stoppedMs: number
  /** The largest fall of the granted rate between two looks, as a factor. */
  fallMax: number
}

/** Writes for so many seconds of simulated time. */
class PacedTree {
  readonly #clock = new SimClock()
  readonly #pacer = new WritePacer(this.#clock, RATE_MAX)
  readonly #model = new LevelModel(SCALED.tableSizeTarget)
  readonly #speeds: Speeds
  readonly #random
  readonly #cursors: (Uint8Array | undefined)[] = []
  #active: ModelEntry[] = []
  readonly #frozen: ModelEntry[][] = []
  #flushEndMs = 0
  #compaction: { readonly plan: CompactionPlan; readonly endMs: number } | undefined
  readonly #paced: Paced = { seconds: [], stoppedMs: 0, fallMax: 1 }

  constructor(speeds: Speeds, seed: number) {
    this.#speeds = speeds
    this.#random = seededRandom(seed)
  }

  run(seconds: number): Paced {
    const perStep = Math.round((this.#speeds.writers * STEP_MS) / 1000 / ENTRY_SIZE)
    for (let second = 0; second < seconds; second++) {
      let written = 0
      for (let step = 0; step < 1000 / STEP_MS; step++) {
        this.#clock.advance(STEP_MS)
        this.#work()
        for (let entry = 0; entry < perStep && this.#write(); entry++) written += ENTRY_SIZE
      }
      this.#paced.seconds.push(written)
    }
    return this.#paced
  }

  /** Flushes and compacts what is done by now, and begins what is due. */
  #work(): void {
    const nowMs = this.#clock.monotonicMs()
    if (this.#frozen.length > 0 && this.#flushEndMs <= nowMs) {
      this.#model.flush(this.#frozen.pop()!)
      this.#flushEndMs = nowMs + (MEMTABLE_SIZE / FLUSH_RATE) * 1000
    }
    if (this.#compaction !== undefined && this.#compaction.endMs <= nowMs) {
      this.#model.carryOut(this.#compaction.plan, 1, Infinity)
      this.#compaction = undefined
    }
    if (this.#compaction !== undefined) return
    const state = {
      running: [],
      cursors: this.#cursors,
      wallMs: 1,
      purgeableBelow: Infinity,
      idle: false,
    }
    const plan = pickCompaction(this.#model.version, SCALED, state)
    if (plan === undefined) return
    this.#cursors[plan.inputLevel] = cursorAfter(plan)
    const durationMs = plan.kind === 'merge' ? (plan.size / this.#speeds.compaction) * 1000 : 0
    this.#compaction = { plan, endMs: nowMs + durationMs }
  }

  /** False when the writer has to wait. */
  #write(): boolean {
    const pacer = this.#pacer
    if (this.#active.length * ENTRY_SIZE >= MEMTABLE_SIZE) {
      if (this.#frozen.length >= SCALED.frozenMemtablesMax) return this.#stopped()
      if (this.#frozen.length === 0) {
        this.#flushEndMs = this.#clock.monotonicMs() + (MEMTABLE_SIZE / FLUSH_RATE) * 1000
      }
      this.#frozen.unshift(this.#active)
      this.#active = []
    }
    const { version } = this.#model
    const signals = {
      level0Count: version.levels[0]!.length,
      frozenCount: this.#frozen.length,
      memtableFill: (this.#active.length * ENTRY_SIZE) / MEMTABLE_SIZE,
      debt: compactionDebt(version, SCALED),
    }
    const pressure = writePressure(signals, SCALED, RATE_MAX)
    const before = Math.min(pacer.rate, RATE_MAX)
    pacer.update(pressure)
    this.#paced.fallMax = Math.max(this.#paced.fallMax, before / Math.min(pacer.rate, RATE_MAX))
    if (pressure.stop) return this.#stopped()
    if (pacer.waitMs > 0) {
      assert.notEqual(pacer.reason, undefined, 'whoever waits has a reason')
      return false
    }
    pacer.charge(ENTRY_SIZE)
    this.#active.push(this.#model.put(this.#random.below(KEY_COUNT), ENTRY_SIZE))
    return true
  }

  #stopped(): false {
    this.#paced.stoppedMs += STEP_MS
    return false
  }
}

describe('a tree that is written to faster than it is compacted', () => {
  for (const [name, speeds] of [
    ['a little', { writers: 20_000, compaction: 60_000 }],
    ['much', { writers: 40_000, compaction: 40_000 }],
  ] as const) {
    test(`by ${name}, slows its writers evenly`, t => {
      const { seconds, stoppedMs, fallMax } = new PacedTree(speeds, printSeed(t, 1)).run(90)
      const sorted = seconds.toSorted((a, b) => a - b)
      const median = sorted[Math.floor(sorted.length / 2)]!
      const slowest = sorted[0]! / median
      t.diagnostic(`median ${median} bytes/s, slowest ${slowest.toFixed(2)} of it`)
      assert.ok(median < 0.9 * speeds.writers, 'writers were slowed')
      assert.equal(stoppedMs, 0)
      assert.ok(fallMax <= 1.5, `the rate fell by ${fallMax} at once`)
      assert.ok(slowest >= 0.25, `the slowest second has ${slowest} of the median`)
    })
  }
})

// Goal: whatever is flushed, carrying out the picker's plans, several at once and finishing in any
// order, keeps the levels sorted and every key readable, comes to an end, and leaves the tree in
// shape: hardly anything above the last level, and nothing dead in it.
// Method: a model of tables as sets of entries (support/level-model.ts); random workloads, random
// options; then single plans that show each rule.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type CompactionOptions,
  type CompactionPlan,
  type CompactionState,
  compactionDebt,
  cursorAfter,
  pickCompaction,
} from '../../src/engine/compaction-picker.ts'
import { rangesOverlap } from '../../src/engine/compaction-plan.ts'
import { CompactionTimers } from '../../src/engine/compaction-timers.ts'
import { LAST_LEVEL, levelShape } from '../../src/engine/level-shape.ts'
import { Version } from '../../src/engine/version.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { LevelModel, type ModelEntry } from '../support/level-model.ts'
import { randomTable } from '../support/random-table.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const OPTIONS: CompactionOptions = {
  tableSizeTarget: 2000,
  level0CompactionTrigger: 4,
  baseLevelSize: 16_000,
  levelSizeRatio: 10,
  compactionThreads: 1,
}

interface Simulation {
  readonly model: LevelModel
  readonly options: CompactionOptions
  readonly running: CompactionPlan[]
  readonly cursors: (Uint8Array | undefined)[]
  wallMs: number
  purgeableBelow: number
  idle: boolean
  plans: number
}

function simulation(options: CompactionOptions): Simulation {
  return {
    model: new LevelModel(options.tableSizeTarget),
    options,
    running: [],
    cursors: [],
    wallMs: 1000,
    purgeableBelow: Number.POSITIVE_INFINITY,
    idle: false,
    plans: 0,
  }
}

function stateOf(run: Simulation): CompactionState {
  const { running, cursors, wallMs, purgeableBelow, idle } = run
  return { running: [...running], cursors, wallMs, purgeableBelow, idle }
}

/** Starts one compaction, if one is due. */
function start(run: Simulation): CompactionPlan | undefined {
  const { version } = run.model
  const plan = pickCompaction(version, run.options, stateOf(run))
  if (plan === undefined) {
    assert.ok(compactionDebt(version, run.options) === 0 || run.running.length > 0, 'debt is paid')
    return undefined
  }
  checkPlan(run, plan)
  run.plans++
  run.running.push(plan)
  run.cursors[plan.inputLevel] = cursorAfter(plan)
  return plan
}

function checkPlan(run: Simulation, plan: CompactionPlan): void {
  assert.ok(plan.inputs.length > 0, 'a plan has inputs')
  for (const other of run.running) {
    const taken = new Set([...other.inputs, ...other.overlapped].map(table => table.fileNumber))
    const mine = [...plan.inputs, ...plan.overlapped].map(table => table.fileNumber)
    assert.ok(!mine.some(number => taken.has(number)), 'a table is in one plan at a time')
    const meet = other.outputLevel === plan.outputLevel && rangesOverlap(other, plan)
    assert.ok(!meet, 'no two plans write into the same range of a level')
    assert.ok(plan.inputLevel > 0 || other.inputLevel > 0, 'one plan for level 0 at a time')
  }
  assert.ok(plan.outputLevel >= plan.inputLevel, 'nothing moves up')
  for (let level = plan.inputLevel + 1; level < plan.outputLevel; level++) {
    assert.equal(run.model.version.levels[level]!.length, 0, 'no level is jumped over')
  }
}

function finish(run: Simulation, index: number): void {
  const [plan] = run.running.splice(index, 1)
  // Sequences and keys in the plan are checked by the model as it merges.
  run.model.carryOut(plan!, run.wallMs, run.purgeableBelow)
}

/** Runs compactions until none is due. */
function settle(run: Simulation, random: Random): void {
  const { model, options } = run
  const stepsMax = 200 + 40 * model.version.tableCount
  for (let step = 0; ; step++) {
    assert.ok(step < stepsMax, 'the picker comes to an end')
    const plan = start(run)
    if (plan !== undefined && run.running.length < options.compactionThreads) continue
    if (run.running.length === 0) return
    finish(run, random.below(run.running.length))
  }
}

function randomOptions(random: Random): CompactionOptions {
  return {
    tableSizeTarget: 1000 + random.below(3000),
    level0CompactionTrigger: 1 + random.below(5),
    baseLevelSize: 4000 + random.below(20_000),
    levelSizeRatio: 4 + random.below(7),
    compactionThreads: 1 + random.below(4),
  }
}

/** Entries for one flush, of one of several kinds of workload. */
function workload(run: Simulation, random: Random, kind: number, round: number): ModelEntry[] {
  const { model } = run
  const entries: ModelEntry[] = []
  for (let count = 20 + random.below(30); count > 0; count--) {
    const key = kind === 0 ? round * 100 + count : random.below(kind === 1 ? 3000 : 400)
    const dice = random.below(10)
    if (kind === 2 && dice < 5) entries.push(model.delete(key))
    else if (kind === 3 && dice < 6) {
      entries.push(model.putExpiring(key, 60, run.wallMs + random.below(500)))
    } else entries.push(model.put(key, 40 + random.below(60)))
  }
  return kind === 0 ? entries.reverse() : entries
}

describe('pickCompaction', () => {
  test('random flushes and compactions keep all invariants and settle in shape', t => {
    const seed = printSeed(t)
    for (let round = 0; round < 24; round++) {
      const random = seededRandom(seed + round)
      const run = simulation({ ...randomOptions(random), levelSizeRatio: 10 })
      const { model } = run
      for (let flush = 0; flush < 150; flush++) {
        model.flush(workload(run, random, round % 4, flush))
        run.wallMs += random.below(20)
        // A snapshot is held for a while, and keeps tombstones and expired entries.
        if (random.below(20) === 0) run.purgeableBelow = model.sequence - random.below(100)
        if (random.below(20) === 0) run.purgeableBelow = Number.POSITIVE_INFINITY
        start(run)
        if (run.running.length > 0 && random.below(3) > 0) {
          finish(run, random.below(run.running.length))
        }
        if (flush % 25 === 0) model.checkReads(run.wallMs)
      }
      run.purgeableBelow = Number.POSITIVE_INFINITY
      settle(run, random)
      model.checkReads(run.wallMs)
      assert.equal(compactionDebt(model.version, run.options), 0)
      run.idle = true
      run.wallMs += 10_000
      settle(run, random)
      model.checkReads(run.wallMs)
      const live = model.liveSize(run.wallMs)
      // A single table's worth of slack: with so little data one table is a lot.
      const limit = 1.15 * live + run.options.tableSizeTarget
      assert.ok(model.version.size <= limit, `${model.version.size} bytes for ${live} live ones`)
    }
  })

  test('any ratio and any trigger: levels stay in order and debt is paid off', t => {
    const seed = printSeed(t)
    for (let round = 0; round < 16; round++) {
      const random = seededRandom(seed + round)
      const run = simulation(randomOptions(random))
      for (let flush = 0; flush < 120; flush++) {
        run.model.flush(workload(run, random, 1 + random.below(3), flush))
        start(run)
        if (run.running.length > 0 && random.below(2) > 0) finish(run, 0)
      }
      settle(run, random)
      run.model.checkReads(run.wallMs)
    }
  })

  test('a large tree of overwrites settles at a space amplification of 1.15', t => {
    const random = seededRandom(printSeed(t))
    const run = simulation(OPTIONS)
    for (let flush = 0; flush < 800; flush++) {
      const entries = Array.from({ length: 60 }, () => run.model.put(random.below(20_000), 100))
      run.model.flush(entries)
      settle(run, random)
    }
    const { version } = run.model
    assert.ok(levelShape(version, OPTIONS).baseLevel < LAST_LEVEL - 1, 'three sorted levels')
    run.idle = true
    settle(run, random)
    const amplification = run.model.version.size / run.model.liveSize(run.wallMs)
    const written = run.model.bytesWritten / (800 * 60 * 100)
    t.diagnostic(`space ${amplification.toFixed(3)}, written ${written.toFixed(1)} times`)
    assert.ok(amplification <= 1.15, `space amplification ${amplification}`)
    assert.ok(written < 25, `written ${written} times`)
  })

  test('the same version and state give the same plan', t => {
    const random = seededRandom(printSeed(t))
    const run = simulation(OPTIONS)
    for (let flush = 0; flush < 30; flush++) run.model.flush(workload(run, random, 1, flush))
    const { version } = run.model
    const plan = pickCompaction(version, OPTIONS, stateOf(run))
    assert.deepEqual(pickCompaction(version, OPTIONS, stateOf(run)), plan)
  })

  test('nothing is due in an empty tree, nor below the trigger', () => {
    const run = simulation(OPTIONS)
    assert.equal(start(run), undefined)
    for (let flush = 0; flush < 3; flush++) run.model.flush([run.model.put(flush, 100)])
    assert.equal(start(run), undefined)
  })

  test('sorted input is moved, not rewritten', () => {
    const run = simulation(OPTIONS)
    for (let flush = 0; flush < 4; flush++) {
      const entries = Array.from({ length: 20 }, (_, index) =>
        run.model.put(flush * 100 + index, 100),
      )
      run.model.flush(entries)
    }
    const plan = start(run)
    assert.equal(plan?.kind, 'move')
    assert.equal(plan.inputs.length, 4)
    assert.equal(plan.outputLevel, LAST_LEVEL)
    finish(run, 0)
    assert.equal(run.model.version.levels[LAST_LEVEL]!.length, 4)
    assert.equal(run.model.bytesWritten, 0)
  })

  test('small level-0 tables are joined even when they could be moved', () => {
    const run = simulation(OPTIONS)
    for (let flush = 0; flush < 4; flush++) run.model.flush([run.model.put(flush, 100)])
    assert.equal(start(run)?.kind, 'merge')
  })

  test('of level 0 the oldest are taken, as many as fit into one job', () => {
    const run = simulation({ ...OPTIONS, tableSizeTarget: 100 })
    for (let flush = 0; flush < 8; flush++) {
      run.model.flush(Array.from({ length: 10 }, (_, key) => run.model.put(key, 100)))
    }
    const plan = start(run)
    assert.ok(plan !== undefined, 'level 0 is due')
    assert.equal(plan.inputs.length, 2, '2 tables of 1000 bytes fit into 25 times 100')
    assert.deepEqual(plan.inputs, run.model.version.levels[0]!.slice(-2))
  })

  test('a table full of deletions is compacted, once nothing keeps them', () => {
    const run = simulation(OPTIONS)
    const put = Array.from({ length: 40 }, (_, key) => run.model.put(key, 100))
    for (let flush = 0; flush < 4; flush++) run.model.flush(put.map(e => run.model.put(e.key, 100)))
    settle(run, seededRandom(1))
    for (let flush = 0; flush < 4; flush++) {
      run.model.flush(put.map(entry => run.model.delete(entry.key)))
    }
    run.purgeableBelow = 1
    settle(run, seededRandom(1))
    // Merged down, and kept for the snapshot.
    assert.notEqual(run.model.version.tableCount, 0)
    run.purgeableBelow = Number.POSITIVE_INFINITY
    const plan = start(run)
    assert.equal(plan?.reason, 'tombstones')
    finish(run, 0)
    settle(run, seededRandom(1))
    assert.equal(run.model.version.tableCount, 0)
  })

  test('a table that has expired as a whole is dropped unread', () => {
    const run = simulation(OPTIONS)
    for (let flush = 0; flush < 4; flush++) {
      const keys = Array.from({ length: 20 }, (_, index) => flush * 100 + index)
      run.model.flush(keys.map(key => run.model.putExpiring(key, 100, 2000)))
    }
    settle(run, seededRandom(1))
    assert.equal(run.model.version.tableCount, 4)
    assert.equal(start(run), undefined)
    run.wallMs = 2001
    // Something keeps the last of them, and so the tables one by one.
    const kept = run.model.version.levels.flat().map(table => table.largestSequence)
    for (const bound of [0, ...kept.toSorted((a, b) => a - b)]) {
      run.purgeableBelow = bound
      const droppable = kept.filter(sequence => sequence < bound).length
      assert.equal(start(run)?.kind, droppable > 0 ? 'drop' : undefined, `bound ${bound}`)
      run.running.splice(0)
    }
    run.purgeableBelow = Number.POSITIVE_INFINITY
    run.cursors.splice(0)
    const plan = start(run)
    assert.equal(plan?.kind, 'drop')
    finish(run, 0)
    settle(run, seededRandom(1))
    assert.equal(run.model.version.tableCount, 0)
    assert.equal(run.model.bytesRead, 0)
  })

  test('what has expired but hides something older is not dropped', () => {
    const run = simulation(OPTIONS)
    const keys = Array.from({ length: 40 }, (_, index) => index)
    for (let flush = 0; flush < 4; flush++) {
      run.model.flush(keys.map(key => run.model.put(key, 100)))
    }
    settle(run, seededRandom(1))
    for (let flush = 0; flush < 4; flush++) {
      run.model.flush(keys.map(key => run.model.putExpiring(key, 100, 2000)))
    }
    run.wallMs = 2001
    settle(run, seededRandom(1))
    run.idle = true
    settle(run, seededRandom(1))
    run.model.checkReads(run.wallMs)
    assert.equal(run.model.version.tableCount, 0)
  })

  test('what has expired is moved, not dropped, where something lies below it', () => {
    const run = simulation(OPTIONS)
    const { model } = run
    model.place(LAST_LEVEL, [model.put(5, 15_000)])
    model.place(LAST_LEVEL - 2, [model.putExpiring(5, 100, 1), model.putExpiring(6, 100, 1)])
    const plan = start(run)
    assert.equal(plan?.inputLevel, LAST_LEVEL - 2)
    assert.equal(plan.kind, 'move')
    finish(run, 0)
    settle(run, seededRandom(1))
    model.checkReads(run.wallMs)
  })

  test('two plans do not write into the same range, even where no table is in it', () => {
    const run = simulation({ ...OPTIONS, compactionThreads: 2 })
    const { model } = run
    model.place(LAST_LEVEL, [model.delete(0), model.delete(9)])
    model.place(LAST_LEVEL, [model.delete(21), model.delete(30)])
    model.place(LAST_LEVEL, [model.put(90, 3000)])
    model.place(LAST_LEVEL - 1, [model.put(10, 3000), model.put(20, 3000)])
    const down = start(run)
    assert.equal(down?.inputLevel, LAST_LEVEL - 1)
    // The two tables of deletions are worth joining, but another one is on its way between them.
    const alone = start(run)
    assert.equal(alone?.reason, 'tombstones')
    assert.equal(alone.inputs.length, 1)
    finish(run, 0)
    finish(run, 0)
    model.checkReads(run.wallMs)
  })

  test('what level 0 waits for is not started again before it had its turn', () => {
    const run = simulation({ ...OPTIONS, compactionThreads: 2 })
    const { model } = run
    model.place(LAST_LEVEL, [model.put(50, 30_000)])
    const base = LAST_LEVEL - 1
    model.place(base, [model.put(10, 1000), model.put(20, 1000)])
    model.place(base, [model.put(30, 1000), model.put(40, 1000)])
    model.place(base, [model.put(60, 1000), model.put(70, 1000)])
    assert.equal(start(run)?.inputLevel, base)
    for (let flush = 0; flush < 7; flush++) model.flush([model.put(1, 500), model.put(99, 500)])
    assert.equal(start(run), undefined)
    finish(run, 0)
    assert.equal(start(run)?.inputLevel, 0)
  })

  test('no more plans than threads', () => {
    const run = simulation({ ...OPTIONS, compactionThreads: 1 })
    for (let flush = 0; flush < 9; flush++) run.model.flush([run.model.put(flush, 100)])
    assert.notEqual(start(run), undefined)
    assert.equal(pickCompaction(run.model.version, run.options, stateOf(run)), undefined)
  })
})

describe('the wait for tables to expire', () => {
  test('looks at the tables of a version once, and again when one has expired', t => {
    const clock = new SimClock({ wallMs: 0 })
    const random = seededRandom(1)
    const fired: number[] = []
    const tell = () => fired.push(clock.wallMs())
    const timers = new CompactionTimers(clock, () => undefined, tell)
    const expiries = [2000, 500, 0, 1000]
    const added = expiries.map((expiryMax, index) => {
      const key = Uint8Array.of(index)
      const table = randomTable(random, index + 1, key, key)
      const expiringCount = expiryMax === 0 ? 0 : table.entryCount
      return { level: LAST_LEVEL, table: { ...table, expiryMax, expiringCount } }
    })
    const version = Version.empty().apply({ added })
    const looks = t.mock.method(Version.prototype, 'tables').mock
    for (const nextMs of [500, 1000, 2000]) {
      const before = looks.callCount()
      for (let scan = 0; scan < 100; scan++) {
        timers.stop()
        timers.waitForExpiry(version, clock.wallMs())
      }
      assert.equal(looks.callCount(), before + 1)
      clock.advance(nextMs + 1 - clock.wallMs())
      assert.equal(fired.at(-1), nextMs + 1)
    }
    timers.waitForExpiry(version, clock.wallMs())
    timers.waitForExpiry(version, clock.wallMs())
    assert.equal(looks.callCount(), 4)
    timers.waitForExpiry(Version.empty().apply({ added }), 0)
    assert.equal(looks.callCount(), 5)
    assert.equal(fired.length, 3)
  })
})

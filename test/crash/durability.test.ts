// Goal: each durability keeps what it promises and no write waits for more than it asked for:
// `interval` survives kill -9 at any moment and loses at most the interval on power loss, `none`
// survives a clean close, `sync` everything; a later sync covers what was written before it.
// Method: writes on a simulated disk and clock, clones of the disk after a kill and after a power
// loss at known times, and the prefix oracle with what the durability adds to it.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Db } from '../../src/engine/index.ts'
import type { Durability } from '../../src/key-value-store.ts'
import { seededRandom } from '../../src/random.ts'
import { CrashOracle, readState } from '../support/crash-oracle.ts'
import { CrashScript } from '../support/crash-script.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const INTERVAL_MS = 100
const NOTHING_KEPT = { keep: 'nothing' } as const

interface Bench {
  readonly disk: MemoryFileSystem
  readonly clock: SimClock
  readonly db: Db
}

async function bench(): Promise<Bench> {
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  return { disk, clock, db: await openEngine(disk, { clock }) }
}

/** How many of the keys 0, 1, 2, … are there; throws when one is missing in between. */
async function countKeys(disk: MemoryFileSystem): Promise<number> {
  const db = await openEngine(disk)
  const found = await readState(db)
  for (let key = 0; key < found.size; key++) assert.equal(found.get(`${key}`), `v${key}`)
  return found.size
}

describe('durability', () => {
  test('interval survives a kill at any call, and its writers wait for no sync', async () => {
    const { disk, db } = await bench()
    let acknowledged = 0
    const kills: { disk: MemoryFileSystem; acknowledged: number }[] = []
    disk.onCall = () => kills.push({ disk: disk.processCrashClone(), acknowledged })
    let syncs = 0
    for (; acknowledged < 300; acknowledged++) {
      const before = db.stats().writes.syncs
      await db.put(`${acknowledged}`, `v${acknowledged}`, { durability: 'interval' })
      syncs += db.stats().writes.syncs - before
    }
    kills.push({ disk: disk.processCrashClone(), acknowledged })
    disk.onCall = undefined
    assert.equal(syncs, 0)
    // Each disk in 5: neighbours differ by one write.
    for (const kill of kills.filter((_, index) => index % 5 === 0)) {
      const count = await countKeys(kill.disk)
      // The write that was under way may be there as well.
      const { acknowledged: promised } = kill
      assert.ok(count === promised || count === promised + 1, `${count} of ${promised}`)
    }
    assert.ok(kills.length > 300)
  })

  test('interval loses at most the interval on power loss', async t => {
    const random = seededRandom(printSeed(t))
    const { disk, clock, db } = await bench()
    const times: number[] = []
    let lossMax = 0
    for (let round = 0; round < 60; round++) {
      await db.put(`${times.length}`, `v${times.length}`, { durability: 'interval' })
      times.push(clock.monotonicMs())
      await clock.advanceAsync(random.below(40))
      const count = await countKeys(disk.crashClone(random, NOTHING_KEPT))
      const nowMs = clock.monotonicMs()
      if (count < times.length) lossMax = Math.max(lossMax, nowMs - times[count]!)
      assert.ok(lossMax <= INTERVAL_MS, `a write ${lossMax} ms old was lost`)
    }
    assert.ok(lossMax > 0, 'the test has seen a loss')
  })

  test('interval also holds when nothing else is ever written', async () => {
    const { disk, clock, db } = await bench()
    await db.put('0', 'v0', { durability: 'interval' })
    const random = seededRandom(1)
    assert.equal(await countKeys(disk.crashClone(random, NOTHING_KEPT)), 0)
    await clock.advanceAsync(INTERVAL_MS)
    assert.equal(await countKeys(disk.crashClone(random, NOTHING_KEPT)), 1)
  })

  test('none survives a clean close, and a kill soon after', async () => {
    for (const count of [1, 7, 500]) {
      const { disk, clock, db } = await bench()
      for (let key = 0; key < count; key++) {
        await drive(clock, db.put(`${key}`, `v${key}`, { durability: 'none' }))
      }
      await drive(clock, db.close())
      assert.equal(await countKeys(disk.crashClone(seededRandom(1), NOTHING_KEPT)), count)
    }
    const { disk, clock, db } = await bench()
    await db.put('0', 'v0', { durability: 'none' })
    await clock.advanceAsync(INTERVAL_MS)
    assert.equal(await countKeys(disk.crashClone(seededRandom(1), NOTHING_KEPT)), 1)
  })

  test('sync makes durable whatever was written before it, at any durability', async () => {
    for (const durability of ['none', 'interval'] as const) {
      const { disk, db } = await bench()
      for (let key = 0; key < 9; key++) await db.put(`${key}`, `v${key}`, { durability })
      await db.put('9', 'v9')
      assert.equal(await countKeys(disk.crashClone(seededRandom(1), NOTHING_KEPT)), 10)
    }
  })

  for (const mix of [['interval'], ['none', 'interval'], ['sync', 'interval', 'none']] as const) {
    test(`a kill at every call of a life of ${mix.join(', ')}`, async t => {
      const seed = printSeed(t)
      const { kills, checked } = await sweepKills(seed, mix)
      t.diagnostic(`${kills} kills, ${checked} disks recovered`)
    })
  }
})

/** Kills the process at every call; recovers a share of the disks, those after it all included. */
async function sweepKills(seed: number, durabilities: readonly Durability[]) {
  const random = seededRandom(seed)
  const disk = new MemoryFileSystem()
  const oracle = new CrashOracle()
  const clock = new SimClock()
  const script = new CrashScript({
    fileSystem: disk,
    oracle,
    clock,
    random,
    operationCount: 200,
    durabilities,
  })
  const chance = seededRandom(seed + 1)
  const survivors: { disk: MemoryFileSystem; moment: ReturnType<CrashOracle['moment']> }[] = []
  let kills = 0
  disk.onCall = () => {
    kills++
    if (chance.below(2) > 0) return
    survivors.push({ disk: disk.processCrashClone(chance), moment: oracle.moment() })
  }
  await script.run()
  await script.close()
  disk.onCall = undefined
  for (const survivor of survivors) {
    const db = await openEngine(survivor.disk, { random: chance })
    const found = await readState(db)
    oracle.explain(found, survivor.moment, 'kill')
    // Recovery made it durable: from here on even a power loss takes nothing of it.
    const again = await openEngine(survivor.disk.crashClone(chance, NOTHING_KEPT))
    assert.deepEqual(await readState(again), found)
  }
  return { kills, checked: survivors.length }
}

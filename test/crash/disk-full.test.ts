// Goal: a disk that is full costs no data and no answers. Writes are refused with a reason, reads
// go on, everything acknowledged is there, and once there is room again writes are taken as before,
// whichever file met the end of the disk: nothing is poisoned, and nothing has to be opened again.
// Method: writes until one is refused, on a simulated disk of every size in a range, so that the
// end comes at every kind of file, and on a real file system of a few megabytes, which takes the
// right to mount one: elsewhere that test says that it was skipped. Then room is made.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { type Db, open } from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import type { Durability } from '../../src/key-value-store.ts'
import { seededRandom } from '../../src/random.ts'
import { OracleError, readState, text } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const KEY_COUNT = 200
/** Bytes of the real file system. */
const SIZE = 12 * 1024 * 1024
/** Refusals in a row after which the disk counts as full. */
const REFUSALS = 5

type State = Map<string, string>

/** Writes until the disk is full. `state` gets what was acknowledged. Returns the last refusal. */
async function fill(
  write: (key: string, value: string) => Promise<void>,
  state: State,
  valueSize: number,
  keyCount = KEY_COUNT,
): Promise<KvError> {
  let refusals = 0
  for (let index = 0; ; index++) {
    const key = `key-${index % keyCount}`
    const value = `${index} ${'x'.repeat(valueSize)}`
    try {
      await write(key, value)
      state.set(key, value)
      refusals = 0
    } catch (error) {
      assert.ok(error instanceof KvError, String(error))
      assert.equal(error.code, 'KV_IO', error.message)
      assert.equal(error.outcome, 'rejected')
      assert.match(error.message, /ENOSPC.*(m|M)ake room on the disk/)
      if (++refusals === REFUSALS) return error
    }
  }
}

/** What is acknowledged is read, and nothing else is. */
async function expectState(db: Db, state: State): Promise<void> {
  const found = await readState(db)
  for (const [key, value] of state) {
    const read = await db.get(key)
    if (read === undefined || text(read) !== value || found.get(key) !== value) {
      throw new OracleError(`${key} is not what was acknowledged: ${value.slice(0, 20)}`)
    }
  }
  if (found.size !== state.size) throw new OracleError(`${found.size} keys, not ${state.size}`)
}

/** Returns the refusal, or that of opening; rejects when a promise is broken. */
async function fillSimulated(
  capacity: number,
  seed: number,
  durability: Durability,
): Promise<KvError> {
  const disk = new MemoryFileSystem({ capacity })
  const clock = new SimClock()
  const random = seededRandom(seed)
  let db: Db
  try {
    db = await openEngine(disk, { clock, random })
  } catch (error) {
    assert.ok(error instanceof KvError && /ENOSPC/.test(error.message), String(error))
    return error
  }
  const state: State = new Map()
  const write = (key: string, value: string) => drive(clock, db.put(key, value, { durability }))
  const refusal = await fill(write, state, 300)
  await expectState(db, state)
  // A little room, which is soon gone again, and then enough.
  disk.capacity += 1024 + random.below(16 * 1024)
  await clock.advanceAsync(60_000)
  await fill(write, state, 300)
  await expectState(db, state)
  // Where it was closed well nothing is lost, room or not.
  if (random.below(2) === 0) {
    await drive(clock, db.close())
    const closed = disk.crashClone(random, { keep: 'nothing' })
    closed.capacity = Number.POSITIVE_INFINITY
    await expectState(await openEngine(closed, { random }), state)
    return refusal
  }
  disk.capacity = Number.POSITIVE_INFINITY
  await clock.advanceAsync(60_000)
  await expectState(db, state)
  await write('there is', 'room again')
  state.set('there is', 'room again')
  await drive(clock, db.close())
  const again = await openEngine(disk.crashClone(random, { keep: 'nothing' }), { random })
  await expectState(again, state)
  assert.ok(disk.listSync(DIRECTORY).length > 0)
  return refusal
}

test('a simulated disk of any size, full', async t => {
  const seed = printSeed(t)
  const random = seededRandom(seed)
  const reasons = new Map<string, number>()
  for (let round = 0; round < 24; round++) {
    const capacity = 4 * 1024 * (round + 1) + random.below(8 * 1024)
    const durability = (['sync', 'interval', 'none'] as const)[round % 3]!
    const refusal = await fillSimulated(capacity, seed + round, durability).catch(error => {
      throw new OracleError(`${capacity}, ${durability}: ${String(error)}`, { cause: error })
    })
    const [reason] = refusal.message.split(/[,(:]/)
    reasons.set(reason!, (reasons.get(reason!) ?? 0) + 1)
  }
  t.diagnostic([...reasons].map(([reason, count]) => `${count} times ${reason}`).join(', '))
})

/** A file system of so many bytes, or undefined where this process may not mount one. */
function mountSmall(t: TestContext, size: number): string | undefined {
  // It is unmounted before the directory is removed.
  const hooks: (() => void)[] = []
  const target = temporaryDirectory({ after: remove => hooks.push(remove) })
  t.after(() => {
    for (const hook of hooks.reverse()) hook()
  })
  const options = ['-t', 'tmpfs', '-o', `size=${size}`, 'none', target]
  const { status } = spawnSync('mount', options, { stdio: 'ignore' })
  if (status !== 0) return undefined
  hooks.push(() => assert.equal(spawnSync('umount', [target]).status, 0, 'it can be unmounted'))
  return target
}

/** Until it is not refused. */
async function retry(write: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await write()
    } catch (error) {
      assert.ok(error instanceof KvError && error.code === 'KV_IO', String(error))
      await yieldToEventLoop()
    }
  }
}

describe('a real file system', () => {
  for (const valueSize of [1000, 8000, 400_000]) {
    test(`of a few megabytes, full of values of ${valueSize} bytes`, async t => {
      const small = mountSmall(t, SIZE)
      if (small === undefined) {
        t.skip('SKIPPED: this process may not mount a file system of its own')
        return
      }
      const ballast = join(small, 'ballast')
      writeFileSync(ballast, new Uint8Array(SIZE / 2))
      const directory = join(small, 'data')
      const options = { memoryBudget: 1024 * 1024 }
      const db = await open(directory, options)
      const state: State = new Map()
      const keyCount = Math.ceil((2 * SIZE) / valueSize)
      const refusal = await fill((key, value) => db.put(key, value), state, valueSize, keyCount)
      t.diagnostic(`refused with ${refusal.code}: ${refusal.message.slice(0, 160)}`)
      await expectState(db, state)
      rmSync(ballast)
      // The flush that there was no room for is tried again within seconds.
      await retry(() => db.put('there is', 'room again'))
      state.set('there is', 'room again')
      await expectState(db, state)
      await db.close()
      const again = await open(directory, options)
      await expectState(again, state)
      await again.close()
    })
  }
})

// Goal: a disk that is full costs no data and no answers. Writes are refused with a reason, reads
// go on, everything acknowledged is there, and once there is room again (and, where the log itself
// met the end of the disk, the database was opened again) writes are taken as before.
// Method: writes until one is refused, on a simulated disk of every size in a range, so that the
// end comes at every kind of file, and on a real file system of a few megabytes, which takes the
// right to mount one: elsewhere that test says that it was skipped. Then room is made.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { type Db, open } from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { OracleError, readState, text } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const KEY_COUNT = 200
/** Refusals in a row after which the disk counts as full. */
const REFUSALS = 5

type State = Map<string, string>

/** Writes until the disk is full. `state` gets what was acknowledged. Returns the last refusal. */
async function fill(
  write: (key: string, value: string) => Promise<void>,
  state: State,
  valueSize: number,
): Promise<KvError> {
  let refusals = 0
  for (let index = 0; ; index++) {
    const key = `key-${index % KEY_COUNT}`
    const value = `${index} ${'x'.repeat(valueSize)}`
    try {
      await write(key, value)
      state.set(key, value)
      refusals = 0
    } catch (error) {
      assert.ok(error instanceof KvError, String(error))
      assert.ok(error.code === 'KV_POISONED' || error.code === 'KV_IO', error.message)
      assert.match(error.message, /ENOSPC/)
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

/** A failed write may surface when the database is opened again, if it said so. */
function settle(state: State, found: State, failed: State): void {
  for (const [key, value] of failed) if (found.get(key) === value) state.set(key, value)
}

interface SimulatedResult {
  readonly code: string
  readonly taken: number
}

async function fillSimulated(capacity: number, seed: number): Promise<SimulatedResult> {
  const disk = new MemoryFileSystem({ capacity })
  const clock = new SimClock()
  const random = seededRandom(seed)
  let db: Db
  try {
    db = await openEngine(disk, { clock, random })
  } catch (error) {
    assert.ok(error instanceof KvError && /ENOSPC/.test(error.message), String(error))
    return { code: error.code, taken: 0 }
  }
  const state: State = new Map()
  const failed: State = new Map()
  const write = async (key: string, value: string) => {
    try {
      await drive(clock, db.put(key, value))
    } catch (error) {
      if (error instanceof KvError && error.outcome === 'unknown') failed.set(key, value)
      throw error
    }
  }
  const refusal = await fill(write, state, 300)
  const taken = state.size
  await expectState(db, state)
  // Opening again on a disk that is still full fails with the reason, or serves reads.
  disk.capacity = Number.POSITIVE_INFINITY
  if (refusal.code === 'KV_POISONED') {
    await drive(clock, db.close())
    db = await openEngine(disk, { clock, random })
    settle(state, await readState(db), failed)
  } else await clock.advanceAsync(60_000)
  await expectState(db, state)
  await write('there is', 'room again')
  state.set('there is', 'room again')
  await drive(clock, db.close())
  const again = await openEngine(disk.crashClone(random, { keep: 'nothing' }), { random })
  await expectState(again, state)
  assert.ok(disk.listSync(DIRECTORY).length > 0)
  return { code: refusal.code, taken }
}

test('a simulated disk of any size, full', async t => {
  const seed = printSeed(t)
  const random = seededRandom(seed)
  const codes = new Map<string, number>()
  for (let round = 0; round < 12; round++) {
    const capacity = 8 * 1024 * (round + 1) + random.below(8 * 1024)
    const { code } = await fillSimulated(capacity, seed + round).catch(error => {
      throw new OracleError(`capacity ${capacity}: ${String(error)}`, { cause: error })
    })
    codes.set(code, (codes.get(code) ?? 0) + 1)
  }
  t.diagnostic([...codes].map(([code, count]) => `${count} times ${code}`).join(', '))
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

describe('a real file system', () => {
  test('of a few megabytes, full', async t => {
    const small = mountSmall(t, 12 * 1024 * 1024)
    if (small === undefined) {
      t.skip('SKIPPED: this process may not mount a file system of its own')
      return
    }
    const ballast = join(small, 'ballast')
    writeFileSync(ballast, new Uint8Array(6 * 1024 * 1024))
    const directory = join(small, 'data')
    const options = { memoryBudget: 1024 * 1024 }
    let db = await open(directory, options)
    const state: State = new Map()
    const failed: State = new Map()
    const refusal = await fill(
      async (key, value) => {
        try {
          await db.put(key, value)
        } catch (error) {
          if (error instanceof KvError && error.outcome === 'unknown') failed.set(key, value)
          throw error
        }
      },
      state,
      8000,
    )
    t.diagnostic(`refused with ${refusal.code}: ${refusal.message.slice(0, 120)}`)
    await expectState(db, state)
    rmSync(ballast)
    if (refusal.code === 'KV_POISONED') {
      await db.close()
      db = await open(directory, options)
      settle(state, await readState(db), failed)
    }
    await expectState(db, state)
    await db.put('there is', 'room again')
    await db.close()
  })
})

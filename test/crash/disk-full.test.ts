// Goal: a disk that is full costs no data and no answers. Writes are refused with a reason, reads
// go on, everything acknowledged is there, and once there is room again writes are taken as before,
// whichever file met the end of the disk: nothing is poisoned, and nothing has to be opened again.
// The same holds for a process that begins on a disk that is full.
// Method: writes until one is refused, on a simulated disk of every size in a range, so that the
// end comes at every kind of file, and on a real file system of a few megabytes, which takes the
// right to mount one: elsewhere that test says that it was skipped. Then room is made. And a
// database that was killed is opened on a disk that becomes full at some call of that, with power
// losses in between.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { type ChangeBatch, type Db, open } from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import type { Durability } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { OracleError, readState, text } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { FailingFileSystem, type FaultRule } from '../support/failing-file-system.ts'
import { lateExecutor } from '../support/late-executor.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { CHANGING, CRASHES } from '../support/power-loss-sweep.ts'
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
  assert.equal(db.stats().writesRefusedFor, 'space')
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
  for (let round = 0; round < 16; round++) {
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

/** A database that was killed with tables, a log of several memtables, and leavings of a job. */
async function killedDatabase(random: Random): Promise<{ disk: MemoryFileSystem; state: State }> {
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  const db = await openEngine(disk, { clock, random, executor: lateExecutor(random) })
  const state: State = new Map()
  for (let index = 0; index < 220; index++) {
    const key = `key-${String(random.below(60)).padStart(2, '0')}`
    const value = `${index} ${'x'.repeat(random.below(400))}`
    await drive(clock, db.put(key, value))
    state.set(key, value)
    if (index % 60 !== 59) continue
    await drive(clock, db.deleteRange({ gte: 'key-10', lt: 'key-15' }))
    for (const each of state.keys()) if (each >= 'key-10' && each < 'key-15') state.delete(each)
  }
  // The system has it, and no sync has covered it.
  await drive(clock, db.put('last', 'value', { durability: 'interval' }))
  state.set('last', 'value')
  const killed = disk.processCrashClone(random)
  killed.plant(ORPHAN, new Uint8Array(1000))
  return { disk: killed, state }
}

const ORPHAN = `${DIRECTORY}/900000.sst`

interface OpeningCase {
  readonly rule: FaultRule
  /** Whether opening must succeed: nothing that it cannot do without fails. */
  readonly opens: boolean
  /** Where the log begins. */
  readonly logFrom: number
}

/** What the database is opened with while the log must not go. */
const HOLDING = { holdWalFrom: 'oldest' } as const
/** The same, though a hold is broken where it alone keeps a segment. */
const HOLDING_NOTHING = { holdWalFrom: 'oldest', heldWalSizeMax: 0 } as const

async function isPutRefused(db: Db, clock: SimClock): Promise<boolean> {
  try {
    await drive(clock, db.put('zz', 'now'))
    return false
  } catch (error) {
    assert.ok(error instanceof KvError, String(error))
    assert.equal(error.code, 'KV_IO', error.message)
    assert.equal(error.outcome, 'rejected')
    assert.match(
      error.message,
      /cannot be continued, so writes are refused and reads go on: .*ENOSPC/,
    )
    return true
  }
}

/** Where the log of the killed database begins, which may be two writes before its end. */
async function logStart(disk: MemoryFileSystem, random: Random): Promise<number> {
  const clock = new SimClock()
  const db = await openEngine(disk, { clock, random, options: HOLDING })
  const { sequence } = db.openingHold!
  await drive(clock, db.close())
  return sequence
}

/** Whoever holds the log from its opening on finds in it what a sound disk would have shown. */
async function expectLogHeld(db: Db, from: number, clock: SimClock): Promise<void> {
  const { sequence, broken } = db.openingHold!
  assert.equal(broken, false, 'the hold is in force')
  assert.equal(sequence, from, 'the log is still there')
  const feed = db.changes({ after: sequence - 1 })
  const { value } = await drive(clock, feed.next())
  assert.equal(value?.sequence, sequence)
  await feed.close()
}

/** Opens the killed database on a disk with the fault. Returns what it came to. */
async function openFaulty(
  { rule, opens, logFrom }: OpeningCase,
  disk: MemoryFileSystem,
  state: State,
  random: Random,
): Promise<'failed' | 'refuses' | 'writes' | 'unhit'> {
  const survivors: { readonly after: MemoryFileSystem; readonly wasRead: boolean }[] = []
  let db: Db | undefined
  disk.onCall = (_index, kind) => {
    if (!CHANGING.includes(kind) || random.below(25) > 0) return
    const after = disk.crashClone(random, CRASHES[random.below(CRASHES.length)]!)
    survivors.push({ after, wasRead: db !== undefined })
  }
  const failing = new FailingFileSystem(disk)
  const fault = failing.fail(rule)
  const clock = new SimClock()
  const options = [HOLDING, HOLDING_NOTHING, {}][random.below(3)]!
  try {
    db = await openEngine(failing, { clock, random, options })
  } catch (error) {
    assert.ok(error instanceof KvError && error.code === 'KV_IO', String(error))
    assert.match(error.message, /cannot be opened: .*ENOSPC/)
    assert.equal(opens, false, `opening failed: ${error.message}`)
  }
  let change: Promise<IteratorResult<ChangeBatch, undefined>> | undefined
  let outcome: 'failed' | 'refuses' | 'writes' = 'failed'
  const written = new Map(state)
  if (db !== undefined) {
    await expectState(db, state)
    const value = await db.get('key-20')
    assert.equal(value && text(value), state.get('key-20'))
    if (options === HOLDING) await expectLogHeld(db, logFrom, clock)
    change = db.changes().next()
    // The call that fails is to be one of opening, or of what opening left to be done.
    if (!opens && db.stats().walBytes > 0) fault.remove()
    outcome = (await isPutRefused(db, clock)) ? 'refuses' : 'writes'
    if (outcome === 'writes') written.set('zz', 'now')
    else if (opens && rule.nth === 0) {
      assert.equal(disk.paths().includes(ORPHAN), false, 'what nothing needs makes room')
    }
    await expectState(db, written)
    await clock.advanceAsync(random.below(2000))
    survivors.push({ after: disk.crashClone(random, { keep: 'random' }), wasRead: true })
    if (random.below(3) === 0) {
      await drive(clock, db.close())
      db = undefined
    }
  }
  fault.remove()
  if (db !== undefined) {
    await clock.advanceAsync(60_000)
    const firstSequence = outcome === 'writes' ? db.sequence : db.sequence + 1
    // What is written by itself, or by who asks for it.
    await drive(clock, db.put('zz', 'now'))
    written.set('zz', 'now')
    await expectState(db, written)
    if (options === HOLDING) await expectLogHeld(db, logFrom, clock)
    if (options === HOLDING_NOTHING) assert.ok(db.openingHold!.broken, 'only it keeps the log')
    assert.equal((await drive(clock, change!)).value?.lastSequence, firstSequence)
    await drive(clock, db.close())
  }
  disk.onCall = undefined
  const last = disk.crashClone(random, { keep: 'nothing' })
  survivors.push({ after: last, wasRead: outcome !== 'failed' })
  const names = disk.listSync(DIRECTORY)
  assert.ok(names.length < 30, `nothing piles up: ${names}`)
  for (const { after, wasRead } of survivors) {
    const survived = await openEngine(after, { random })
    const expected = new Map(state)
    const hasWritten = after === last && written.has('zz')
    if (hasWritten || (await survived.get('zz')) !== undefined) expected.set('zz', 'now')
    if (!wasRead && (await survived.get('last')) === undefined) expected.delete('last')
    await expectState(survived, expected)
  }
  return fault.injected === 0 ? 'unhit' : outcome
}

test('a process that begins on a full disk reads, and writes once there is room', async t => {
  const seed = printSeed(t)
  const random = seededRandom(seed)
  const { disk, state } = await killedDatabase(random)
  const logFrom = await logStart(disk.processCrashClone(), random)
  const outcomes = new Map<string, number>()
  const refused = () => outcomes.get('refuses') ?? 0
  // How often the disk is full by the time it is opened is the seed's matter: until it often was.
  for (let round = 0; round < 16 || (refused() <= 5 && round < 64); round++) {
    const kind = (['create', 'write', 'sync', 'rename', 'syncDirectory', 'lock'] as const)[
      random.below(6)
    ]!
    const forever = random.below(2) === 0
    // A disk that is full, from its nth write on; or one call that fails for want of room.
    const isFull = round % 2 === 0
    const rule: FaultRule = isFull
      ? { fault: 'full', nth: round === 0 ? 0 : random.below(10), forever: true }
      : { fault: 'ENOSPC', kind, nth: kind === 'lock' ? 0 : random.below(10), forever }
    const fresh = disk.processCrashClone()
    const opening = { rule, opens: isFull, logFrom }
    const outcome = await openFaulty(opening, fresh, state, random).catch(error => {
      const what = `${JSON.stringify(rule)}, round ${round}: ${String(error)}`
      throw new OracleError(what, { cause: error })
    })
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  t.diagnostic([...outcomes].map(([outcome, count]) => `${outcome} ${count}`).join(', '))
  assert.ok(refused() > 5, 'the disk was full when it was opened')
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

/** Writes files there until not a byte more fits. */
function fillUp(path: string): void {
  for (let size = 64 * 1024; size >= 1; size = Math.floor(size / 2)) {
    for (let number = 0, isFull = false; !isFull; number++) {
      try {
        writeFileSync(`${path}-${size}-${number}`, new Uint8Array(size))
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'ENOSPC')
        rmSync(`${path}-${size}-${number}`)
        isFull = true
      }
    }
  }
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
      let db = await open(directory, options)
      const state: State = new Map()
      const keyCount = Math.ceil((2 * SIZE) / valueSize)
      const refusal = await fill((key, value) => db.put(key, value), state, valueSize, keyCount)
      t.diagnostic(`refused with ${refusal.code}: ${refusal.message.slice(0, 160)}`)
      await expectState(db, state)
      if (valueSize === 8000) {
        await db.close()
        fillUp(join(small, 'rest'))
        db = await open(directory, options)
        await expectState(db, state)
        await assert.rejects(db.put('a', 'b'), { code: 'KV_IO', message: /ENOSPC/ })
        await assert.rejects(open(directory, options), { code: 'KV_LOCKED', message: /this very/ })
      }
      rmSync(ballast)
      // What there was no room for is tried again within seconds.
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

// Goal: a checkpoint is a database of its own with all that was written before the call, made while
// writing goes on; it shares files where it can, and copies where it cannot; when it fails nothing
// of it is left, the error says why, and the database goes on.
// Method: stories on the simulated disk, where links can be refused and errors injected at every
// call; once on the real disk with real threads. Power loss is in test/crash/checkpoint.test.ts.
import assert from 'node:assert/strict'
import { existsSync, statSync } from 'node:fs'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { type CheckpointJob, runCheckpointJob } from '../../src/engine/checkpoint-job.ts'
import { isWithin } from '../../src/engine/file-system.ts'
import { type CheckpointOptions, type Db, InlineExecutor, open } from '../../src/engine/index.ts'
import type { Job, JobResult } from '../../src/engine/job.ts'
import type { MaintenanceThread } from '../../src/engine/maintenance-job.ts'
import { KvError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { readState, text } from '../support/crash-oracle.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const COPY = '/copies/one'
const hasher = await loadHasher()

function hasCode(code: string, pattern = /^/) {
  return (error: unknown) =>
    error instanceof KvError && error.code === code && pattern.test(error.message)
}

interface Bench {
  readonly disk: MemoryFileSystem
  readonly faults: FailingFileSystem
  readonly clock: SimClock
  readonly db: Db
}

/** A database of several levels, and 500 keys. */
async function bench(): Promise<Bench> {
  const disk = new MemoryFileSystem()
  const faults = new FailingFileSystem(disk)
  const clock = new SimClock()
  const db = await openEngine(faults, { clock })
  for (let index = 0; index < 500; index++) {
    await drive(clock, db.put(`key-${index}`, `value ${index} ${'.'.repeat(index % 90)}`))
  }
  await drive(clock, db.delete('key-7'))
  return { disk, faults, clock, db }
}

function checkpoint({ clock, db }: Bench, target = COPY, options?: CheckpointOptions) {
  return drive(clock, db.checkpoint(target, options))
}

async function stateIn(disk: MemoryFileSystem, directory: string): Promise<Map<string, string>> {
  const db = await openEngine(disk, { directory, options: { createIfMissing: false } })
  const state = await readState(db)
  await db.close()
  return state
}

/** Paths of whatever is outside of the database's own directory. */
function pathsOutside(disk: MemoryFileSystem): string[] {
  return disk.paths().filter(path => !isWithin(path, '/db'))
}

describe('a checkpoint', () => {
  test('holds what was written, shares its tables, and goes its own way', async () => {
    const all = await bench()
    const { disk, db, clock } = all
    const before = await readState(db)
    const usedBefore = disk.usedSize
    const result = await checkpoint(all)
    assert.equal(result.directory, COPY)
    assert.equal(result.copiedBytes, 0)
    assert.ok(result.tableCount > 3 && result.tableBytes > 20_000)
    assert.equal(result.sequence, 501)
    assert.ok(disk.usedSize - usedBefore < 12_000, 'only a memtable and a MANIFEST were written')
    await drive(clock, db.put('key-1', 'later'))
    assert.deepEqual(await stateIn(disk, COPY), before)

    const own = await openEngine(disk, { directory: COPY })
    for (let index = 0; index < 300; index++) await own.put(`other-${index}`, 'x'.repeat(99))
    await own.close()
    assert.deepEqual((await readState(db)).size, before.size, 'the source knows nothing of it')
    await drive(clock, db.close())
    const after = await stateIn(disk, COPY)
    assert.equal(after.size, before.size + 300)
    assert.equal(after.get('key-1'), before.get('key-1'))
  })

  test('of an empty database is an empty database', async () => {
    const disk = new MemoryFileSystem()
    const db = await openEngine(disk)
    const result = await drive(new SimClock(), db.checkpoint(COPY))
    assert.deepEqual([result.tableCount, result.sequence], [0, 0])
    assert.equal((await stateIn(disk, COPY)).size, 0)
    await db.close()
  })

  test('does not take the log of the other database for its own', async () => {
    const all = await bench()
    const { disk, clock, db } = all
    await checkpoint(all)
    await drive(clock, db.put('stray', 'of the source'))
    const wal = disk.paths().find(path => path.endsWith('.wal'))!
    const bytes = disk.peek(wal)
    await drive(clock, db.close())
    disk.plant(wal.replace('/db', COPY), bytes)
    await assert.rejects(
      openEngine(disk, { directory: COPY }),
      hasCode('KV_CORRUPTION', /belongs to another database/),
    )
  })

  test('survives a write storm and compactions while it is made', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const all = await bench()
      const { disk, clock, db } = all
      const random = seededRandom(seed)
      const before = await readState(db)
      const made = db.checkpoint(COPY)
      const written: Promise<void>[] = []
      for (let index = 0; index < 300; index++) {
        written.push(db.put(`key-${random.below(500)}`, `storm ${index} ${'x'.repeat(80)}`))
      }
      const result = await drive(clock, made)
      await drive(clock, Promise.all(written))
      const state = await stateIn(disk, COPY)
      // Prefixes of the storm are told apart by its last value.
      const storm = [...state.values()].filter(value => value.startsWith('storm'))
      assert.equal(state.size, before.size + (state.has('key-7') ? 1 : 0))
      const last = Math.max(-1, ...storm.map(value => Number(value.split(' ')[1])))
      assert.ok(result.sequence >= 501 + last + 1)
      await drive(clock, db.close())
      assert.ok((await stateIn(disk, '/db')).size >= 499)
      // No table that was held stays behind.
      const tables = disk.paths().filter(path => /^\/db\/\d+\.sst$/.test(path))
      const reopened = await openEngine(disk, { options: { level0CompactionTrigger: 100 } })
      const { levels } = reopened.stats()
      assert.equal(
        tables.length,
        levels.reduce((sum, level) => sum + level.tables, 0),
      )
      await reopened.close()
    }
  })

  test('copies what cannot be linked, and checks the copies', async () => {
    const all = await bench()
    const { disk, faults } = all
    const before = await readState(all.db)
    faults.fail({ fault: 'EXDEV', kind: 'link', forever: true })
    const result = await checkpoint(all)
    assert.equal(result.copiedBytes, result.tableBytes)
    assert.deepEqual(await stateIn(disk, COPY), before)

    const table = disk.paths().find(path => /^\/db\/.*\.sst$/.test(path))!
    const bytes = disk.peek(table)
    bytes[bytes.length >> 1]! ^= 1
    disk.plant(table, bytes)
    await assert.rejects(checkpoint(all, '/copies/two'), hasCode('KV_CORRUPTION'))
    assert.ok(!pathsOutside(disk).some(path => path.startsWith('/copies/two')))
  })

  test('is a copy on demand', async () => {
    const all = await bench()
    const result = await checkpoint(all, COPY, { copy: true })
    assert.equal(result.copiedBytes, result.tableBytes)
    const table = all.disk.paths().find(path => /^\/db\/.*\.sst$/.test(path))!
    const before = await readState(all.db)
    all.disk.plant(table, new Uint8Array(10))
    assert.deepEqual(await stateIn(all.disk, COPY), before)
  })
})

describe('a checkpoint that cannot be', () => {
  test('says that the target is in the way', async () => {
    const all = await bench()
    const { disk } = all
    await checkpoint(all)
    disk.plant('/file', Uint8Array.of(1))
    disk.makeDirectorySync('/empty')
    const before = disk.paths()
    for (const target of [COPY, '/file', '/empty', '/copies/../empty/']) {
      await assert.rejects(
        checkpoint(all, target),
        hasCode('KV_INVALID_ARGUMENT', /exists already: .* choose another name/),
      )
    }
    for (const target of ['/db', '/db/below', '/empty/../db/x/y']) {
      await assert.rejects(
        checkpoint(all, target),
        hasCode('KV_INVALID_ARGUMENT', /own directory/),
        target,
      )
    }
    assert.deepEqual(new Set(disk.paths()), new Set([...before, ...disk.paths().filter(isOwn)]))
  })

  test('leaves alone what lies under its temporary name, and tidies up after itself', async () => {
    const all = await bench()
    const { disk, clock, db } = all
    disk.makeDirectorySync(`${COPY}.checkpoint.tmp`)
    disk.plant(`${COPY}.checkpoint.tmp/precious`, Uint8Array.of(1))
    await assert.rejects(checkpoint(all), hasCode('KV_INVALID_ARGUMENT', /holds precious/))
    assert.deepEqual(pathsOutside(disk), [`${COPY}.checkpoint.tmp/precious`])
    disk.removeSync(`${COPY}.checkpoint.tmp/precious`)
    // What an attempt left that was cut short by a crash.
    disk.plant(`${COPY}.checkpoint.tmp/000003.sst`, Uint8Array.of(1))
    disk.plant(`${COPY}.checkpoint.tmp/CURRENT`, Uint8Array.of(1))
    const taken = disk.lockSync(`${COPY}.checkpoint.tmp`)
    await assert.rejects(checkpoint(all), hasCode('KV_LOCKED'))
    assert.equal(pathsOutside(disk).length, 3)
    taken.releaseSync()
    await checkpoint(all)
    assert.ok(!disk.listSync('/copies').includes('one.checkpoint.tmp'))
    await drive(clock, db.close())
  })

  test('takes away what others left who came to lock it under its temporary name', async () => {
    const all = await bench()
    const { disk, clock, db } = all
    const rename = disk.renameSync.bind(disk)
    disk.renameSync = (from, to) => {
      if (to === COPY) {
        disk.plant(`${from}/LOCK-0123.claim`, Uint8Array.of(1))
        disk.plant(`${from}/LOCK-4567.tmp`, Uint8Array.of(1))
      }
      rename(from, to)
    }
    await checkpoint(all)
    assert.deepEqual(
      disk.listSync(COPY).filter(name => name.startsWith('LOCK')),
      [],
    )
    await drive(clock, db.close())
  })

  test('leaves a whole one when two are made at one place at once', async () => {
    let job: CheckpointJob | undefined
    class Recorder extends InlineExecutor {
      override startMaintenance(): MaintenanceThread {
        const { run, close } = super.startMaintenance()
        return {
          close,
          run: (kind, work) => {
            job = work as CheckpointJob
            return run(kind, work)
          },
        }
      }
    }
    const disk = new MemoryFileSystem()
    const clock = new SimClock()
    const db = await openEngine(disk, { clock, executor: Recorder })
    for (let index = 0; index < 200; index++) await drive(clock, db.put(`key-${index}`, 'value'))
    await drive(clock, db.checkpoint(COPY))
    const inside = (directory: string) =>
      disk.listSync(directory).map(name => [name, disk.peek(`${directory}/${name}`)])
    const expected = new Map(inside(COPY) as [string, Uint8Array][])
    // Of the tables of the first one, as those of the database go.
    const make = (target: string) => {
      const again = { ...job!, directory: COPY, target }
      try {
        return runCheckpointJob(again, { fileSystem: disk, hasher, clock })
      } catch (error) {
        return error
      }
    }
    let calls = 0
    for (; ; calls++) {
      const target = `/copies/at-${calls}`
      const outcomes: unknown[] = []
      const before = disk.callCount
      disk.onCall = index => {
        if (index !== before + calls) return
        disk.onCall = undefined
        outcomes.push(make(target))
      }
      outcomes.push(make(target))
      disk.onCall = undefined
      if (outcomes.length === 1) break
      const refusals = outcomes.filter(outcome => outcome instanceof Error)
      assert.equal(refusals.length, 1, `at call ${calls}: ${refusals.join()}`)
      const [refusal] = refusals
      const isKnown = [
        hasCode('KV_LOCKED', /is being made by another call/),
        hasCode('KV_INVALID_ARGUMENT', /exists already/),
      ].some(is => is(refusal))
      assert.ok(isKnown, `at call ${calls}: ${refusal}`)
      assert.deepEqual(new Map(inside(target) as [string, Uint8Array][]), expected)
      assert.ok(!disk.listSync('/copies').some(name => name.endsWith('.tmp')))
    }
    assert.ok(calls > 15, `${calls}`)
    await drive(clock, db.close())
  })

  test('at every call, by each kind of error, leaves nothing and stops nothing', async () => {
    for (const fault of ['ENOSPC', 'EIO', 'EMFILE', 'shortWrite', 'shortRead'] as const) {
      for (const copy of [false, true]) {
        const all = await bench()
        const { disk, faults, clock, db } = all
        let failures = 0
        for (let nth = 0; ; nth++) {
          const rule = faults.fail({ fault, nth, path: path => !isWithin(path, '/db') })
          const error: unknown = await checkpoint(all, COPY, { copy }).catch(reason => reason)
          rule.remove()
          if (rule.injected === 0) break
          if (error instanceof Error) {
            failures++
            assert.ok(error instanceof KvError, String(error))
            assert.match(error.code, /^KV_(?:IO|CORRUPTION)$/)
            assert.deepEqual(pathsOutside(disk), [], `${fault} at call ${nth}: ${error.message}`)
            if (fault === 'ENOSPC') assert.match(error.message, /ENOSPC.*make room/)
          } else {
            // It was a call that does not matter, such as removing what is not there.
            for (const path of pathsOutside(disk)) disk.removeSync(path)
            disk.removeDirectorySync(COPY)
          }
          await drive(clock, db.put('key-1', `still taken ${nth}`))
        }
        assert.ok(failures >= (fault === 'shortRead' ? 0 : 2), `${fault}: ${failures} failures`)
        const expected = await readState(db)
        assert.deepEqual(await stateIn(disk, COPY), expected)
        await drive(clock, db.close())
      }
    }
  })

  test('on a full disk says so, and works when there is room', async () => {
    const all = await bench()
    const { disk, clock } = all
    await checkpoint(all, '/first')
    await clock.advanceAsync(60_000)
    const before = pathsOutside(disk)
    disk.capacity = disk.usedSize + 9000
    const copied = checkpoint(all, COPY, { copy: true })
    await assert.rejects(copied, hasCode('KV_IO', /ENOSPC.*nothing of it was kept; make room/))
    assert.deepEqual(pathsOutside(disk), before)
    disk.capacity = Number.POSITIVE_INFINITY
    await checkpoint(all)
  })

  test('when the flush before it fails says so at once', async () => {
    const all = await bench()
    const { disk, faults, clock, db } = all
    await drive(clock, db.put('key-1', 'in memory'))
    const rule = faults.fail({
      fault: 'ENOSPC',
      kind: 'write',
      path: path => path.endsWith('.sst'),
      forever: true,
    })
    await assert.rejects(checkpoint(all), /ENOSPC/)
    rule.remove()
    await checkpoint(all)
    assert.equal((await stateIn(disk, COPY)).get('key-1'), 'in memory')
    await drive(clock, db.close())
  })

  test('is ended by its signal, and by close', async () => {
    const all = await bench()
    const { disk, clock, db } = all
    const signal = AbortSignal.abort('reason')
    await assert.rejects(checkpoint(all, COPY, { signal }), hasCode('KV_ABORTED'))
    const controller = new AbortController()
    const before = disk.callCount
    disk.onCall = (index, kind) => {
      if (kind === 'link' && index > before + 3) controller.abort()
    }
    await assert.rejects(
      checkpoint(all, COPY, { signal: controller.signal }),
      hasCode('KV_ABORTED'),
    )
    disk.onCall = undefined
    assert.deepEqual(pathsOutside(disk), [])
    const made = db.checkpoint(COPY)
    const closed = db.close()
    await assert.rejects(drive(clock, made), hasCode('KV_CLOSED'))
    await drive(clock, closed)
    assert.deepEqual(pathsOutside(disk), [])
    await assert.rejects(db.checkpoint(COPY), hasCode('KV_CLOSED'))
  })
})

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await yieldToEventLoop()
}

/** A database whose next memtable has been written to a table, which takes effect at `letGo`. */
async function flushing(disk: MemoryFileSystem, clock: SimClock) {
  let letGo: () => void = () => undefined
  const held = new Promise<void>(resolve => {
    letGo = resolve
  })
  let isHeld = false
  class HeldExecutor extends InlineExecutor {
    override async run(job: Job): Promise<JobResult> {
      const result = await super.run(job)
      isHeld ||= job.kind === 'flush'
      if (isHeld) await held
      return result
    }
  }
  const db = await openEngine(disk, { clock, executor: HeldExecutor })
  for (let index = 0; !isHeld; index++) {
    await drive(clock, db.put(`key-${index}`, 'x'.repeat(200)))
  }
  // Whoever wants all of it in tables has to begin another segment of the log.
  await drive(clock, db.put('last', 'y'))
  return { db, letGo: () => letGo() }
}

const WAITING: Readonly<Record<string, (db: Db) => Promise<unknown>>> = {
  checkpoint: db => db.checkpoint(COPY),
  backup: db => db.backup('/backups'),
  compact: db => db.compact(),
}
for (const [what, begin] of Object.entries(WAITING)) {
  test(`close() while ${what}() waits for a flush begins no segment of the log`, async () => {
    let isSlow = false
    const disk = new MemoryFileSystem({
      defer: step => (isSlow ? void turns(12).then(step) : queueMicrotask(step)),
    })
    const clock = new SimClock()
    const { db, letGo } = await flushing(disk, clock)
    const ended = assert.rejects(begin(db), hasCode('KV_CLOSED'))
    await yieldToEventLoop()
    const calls: string[] = []
    disk.onCall = (_index, kind, path) => {
      if (path.endsWith('.wal') && (kind === 'write' || kind === 'sync')) calls.push(path)
    }
    isSlow = true
    const closing = db.close()
    await turns(5)
    letGo()
    await drive(clock, closing)
    await ended
    const { callCount } = disk
    await turns(40)
    assert.equal(disk.callCount, callCount, 'nothing is done behind it')
    assert.deepEqual(calls, [])
    isSlow = false
    const again = await openEngine(disk, { clock })
    assert.equal(text((await again.get('last'))!), 'y')
    await drive(clock, again.close())
  })
}

function isOwn(path: string): boolean {
  return isWithin(path, '/db')
}

test('on the real disk, by a thread, while writing goes on', async t => {
  const root = temporaryDirectory(t)
  const db = await open(`${root}/db`, { durability: 'none', memoryBudget: 4 * 1024 * 1024 })
  const value = 'v'.repeat(200)
  for (let index = 0; index < 20_000; index++) await db.put(`key-${index}`, value)
  const seen: number[] = []
  let writing = true
  const writer = (async () => {
    for (let index = 0; writing; index++) {
      await db.put(`key-${index % 20_000}`, `${value}${index}`, { durability: 'interval' })
      if (index % 100 === 0) await new Promise(resolve => setImmediate(resolve))
    }
  })()
  const onProgress = ({ doneBytes }: { doneBytes: number }) => seen.push(doneBytes)
  const linked = await db.checkpoint(`${root}/copies/linked`, { onProgress })
  const copied = await db.checkpoint(`${root}/copies/copied`, { copy: true })
  writing = false
  await writer
  assert.equal(linked.copiedBytes, 0)
  assert.equal(copied.copiedBytes, copied.tableBytes)
  assert.equal(seen.at(-1), linked.tableBytes)
  assert.ok(copied.sequence > linked.sequence)
  await db.close()
  assert.ok(statSync(`${linked.directory}/CURRENT`).isFile())
  for (const directory of [linked.directory, copied.directory]) {
    assert.ok(!existsSync(`${directory}/LOCK`))
    await using copy = await open(directory, { createIfMissing: false })
    let count = 0
    for await (const key of copy.keys()) count += key.length > 0 ? 1 : 0
    assert.equal(count, 20_000)
  }
})

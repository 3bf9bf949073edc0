// Goal: when the work in the background keeps failing, writes are refused with the reason, reads go
// on, close() ends, and everything works again once there is room; and the log stays bounded. What
// an opening on a full disk leaves to be done ends for good: nothing of it stays in memory, nobody
// waits on, and no other process's file is touched.
// Method: a simulated disk on which no table can be written, on a clock that runs by itself; and a
// killed database that is opened on a disk without room, which comes later, in many ways.
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { delay, yieldToEventLoop } from '../../src/clock.ts'
import { DATABASE_ID_SIZE } from '../../src/engine/database-id.ts'
import { formatFileName } from '../../src/engine/file-names.ts'
import { type DirectoryLock, type File, systemErrorCode } from '../../src/engine/file-system.ts'
import { type Db, InlineExecutor, open, openInEnvironment } from '../../src/engine/index.ts'
import type { Job, JobResult } from '../../src/engine/job.ts'
import { encodeManifestHeader } from '../../src/engine/manifest-format.ts'
import { ReplayMemtables } from '../../src/engine/replay-memtables.ts'
import { IoError, KvError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { silentLogger } from '../../src/logger.ts'
import { seededRandom } from '../../src/random.ts'
import { text } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { FailingFileSystem, type FaultReport } from '../support/failing-file-system.ts'
import { collectGarbage } from '../support/live-memory.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'
import { systemError } from '../support/system-error.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const hasher = await loadHasher()
const SMALL = { memtableSize: 16 * 1024, tableSizeTarget: 8 * 1024, baseLevelSize: 16 * 1024 }
const VALUE = new Uint8Array(500)

interface FullSubject {
  readonly db: Db
  readonly clock: SimClock
  /** That there is no room. */
  readonly full: FaultReport
  /** What was logged as an error. */
  readonly errors: readonly string[]
}

const isTable = (path: string) => path.endsWith('.sst')
const isManifest = (path: string) => path.includes('MANIFEST')

/** A job fails after `jobMs`, or what it made cannot be installed. */
async function openFull(jobMs = 0, path = isTable): Promise<FullSubject> {
  const clock = new SimClock()
  const fileSystem = new FailingFileSystem(new MemoryFileSystem())
  class SlowExecutor extends InlineExecutor {
    override async run(job: Job): Promise<JobResult> {
      if (jobMs > 0) await delay(clock, jobMs)
      return await super.run(job)
    }
  }
  const executor = new SlowExecutor({ fileSystem, hasher, clock })
  const environment = { fileSystem, executor, clock, random: seededRandom(1) }
  const errors: string[] = []
  const logger = { ...silentLogger, error: (message: string) => errors.push(message) }
  const db = await openInEnvironment('/db', { ...SMALL, logger }, environment)
  const full = fileSystem.fail({ fault: 'ENOSPC', kind: 'write', path, forever: true })
  return { db, clock, full, errors }
}

/** What comes of the promise while time passes. */
async function inTime<T>(clock: SimClock, promise: Promise<T>): Promise<T> {
  let settled = false
  const settle = () => {
    settled = true
  }
  promise.then(settle, settle)
  for (let turn = 0; turn < 200 && !settled; turn++) await clock.advanceAsync(100)
  assert.ok(settled, 'it ended or was refused')
  return await promise
}

/** Returns how many writes were taken before one was refused. */
async function writeUntilRefused(db: Db, clock: SimClock): Promise<number> {
  for (let count = 0; count < 1000; count++) {
    try {
      await inTime(clock, db.put(`key ${count}`, VALUE))
    } catch (error) {
      assert.ok(error instanceof IoError)
      assert.match(error.message, /ENOSPC.*reads go on.*make room on the disk \(df\)/)
      assert.equal(error.outcome, 'rejected')
      return count
    }
  }
  return assert.fail('no write was refused')
}

describe('a disk on which no table can be written', () => {
  test('writes are refused, reads go on, and all is well when there is room', async () => {
    const { db, clock, full } = await openFull()
    const taken = await writeUntilRefused(db, clock)
    assert.ok(taken > 10)
    await assert.rejects(inTime(clock, db.put('another', VALUE)), IoError)
    assert.equal(db.stats().writesRefusedFor, 'space')
    for (let count = 0; count < taken; count++) {
      assert.equal((await db.get(`key ${count}`))?.length, VALUE.length)
    }
    full.remove()
    for (let turn = 0; turn < 10; turn++) await clock.advanceAsync(10_000)
    await inTime(clock, db.put('another', VALUE))
    assert.equal(db.stats().writesRefusedFor, undefined)
    await inTime(clock, db.close())
  })

  for (const [what, path] of Object.entries({ tables: isTable, MANIFEST: isManifest }))
    test(`writes are taken a second after there is room (${what}), however late`, async () => {
      const { db, clock, full, errors } = await openFull(0, path)
      await writeUntilRefused(db, clock)
      for (let second = 0; second < 1200; second++) await clock.advanceAsync(1000)
      assert.equal(db.stats().writesRefusedFor, 'space')
      assert.ok(full.injected > 1150, `${full.injected} tries in 20 minutes`)
      // Each half of a minute, and more often at first.
      assert.ok(errors.length > 40 && errors.length < 52, `it is told ${errors.length} times`)
      full.remove()
      await clock.advanceAsync(1000)
      assert.equal(db.stats().writesRefusedFor, undefined)
      await inTime(clock, db.put('another', VALUE))
      await inTime(clock, db.close())
    })

  test('what fails only after a while is not all that is done', async () => {
    const { db, clock, full } = await openFull(1200)
    await writeUntilRefused(db, clock)
    for (let second = 0; second < 1200; second++) await clock.advanceAsync(1000)
    assert.ok(full.injected > 42 && full.injected < 60, `${full.injected} tries in 20 minutes`)
    await inTime(clock, db.close())
  })

  test('close() comes to its end', async () => {
    const { db, clock } = await openFull()
    await writeUntilRefused(db, clock)
    await inTime(clock, db.close())
  })
})

const isLog = (path: string) => path.endsWith('.wal')

/** A disk on which files can be slow to make, and the loss of the lock goes unnoticed. */
class OddDisk extends FailingFileSystem {
  gate: Promise<void> | undefined
  isBlind = false

  override async create(path: string): Promise<File> {
    await this.gate
    return await super.create(path)
  }

  override lockSync(directory: string): DirectoryLock {
    const lock = super.lockSync(directory)
    return {
      verifySync: () => {
        if (!this.isBlind) lock.verifySync()
      },
      releaseSync: () => lock.releaseSync(),
    }
  }
}

interface OpenedFull {
  readonly db: Db
  readonly clock: SimClock
  readonly memory: MemoryFileSystem
  readonly disk: OddDisk
  /** That there is no room. */
  readonly full: FaultReport
}

/** Opens a database that was killed, with a log, on a disk that is full and has what is planted. */
async function openKilledOnFull(
  plant: (memory: MemoryFileSystem) => void = () => undefined,
): Promise<OpenedFull> {
  const before = new MemoryFileSystem()
  const writing = new SimClock()
  const killed = await openEngine(before, { clock: writing })
  for (let count = 0; count < 12; count++) {
    await drive(writing, killed.put(`key ${count}`, VALUE))
  }
  const memory = before.processCrashClone()
  plant(memory)
  const disk = new OddDisk(memory)
  const full = disk.fail({ fault: 'full', forever: true })
  const clock = new SimClock()
  const db = await openEngine(disk, { clock })
  // The first try of the work in the background is over.
  await clock.advanceAsync(100)
  assert.equal(db.stats().writesRefusedFor, 'space')
  return { db, clock, memory, disk, full }
}

/** What recovery keeps in memory from now on, held by nobody but who uses it. */
function watchReplayed(t: TestContext): WeakRef<object>[] {
  const held: WeakRef<object>[] = []
  const { finish } = ReplayMemtables.prototype
  t.after(() => {
    ReplayMemtables.prototype.finish = finish
  })
  ReplayMemtables.prototype.finish = function (this: ReplayMemtables, logSize: number) {
    const memtables = finish.call(this, logSize)
    for (const memtable of memtables) held.push(new WeakRef(memtable), new WeakRef(memtable.memory))
    return memtables
  }
  return held
}

describe('a database that was opened on a full disk', () => {
  test('lets go of what the log held in memory once it is in tables', async t => {
    const held = watchReplayed(t)
    const { db, clock, full } = await openKilledOnFull()
    const isHeld = async () => {
      await yieldToEventLoop()
      collectGarbage()
      return held.filter(each => each.deref() !== undefined).length
    }
    assert.ok((await isHeld()) > 0, 'the log is in memory')
    full.remove()
    await drive(clock, db.put('there is', 'room again'))
    assert.equal(await isHeld(), 0)
    assert.equal((await db.get('key 0'))?.length, VALUE.length)
    await drive(clock, db.close())
  })

  test('shows nothing that a power loss could still take back', async () => {
    const before = new MemoryFileSystem()
    const killed = await openEngine(before)
    await killed.put('a', 'given to the system alone', { durability: 'interval' })
    const memory = before.processCrashClone()
    const disk = new OddDisk(memory)
    disk.fail({ fault: 'full', forever: true })
    const db = await openEngine(disk)
    const shown = await db.get('a')
    assert.ok(shown)
    const survivor = memory.crashClone(seededRandom(1), { keep: 'nothing' })
    assert.deepEqual(await (await openEngine(survivor)).get('a'), shown)
  })

  test('takes writes and flushes them at once when a writer has found room', async () => {
    const { db, clock, full } = await openKilledOnFull()
    // By now the work in the background waits half a minute between its tries.
    await clock.advanceAsync(32_000)
    full.remove()
    const startMs = clock.monotonicMs()
    for (let count = 0; count < 100; count++) {
      await drive(clock, db.put(`more ${count}`, VALUE))
    }
    await drive(clock, db.compact())
    const tookMs = clock.monotonicMs() - startMs
    assert.ok(tookMs < 5000, `it took ${tookMs} ms`)
    await drive(clock, db.close())
  })

  for (const isNoticed of [true, false]) {
    const how = isNoticed ? 'is gone' : 'is looked at too early'
    test(`touches no file of a process that opened it when its lock ${how}`, async () => {
      const { db, clock, memory, disk, full } = await openKilledOnFull()
      memory.removeSync(`${DIRECTORY}/LOCK`)
      const other = await openEngine(memory, { clock: new SimClock() })
      await drive(new SimClock(), other.put('acknowledged', 'by the other one'))
      disk.isBlind = !isNoticed
      full.remove()
      const names = memory.listSync(DIRECTORY).sort(byText)
      await assert.rejects(drive(clock, db.put('a', 'b')), KvError)
      await clock.advanceAsync(60_000)
      assert.deepEqual(memory.listSync(DIRECTORY).sort(byText), names)
      const survivor = memory.crashClone(seededRandom(1), { keep: 'nothing' })
      const value = await (await openEngine(survivor)).get('acknowledged')
      assert.equal(value && text(value), 'by the other one')
    })
  }

  test('is opened also beside a MANIFEST that a newer build began', async () => {
    const path = `${DIRECTORY}/${formatFileName('manifest', 1)}`
    const newer = encodeManifestHeader(new Uint8Array(DATABASE_ID_SIZE), 1, 99)
    const { db, clock } = await openKilledOnFull(memory => {
      assert.throws(() => memory.openSync(path), { code: 'ENOENT' })
      memory.plant(path, newer)
    })
    assert.equal((await db.get('key 0'))?.length, VALUE.length)
    await drive(clock, db.close())
  })

  test('is not written to after close(), whoever began to', async () => {
    const { db, clock, memory, disk, full } = await openKilledOnFull()
    full.remove()
    let letGo: () => void = () => undefined
    disk.gate = new Promise(resolve => {
      letGo = resolve
    })
    const verified = assert.rejects(db.verify(), { code: 'KV_CLOSED' })
    await yieldToEventLoop()
    let isClosed = false
    const closing = db.close().then(() => {
      isClosed = true
    })
    await clock.advanceAsync(1000)
    assert.equal(isClosed, false, 'it waits for the try under way')
    letGo()
    await drive(clock, closing)
    await verified
    const calls = disk.callCount
    await clock.advanceAsync(60_000)
    assert.equal(disk.callCount, calls, 'nothing is done behind it')
    const again = await openEngine(memory)
    assert.equal((await again.get('key 0'))?.length, VALUE.length)
  })

  test('begins its log although the disk was too full even for a removal', async () => {
    const { db, clock, disk, full } = await openKilledOnFull()
    const stuck = disk.fail({ fault: 'ENOSPC', kind: 'remove', path: isLog, forever: true })
    for (let count = 0; count < 3; count++) {
      await assert.rejects(drive(clock, db.put('a', 'b')), { code: 'KV_IO', message: /ENOSPC/ })
    }
    assert.ok(stuck.injected > 2, 'what a try began is still there')
    assert.equal(db.stats().writesRefusedFor, 'space')
    stuck.remove()
    full.remove()
    await drive(clock, db.put('a', 'b'))
    await drive(clock, db.close())
  })

  test('keeps the log that a MANIFEST without power may come to need again', async () => {
    const before = new MemoryFileSystem()
    const writing = new SimClock()
    const options = { holdWalFrom: 1 }
    const killed = await openEngine(before, { clock: writing, options })
    for (let count = 0; count < 60; count++) await drive(writing, killed.put(`key ${count}`, VALUE))
    const memory = before.processCrashClone()
    const segments = () => memory.listSync(DIRECTORY).filter(isLog)
    const found = segments()
    const disk = new OddDisk(memory)
    const full = disk.fail({ fault: 'full', forever: true })
    const clock = new SimClock()
    const db = await openEngine(disk, { clock, options: { ...options, heldWalSizeMax: 1 } })
    assert.ok(db.stats().walHolds.segments > 2, 'more is kept than recovery needs')
    db.openingHold?.release()
    await clock.advanceAsync(1000)
    assert.deepEqual(segments(), found)
    full.remove()
    await drive(clock, db.put('a', 'b'))
    await drive(clock, db.close())
    assert.equal(segments().filter(name => found.includes(name)).length, 0)
  })

  test('tells a disk that fails from one that is full', async () => {
    const { db, clock, disk, full } = await openKilledOnFull()
    full.remove()
    const isTable = (path: string) => path.endsWith('.sst')
    const broken = disk.fail({ fault: 'EIO', kind: 'write', path: isTable, forever: true })
    await assert.rejects(drive(clock, db.put('a', 'b')), { code: 'KV_IO', message: /EIO/ })
    const { writesRefusedFor, stalls } = db.stats()
    assert.equal(writesRefusedFor, 'failure')
    assert.equal(stalls.byReason.recovery?.count, 1)
    broken.remove()
    await clock.advanceAsync(5000)
    await drive(clock, db.put('a', 'b'))
    assert.equal(db.stats().writesRefusedFor, undefined)
    await drive(clock, db.close())
  })
})

test('a flush that is tried again writes nothing where the lock is gone', async () => {
  const memory = new MemoryFileSystem()
  const disk = new FailingFileSystem(memory)
  const isTable = (path: string) => path.endsWith('.sst')
  const full = disk.fail({ fault: 'ENOSPC', kind: 'write', path: isTable, forever: true })
  const clock = new SimClock()
  const db = await openEngine(disk, { clock })
  for (let count = 0; count < 20; count++) await drive(clock, db.put(`key ${count}`, VALUE))
  assert.ok(full.injected > 0, 'a memtable waits for its flush')
  memory.removeSync(`${DIRECTORY}/LOCK`)
  const other = new SimClock()
  const owner = await openEngine(memory, { clock: other })
  for (let count = 0; count < 100; count++) await drive(other, owner.put(`key ${count}`, VALUE))
  await drive(other, owner.compact())
  full.remove()
  const names = memory.listSync(DIRECTORY).sort(byText)
  await clock.advanceAsync(60_000)
  assert.deepEqual(memory.listSync(DIRECTORY).sort(byText), names)
  assert.equal(db.stats().writesRefusedFor, 'failure')
  assert.equal((await drive(other, owner.verify())).damages, 0)
})

for (const [code, isEachTold] of [
  ['EIO', true],
  ['EMFILE', false],
  ['ENOSPC', false],
] as const) {
  test(`a compaction that meets ${code} is told of while flushes meet a full disk`, async () => {
    let isFull = false
    let tries = 0
    class FailingExecutor extends InlineExecutor {
      override async run(job: Job): Promise<JobResult> {
        if (!isFull) return await super.run(job)
        const isFlush = job.kind === 'flush'
        // The first one fails late: flushes are told each half of a minute by then.
        if (!isFlush && tries++ === 0) await delay(clock, 40_000)
        throw systemError(isFlush ? 'ENOSPC' : code, 'write', job.kind)
      }
    }
    const logged: string[] = []
    const error = (message: string) => logged.push(message)
    const logger = { ...silentLogger, error }
    const options = { logger, level0CompactionTrigger: 8 }
    const clock = new SimClock()
    const settings = { clock, executor: FailingExecutor, options }
    const db = await openEngine(new MemoryFileSystem(), settings)
    const told: unknown[] = []
    db.onEvent(event => {
      if (event.type !== 'backgroundError' || event.what !== 'compaction') return
      told.push(systemErrorCode(event.error))
    })
    for (let count = 0; count < 40; count++) await drive(clock, db.put(`${count % 9}`, VALUE))
    isFull = true
    for (let count = 0; count < 20; count++) await drive(clock, db.put(`${count % 9}`, VALUE))
    for (let second = 0; second < 40 || tries < 2; second++) await clock.advanceAsync(1000)
    assert.equal(told.length, tries, 'the first ones are told at once')
    for (let second = 0; second < 15; second++) await clock.advanceAsync(1000)
    assert.ok(tries > 4, `${tries} tries`)
    assert.equal(told.length === tries, isEachTold, `${told.length} of ${tries}`)
    assert.deepEqual([...new Set(told)], [code])
    assert.equal(logged.filter(text => text.startsWith('compaction')).length, told.length)
    isFull = false
    await drive(clock, db.close())
  })
}

function byText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

test('log data does not make the log grow without bound', async t => {
  await using db = await open(temporaryDirectory(t), { memoryBudget: 1024 * 1024 })
  const logData = new Uint8Array(256 * 1024)
  for (let count = 0; count < 40; count++) {
    await db.batch([{ type: 'put', key: 'a', value: '1' }], { logData, durability: 'interval' })
  }
  // Flushed on another thread, then removed: it comes to that without another write, or never.
  while (db.stats().walBytes >= 20 * logData.length) await yieldToEventLoop()
  assert.ok(db.stats().flushes.count > 0, 'the log was retired')
})

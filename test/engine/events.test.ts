// Goal: whoever listens learns what happens, in order, beginnings with their ends; and whatever a
// listener does, the engine goes on as if there were none.
// Method: an engine whose jobs wait until the test lets them go, a disk that fails on demand, and
// listeners that throw, reject, stop listening and call the database. That events add up to the
// stats over random lives is checked in test/model, by the same EventChecker.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { type Db, type DbEvent, InlineExecutor, type Job } from '../../src/engine/index.ts'
import type { Logger } from '../../src/logger.ts'
import { drive, type EngineSettings, openEngine } from '../support/engine-on-disk.ts'
import { EventChecker } from '../support/event-checker.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

interface Watched {
  readonly clock: SimClock
  readonly db: Db
  readonly events: DbEvent[]
  readonly checker: EventChecker
}

async function begin(
  disk: ConstructorParameters<typeof FailingFileSystem>[0],
  settings: EngineSettings = {},
): Promise<Watched> {
  const clock = new SimClock()
  const events: DbEvent[] = []
  const checker = new EventChecker()
  const onEvent = (event: DbEvent) => {
    events.push(event)
    checker.take(event)
  }
  const options = { memtableSize: 4096, ...settings.options, onEvent }
  const db = await openEngine(disk, { clock, ...settings, options })
  return { clock, db, events, checker }
}

async function write({ clock, db }: Watched, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    await drive(clock, db.put(`key ${index % 100}`, `${index} ${'x'.repeat(100)}`))
  }
}

function typesOf(events: readonly DbEvent[]): string[] {
  return events.map(event => event.type)
}

/** Jobs of one kind wait for their turn. */
function gatedExecutor(kind: Job['kind']) {
  let open: () => void = () => undefined
  const gate = new Promise<void>(resolve => {
    open = resolve
  })
  class GatedExecutor extends InlineExecutor {
    override async run(job: Job) {
      if (job.kind === kind) await gate
      return super.run(job)
    }
  }
  return { executor: GatedExecutor, open: () => open() }
}

describe('events', () => {
  test('tell of a quiet life from its beginning', async () => {
    const disk = new MemoryFileSystem()
    const life = await begin(disk)
    await write(life, 400)
    await life.clock.advanceAsync(10_000)
    life.checker.compare(life.db.stats())
    for (const type of ['opened', 'flushBegin', 'flushEnd', 'walRotated', 'walDeleted'] as const) {
      assert.ok((life.checker.counts.get(type) ?? 0) > 0, type)
    }
    const merge = life.events.find(
      event => event.type === 'compactionEnd' && event.kind === 'merge',
    )
    assert.ok(merge?.type === 'compactionEnd')
    assert.equal(merge.reason, 'level0')
    assert.equal(merge.inputLevel, 0)
    assert.ok(merge.bytesIn > 0 && merge.bytesOut > 0 && merge.tablesIn > 0)
    // What is deleted was there, and is not any more.
    const names = new Set(disk.listSync('/db'))
    for (const event of life.events) {
      if (event.type !== 'tableDeleted') continue
      assert.ok(!names.has(`${String(event.fileNumber).padStart(6, '0')}.sst`))
    }
    // The flush of the idle database has emptied the log.
    await write(life, 5)
    const count = life.db.stats().sequence
    await drive(life.clock, life.db.close())
    const again = await begin(disk)
    await yieldToEventLoop()
    const opened = again.events.find(event => event.type === 'opened')
    assert.ok(opened?.type === 'opened' && opened.walSegments === 1)
    assert.ok(opened.entries > 0 && opened.entries <= count)
    await drive(again.clock, again.db.close())
  })

  for (const [kind, reason, options] of [
    ['flush', 'memtables', {}],
    ['compaction', 'level0', { level0CompactionTrigger: 1 }],
  ] as const) {
    test(`tell that writers are held back because of ${reason}, and when that is over`, async () => {
      const { executor, open } = gatedExecutor(kind)
      const life = await begin(new MemoryFileSystem(), { executor, options })
      let written = 0
      let done = false
      const writing = (async () => {
        while (written < 500) {
          await life.db.put(`key ${written % 100}`, `${written} ${'x'.repeat(100)}`)
          written++
        }
        done = true
      })()
      // Until the writers stand still, though time passes.
      for (let before = -1, still = 0; still < 3; ) {
        await life.clock.advanceAsync(300, 20)
        still = written === before ? still + 1 : 0
        before = written
      }
      assert.ok(!done)
      const begun = life.events.findLast(event => event.type === 'stallBegin')
      assert.deepEqual(begun, { type: 'stallBegin', reason })
      await life.clock.advanceAsync(5000)
      open()
      await drive(life.clock, writing)
      // The granted rate comes back gradually.
      await life.clock.advanceAsync(60_000)
      const ends = life.events.filter(event => event.type === 'stallEnd' && event.reason === reason)
      assert.ok(ends.some(end => end.type === 'stallEnd' && end.heldMs >= 5000))
      assert.equal(
        life.checker.counts.get('stallBegin'),
        life.checker.counts.get('stallEnd'),
        'it is over',
      )
      life.checker.compare(life.db.stats())
      await drive(life.clock, life.db.close())
    })
  }

  test('tell of a flush that fails, and of the one that then succeeds', async () => {
    const disk = new FailingFileSystem(new MemoryFileSystem())
    const life = await begin(disk)
    disk.fail({ fault: 'ENOSPC', kind: 'write', path: path => path.endsWith('.sst') })
    await write(life, 100)
    await life.clock.advanceAsync(60_000)
    const about = life.events.filter(event => /^flush|Error/.test(event.type))
    assert.deepEqual(typesOf(about).slice(0, 5), [
      'flushBegin',
      'flushEnd',
      'backgroundError',
      'flushBegin',
      'flushEnd',
    ])
    const [, failed, background, , succeeded] = about
    assert.ok(failed?.type === 'flushEnd' && failed.error !== undefined)
    assert.ok(background?.type === 'backgroundError' && background.what === 'flush')
    assert.equal(background.error, failed.error)
    assert.equal(background.retryMs, 500)
    assert.ok(succeeded?.type === 'flushEnd' && succeeded.error === undefined)
    await drive(life.clock, life.db.close())
  })

  test('tell once that the database is poisoned', async () => {
    const disk = new FailingFileSystem(new MemoryFileSystem())
    const life = await begin(disk)
    await write(life, 1)
    disk.fail({ fault: 'failedSync', path: path => path.endsWith('.wal'), forever: true })
    for (let round = 0; round < 3; round++) await assert.rejects(write(life, 1))
    assert.equal(life.checker.counts.get('poisoned'), 1)
    await life.db.close()
  })

  test('hurt nobody when their listener throws, rejects, or calls the database', async () => {
    const warnings: string[] = []
    const log = (message: string) => void warnings.push(message)
    const logger: Logger = { debug: log, info: () => {}, warn: log, error: log }
    const clock = new SimClock()
    const options = { logger, memtableSize: 4096 }
    const db = await openEngine(new MemoryFileSystem(), { clock, options })
    const seen: string[] = []
    const stops = [
      db.onEvent(() => {
        throw new Error('first')
      }),
      db.onEvent(() => Promise.reject(new Error('second'))),
      db.onEvent(event => {
        seen.push(event.type)
        return event.type === 'walRotated' ? db.put('from a listener', 'value') : undefined
      }),
    ]
    await write({ clock, db, events: [], checker: new EventChecker() }, 300)
    assert.equal(Buffer.from((await db.get('from a listener'))!).toString(), 'value')
    assert.equal(Buffer.from((await db.get('key 99'))!).toString('latin1', 0, 4), '299 ')
    assert.equal(warnings.filter(text => /listener/.test(text)).length, 2 * seen.length)
    assert.ok(seen.includes('flushEnd') && seen.indexOf('flushBegin') < seen.indexOf('flushEnd'))
    for (const stop of stops) stop()
    const count = seen.length
    await write({ clock, db, events: [], checker: new EventChecker() }, 300)
    assert.equal(seen.length, count)
    await drive(clock, db.close())
    assert.throws(() => db.onEvent(() => undefined), { code: 'KV_CLOSED' })
  })

  test('go to each of two listeners that are one function, until it is stopped', async () => {
    const clock = new SimClock()
    const options = { memtableSize: 4096 }
    const db = await openEngine(new MemoryFileSystem(), { clock, options })
    let calls = 0
    const listener = () => {
      calls++
    }
    const stop = db.onEvent(listener)
    db.onEvent(listener)
    await write({ clock, db, events: [], checker: new EventChecker() }, 60)
    assert.ok(calls > 0 && calls % 2 === 0)
    stop()
    stop()
    calls = 0
    let others = 0
    db.onEvent(() => others++)
    await write({ clock, db, events: [], checker: new EventChecker() }, 60)
    assert.ok(others > 0)
    assert.equal(calls, others)
    await drive(clock, db.close())
  })
})

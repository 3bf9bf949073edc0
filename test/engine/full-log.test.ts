// Goal: where there is no room for the next segment of the log nothing is in doubt: writes are
// refused with the reason, reads go on, and all works again once there is room; whereas a disk that
// fails there ends all writing. After a power loss at any of these moments what was acknowledged is
// there.
// Method: a simulated disk on which each step of making a segment fails, as long as it is told to.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import type { Db } from '../../src/engine/index.ts'
import { IoError, type KvError, PoisonedError } from '../../src/errors.ts'
import { silentLogger } from '../../src/logger.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { FailingFileSystem, type FaultRule } from '../support/failing-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const VALUE = new Uint8Array(200)
const isLog = (path: string) => path.endsWith('.wal')
/** Segments are the only files that are created while nothing is flushed. */
const STEPS: readonly Pick<FaultRule, 'kind' | 'path'>[] = [
  { kind: 'create', path: isLog },
  { kind: 'write', path: isLog },
  { kind: 'sync', path: isLog },
]

interface Story {
  readonly memory: MemoryFileSystem
  readonly disk: FailingFileSystem
  readonly clock: SimClock
  readonly db: Db
  /** Numbers of the keys whose put was acknowledged. */
  readonly written: number[]
  /** Whether writes are taken, as the log of the program says it. */
  readonly told: string[]
}

async function begin(): Promise<Story> {
  const memory = new MemoryFileSystem()
  const disk = new FailingFileSystem(memory)
  const clock = new SimClock()
  const told: string[] = []
  const tell = (message: string): void => {
    if (message.startsWith('writes are')) told.push(message)
  }
  const logger = { ...silentLogger, info: tell, error: tell }
  const db = await openEngine(disk, { clock, options: { logger } })
  return { memory, disk, clock, db, written: [], told }
}

/** Puts until the memtable has been changed, or a put fails; returns the error. */
async function putUntilRotation({ db, clock, written }: Story): Promise<KvError | undefined> {
  const { count } = db.stats().flushes
  for (let puts = 0; puts < 500 && db.stats().flushes.count === count; puts++) {
    const number = written.length
    try {
      await drive(clock, db.put(`key ${number}`, VALUE))
      written.push(number)
    } catch (error) {
      return error as KvError
    }
  }
  return undefined
}

async function checkAll(db: Db, clock: SimClock, written: readonly number[]): Promise<void> {
  for (const number of written) {
    const value = await drive(clock, db.get(`key ${number}`))
    assert.equal(value?.length, VALUE.length, `key ${number}`)
  }
}

describe('without room for the next segment of the log', () => {
  for (const step of STEPS) {
    test(`at ${step.kind}, writes are refused until there is room`, async context => {
      const random = seededRandom(printSeed(context))
      const story = await begin()
      const { memory, clock, db, written } = story
      assert.equal(await putUntilRotation(story), undefined)
      for (let turn = 0; turn < 5; turn++) await yieldToEventLoop()
      // The next segment is made ahead: the first rotation may still succeed.
      const fault = segmentFault(story, { ...step, fault: 'ENOSPC' })
      const crashes = recordCrashes(story, random)
      let refusal: KvError | undefined
      for (let round = 0; round < 3 && refusal === undefined; round++) {
        refusal = await putUntilRotation(story)
      }
      assert.ok(refusal instanceof IoError, `${refusal}`)
      assert.match(refusal.message, /log cannot be continued.*ENOSPC.*make room on the disk/)
      assert.equal(refusal.outcome, 'rejected')
      await assert.rejects(drive(clock, db.put('another', VALUE)), IoError)
      await assert.rejects(drive(clock, db.put('another', VALUE, { durability: 'none' })), IoError)
      await checkAll(db, clock, written)
      fault.remove()
      assert.equal(await putUntilRotation(story), undefined)
      assert.equal(await putUntilRotation(story), undefined)
      await checkAll(db, clock, written)
      assert.equal(await drive(clock, db.get('another')), undefined)
      const segments = memory.paths().filter(isLog)
      assert.ok(segments.length <= 3, `nothing is left of the attempts: ${segments}`)
      await drive(clock, db.close())
      memory.onCall = undefined
      await checkAfterPowerLoss(memory, written)
      assert.ok(crashes.length > 10, `${crashes.length} crashes`)
      for (const { survivor, count } of crashes) {
        await checkAfterPowerLoss(survivor, written.slice(0, count))
      }
    })

    test(`at ${step.kind}, a disk that fails ends all writing`, async () => {
      const story = await begin()
      assert.equal(await putUntilRotation(story), undefined)
      for (let turn = 0; turn < 5; turn++) await yieldToEventLoop()
      segmentFault(story, { ...step, fault: 'EIO' })
      let refusal: KvError | undefined
      for (let round = 0; round < 3 && refusal === undefined; round++) {
        refusal = await putUntilRotation(story)
      }
      assert.ok(refusal instanceof PoisonedError, `${refusal}`)
      assert.equal(story.db.stats().writesRefusedFor, 'failure')
      await drive(story.clock, story.db.close()).catch(() => undefined)
      await checkAfterPowerLoss(story.memory, story.written)
    })
  }

  for (const fault of ['EMFILE', 'ENFILE', 'ENOSPC', 'EDQUOT'] as const) {
    test(`${fault} at the look at the lock refuses writes until it is over`, async () => {
      const story = await begin()
      const { clock, db, written, memory } = story
      assert.equal(await putUntilRotation(story), undefined)
      const rule = story.disk.fail({ kind: 'verifyLock', fault, forever: true })
      const refusal = await putUntilRotation(story)
      assert.ok(refusal instanceof IoError, `${refusal}`)
      assert.match(refusal.message, new RegExp(`log cannot be continued.*${fault}`))
      assert.equal(refusal.outcome, 'rejected')
      const isFull = fault === 'ENOSPC' || fault === 'EDQUOT'
      assert.equal(db.stats().writesRefusedFor, isFull ? 'space' : 'files')
      assert.equal(db.writesRefusedFor, isFull ? 'space' : 'files')
      await checkAll(db, clock, written)
      rule.remove()
      assert.equal(await putUntilRotation(story), undefined)
      assert.equal(db.stats().writesRefusedFor, undefined)
      await checkAll(db, clock, written)
      await drive(clock, db.close())
      await checkAfterPowerLoss(memory, written)
    })
  }

  for (const durability of ['sync', 'interval', 'none'] as const) {
    test(`for the next frames, ${durability} writes are refused until there is room`, async t => {
      const random = seededRandom(printSeed(t))
      const story = await begin()
      const { memory, clock, db, disk, written, told } = story
      const crashes = recordCrashes(story, random)
      const put = async () => {
        await drive(clock, db.put(`key ${written.length}`, VALUE, { durability }))
        written.push(written.length)
      }
      for (let round = 0; round < 6; round++) {
        const rule = disk.fail({ fault: 'full', path: isLog, forever: true })
        const before = written.length
        let refusal: unknown
        while (refusal === undefined)
          refusal = await put().then(
            () => undefined,
            error => error,
          )
        assert.ok(refusal instanceof IoError, `${refusal}`)
        assert.match(refusal.message, /log cannot be continued.*ENOSPC.*make room on the disk/)
        assert.equal(refusal.outcome, 'rejected')
        await assert.rejects(put(), IoError)
        await checkAll(db, clock, written)
        await clock.advanceAsync(5000)
        rule.remove()
        for (let count = 0; count < 5 + random.below(40); count++) await put()
        assert.ok(written.length > before, 'there is room again')
      }
      const each = ['writes are refused', 'writes are taken again: the log could be continued']
      assert.deepEqual(told, Array.from({ length: 6 }, () => each).flat())
      await checkAll(db, clock, written)
      await drive(clock, db.close())
      memory.onCall = undefined
      await checkAfterPowerLoss(memory, written)
      assert.ok(crashes.length > 10, `${crashes.length} crashes`)
      for (const { survivor, count } of crashes) {
        // Nothing more is promised of the others than that what is left can be opened.
        await checkAfterPowerLoss(survivor, durability === 'sync' ? written.slice(0, count) : [])
      }
    })
  }

  test('a segment that cannot be taken back ends all writing', async () => {
    const story = await begin()
    assert.equal(await putUntilRotation(story), undefined)
    segmentFault(story, { kind: 'write', path: isLog, fault: 'ENOSPC' })
    story.disk.fail({ kind: 'remove', path: isLog, fault: 'ENOSPC', forever: true })
    let refusal: KvError | undefined
    for (let round = 0; round < 3 && refusal === undefined; round++) {
      refusal = await putUntilRotation(story)
    }
    assert.ok(refusal instanceof PoisonedError, `${refusal}`)
    await drive(story.clock, story.db.close()).catch(() => undefined)
    await checkAfterPowerLoss(story.memory, story.written)
  })
})

/** The fault at every segment but the one in use, whose frames go on being written. */
function segmentFault({ memory, disk }: Story, rule: FaultRule) {
  const inUse = memory.paths().filter(path => isLog(path) && memory.peek(path).length > 0)
  return disk.fail({ ...rule, path: path => isLog(path) && !inUse.includes(path), forever: true })
}

/** The disk after a power loss at any change of a name, and at a few of the other calls. */
function recordCrashes({ memory, written }: Story, random: Random) {
  const crashes: { readonly survivor: MemoryFileSystem; readonly count: number }[] = []
  memory.onCall = (_index, kind) => {
    const isName = kind === 'create' || kind === 'remove' || kind === 'syncDirectory'
    if (!isName && random.below(10) > 0) return
    const keep = (['nothing', 'all', 'random'] as const)[random.below(3)]!
    crashes.push({ survivor: memory.crashClone(random, { keep }), count: written.length })
  }
  return crashes
}

async function checkAfterPowerLoss(
  disk: MemoryFileSystem,
  written: readonly number[],
): Promise<void> {
  const clock = new SimClock()
  const db = await openEngine(disk, { clock })
  await checkAll(db, clock, written)
  await drive(clock, db.close())
}

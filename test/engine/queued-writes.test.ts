// Goal: writes that wait for the disk are memory like any other: the block cache gives it up for as
// long as they wait, and what exceeds their share of the budget is refused, but for a single batch.
// Method: a simulated disk whose calls finish when the test says so; the memory of stats(); batches
// that count how many of their values were asked for.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import type { Db, DbStats, EmbeddedOperation } from '../../src/engine/index.ts'
import type { TreeState } from '../../src/engine/tree-state.ts'
import type { WriteQueueHost } from '../../src/engine/write-group.ts'
import { WriteQueue } from '../../src/engine/write-queue.ts'
import { loadHasher } from '../../src/hash.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const MIB = 1024 * 1024
const VALUE = new Uint8Array(MIB / 2)

interface Subject {
  readonly db: Db
  readonly clock: SimClock
  /** Holds the disk up until the function that it returns is called. */
  readonly hold: () => () => void
}

/** A database with a full block cache, on a disk that can be held up. */
async function fullCache(): Promise<Subject> {
  const subject = await empty()
  const { db, clock } = subject
  for (let at = 0; at < 40; at++) {
    const written = db.batch(
      Array.from({ length: 400 }, (_, index) => ({
        type: 'put' as const,
        key: `${at} ${index}`,
        value: VALUE.subarray(0, 900),
      })),
    )
    await drive(clock, written)
  }
  await drive(clock, db.compact())
  for await (const [key] of db.entries()) await db.get(key)
  return subject
}

/** The same without anything in it. */
async function empty(): Promise<Subject> {
  let held: (() => void)[] | undefined
  const disk = new MemoryFileSystem({
    defer: step => (held === undefined ? queueMicrotask(step) : held.push(step)),
  })
  const options = {
    memoryBudget: 12 * MIB,
    memtableSize: MIB,
    tableSizeTarget: MIB,
    blockSize: 4096,
  }
  const clock = new SimClock()
  const db = await openEngine(disk, { options, clock })
  const hold = () => {
    held = []
    return () => {
      const steps = held ?? []
      held = undefined
      for (const step of steps) step()
    }
  }
  return { db, clock, hold }
}

/** Batches of puts that count how many of their values were asked for. */
class CountedBatches {
  readonly counts: number[] = []
  /** Whether a value was asked for after one of a later batch. */
  areMixed = false
  readonly #size: number
  readonly #value: string
  #latest = 0

  constructor(size: number, valueSize: number) {
    this.#size = size
    this.#value = 'v'.repeat(valueSize)
  }

  next(): EmbeddedOperation[] {
    const batch = this.counts.push(0) - 1
    const read = () => this.#read(batch)
    return Array.from({ length: this.#size }, (_, index) => ({
      type: 'put' as const,
      key: `${batch} ${index}`,
      get value() {
        return read()
      },
    }))
  }

  #read(batch: number): string {
    this.counts[batch]!++
    if (batch < this.#latest) this.areMixed = true
    this.#latest = batch
    return this.#value
  }
}

function cacheBytes({ memory }: DbStats): number {
  return memory.blockCache
}

describe('writes that wait', () => {
  test('take their memory from the block cache, and give it back', async () => {
    const { db, clock, hold } = await fullCache()
    const before = cacheBytes(db.stats())
    assert.ok(before > 3 * MIB, `${before} bytes are cached`)
    const release = hold()
    const writes = Array.from({ length: 6 }, (_, index) => db.put(`waits ${index}`, VALUE))
    assert.ok(db.stats().memory.writeQueue >= 3 * MIB)
    assert.ok(cacheBytes(db.stats()) <= before - 2 * MIB, 'it made room')
    release()
    await drive(clock, Promise.all(writes))
    assert.equal(db.stats().memory.writeQueue, 0)
    for await (const [key] of db.entries()) await db.get(key)
    assert.ok(cacheBytes(db.stats()) > before - MIB / 2, 'it may grow again')
    await drive(clock, db.close())
  })

  test('are refused beyond their share of the budget, but never a single batch', async () => {
    const { db, clock, hold } = await fullCache()
    const release = hold()
    const batch = Array.from({ length: 40 }, (_, index) => ({
      type: 'put' as const,
      key: `large ${index}`,
      value: VALUE,
    }))
    const refusal = { code: 'KV_OVERLOADED', outcome: 'rejected' }
    const taken: Promise<void>[] = []
    const refused: Promise<void>[] = []
    for (let index = 0; index < 20; index++) {
      const { writeQueue } = db.stats().memory
      const write = db.put(`waits ${index}`, VALUE)
      if (db.stats().memory.writeQueue > writeQueue) taken.push(write)
      else refused.push(assert.rejects(write, refusal))
    }
    assert.equal(taken.length, 15, 'what fits 8 MiB')
    release()
    await drive(clock, Promise.all([...taken, ...refused]))
    await drive(clock, db.batch(batch))
    assert.equal((await db.get('large 39'))?.length, VALUE.length)
    await drive(clock, db.close())
  })

  test('are refused before a large batch is converted, but for the first', async () => {
    const { db, clock, hold } = await empty()
    const release = hold()
    const batches = new CountedBatches(501, 16 * 1024)
    const writes = Array.from({ length: 60 }, () => db.batch(batches.next()))
    const settled = Promise.allSettled(writes)
    while (batches.counts.includes(0)) await new Promise(resolve => setImmediate(resolve))
    const { writeQueue } = db.stats().memory
    assert.ok(writeQueue > 501 * 16 * 1024 && writeQueue <= 8 * MIB, `${writeQueue} bytes wait`)
    release()
    const [first, ...others] = await drive(clock, settled)
    assert.equal(first?.status, 'fulfilled')
    for (const outcome of others) {
      assert.equal(outcome.status, 'rejected')
      assert.equal(outcome.reason.code, 'KV_OVERLOADED')
      assert.equal(outcome.reason.outcome, 'rejected')
    }
    // What is converted before the look at its size; then each is asked for the least it takes.
    assert.deepEqual(batches.counts, [501, ...others.map(() => 20 + 501)])
    assert.equal(db.stats().memory.writeQueue, 0)
    await drive(clock, db.close())
  })

  test('are converted one batch at a time, within their share', async () => {
    const { db, clock, hold } = await empty()
    const release = hold()
    const puts = Array.from({ length: 14 }, (_, at) => db.put(`put ${at}`, VALUE))
    const batches = new CountedBatches(1200, 100)
    const writes = Array.from({ length: 60 }, () => db.batch(batches.next()))
    const settled = Promise.allSettled(writes)
    let most = 0
    for (let turn = 0; turn < 100; turn++) {
      await new Promise(resolve => setImmediate(resolve))
      const { writeQueue } = db.stats().memory
      most = Math.max(most, writeQueue)
      const whole = batches.counts.filter(count => count === 1200).length
      assert.ok(14 * VALUE.length + whole * 1200 * 100 <= writeQueue, `${whole} are charged for`)
    }
    assert.ok(most > 7.5 * MIB && most <= 8 * MIB, `${most} bytes waited`)
    assert.ok(!batches.areMixed)
    release()
    await drive(clock, Promise.all(puts))
    const outcomes = await drive(clock, settled)
    for (const [at, { status }] of outcomes.entries()) {
      const found = [0, 1199].map(index => db.getSync(`${at} ${index}`) !== undefined)
      assert.deepEqual(found, status === 'fulfilled' ? [true, true] : [false, false])
    }
    const taken = outcomes.filter(({ status }) => status === 'fulfilled').length
    assert.equal(taken, 6, 'what fits the rest of 8 MiB')
    assert.equal(db.stats().memory.writeQueue, 0)
    await drive(clock, db.close())
  })

  test('do not take the place of a large batch that found nobody waiting', async () => {
    const { db, clock } = await empty()
    const batches = new CountedBatches(1200, 8 * 1024)
    await drive(clock, Promise.all([db.batch(batches.next()), db.put('behind', VALUE)]))
    assert.deepEqual(batches.counts, [1200])
    await drive(clock, db.close())
  })

  test('are refused with the size, the limit and what to do', async () => {
    const { db, clock, hold } = await empty()
    const release = hold()
    const taken = Array.from({ length: 15 }, (_, at) => db.put(`waits ${at}`, VALUE))
    const { writeQueue } = db.stats().memory
    const one = (size: number): EmbeddedOperation => ({
      type: 'put',
      key: 'k',
      value: new Uint8Array(size),
    })
    const many = (count: number, size: number) =>
      new Array<EmbeddedOperation>(count).fill(one(size))
    const refused: Promise<void>[] = []
    const others = `${writeQueue} bytes of others wait for the disk`
    const beside = `${others}, and ${8 * MIB} may wait together`
    for (const [write, message] of [
      [
        db.put('k', VALUE),
        `a write of ${MIB / 2 + 33} bytes was refused: ${beside}; await writes before sending more`,
      ],
      [
        db.batch(many(9, MIB)),
        `a write of at least ${9 * (MIB + 33) + 32} bytes was refused: ${beside}; ` +
          'it is taken only while no other waits: await those before it, or split it',
      ],
      [
        db.batch(many(600, 2000)),
        /^a write of at least 52\d{4} bytes .* await writes before sending more$/,
      ],
    ] as const) {
      refused.push(assert.rejects(write, { code: 'KV_OVERLOADED', message, retryAfterMs: 50 }))
    }
    // What no queue takes is told so for good.
    const never = { code: 'KV_INVALID_ARGUMENT', outcome: 'rejected', message: /split it$/ }
    for (const batch of [many(65, MIB), many(650, MIB / 10), many(1_000_001, 0)]) {
      refused.push(assert.rejects(db.batch(batch), never))
    }
    release()
    await drive(clock, Promise.all([...taken, ...refused]))
    await drive(clock, db.close())
  })

  test('are at most 4096, of which the batches hold nothing yet', async () => {
    const { db, clock, hold } = await empty()
    const release = hold()
    // So much waits that none of them is taken in the end, which takes them less time.
    const full = db.put('k', new Uint8Array(8 * MIB - 40))
    const batch = new Array<EmbeddedOperation>(501).fill({ type: 'del', key: 'k' })
    const writes = Array.from({ length: 4096 }, () => db.batch(batch))
    const last = assert.rejects(writes.pop()!, {
      code: 'KV_OVERLOADED',
      message:
        'a batch was refused: 4096 others wait, which is the most that may; ' +
        'await batches before sending more',
    })
    const settled = Promise.allSettled(writes)
    await last
    await new Promise(resolve => setImmediate(resolve))
    release()
    await drive(clock, full)
    const outcomes = await drive(clock, settled)
    assert.equal(outcomes.length, 4095)
    for (const outcome of outcomes) {
      assert.ok(outcome.status === 'rejected')
      assert.match(outcome.reason.message, /^a write of at least 32 bytes/)
    }
    await drive(clock, db.batch(batch))
    await drive(clock, db.close())
  })
})

test('a group takes no more range deletions than a memtable', async () => {
  const { db, clock } = await empty()
  const deletions = Array.from({ length: 10_000 }, (_, index) =>
    db.deleteRange({ gte: `a${index}`, lt: `a${index}.` }),
  )
  await drive(clock, Promise.all(deletions))
  assert.equal(db.stats().writes.groups, 3, '4096 in each')
  await drive(clock, db.close())
})

test('a queue that is closed freezes no memtable, and one that is closing those asked for', async () => {
  let frozen = 0
  const host: Partial<WriteQueueHost> = {
    state: { failure: undefined } as TreeState,
    clock: new SimClock(),
    hasher: await loadHasher(),
    freeze: async () => {
      frozen++
    },
  }
  const queue = new WriteQueue(host as WriteQueueHost)
  const asked = queue.freeze()
  const closed = queue.close()
  await assert.rejects(queue.freeze(), { code: 'KV_CLOSED' })
  await Promise.all([asked, closed])
  await assert.rejects(queue.freeze(), { code: 'KV_CLOSED' })
  await yieldToEventLoop()
  assert.equal(frozen, 1)
})

// Goal: log data goes into the log with its batch, comes back from it exactly, in order and without
// ever more than one batch waiting, and costs those who do not use it nothing.
// Method: short stories through the public interface, on the simulated disk. Random lives with
// crashes are in test/model and test/crash.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import type { ChangeBatch, Db, DbOptions } from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import type { Durability } from '../../src/key-value-store.ts'
import { text } from '../support/crash-oracle.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const DURABILITIES: readonly Durability[] = ['sync', 'interval', 'none']

interface Life {
  readonly clock: SimClock
  readonly db: Db
  readonly batches: ChangeBatch[]
}

async function begin(disk: MemoryFileSystem, options: DbOptions = {}): Promise<Life> {
  const clock = new SimClock()
  const batches: ChangeBatch[] = []
  const onLogData = (batch: ChangeBatch) => void batches.push(batch)
  const db = await openEngine(disk, { clock, options: { onLogData, ...options } })
  return { clock, db, batches }
}

function put(key: string, value = key) {
  return { type: 'put', key, value } as const
}

function bytes(content: string): Uint8Array {
  return Buffer.from(content)
}

describe('log data', () => {
  test('comes back with its batch, from among batches without any', async () => {
    const disk = new MemoryFileSystem()
    const { db, clock } = await begin(disk)
    await db.put('before', '1')
    await Promise.all([
      db.batch([put('a'), { type: 'del', key: 'b' }], { logData: 'first' }),
      db.put('between', '2'),
      db.batch([put('many'), put('more')]),
      db.batch([{ type: 'put', key: 'c', value: 'C', ttlMs: 5000 }], { logData: bytes('second') }),
      db.batch([put('d')], { logData: '' }),
    ])
    const expiryMs = clock.wallMs() + 5000
    await db.close()
    const { db: again, batches } = await begin(disk)
    assert.deepEqual(batches.map(describeBatch), [
      { sequences: [2, 3], logData: 'first', operations: ['a=a', 'del b'] },
      { sequences: [7, 7], logData: 'second', operations: [`c=C until ${expiryMs}`] },
      { sequences: [8, 8], logData: '', operations: ['d=d'] },
    ])
    // Its entries were flushed by the recovery, and the log that held them is gone.
    await again.close()
    assert.deepEqual((await begin(disk)).batches, [])
  })

  for (const durability of DURABILITIES) {
    test(`at durability ${durability} fills no segment without bounds`, async () => {
      const options = { durability, memtableSize: 8192 }
      const db = await openEngine(new MemoryFileSystem(), { options })
      const logData = new Uint8Array(4096)
      for (let index = 0; index < 300; index++) await db.batch([put('key')], { logData })
      const { walBytes } = db.stats()
      assert.ok(walBytes < 256 * 1024, `${walBytes} bytes of log`)
      await db.close()
    })
  }

  for (const durability of DURABILITIES) {
    test(`at durability ${durability} has the sequences that commit() told of`, async () => {
      const disk = new MemoryFileSystem()
      const { db, clock } = await begin(disk, { durability })
      const committed: Promise<{ sequence: number; lastSequence: number }>[] = []
      for (let index = 0; index < 40; index++) {
        const value = bytes(`${index}`)
        const operations = Array.from({ length: 1 + (index % 3) }, (_, at) => {
          return { type: 'put', key: bytes(`${index}.${at}`), value } as const
        })
        const logData = index % 2 === 0 ? bytes(`log ${index}`) : undefined
        committed.push(db.commit(operations, { logData }))
        if (index % 7 === 0) await committed.at(-1)
      }
      const ranges = await Promise.all(committed)
      let next = 1
      for (const [index, { sequence, lastSequence }] of ranges.entries()) {
        assert.deepEqual([sequence, lastSequence], [next, next + (index % 3)])
        next = lastSequence + 1
      }
      assert.equal(db.stats().writes.operations, next - 1)
      assert.equal(db.stats().sequence, next - 1)
      await drive(clock, db.close())
      const { batches } = await begin(disk)
      assert.deepEqual(
        batches.map(({ sequence, lastSequence }) => ({ sequence, lastSequence })),
        ranges.filter((_, index) => index % 2 === 0),
      )
    })
  }

  test('is delivered one batch at a time, and a failure of the caller ends the opening', async () => {
    const disk = new MemoryFileSystem()
    const { db } = await begin(disk)
    for (let index = 0; index < 30; index++) {
      const writes = [0, 1, 2].map(at => db.batch([put(`${index}.${at}`)], { logData: `${at}` }))
      await Promise.all(writes)
    }
    const survivor = disk.processCrashClone()
    let running = 0
    let count = 0
    const refuse = new Error('not this one')
    const onLogData = async () => {
      running++
      assert.equal(running, 1, 'one at a time')
      await yieldToEventLoop()
      running--
      count++
      if (count === 50) throw refuse
    }
    await assert.rejects(openEngine(survivor, { options: { onLogData } }), refuse)
    assert.equal(count, 50)
    count = 50
    // Nothing had changed: everything comes once more.
    const again = await openEngine(survivor, { options: { onLogData } })
    assert.equal(count, 50 + 90)
    assert.equal(text((await again.get('29.2'))!), '29.2')
    const synchronous = () => {
      throw refuse
    }
    await assert.rejects(begin(disk.processCrashClone(), { onLogData: synchronous }), refuse)
  })

  test('has operations to go with, and counts as part of the batch', async () => {
    const { db } = await begin(new MemoryFileSystem())
    const isInvalid = (error: unknown) =>
      error instanceof KvError && error.code === 'KV_INVALID_ARGUMENT'
    await assert.rejects(db.batch([], { logData: 'alone' }), isInvalid)
    await assert.rejects(db.commit([]), isInvalid)
    await assert.rejects(db.batch([put('a')], { logData: 5 as unknown as string }), isInvalid)
    const huge = new Uint8Array(64 * 1024 * 1024)
    await assert.rejects(db.batch([put('a')], { logData: huge }), isInvalid)
    await db.batch([])
    await db.batch([put('a')], { logData: huge.subarray(10) })
    assert.equal(db.stats().writes.operations, 1)
    await db.close()
  })
})

function describeBatch({ sequence, lastSequence, logData, operations }: ChangeBatch) {
  return {
    sequences: [sequence, lastSequence],
    logData: text(logData!),
    operations: operations.map(operation => {
      if (operation.type !== 'put') return `${operation.type} ${text(operation.key)}`
      const until = operation.expiryMs ? ` until ${operation.expiryMs}` : ''
      return `${text(operation.key)}=${text(operation.value)}${until}`
    }),
  }
}

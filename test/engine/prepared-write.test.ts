// Goal: a prepared batch is there as a whole or not at all, takes its place when it is committed,
// and costs its writer's neighbours nothing before.
// Method: batches filled while other writes go on, against what must be there after each step and
// after a restart.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import type { ChangeBatch, Db } from '../../src/engine/index.ts'
import { InvalidArgumentError } from '../../src/errors.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const KEY = utf8Encode('key')

function textAt(db: Db, key = 'key'): string | undefined {
  const value = db.getSync(key)
  return value && utf8Decode(value)
}

describe('a prepared batch', () => {
  test('takes its place among others when it is committed', async () => {
    const clock = new SimClock()
    const disk = new MemoryFileSystem()
    const db = await openEngine(disk, { clock })
    const prepared = db.prepareWrite(2)
    prepared.put(KEY, utf8Encode('prepared'), 0)
    // Submitted before it, though it began later; and one group is open when it is committed.
    await drive(clock, db.put('key', 'earlier'))
    const before = db.put('key', 'just before')
    prepared.put(utf8Encode('other'), utf8Encode('prepared'), 0)
    assert.equal(textAt(db), 'earlier', 'nothing is seen of it before')
    const committed = prepared.commit()
    const after = db.put('other', 'just after')
    await drive(clock, Promise.all([before, committed, after]))
    assert.deepEqual([textAt(db), textAt(db, 'other')], ['prepared', 'just after'])
    await drive(clock, db.close())
    const again = await openEngine(disk, { clock })
    assert.deepEqual([textAt(again), textAt(again, 'other')], ['prepared', 'just after'])
    await drive(clock, again.close())
  })

  test('expires what it says, and leaves nothing when it is not committed', async () => {
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { clock })
    db.prepareWrite(1).put(KEY, utf8Encode('never committed'), 0)
    const prepared = db.prepareWrite(1)
    prepared.put(utf8Encode('brief'), utf8Encode('value'), clock.wallMs() + 1000)
    await drive(clock, prepared.commit({ durability: 'none' }))
    assert.equal(textAt(db, 'brief'), 'value')
    await clock.advanceAsync(1000)
    assert.equal(textAt(db, 'brief'), undefined)
    assert.equal(textAt(db), undefined)
    await drive(clock, db.close())
  })

  test('takes bytes along in the log that a later opening hands back', async () => {
    const clock = new SimClock()
    const disk = new MemoryFileSystem()
    const db = await openEngine(disk, { clock })
    const prepared = db.prepareWrite(2, utf8Encode('of the batch'))
    prepared.put(KEY, utf8Encode('value'), 0)
    prepared.put(utf8Encode('other'), utf8Encode('value'), 0)
    const before = db.sequence
    await drive(clock, prepared.commit())
    assert.equal(db.sequence, before + 2)
    const handed: ChangeBatch[] = []
    const onLogData = (batch: ChangeBatch) => void handed.push(batch)
    const again = await openEngine(disk.processCrashClone(), { clock, options: { onLogData } })
    assert.deepEqual(
      handed.map(({ sequence, logData, operations }) => [
        sequence,
        utf8Decode(logData!),
        operations.length,
      ]),
      [[before + 1, 'of the batch', 2]],
    )
    await drive(clock, again.close())
    await drive(clock, db.close())
  })

  test('of more than a million puts, or more bytes than a batch has, is refused', async () => {
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { clock })
    for (const count of [0, 1_000_001, 1.5]) {
      assert.throws(() => db.prepareWrite(count as number), InvalidArgumentError)
    }
    const prepared = db.prepareWrite(5)
    const value = new Uint8Array(15 << 20)
    for (let count = 0; count < 4; count++) prepared.put(KEY, value, 0)
    assert.throws(() => prepared.put(KEY, value, 0), InvalidArgumentError)
    await drive(clock, db.close())
    const late = prepared
    assert.throws(() => void late.commit(), InvalidArgumentError)
  })
})

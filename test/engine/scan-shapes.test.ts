// Goal: the instances that are held for the sake of V8 have the shapes of those that scans make;
// otherwise holding them keeps nothing.
// Method: make them before anything is read, use the classes on memtables and tables in both
// directions, make others, and ask V8 whether each pair still has one shape. A field that changes
// its representation on the way (a small integer that becomes a floating-point number) shows.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInThisContext } from 'node:vm'
import type { BlockSource } from '../../src/engine/block-source.ts'
import { NO_SEQUENCE } from '../../src/engine/internal-key.ts'
import { scanShapes } from '../../src/engine/scan-shapes.ts'
import { EngineSnapshot, Snapshots } from '../../src/engine/snapshots.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const KEY_COUNT = 600

function makeShapes(): readonly object[] {
  const chunk = { keys: [], values: [], size: 0, done: false }
  const source = { open() {}, fetch() {} } as unknown as BlockSource
  const snapshot = new EngineSnapshot(new Snapshots(), NO_SEQUENCE)
  return scanShapes(source, snapshot, chunk, 1.5e12)
}

test('what is held has the shapes of what scans make', async () => {
  setFlagsFromString('--allow-natives-syntax')
  const haveSameMap: (a: object, b: object) => boolean = runInThisContext(
    '(a, b) => %HaveSameMap(a, b)',
  )
  assert.ok(!haveSameMap({ a: 1 }, { b: 1 }), 'V8 answers')
  const held = makeShapes()

  const clock = new SimClock()
  const db = await openEngine(new MemoryFileSystem(), { clock })
  for (let index = 0; index < KEY_COUNT * 2; index++) {
    const key = `key-${String(index % KEY_COUNT).padStart(4, '0')}`
    await drive(clock, index % 7 === 0 ? db.delete(key) : db.put(key, `${key} value`))
  }
  assert.ok(
    db.stats().levels.some(({ tables }) => tables > 0),
    'there are tables',
  )
  for (const reverse of [false, true]) {
    for (const gte of ['key', 'key-0300']) {
      const scan = db.entries({ gte, lt: 'key-0500', reverse })
      for (;;) {
        const page = await drive(clock, scan.nextBatch(100))
        if (page.length === 0) break
      }
      await scan.close()
    }
  }
  await drive(clock, db.close())

  for (const [index, fresh] of makeShapes().entries()) {
    const { name } = fresh.constructor
    assert.ok(haveSameMap(held[index]!, fresh), `${name} has the shape it began with`)
  }
})

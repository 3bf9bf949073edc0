// Goal: nothing of a rotation waits for the disk on the main thread, and the file that is made
// ahead for it is harmless: lost, left over, or impossible to make.
// Method: a database on a simulated disk that refuses every synchronous call that would wait; then
// power losses while an empty segment is ahead, and a disk on which none can be made.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Db, type FileSystem, InlineExecutor } from '../../src/engine/index.ts'
import { openInEnvironment } from '../../src/engine/open.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { openEngine, TINY_TUNING } from '../support/engine-on-disk.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'
import { noteWaitingCalls } from '../support/waiting-calls.ts'

const hasher = await loadHasher()
const VALUE = new Uint8Array(300)
function segmentsOf(disk: MemoryFileSystem): string[] {
  return disk
    .paths()
    .filter(path => path.endsWith('.wal'))
    .sort((a, b) => (a < b ? -1 : 1))
}

function emptySegments(disk: MemoryFileSystem): string[] {
  return segmentsOf(disk).filter(path => disk.peek(path).length === 0)
}

/** Writes until so many memtables were frozen. */
async function rotate(db: Db, count: number): Promise<string[]> {
  const keys: string[] = []
  const target = db.stats().flushes.count + count
  while (db.stats().flushes.count < target) {
    const key = `key ${keys.length}`
    await db.put(key, VALUE)
    keys.push(key)
  }
  return keys
}

async function checkKeys(disk: FileSystem, keys: readonly string[]): Promise<void> {
  const db = await openEngine(disk)
  for (const key of keys) assert.equal((await db.get(key))?.length, VALUE.length, key)
  await db.close()
}

describe('the next segment', () => {
  test('a rotation makes no call that waits', async () => {
    const disk = new MemoryFileSystem()
    const seen: string[] = []
    const clock = new SimClock()
    const executor = new InlineExecutor({ fileSystem: disk, hasher, clock })
    const fileSystem = noteWaitingCalls(disk, seen)
    const environment = { fileSystem, executor, clock, random: seededRandom(1) }
    const db = await openInEnvironment('/db', TINY_TUNING, environment)
    seen.length = 0
    await rotate(db, 20)
    assert.deepEqual(seen, [])
    await db.close()
  })

  test('is ahead after a rotation, is used by the next, and goes at close', async () => {
    const disk = new MemoryFileSystem()
    const db = await openEngine(disk)
    assert.deepEqual(emptySegments(disk), [], 'a database that is hardly written to needs none')
    await rotate(db, 1)
    const [ahead, ...more] = emptySegments(disk)
    assert.ok(ahead !== undefined && more.length === 0)
    while (disk.peek(ahead).length === 0) await db.put('more', VALUE)
    await db.put('more', VALUE)
    assert.equal(segmentsOf(disk).at(-2), ahead, 'it is the active one')
    await db.close()
    assert.deepEqual(segmentsOf(disk), [ahead])
    await checkKeys(disk, ['key 0', 'more'])
  })

  test('may survive a power loss or not', async () => {
    const disk = new MemoryFileSystem()
    const db = await openEngine(disk)
    const keys = await rotate(db, 3)
    assert.equal(emptySegments(disk).length, 1)
    for (const keep of ['nothing', 'all'] as const) {
      const survivor = disk.crashClone(seededRandom(1), { keep })
      await checkKeys(survivor, keys)
      assert.deepEqual(emptySegments(survivor), [])
    }
    const without = disk.crashClone(seededRandom(1), { keep: 'all' })
    without.removeSync(emptySegments(without)[0]!)
    await checkKeys(without, keys)
    await db.close()
  })

  for (const kind of ['create', 'syncDirectory'] as const) {
    test(`is made at the rotation where ${kind} failed before`, async () => {
      const memory = new MemoryFileSystem()
      const disk = new FailingFileSystem(memory)
      const db = await openEngine(disk)
      const isLog = (path: string) => kind === 'syncDirectory' || path.endsWith('.wal')
      const keys = await rotate(db, 1)
      const report = disk.fail({ fault: 'EMFILE', kind, path: isLog, nth: 1 })
      while (report.injected === 0) keys.push(...(await rotate(db, 1)))
      keys.push(...(await rotate(db, 2)))
      await db.close()
      assert.equal(segmentsOf(memory).length, 1, 'nothing is left behind')
      await checkKeys(memory, keys)
    })
  }

  test('that cannot be made at all refuses writes, and nothing is lost', async () => {
    const memory = new MemoryFileSystem()
    const disk = new FailingFileSystem(memory)
    const db = await openEngine(disk)
    const keys = await rotate(db, 1)
    const isLog = (path: string) => path.endsWith('.wal')
    disk.fail({ fault: 'ENOSPC', kind: 'create', path: isLog, forever: true })
    await assert.rejects(rotate(db, 5), { code: 'KV_IO', outcome: 'rejected' })
    await db.close()
    await checkKeys(memory.crashClone(seededRandom(2), { keep: 'nothing' }), keys)
  })
})

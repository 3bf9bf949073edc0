// Goal: whatever call of destroy() the power goes away at, or fails, the database is whole or it is
// gone; no part of it ever opens; and destroying it again finishes the work.
// Method: a database of several tables on a simulated disk is destroyed; three kinds of power loss
// at every call, and an error at every call. Every disk left is opened as a user would.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { destroyIn } from '../../src/engine/destroy.ts'
import { KvError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { readState } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { CRASHES } from '../support/power-loss-sweep.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { systemError } from '../support/system-error.ts'

const KEY_COUNT = 100

async function filledDisk(random: Random): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  const db = await openEngine(disk, { clock, random })
  for (let index = 0; index < KEY_COUNT; index++) {
    await drive(clock, db.put(`key-${index}`, 'x'.repeat(250)))
  }
  assert.ok(db.stats().flushes.count > 1)
  await drive(clock, db.close())
  return disk
}

type Left = 'whole' | 'refused' | 'empty'

/** What somebody finds who opens what is left on the disk. */
async function openLeft(disk: MemoryFileSystem): Promise<Left> {
  const clock = new SimClock()
  try {
    const db = await openEngine(disk, { clock })
    const { size } = await readState(db)
    await drive(clock, db.close())
    assert.ok(size === 0 || size === KEY_COUNT, `${size} keys are a part`)
    return size === 0 ? 'empty' : 'whole'
  } catch (error) {
    if (error instanceof KvError && error.code === 'KV_CORRUPTION') return 'refused'
    throw error
  }
}

describe('destroy()', () => {
  test('leaves all or nothing when the power goes away at any call', async t => {
    const random = seededRandom(printSeed(t))
    const disk = await filledDisk(random)
    const survivors: MemoryFileSystem[] = []
    disk.onCall = () => {
      for (const crash of CRASHES) survivors.push(disk.crashClone(random, crash))
    }
    await destroyIn(disk, DIRECTORY)
    disk.onCall = undefined
    assert.throws(() => disk.listSync(DIRECTORY), { code: 'ENOENT' })
    const counts: Record<Left, number> = { whole: 0, refused: 0, empty: 0 }
    for (const survivor of survivors) {
      const again = survivor.processCrashClone()
      counts[await openLeft(survivor)]++
      await destroyIn(again, DIRECTORY)
      assert.equal(await openLeft(again), 'empty')
    }
    t.diagnostic(JSON.stringify(counts))
    for (const left of ['whole', 'refused', 'empty'] as const) assert.ok(counts[left] > 0, left)
  })

  test('reports an error at any call, and finishes when called again', async () => {
    const filled = await filledDisk(seededRandom(1))
    const callCount = await callsOfDestroy(filled.processCrashClone())
    assert.ok(callCount > 10)
    for (let failing = 0; failing < callCount; failing++) {
      const disk = filled.processCrashClone()
      const first = disk.callCount
      disk.onCall = (index, kind, path) => {
        if (index === first + failing) throw systemError('EIO', kind, path)
      }
      await assert.rejects(destroyIn(disk, DIRECTORY), { code: 'EIO' })
      disk.onCall = undefined
      const rest = disk.processCrashClone()
      await openLeft(rest.processCrashClone())
      await destroyIn(rest, DIRECTORY)
      assert.equal(await openLeft(rest), 'empty')
    }
  })
})

async function callsOfDestroy(disk: MemoryFileSystem): Promise<number> {
  const before = disk.callCount
  await destroyIn(disk, DIRECTORY)
  return disk.callCount - before
}

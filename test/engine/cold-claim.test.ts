// Goal: a database that was copied, file by file, never writes to the second directory of its
// original; a copy with a second directory of its own, and a database that was moved, both work.
// Method: a small database on a simulated disk, its directories copied and opened in each place.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { readColdOwnerSync } from '../../src/engine/cold-files.ts'
import { destroyIn } from '../../src/engine/destroy.ts'
import type { DirectoryLock } from '../../src/engine/file-system.ts'
import type { Db, DbOptions } from '../../src/engine/index.ts'
import { repairInEnvironment, verifyInEnvironment } from '../../src/engine/offline.ts'
import { sealText } from '../../src/engine/sealed-text.ts'
import {
  COLD,
  close,
  coldDatabase,
  environment,
  fill,
  type Life,
} from '../support/cold-database.ts'
import { readState } from '../support/crash-oracle.ts'
import { DIRECTORY, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const COPY = '/fast/copy'
const COLD_COPY = '/slow/copy'
const REFUSAL = {
  code: 'KV_INVALID_ARGUMENT',
  message: new RegExp(`tables of the database in ${DIRECTORY}, of which ${COPY} is a copy`),
}

/** Where DIRECTORY and COPY are two names of one directory, as far as the lock goes. */
class BoundFileSystem extends MemoryFileSystem {
  isBound = false

  override lockSync(path: string): DirectoryLock {
    const lock = super.lockSync(path)
    if (!this.isBound) return lock
    for (const directory of [DIRECTORY, COPY]) this.plant(`${directory}/LOCK`, Uint8Array.of(1))
    return { verifySync: () => undefined, releaseSync: () => lock.releaseSync() }
  }
}

async function begin(disk: MemoryFileSystem, directory: string, options: DbOptions = {}) {
  const clock = new SimClock()
  const db: Db = await openEngine(disk, { clock, directory, options })
  return { clock, db } satisfies Life
}

async function stateIn(disk: MemoryFileSystem, directory: string, options: DbOptions = {}) {
  const life = await begin(disk, directory, options)
  const state = await readState(life.db)
  await close(life)
  return state
}

function filesIn(disk: MemoryFileSystem, directory: string): Map<string, Uint8Array> {
  const paths = disk.paths().filter(path => path.startsWith(`${directory}/`))
  return new Map(paths.map(path => [path.slice(directory.length), disk.peek(path).slice()]))
}

function copy(disk: MemoryFileSystem, source: string, target: string): void {
  disk.makeDirectorySync(target)
  for (const [name, bytes] of filesIn(disk, source)) disk.plant(`${target}${name}`, bytes)
}

function remove(disk: MemoryFileSystem, directory: string): void {
  for (const name of filesIn(disk, directory).keys()) disk.removeSync(`${directory}${name}`)
}

describe('a copy of a database with a second directory', () => {
  test('is not opened, repaired or destroyed with that of the original', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    copy(disk, DIRECTORY, COPY)
    const before = filesIn(disk, '')
    await assert.rejects(begin(disk, COPY), REFUSAL)
    await assert.rejects(begin(disk, COPY, { coldDirectory: COLD }), REFUSAL)
    await assert.rejects(begin(disk, COPY, { coldDirectory: null }), REFUSAL)
    await assert.rejects(repairInEnvironment(COPY, {}, await environment(disk)), REFUSAL)
    disk.removeSync(`${COPY}/COLD`)
    await assert.rejects(begin(disk, COPY, { coldDirectory: COLD }), REFUSAL)
    disk.plant(`${COPY}/COLD`, before.get(`${COPY}/COLD`)!)
    assert.deepEqual(filesIn(disk, ''), before, 'nothing was changed')
    assert.equal((await verifyInEnvironment(COPY, {}, await environment(disk))).ok, true)
    const { findings } = await destroyIn(disk, COPY)
    assert.match(findings[0]!.what, new RegExp(`belongs to the database in ${DIRECTORY}`))
    assert.deepEqual(await stateIn(disk, DIRECTORY), state)
  })

  test('works with a copy of it, and neither of the two disturbs the other', async () => {
    for (const isRepaired of [false, true]) {
      const disk = new MemoryFileSystem()
      const state = await coldDatabase(disk)
      copy(disk, DIRECTORY, COPY)
      copy(disk, COLD, COLD_COPY)
      const options = { coldDirectory: COLD_COPY }
      if (isRepaired) await repairInEnvironment(COPY, options, await environment(disk))
      const life = await begin(disk, COPY, options)
      assert.deepEqual(await readState(life.db), state)
      await fill(life, 1)
      const changed = await readState(life.db)
      await close(life)
      assert.deepEqual(await stateIn(disk, DIRECTORY), state)
      const original = await begin(disk, DIRECTORY)
      await fill(original, 2)
      await close(original)
      assert.deepEqual(await stateIn(disk, COPY), changed)
      await assert.rejects(begin(disk, COPY, { coldDirectory: COLD }), {
        code: 'KV_INVALID_ARGUMENT',
      })
    }
  })

  test('that took the place of the original is one that was moved', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    copy(disk, DIRECTORY, COPY)
    remove(disk, DIRECTORY)
    assert.deepEqual(await stateIn(disk, COPY), state)
    copy(disk, COPY, DIRECTORY)
    await assert.rejects(begin(disk, DIRECTORY), { message: new RegExp(`database in ${COPY}`) })
    remove(disk, COPY)
    assert.deepEqual(await stateIn(disk, DIRECTORY), state)
  })

  test('is not given the second directory of the original where that was moved', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    copy(disk, DIRECTORY, COPY)
    copy(disk, COLD, '/slow/moved')
    remove(disk, COLD)
    await assert.rejects(begin(disk, COPY, { coldDirectory: '/slow/moved' }), REFUSAL)
    assert.deepEqual(await stateIn(disk, DIRECTORY, { coldDirectory: '/slow/moved' }), state)
  })

  test('is one directory with the original where both have the same lock', async () => {
    const disk = new BoundFileSystem()
    const state = await coldDatabase(disk)
    copy(disk, DIRECTORY, COPY)
    disk.isBound = true
    assert.deepEqual(await stateIn(disk, COPY), state)
  })
})

test('an OWNER of an older build, which names no directory, is completed', async () => {
  const disk = new MemoryFileSystem()
  const state = await coldDatabase(disk)
  const owner = disk.peek(`${COLD}/OWNER`).slice()
  const { databaseId } = readColdOwnerSync(disk, COLD)!
  disk.plant(`${COLD}/OWNER`, sealText(Buffer.from(databaseId).toString('hex')))
  assert.deepEqual(readColdOwnerSync(disk, COLD), { home: undefined, databaseId })
  assert.deepEqual(await stateIn(disk, DIRECTORY), state)
  assert.deepEqual(disk.peek(`${COLD}/OWNER`), owner)
})

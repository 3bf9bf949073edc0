// Goal: a second directory that only looks like the right one never takes its place, and one that
// has lost its OWNER is taken for what it is. Nothing is written where that cannot be told.
// Method: a small database on a simulated disk, its second directory copied before more is written.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type OfflineOptions,
  repairInEnvironment,
  verifyInEnvironment,
} from '../../src/engine/offline.ts'
import {
  begin,
  COLD,
  close,
  coldDatabase,
  environment,
  fill,
  tablesIn,
} from '../support/cold-database.ts'
import { readState } from '../support/crash-oracle.ts'
import { DIRECTORY, drive } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'

const OLD = '/slow/old'
const AWAY = '/slow/away'
const POINTER = `${DIRECTORY}/COLD`
const OWNER = `${COLD}/OWNER`
const INVALID = { code: 'KV_INVALID_ARGUMENT' }
const NOT_FOUND = { code: 'KV_NOT_FOUND' }

async function repair(disk: MemoryFileSystem, options: OfflineOptions = {}, directory = DIRECTORY) {
  return await repairInEnvironment(directory, options, await environment(disk))
}

async function verify(disk: MemoryFileSystem, options: OfflineOptions = {}) {
  return await verifyInEnvironment(DIRECTORY, options, await environment(disk))
}

function filesOf(disk: MemoryFileSystem): Map<string, Uint8Array> {
  const paths = disk.paths().filter(path => !path.includes('LOCK'))
  return new Map(paths.map(path => [path, disk.peek(path).slice()]))
}

async function stateOf(disk: MemoryFileSystem, cold?: string): Promise<Map<string, string>> {
  const life = await begin(disk, cold)
  const state = await readState(life.db)
  await close(life)
  return state
}

function copy(disk: MemoryFileSystem, source: string, target: string): void {
  disk.makeDirectorySync(target)
  for (const [path, bytes] of filesOf(disk)) {
    if (path.startsWith(`${source}/`)) disk.plant(`${target}${path.slice(source.length)}`, bytes)
  }
}

function move(disk: MemoryFileSystem, source: string, target: string): void {
  copy(disk, source, target)
  for (const path of disk.paths()) if (path.startsWith(`${source}/`)) disk.removeSync(path)
}

/** A closed database whose second directory has changed since it was copied to OLD. */
async function withOldCopy(disk: MemoryFileSystem): Promise<Map<string, string>> {
  await coldDatabase(disk)
  copy(disk, COLD, OLD)
  const life = await begin(disk, undefined)
  await fill(life, 1)
  const state = await readState(life.db)
  await close(life)
  return state
}

/** Fails unless the call is refused and no file has changed. */
async function refuses(
  disk: MemoryFileSystem,
  options: OfflineOptions,
  error: { code: string; message?: RegExp },
): Promise<void> {
  const before = filesOf(disk)
  await assert.rejects(repair(disk, options), error)
  assert.deepEqual(filesOf(disk), before, 'nothing was changed')
}

describe('a copy of the second directory that is older', () => {
  const losses: [string, (disk: MemoryFileSystem) => void][] = [
    ['whole', () => undefined],
    ['without OWNER', disk => disk.removeSync(OWNER)],
    ['with a damaged OWNER', disk => disk.plant(OWNER, Uint8Array.of(1))],
  ]
  for (const [what, lose] of losses) {
    test(`takes nobody's place while the right one is there, ${what}`, async () => {
      const disk = new MemoryFileSystem()
      const state = await withOldCopy(disk)
      lose(disk)
      await refuses(disk, { coldDirectory: OLD }, { ...INVALID, message: /\/slow\/cold, which is/ })
      await repair(disk)
      assert.deepEqual(await stateOf(disk), state)
    })
  }

  test('takes no place either when COLD cannot tell, or what it names is away', async () => {
    for (const isAway of [true, false]) {
      const disk = new MemoryFileSystem()
      const state = await withOldCopy(disk)
      if (isAway) move(disk, COLD, AWAY)
      else disk.removeSync(POINTER)
      await refuses(disk, { coldDirectory: OLD }, { ...NOT_FOUND, message: /nor in \/slow\/old/ })
      const coldDirectory = isAway ? AWAY : COLD
      await repair(disk, { coldDirectory })
      assert.deepEqual(await stateOf(disk, coldDirectory), state)
    }
  })

  test('serves for what it has when the right one is lost', async () => {
    const disk = new MemoryFileSystem()
    const state = await withOldCopy(disk)
    for (const path of disk.paths()) if (path.startsWith(`${COLD}/`)) disk.removeSync(path)
    const options = { coldDirectory: OLD, coldDirectoryLost: true }
    const { tablesLost } = await repair(disk, options)
    assert.ok(tablesLost > 0)
    const found = await stateOf(disk)
    for (const [key, value] of found) assert.equal(state.get(key), value)
    assert.equal((await repair(disk, options)).changed, false)
  })

  test('is not opened, and nothing is called missing', async () => {
    const disk = new MemoryFileSystem()
    const state = await withOldCopy(disk)
    const before = filesOf(disk)
    const message = /keeps tables in \/slow\/cold/
    await assert.rejects(begin(disk, OLD), { ...INVALID, message })
    assert.deepEqual(filesOf(disk), before)
    assert.deepEqual(await stateOf(disk), state)
  })

  test('may be checked and opened while it has all that the right one has', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    copy(disk, COLD, OLD)
    assert.equal((await verify(disk, { coldDirectory: OLD })).ok, true)
    assert.deepEqual(await stateOf(disk, OLD), state)
    assert.deepEqual(await stateOf(disk), state)
  })
})

describe('OWNER that is gone', () => {
  test('is told by open and verify, and written anew by repair', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    const owner = disk.peek(OWNER).slice()
    disk.removeSync(OWNER)
    const advice = { code: 'KV_CORRUPTION', message: /OWNER is missing.*kvcli debug repair\)/ }
    await assert.rejects(begin(disk, undefined), advice)
    const { findings } = await verify(disk)
    assert.deepEqual(
      findings.map(({ path, what }) => [path, what]),
      [[OWNER, 'OWNER is missing']],
    )
    const { changed, tablesLost } = await repair(disk)
    assert.deepEqual([changed, tablesLost], [true, 0])
    assert.deepEqual(disk.peek(OWNER), owner)
    assert.equal((await verify(disk)).ok, true)
    assert.deepEqual(await stateOf(disk), state)
  })

  test('with COLD gone too, or moved: the tables tell whose they are', async () => {
    for (const isMoved of [true, false]) {
      const disk = new MemoryFileSystem()
      const state = await coldDatabase(disk)
      disk.removeSync(OWNER)
      if (isMoved) move(disk, COLD, AWAY)
      else disk.removeSync(POINTER)
      const { tablesLost } = await repair(disk, { coldDirectory: isMoved ? AWAY : COLD })
      assert.equal(tablesLost, 0)
      assert.deepEqual(await stateOf(disk), state)
    }
  })

  test('is not made up for where tables are missing, or of a disk that is not mounted', async () => {
    const disk = new MemoryFileSystem()
    await coldDatabase(disk)
    disk.removeSync(OWNER)
    move(disk, COLD, AWAY)
    disk.makeDirectorySync(COLD)
    await refuses(disk, {}, { ...NOT_FOUND, message: /mount it/ })
    const [table] = disk.listSync(AWAY).filter(name => name.endsWith('.sst'))
    disk.removeSync(`${AWAY}/${table}`)
    await refuses(disk, { coldDirectory: AWAY }, NOT_FOUND)
    const { tablesLost } = await repair(disk, { coldDirectory: AWAY, coldDirectoryLost: true })
    assert.equal(tablesLost, 1)
    disk.removeSync(`${AWAY}/OWNER`)
    disk.removeSync(POINTER)
    disk.plant(`${AWAY}/CURRENT`, Uint8Array.of(1))
    await refuses(disk, { coldDirectory: AWAY }, NOT_FOUND)
  })
})

test('tables that are no database are not made one', async () => {
  const disk = new MemoryFileSystem()
  await coldDatabase(disk)
  const life = await begin(disk, undefined)
  await drive(life.clock, life.db.backup('/backups'))
  await close(life)
  assert.ok(tablesIn(disk, '/backups') > 0)
  const before = filesOf(disk)
  for (const [directory, message] of [
    ['/backups', /holds backups.*restore/],
    [COLD, /the cold directory of a database/],
  ] as const) {
    await assert.rejects(repair(disk, {}, directory), { ...INVALID, message })
  }
  assert.deepEqual(filesOf(disk), before)
})

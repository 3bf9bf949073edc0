// Goal: whatever happens to the small files that tie a database to its second directory, no table
// there is taken for lost or for an orphan, and whoever says where it is gets everything back.
// Method: a small database on a simulated disk, whose COLD or MANIFEST is removed or damaged.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { destroyIn } from '../../src/engine/destroy.ts'
import { readManifestStateSync } from '../../src/engine/manifest.ts'
import {
  type OfflineOptions,
  repairInEnvironment,
  verifyInEnvironment,
} from '../../src/engine/offline.ts'
import { Feature } from '../../src/engine/version-edit.ts'
import { seededRandom } from '../../src/random.ts'
import {
  begin,
  COLD,
  close,
  coldDatabase,
  environment,
  tablesIn,
} from '../support/cold-database.ts'
import { readState } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import type { MemoryFileSystem as Disk } from '../support/memory-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'

const POINTER = `${DIRECTORY}/COLD`
const THERE: OfflineOptions = { coldDirectory: COLD }

async function repair(disk: Disk, options: OfflineOptions = {}) {
  return await repairInEnvironment(DIRECTORY, options, await environment(disk))
}

async function verify(disk: Disk, options: OfflineOptions = {}) {
  return await verifyInEnvironment(DIRECTORY, options, await environment(disk))
}

/** Every file with its bytes, but for locks. */
function filesOf(disk: Disk): Map<string, Uint8Array> {
  const paths = disk.paths().filter(path => !path.includes('LOCK'))
  return new Map(paths.map(path => [path, disk.peek(path).slice()]))
}

async function stateOf(disk: Disk, coldDirectory?: string): Promise<Map<string, string>> {
  const life = await begin(disk, coldDirectory)
  const state = await readState(life.db)
  await close(life)
  return state
}

function flip(disk: Disk, path: string, at: number): void {
  const damaged = disk.peek(path).slice()
  damaged[at < 0 ? damaged.length + at : at]! ^= 0x10
  disk.plant(path, damaged)
}

function manifestPath(disk: Disk): string {
  return disk.paths().find(path => path.startsWith(`${DIRECTORY}/MANIFEST`))!
}

const POINTER_LOSSES: [string, (disk: Disk) => void][] = [
  ['gone', disk => disk.removeSync(POINTER)],
  ['flipped at its start', disk => flip(disk, POINTER, 0)],
  ['flipped in its sum', disk => flip(disk, POINTER, -3)],
  ['empty', disk => disk.plant(POINTER, new Uint8Array(0))],
]

const MANIFEST_LOSSES: [string, (disk: Disk) => void][] = [
  ['whole', () => undefined],
  ['damaged at its end', disk => flip(disk, manifestPath(disk), -3)],
  ['not in force', disk => disk.removeSync(`${DIRECTORY}/CURRENT`)],
]

describe('repair of a database with a cold directory', () => {
  for (const [pointerLoss, losePointer] of POINTER_LOSSES) {
    for (const [manifestLoss, loseManifest] of MANIFEST_LOSSES) {
      test(`COLD ${pointerLoss}, MANIFEST ${manifestLoss}: refused, then whole`, async () => {
        const disk = new MemoryFileSystem()
        const state = await coldDatabase(disk)
        const pointer = disk.peek(POINTER)
        losePointer(disk)
        loseManifest(disk)
        const before = filesOf(disk)
        await assert.rejects(repair(disk), { code: 'KV_NOT_FOUND', message: /COLD.*coldDirectory/ })
        assert.deepEqual(filesOf(disk), before, 'nothing was changed')
        const { changed, tablesLost, findings, lostDirectory } = await repair(disk, THERE)
        assert.equal(changed, true)
        assert.equal(tablesLost, 0)
        assert.ok(findings.some(({ path }) => path === POINTER))
        assert.deepEqual(disk.peek(POINTER), pointer)
        const lost = before.get(POINTER)
        if (lost !== undefined) assert.deepEqual(disk.peek(`${lostDirectory}/COLD`), lost)
        assert.deepEqual(await stateOf(disk), state)
        assert.equal((await verify(disk)).ok, true)
      })
    }
  }

  test('tables of which the MANIFEST does not know are no orphans', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    // Nothing is left that tells of the second directory, so repair cannot know.
    for (const path of [POINTER, manifestPath(disk), `${DIRECTORY}/CURRENT`]) disk.removeSync(path)
    await repair(disk)
    const read = readManifestStateSync(disk, DIRECTORY)!
    assert.equal(read.state.features & Feature.coldDirectory, 0)
    const before = filesOf(disk)
    await assert.rejects(begin(disk, COLD), {
      code: 'KV_CORRUPTION',
      message: /MANIFEST knows of no second directory/,
    })
    for (const [path, bytes] of before) {
      if (path.startsWith(COLD)) assert.deepEqual(disk.peek(path), bytes)
    }
    assert.equal((await repair(disk, THERE)).tablesLost, 0)
    assert.deepEqual(await stateOf(disk), state)
  })

  test('a damaged COLD is enough to refuse when no MANIFEST is left', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    flip(disk, POINTER, 0)
    for (const path of [manifestPath(disk), `${DIRECTORY}/CURRENT`]) disk.removeSync(path)
    const before = filesOf(disk)
    await assert.rejects(repair(disk), { code: 'KV_NOT_FOUND', message: /COLD/ })
    assert.deepEqual(filesOf(disk), before)
    assert.equal((await repair(disk, THERE)).manifest, 'rebuilt')
    assert.deepEqual(await stateOf(disk), state)
  })

  test('COLD that is damaged where there are no cold tables goes to lost', async () => {
    const disk = new MemoryFileSystem()
    await close(await begin(disk, undefined))
    disk.plant(POINTER, Uint8Array.of(1))
    await assert.rejects(begin(disk, undefined), { code: 'KV_CORRUPTION' })
    const { movedFiles } = await repair(disk)
    assert.ok(movedFiles.includes('COLD'))
    await close(await begin(disk, undefined))
  })

  test('counts tables that are missing there', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    const tables = disk.paths().filter(path => path.startsWith(COLD) && path.endsWith('.sst'))
    disk.removeSync(tables[1]!)
    // It may be an old copy: nothing is given up unasked.
    const files = disk.paths()
    await assert.rejects(repair(disk), { code: 'KV_NOT_FOUND', message: /1 tables.*neither in/ })
    assert.deepEqual(disk.paths(), files)
    const options = { coldDirectory: COLD, coldDirectoryLost: true }
    const { tablesLost, tablesWhole } = await repair(disk, options)
    assert.equal(tablesLost, 1)
    assert.equal(tablesWhole, tables.length - 1 + tablesIn(disk, DIRECTORY))
    const found = await stateOf(disk)
    assert.ok(found.size < state.size)
    assert.ok([...found].every(([key, value]) => state.get(key) === value))
  })

  for (const [pointerLoss, losePointer] of [
    ['whole', () => undefined],
    ...POINTER_LOSSES,
  ] as const) {
    test(`COLD ${pointerLoss}: what is lost for good is given up, and told`, async () => {
      const disk = new MemoryFileSystem()
      const state = await coldDatabase(disk)
      // Newer than what is in the second directory, and kept.
      const life = await begin(disk, undefined)
      await drive(life.clock, life.db.put('key-0001', 'newer'))
      await close(life)
      const tables = tablesIn(disk, COLD)
      const coldPaths = disk.paths().filter(path => path.startsWith('/slow/'))
      const cold = new Map(coldPaths.map(path => [path, disk.peek(path).slice()]))
      for (const path of coldPaths) disk.removeSync(path)
      losePointer(disk)
      await assert.rejects(begin(disk, undefined), /KV|COLD|cold-directory-lost|coldDirectory/)
      await assert.rejects(repair(disk), /cold-directory-lost/)
      const before = filesOf(disk)
      const told = await verify(disk, { coldDirectoryLost: true })
      assert.equal(told.ok, false)
      assert.deepEqual(filesOf(disk), before)
      const { changed, tablesLost, findings, manifest } = await repair(disk, {
        coldDirectoryLost: true,
      })
      assert.deepEqual([changed, tablesLost, manifest], [true, tables, 'kept'])
      const lost = findings.filter(({ what }) => /lost with the cold directory: \d+ ent/.test(what))
      assert.equal(lost.length, tables)
      assert.match(lost[0]!.what, /of keys from "key-\d+" to "key-\d+"/)
      assert.equal((await verify(disk)).ok, true)
      assert.deepEqual([...(await stateOf(disk))], [['key-0001', 'newer']])
      // It turns up again: nobody removes what is there, and it comes back when it is asked for.
      for (const [path, bytes] of cold) disk.plant(path, bytes)
      await assert.rejects(begin(disk, COLD), { code: 'KV_CORRUPTION' })
      await repair(disk, THERE)
      assert.deepEqual(await stateOf(disk), new Map(state).set('key-0001', 'newer'))
    })
  }

  test('a second directory without tables can be given up as well', async () => {
    const disk = new MemoryFileSystem()
    await close(await begin(disk, COLD))
    for (const path of disk.paths()) if (path.startsWith('/slow/')) disk.removeSync(path)
    const { changed, tablesLost } = await repair(disk, { coldDirectoryLost: true })
    assert.deepEqual([changed, tablesLost], [true, 0])
    assert.equal((await repair(disk, { coldDirectoryLost: true })).changed, false)
    await close(await begin(disk, undefined))
  })

  for (const at of [0, 10, -3]) {
    test(`OWNER damaged at ${at}: told by verify, written anew by repair`, async () => {
      const disk = new MemoryFileSystem()
      const state = await coldDatabase(disk)
      const path = `${COLD}/OWNER`
      const owner = disk.peek(path).slice()
      flip(disk, path, at)
      const damaged = disk.peek(path).slice()
      await assert.rejects(begin(disk, undefined), /OWNER.*kvcli debug repair/)
      const told = await verify(disk)
      assert.deepEqual(
        told.findings.map(finding => finding.path),
        [path],
      )
      const { changed, tablesLost, lostDirectory } = await repair(disk)
      assert.deepEqual([changed, tablesLost], [true, 0])
      assert.deepEqual(disk.peek(path), owner)
      assert.deepEqual(disk.peek(`${lostDirectory}/OWNER`), damaged)
      assert.equal((await verify(disk)).ok, true)
      assert.deepEqual(await stateOf(disk), state)
    })
  }

  test('takes no directory of another database, and none without OWNER', async () => {
    const disk = new MemoryFileSystem()
    await coldDatabase(disk)
    const clock = new SimClock()
    const options = { coldDirectory: '/slow/other' }
    const other = { clock, directory: '/other', random: seededRandom(9), options }
    await drive(clock, (await openEngine(disk, other)).close())
    disk.makeDirectorySync('/slow/empty')
    for (const lose of [() => undefined, () => flip(disk, POINTER, 0)]) {
      lose()
      const before = filesOf(disk)
      for (const work of [repair, verify]) {
        await assert.rejects(work(disk, options), { code: 'KV_INVALID_ARGUMENT' })
        await assert.rejects(work(disk, { coldDirectory: `${DIRECTORY}/in` }), /outside/)
        await assert.rejects(work(disk, { coldDirectory: '' }), { code: 'KV_INVALID_ARGUMENT' })
      }
      assert.deepEqual(filesOf(disk), before)
    }
    await assert.rejects(repair(disk, { coldDirectory: '/slow/empty' }), { code: 'KV_NOT_FOUND' })
  })
})

describe('COLD that is damaged or gone', () => {
  for (const [pointerLoss, losePointer] of POINTER_LOSSES) {
    test(`${pointerLoss}: a finding of verify, and made up for by who says where`, async () => {
      const disk = new MemoryFileSystem()
      const state = await coldDatabase(disk)
      const pointer = disk.peek(POINTER)
      losePointer(disk)
      const blind = await verify(disk)
      assert.equal(blind.findings[0]?.path, POINTER)
      const { findings, damages, tables } = await verify(disk, THERE)
      assert.equal(findings[0]?.path, POINTER)
      assert.equal(damages, 1)
      assert.equal(tables, tablesIn(disk, COLD) + tablesIn(disk, DIRECTORY))
      await assert.rejects(begin(disk, undefined), { code: 'KV_CORRUPTION' })
      await assert.rejects(begin(disk, '/slow/empty'), { code: 'KV_CORRUPTION' })
      assert.deepEqual(await stateOf(disk, COLD), state)
      assert.deepEqual(disk.peek(POINTER), pointer)
      assert.deepEqual(await stateOf(disk), state)
    })
  }

  test('is not made up for by the directory of another database', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    const clock = new SimClock()
    const options = { coldDirectory: '/slow/other' }
    const other = { clock, directory: '/other', random: seededRandom(9), options }
    await drive(clock, (await openEngine(disk, other)).close())
    flip(disk, POINTER, 0)
    const before = filesOf(disk)
    await assert.rejects(begin(disk, '/slow/other'), {
      message: /missing|another database/,
    })
    assert.deepEqual(filesOf(disk), before)
    assert.deepEqual(await stateOf(disk, COLD), state)
  })
})

describe('destroy of a database with a cold directory', () => {
  test('removes nothing within a turn but what says that there is a database', async () => {
    const removedSync: string[] = []
    class WatchedDisk extends MemoryFileSystem {
      override removeSync(path: string): void {
        removedSync.push(path)
        super.removeSync(path)
      }
    }
    const disk = new WatchedDisk()
    await coldDatabase(disk)
    removedSync.length = 0
    assert.deepEqual(await destroyIn(disk, DIRECTORY), { findings: [] })
    assert.deepEqual(removedSync, [`${DIRECTORY}/CURRENT`])
    assert.equal(filesOf(disk).size, 0)
  })

  test('with COLD damaged: ends, leaves what it cannot know of, and says so', async () => {
    const disk = new MemoryFileSystem()
    await coldDatabase(disk)
    flip(disk, POINTER, 0)
    const cold = [...filesOf(disk).keys()].filter(path => path.startsWith(COLD))
    const { findings } = await destroyIn(disk, DIRECTORY)
    assert.deepEqual(
      findings.map(({ path, severity }) => [path, severity]),
      [[POINTER, 'damage']],
    )
    assert.deepEqual([...filesOf(disk).keys()], cold)
  })

  test('with OWNER damaged: leaves its tables, and says so', async () => {
    const disk = new MemoryFileSystem()
    await coldDatabase(disk)
    flip(disk, `${COLD}/OWNER`, 0)
    const cold = [...filesOf(disk).keys()].filter(path => path.startsWith(COLD))
    const { findings } = await destroyIn(disk, DIRECTORY)
    assert.deepEqual(
      findings.map(({ path }) => path),
      [`${COLD}/OWNER`],
    )
    assert.deepEqual([...filesOf(disk).keys()], cold)
  })

  test('somebody has the second directory: nothing is removed', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    const lock = disk.lockSync(COLD)
    const before = filesOf(disk)
    await assert.rejects(destroyIn(disk, DIRECTORY), { code: 'KV_LOCKED' })
    assert.deepEqual(filesOf(disk), before)
    lock.releaseSync()
    assert.deepEqual(await stateOf(disk), state)
    assert.deepEqual(await destroyIn(disk, DIRECTORY), { findings: [] })
    assert.equal(filesOf(disk).size, 0)
  })
})

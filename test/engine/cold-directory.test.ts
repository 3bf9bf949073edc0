// Goal: tables of the last level live in a second directory when they shall, and nothing else about
// the database is different: it recovers, moves tables when the option changes, is copied, checked,
// repaired and destroyed as any other; and it never opens with a second directory that is not its.
// Method: small databases on a simulated disk, with the two directories looked at from outside.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  readColdOwnerSync,
  readColdPointerSync,
  writeColdOwnerSync,
  writeColdPointerSync,
} from '../../src/engine/cold-files.ts'
import { destroyIn } from '../../src/engine/destroy.ts'
import { destroy, nodeFileSystem, open, verifyDirectory } from '../../src/engine/index.ts'
import {
  repairInEnvironment,
  restoreInEnvironment,
  verifyInEnvironment,
} from '../../src/engine/offline.ts'
import { seededRandom } from '../../src/random.ts'
import {
  begin,
  COLD,
  close,
  coldDatabase,
  environment,
  fill,
  KEYS,
  tablesIn,
} from '../support/cold-database.ts'
import { readState } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { formatExample } from '../support/format-example.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { SimClock } from '../support/sim-clock.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

describe('the cold directory', () => {
  test('holds the tables of the last level, and no others', async () => {
    const disk = new MemoryFileSystem()
    const life = await begin(disk, COLD)
    await fill(life)
    const { levels, coldBytes, tableBytes } = life.db.stats()
    assert.equal(tablesIn(disk, COLD), levels.at(-1)!.tables)
    const cold = disk.paths().filter(path => path.startsWith(COLD) && path.endsWith('.sst'))
    assert.equal(
      coldBytes,
      cold.reduce((sum, path) => sum + disk.peek(path).length, 0),
    )
    assert.ok(coldBytes > tableBytes / 2, `${coldBytes} of ${tableBytes}`)
    assert.equal(
      tablesIn(disk, DIRECTORY),
      levels.slice(0, -1).reduce((sum, { tables }) => sum + tables, 0),
    )
    const state = await readState(life.db)
    await close(life)
    // It is remembered.
    const again = await begin(disk, undefined)
    assert.deepEqual(await readState(again.db), state)
    await fill(again, 1)
    assert.equal(tablesIn(disk, COLD), again.db.stats().levels.at(-1)!.tables)
    await close(again)
  })

  test('takes over the tables of a database that had none, and gives them back', async () => {
    const disk = new MemoryFileSystem()
    const first = await begin(disk, undefined)
    await fill(first)
    const state = await readState(first.db)
    await close(first)
    assert.equal(disk.paths().filter(path => path.startsWith('/slow')).length, 0)

    const there = await begin(disk, COLD)
    await there.clock.advanceAsync(10_000, 60)
    assert.equal(tablesIn(disk, COLD), there.db.stats().levels.at(-1)!.tables)
    assert.equal(tablesIn(disk, DIRECTORY), 0)
    assert.equal(there.db.stats().coldBytes, there.db.stats().tableBytes)
    assert.deepEqual(await readState(there.db), state)
    await close(there)

    const back = await begin(disk, null)
    await back.clock.advanceAsync(10_000, 60)
    assert.equal(tablesIn(disk, COLD), 0)
    assert.deepEqual(await readState(back.db), state)
    await close(back)

    const released = await begin(disk, null)
    assert.deepEqual(await readState(released.db), state)
    // No power loss brings a table back, which nobody knows of any more.
    const crashed = disk.crashClone(seededRandom(1), { keep: 'nothing' })
    assert.equal(tablesIn(crashed, COLD), 0)
    const anew = await begin(crashed, COLD)
    assert.deepEqual(await readState(anew.db), state)
    await close(anew)
    await close(released)
    assert.deepEqual(disk.listSync(COLD), [])
    assert.ok(!disk.listSync(DIRECTORY).includes('COLD'))
    await close(await begin(disk, undefined))
  })

  test('may be moved while the database is closed, and only then be given anew', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    await assert.rejects(begin(disk, '/slow/other'), {
      code: 'KV_INVALID_ARGUMENT',
      message: /keeps tables in \/slow\/cold/,
    })
    disk.makeDirectorySync('/elsewhere')
    for (const name of disk.listSync(COLD)) disk.renameSync(`${COLD}/${name}`, `/elsewhere/${name}`)
    await assert.rejects(begin(disk, undefined), { code: 'KV_NOT_FOUND', message: /missing/ })
    for (const place of ['/elsewhere', undefined]) {
      const life = await begin(disk, place)
      assert.deepEqual(await readState(life.db), state)
      await close(life)
    }
  })

  test('is refused when it is in use, foreign, or within the database', async () => {
    const disk = new MemoryFileSystem()
    await coldDatabase(disk)
    const clock = new SimClock()
    // Chance of its own, so that it has another identity.
    const elsewhere = { clock, directory: '/other', random: seededRandom(9) }
    const other = (coldDirectory: string) =>
      openEngine(disk, { ...elsewhere, options: { coldDirectory } })
    const before = disk.paths().filter(path => path.startsWith(COLD))
    await assert.rejects(other(COLD), { code: 'KV_INVALID_ARGUMENT', message: /another database/ })
    await assert.rejects(other(DIRECTORY), {
      code: 'KV_INVALID_ARGUMENT',
      message: /choose an empty/,
    })
    for (const place of ['/other/cold', '/other', '/']) {
      await assert.rejects(other(place), { code: 'KV_INVALID_ARGUMENT', message: /outside/ })
    }
    assert.deepEqual(
      disk.paths().filter(path => path.startsWith(COLD)),
      before,
    )
    // A database of its own changes nothing about that.
    await drive(clock, (await openEngine(disk, elsewhere)).close())
    await assert.rejects(other(COLD), { code: 'KV_INVALID_ARGUMENT', message: /another database/ })
    assert.deepEqual(
      disk.paths().filter(path => path.startsWith(COLD)),
      before,
    )
    const life = await begin(disk, COLD)
    await assert.rejects(other(COLD), { code: 'KV_LOCKED' })
    await close(life)
  })

  test('missing or damaged files that name it are clear errors', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    const [cold, owner] = [disk.peek(`${DIRECTORY}/COLD`), disk.peek(`${COLD}/OWNER`)]
    disk.removeSync(`${DIRECTORY}/COLD`)
    await assert.rejects(begin(disk, undefined), {
      code: 'KV_CORRUPTION',
      message: /COLD is missing/,
    })
    // Whoever says where it is mends that.
    const life = await begin(disk, COLD)
    assert.deepEqual(await readState(life.db), state)
    await close(life)
    assert.deepEqual(disk.peek(`${DIRECTORY}/COLD`), cold)
    for (const [path, bytes] of [
      [`${DIRECTORY}/COLD`, cold],
      [`${COLD}/OWNER`, owner],
    ] as const) {
      for (let at = 0; at < bytes.length; at++) {
        const damaged = bytes.slice()
        damaged[at]! ^= 0x10
        disk.plant(path, damaged)
        await assert.rejects(begin(disk, undefined), { code: 'KV_CORRUPTION' })
      }
      disk.plant(path, bytes)
    }
    await close(await begin(disk, undefined))
  })

  test('is named as FORMAT.md says', () => {
    const disk = new MemoryFileSystem()
    disk.makeDirectorySync('/files')
    const databaseId = Uint8Array.from({ length: 16 }, (_, index) => index)
    const pointer = { path: '/slow/users', databaseId }
    writeColdPointerSync(disk, '/files', pointer)
    const owner = { home: '/fast/users', databaseId }
    writeColdOwnerSync(disk, '/files', owner)
    assert.deepEqual(disk.peek('/files/COLD'), formatExample('cold').bytes)
    assert.deepEqual(disk.peek('/files/OWNER'), formatExample('owner').bytes)
    assert.deepEqual(readColdPointerSync(disk, '/files'), pointer)
    assert.deepEqual(readColdOwnerSync(disk, '/files'), owner)
    disk.plant('/files/OWNER', formatExample('owner-without-home').bytes)
    assert.deepEqual(readColdOwnerSync(disk, '/files'), { home: undefined, databaseId })
  })

  test('is part of checkpoints, backups, checks, repair and the end', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    const life = await begin(disk, undefined)
    assert.equal((await drive(life.clock, life.db.verify())).ok, true)
    for (const copy of [false, true]) {
      await drive(life.clock, life.db.checkpoint(`/copies/${copy}`, { copy }))
    }
    await drive(life.clock, life.db.backup('/backups'))
    await close(life)
    await restoreInEnvironment('/backups', '/copies/restored', {}, await environment(disk))
    for (const name of ['false', 'true', 'restored']) {
      const clock = new SimClock()
      const copy = await openEngine(disk, { clock, directory: `/copies/${name}` })
      assert.deepEqual(await readState(copy), state)
      await drive(clock, copy.close())
      assert.ok(!disk.listSync(`/copies/${name}`).includes('COLD'))
    }

    const checked = await verifyInEnvironment(DIRECTORY, {}, await environment(disk))
    assert.equal(checked.ok, true)
    assert.equal(checked.tables, tablesIn(disk, COLD) + tablesIn(disk, DIRECTORY))
    // A byte of a cold table, and the MANIFEST.
    const table = disk.paths().find(path => path.startsWith(COLD) && path.endsWith('.sst'))!
    const bytes = disk.peek(table)
    const damaged = bytes.slice()
    damaged[40]! ^= 1
    disk.plant(table, damaged)
    const report = await verifyInEnvironment(DIRECTORY, {}, await environment(disk))
    assert.equal(report.findings.find(({ severity }) => severity === 'damage')?.path, table)
    const repaired = await repairInEnvironment(DIRECTORY, {}, await environment(disk))
    assert.equal(repaired.tablesSalvaged, 1)
    assert.ok(repaired.movedFiles.some(name => table.endsWith(name)))
    const saved = await begin(disk, undefined)
    const found = await readState(saved.db)
    assert.ok(found.size > KEYS / 2 && [...found].every(([key, value]) => state.get(key) === value))
    await saved.clock.advanceAsync(10_000, 60)
    assert.equal(tablesIn(disk, COLD), saved.db.stats().levels.at(-1)!.tables)
    await close(saved)

    await destroyIn(disk, DIRECTORY)
    assert.deepEqual(disk.listSync(COLD), [])
  })

  test('without a MANIFEST its tables are found all the same', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    for (const name of disk.listSync(DIRECTORY)) {
      if (/^MANIFEST|CURRENT/.test(name)) disk.removeSync(`${DIRECTORY}/${name}`)
    }
    await repairInEnvironment(DIRECTORY, {}, await environment(disk))
    const life = await begin(disk, undefined)
    assert.deepEqual(await readState(life.db), state)
    await close(life)
  })

  test('on another disk: copies where there are no links', async () => {
    const disk = new MemoryFileSystem()
    const state = await coldDatabase(disk)
    const fileSystem = new FailingFileSystem(disk)
    const life = await begin(fileSystem, undefined)
    fileSystem.fail({ fault: 'EXDEV', kind: 'link', path: path => path.startsWith(COLD) })
    const made = await drive(life.clock, life.db.checkpoint('/copies/linked'))
    assert.ok(made.copiedBytes > 0)
    await close(life)
    const clock = new SimClock()
    const copy = await openEngine(disk, { clock, directory: '/copies/linked' })
    assert.deepEqual(await readState(copy), state)
    await drive(clock, copy.close())
  })

  test('works on the real disk, by threads', async t => {
    const [directory, coldDirectory] = [temporaryDirectory(t), temporaryDirectory(t)]
    const namesOf = (path: string) => nodeFileSystem().listSync(path)
    let db = await open(directory, { coldDirectory })
    for (let index = 0; index < 100; index++) await db.put(`key-${index}`, 'v'.repeat(1000))
    await db.compact()
    const state = await readState(db)
    assert.ok(namesOf(coldDirectory).some(name => name.endsWith('.sst')))
    assert.ok(!namesOf(directory).some(name => name.endsWith('.sst')))
    assert.equal((await db.verify()).ok, true)
    await db.close()
    assert.equal((await verifyDirectory(directory)).ok, true)
    db = await open(directory)
    assert.deepEqual(await readState(db), state)
    await db.close()
    await destroy(directory)
    assert.deepEqual(namesOf(coldDirectory), [])
  })

  test('is left alone by the backup of another database, and by destroy', async t => {
    const [directory, coldDirectory] = [temporaryDirectory(t), temporaryDirectory(t)]
    const db = await open(directory, { coldDirectory })
    await db.put('a', '1')
    await db.compact()
    await db.close()
    const other = await open(temporaryDirectory(t))
    await other.put('b', '2')
    await assert.rejects(other.backup(coldDirectory), { code: 'KV_INVALID_ARGUMENT' })
    await other.close()
    assert.deepEqual(await destroy(coldDirectory), { findings: [] })
    const again = await open(directory)
    assert.deepEqual(await readState(again), new Map([['a', '1']]))
    await again.close()
  })

  for (const place of [COLD, DIRECTORY]) {
    test(`a full disk under ${place} loses nothing, and later it goes on`, async () => {
      const disk = new MemoryFileSystem()
      const state = await coldDatabase(disk)
      const fileSystem = new FailingFileSystem(disk)
      const life = await begin(fileSystem, undefined)
      const isTable = (path: string) => path.startsWith(`${place}/`) && path.endsWith('.sst')
      const full = { fault: 'ENOSPC', kind: 'write', path: isTable, forever: true } as const
      const rule = fileSystem.fail(full)
      for (let index = 0; index < 20; index++) {
        const key = `key-${String(index).padStart(4, '0')}`
        await drive(life.clock, life.db.put(key, 'new'))
        state.set(key, 'new')
      }
      await assert.rejects(drive(life.clock, life.db.compact({ rewrite: true })))
      assert.deepEqual(await readState(life.db), state)
      rule.remove()
      await life.clock.advanceAsync(60_000, 30)
      await drive(life.clock, life.db.compact())
      assert.deepEqual(await readState(life.db), state)
      await close(life)
      const again = await begin(disk, undefined)
      assert.deepEqual(await readState(again.db), state)
      const known = again.db.stats().levels.reduce((sum, { tables }) => sum + tables, 0)
      assert.equal(tablesIn(disk, COLD) + tablesIn(disk, DIRECTORY), known, 'no orphans')
      await close(again)
    })
  }
})

// Goal: a backup holds what was written before the call, made while writing goes on; the next one
// copies only what is new; restoring gives exactly that state or refuses what is damaged; no crash
// and no error on the way harms the backups before.
// Method: stories on the simulated disk; power loss at every call of a backup and of a restore, an
// error at every call of a backup, a changed byte in every file of one.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type BackupOptions,
  type Db,
  InlineExecutor,
  restoreInEnvironment,
  verifyInEnvironment,
} from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { readState } from '../support/crash-oracle.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { systemError } from '../support/system-error.ts'

const hasher = await loadHasher()
const BACKUPS = '/backups/users'

function hasCode(code: string, pattern = /^/) {
  return (error: unknown) =>
    error instanceof KvError && error.code === code && pattern.test(error.message)
}

interface Bench {
  readonly disk: MemoryFileSystem
  readonly faults: FailingFileSystem
  readonly clock: SimClock
  readonly db: Db
}

async function bench(keys = 300): Promise<Bench> {
  const disk = new MemoryFileSystem()
  const faults = new FailingFileSystem(disk)
  const clock = new SimClock()
  const db = await openEngine(faults, { clock })
  const all = { disk, faults, clock, db }
  await write(all, keys, 'first')
  return all
}

async function write({ clock, db }: Bench, keys: number, word: string): Promise<void> {
  for (let index = 0; index < keys; index++) {
    await drive(clock, db.put(`key-${index}`, `${word} ${index} ${'.'.repeat(index % 70)}`))
  }
}

function backup({ clock, db }: Bench, options?: BackupOptions) {
  return drive(clock, db.backup(BACKUPS, options))
}

/** Between directories of backups. */
function copyFile(from: MemoryFileSystem, to: MemoryFileSystem, name: string): void {
  const source = from.openSync(`${BACKUPS}/${name}`)
  const bytes = new Uint8Array(source.sizeSync())
  source.readSync(bytes, 0, bytes.length, 0)
  source.closeSync()
  to.makeDirectorySync(BACKUPS)
  const target = to.createSync(`${BACKUPS}/${name}`)
  target.writeSync(bytes, 0, bytes.length, 0)
  target.closeSync()
}

function world(disk: MemoryFileSystem) {
  const clock = new SimClock()
  const executor = new InlineExecutor({ fileSystem: disk, hasher, clock })
  return { fileSystem: disk, executor, clock, random: seededRandom(5) }
}

function restore(disk: MemoryFileSystem, target = '/restored', options = {}) {
  const environment = world(disk)
  const restored = restoreInEnvironment(BACKUPS, target, options, environment)
  return drive(environment.clock, restored)
}

async function restoredState(disk: MemoryFileSystem, options = {}) {
  const copy = disk.processCrashClone()
  await restore(copy, '/restored', options)
  const settings = { directory: '/restored', options: { createIfMissing: false } }
  const db = await openEngine(copy, settings)
  const state = await readState(db)
  await db.close()
  return state
}

async function verify(disk: MemoryFileSystem) {
  const environment = world(disk)
  return drive(environment.clock, verifyInEnvironment(BACKUPS, {}, environment))
}

function namesIn(disk: MemoryFileSystem, pattern: RegExp): string[] {
  return disk.listSync(BACKUPS).filter(name => pattern.test(name))
}

describe('a backup', () => {
  test('is restored as it was made, and the next one copies only what is new', async () => {
    const all = await bench()
    const first = await readState(all.db)
    const made = await backup(all, { keep: 2 })
    assert.deepEqual([made.backup, made.copiedBytes], [1, made.tableBytes])
    assert.equal(made.sequence, 300)
    await write(all, 20, 'second')
    await drive(all.clock, all.db.deleteRange({ gte: 'key-2', lt: 'key-3' }))
    const second = await readState(all.db)
    const next = await backup(all, { keep: 2 })
    assert.equal(next.backup, 2)
    assert.ok(next.copiedBytes < next.tableBytes, JSON.stringify(next))
    await write(all, 300, 'third')
    assert.deepEqual(await restoredState(all.disk), second)
    assert.deepEqual(await restoredState(all.disk, { backup: 1 }), first)
    assert.deepEqual((await verify(all.disk)).findings, [])
    await drive(all.clock, all.db.close())
  })

  test('goes when newer ones take its place, with the tables that only it needs', async () => {
    const all = await bench()
    for (const word of ['a', 'b', 'c']) {
      await write(all, 300, word)
      await backup(all, { keep: 2 })
    }
    assert.deepEqual(namesIn(all.disk, /BACKUP/), ['BACKUP-000002', 'BACKUP-000003'])
    // The first two are what one was writing when it was killed, the rest is of others.
    for (const name of ['009999.sst.tmp', 'BACKUP-000009.tmp', 'LOCK-7.tmp', 'mine.tmp']) {
      all.disk.createSync(`${BACKUPS}/${name}`).closeSync()
    }
    const last = await backup(all)
    assert.deepEqual(namesIn(all.disk, /tmp/), ['LOCK-7.tmp', 'mine.tmp'])
    assert.deepEqual(last.findings, [])
    assert.equal(last.removedBackups, 2)
    assert.equal(namesIn(all.disk, /\.sst$/).length, last.tableCount)
    assert.deepEqual(await restoredState(all.disk), await readState(all.db))
    await assert.rejects(restore(all.disk, '/x', { backup: 1 }), hasCode('KV_NOT_FOUND', /has 4/))
    await drive(all.clock, all.db.close())
  })

  test('is made, and says so, where older ones cannot be removed', async () => {
    const isOld = (path: string) => path.endsWith('BACKUP-000001')
    const isTable = (path: string) => path.startsWith(BACKUPS) && path.endsWith('.sst')
    const isBackups = (path: string) => path === BACKUPS
    const refusals = [
      { what: /BACKUP-000001: cannot be removed: .*EIO.*check the disk/, path: isOld },
      { what: /\.sst: cannot be removed: .*EIO/, path: isTable },
      { what: /users: backups that were removed may come back/, path: isBackups, nth: 2 },
    ]
    for (const { what, ...rule } of refusals) {
      const all = await bench(100)
      await backup(all)
      await write(all, 100, 'second')
      await drive(all.clock, all.db.compact())
      const kind = rule.path === isBackups ? 'syncDirectory' : 'remove'
      const report = all.faults.fail({ fault: 'EIO', kind, ...rule })
      const made = await backup(all)
      report.remove()
      assert.equal(report.injected, 1, String(what))
      assert.equal(made.backup, 2)
      assert.match(made.findings.map(found => `${found.path}: ${found.what}`).join('\n'), what)
      assert.deepEqual(await restoredState(all.disk), await readState(all.db))
      assert.deepEqual((await verify(all.disk)).findings, [])
      // A backup that stays is whole, too.
      if (rule.path === isOld) await restoredState(all.disk, { backup: 1 })
      const next = await backup(all)
      assert.deepEqual(next.findings, [])
      assert.equal(namesIn(all.disk, /\.sst$/).length, next.tableCount)
      all.disk.onCall = (_index, call, path) => {
        if (call === 'unlock') throw systemError('EIO', 'unlink', path)
      }
      const last = await backup(all)
      all.disk.onCall = undefined
      assert.match(last.findings[0]!.what, /cannot be removed: EIO/)
      assert.equal(last.backup, 4)
      await drive(all.clock, all.db.close())
    }
  })

  test('of a database that was rolled back, or copied, takes no table from one before', async () => {
    const before = await bench()
    const { clock } = before
    await drive(clock, before.db.close())
    const rolledBack = before.disk.processCrashClone()
    const all = { ...before, db: await openEngine(before.disk, { clock }) }
    await write(all, 300, 'a')
    await backup(all, { keep: 5 })
    const expected = await readState(all.db)
    await drive(clock, all.db.close())
    for (const name of all.disk.listSync(BACKUPS)) copyFile(all.disk, rolledBack, name)
    const db = await openEngine(rolledBack, { clock })
    const again = { ...all, disk: rolledBack, db }
    // As much, so that tables get the same numbers.
    await write(again, 300, 'b')
    const refused = backup(again, { keep: 5 })
    await assert.rejects(refused, hasCode('KV_INVALID_ARGUMENT', /rolled back since, or is a copy/))
    assert.deepEqual(await restoredState(rolledBack), expected)
    await drive(clock, db.close())
  })

  test('takes none from one before that is damaged, or that could not be read', async () => {
    const all = await bench()
    await backup(all, { keep: 5 })
    const first = await readState(all.db)
    await write(all, 300, 'a')
    const path = `${BACKUPS}/BACKUP-000001`
    all.faults.fail({ fault: 'shortRead', path: name => name === path })
    await assert.rejects(backup(all, { keep: 5 }), hasCode('KV_IO', /try again/))
    assert.deepEqual(namesIn(all.disk, /BACKUP/), ['BACKUP-000001'])
    const bytes = all.disk.peek(path)
    all.disk.plant(path, bytes.with(70, bytes[70]! ^ 1))
    await backup(all, { keep: 5 })
    await write(all, 300, 'b')
    await backup(all)
    // When it is whole again nothing of it is missing; when it is gone its tables go, too.
    const mended = all.disk.processCrashClone()
    mended.plant(path, bytes)
    assert.deepEqual(await restoredState(mended, { backup: 1 }), first)
    all.disk.removeSync(path)
    const { tableCount } = await backup(all)
    assert.equal(namesIn(all.disk, /\.sst$/).length, tableCount)
    await drive(all.clock, all.db.close())
  })

  test('is refused where it must not go', async () => {
    const all = await bench(10)
    const at = (directory: string) => drive(all.clock, all.db.backup(directory))
    await assert.rejects(at('/db/backups'), hasCode('KV_INVALID_ARGUMENT', /own directory/))
    await backup(all)
    const other = await openEngine(all.disk, { directory: '/other', random: seededRandom(9) })
    const refused = drive(new SimClock(), other.backup(BACKUPS))
    await assert.rejects(refused, hasCode('KV_INVALID_ARGUMENT', /another database/))
    await assert.rejects(at('/other'), hasCode('KV_LOCKED', /is in use: wait for the backup/))
    await other.close()
    await assert.rejects(at('/other'), hasCode('KV_INVALID_ARGUMENT', /holds a database/))
    await assert.rejects(backup(all, { keep: 0 }), hasCode('KV_INVALID_ARGUMENT'))
    const signal = AbortSignal.abort()
    await assert.rejects(backup(all, { signal }), hasCode('KV_ABORTED'))
    await drive(all.clock, all.db.close())
  })

  test('does not come to be of a damaged table', async () => {
    const all = await bench()
    await backup(all)
    await write(all, 300, 'other')
    await drive(all.clock, all.db.compact())
    const before = await restoredState(all.disk)
    const path = all.disk.paths().find(name => /^\/db\/\d+\.sst$/.test(name))!
    const bytes = all.disk.peek(path).slice()
    bytes[30]! ^= 1
    all.disk.plant(path, bytes)
    await assert.rejects(backup(all), hasCode('KV_CORRUPTION', new RegExp(path)))
    assert.deepEqual(await restoredState(all.disk), before)
    assert.deepEqual(namesIn(all.disk, /tmp/), [])
    await drive(all.clock, all.db.close())
  })
})

describe('restoring', () => {
  test('takes a new or an empty directory, and nothing else', async () => {
    const all = await bench(30)
    await backup(all)
    await drive(all.clock, all.db.close())
    const { disk } = all
    const result = await restore(disk, '/new')
    assert.deepEqual([result.directory, result.backup], ['/new', 1])
    disk.makeDirectorySync('/empty')
    await restore(disk, '/empty')
    await assert.rejects(restore(disk, '/new'), hasCode('KV_INVALID_ARGUMENT', /not empty/))
    const inside = restore(disk, `${BACKUPS}/x`)
    await assert.rejects(inside, hasCode('KV_INVALID_ARGUMENT', /own directory/))
    const environment = world(disk)
    const none = restoreInEnvironment('/new', '/y', {}, environment)
    await assert.rejects(drive(environment.clock, none), hasCode('KV_NOT_FOUND', /no backup/))
    const [one, two] = await Promise.all(
      ['/new', '/empty'].map(directory => openEngine(disk, { directory })),
    )
    await one!.put('mine', '1')
    assert.equal(two!.getSync('mine'), undefined)
    await one!.close()
    await two!.close()
  })

  test('refuses a backup of which any byte is another, and says which', async t => {
    const all = await bench(60)
    await backup(all)
    await drive(all.clock, all.db.close())
    const random = seededRandom(printSeed(t))
    for (const name of namesIn(all.disk, /sst|BACKUP/)) {
      const path = `${BACKUPS}/${name}`
      const bytes = all.disk.peek(path)
      for (let at = random.below(40); at < bytes.length; at += 1 + random.below(80)) {
        const damaged = all.disk.processCrashClone()
        const copy = bytes.slice()
        copy[at]! ^= 1 << random.below(8)
        damaged.plant(path, copy)
        await assert.rejects(restore(damaged), hasCode('KV_CORRUPTION', new RegExp(name)))
        assert.deepEqual(
          damaged.paths().filter(other => other.includes('restored')),
          [],
        )
        assert.equal((await verify(damaged)).ok, false)
      }
      const missing = all.disk.processCrashClone()
      missing.removeSync(path)
      await assert.rejects(restore(missing), KvError)
    }
  })
})

describe('whatever happens', () => {
  test('power loss leaves the backup before, or the new one, whole', async t => {
    const random = seededRandom(printSeed(t))
    const all = await bench(120)
    await backup(all)
    const before = await readState(all.db)
    await write(all, 60, 'second')
    const after = await readState(all.db)
    await drive(all.clock, all.db.compact({ gte: 'zzz' }))
    const survivors: MemoryFileSystem[] = []
    const isNamed = () => all.disk.paths().filter(path => path.includes('BACKUP-')).length === 2
    all.disk.onCall = (_index, kind) => {
      // Which names are durable when the new one is about to be, is chance: more of these.
      const count = kind === 'syncDirectory' && isNamed() ? 20 : 1
      for (let clone = 0; clone < count; clone++) {
        survivors.push(all.disk.crashClone(random, { keep: 'random' }))
      }
    }
    await backup(all)
    all.disk.onCall = undefined
    assert.ok(survivors.length > 20)
    let fresh = 0
    for (const survivor of survivors) {
      const state = await restoredState(survivor)
      const isNew = state.get('key-1') === after.get('key-1')
      if (isNew) fresh++
      assert.deepEqual(state, isNew ? after : before)
    }
    assert.ok(fresh > 0 && fresh < survivors.length)
    await drive(all.clock, all.db.close())
  })

  test('an error at any call is told, and the next backup works', async () => {
    const all = await bench(120)
    await backup(all)
    await write(all, 60, 'second')
    await drive(all.clock, all.db.compact({ gte: 'zzz' }))
    let calls = 0
    for (let call = 0; ; call++) {
      calls = call
      const path = (name: string) => name.startsWith('/backups')
      const rule = all.faults.fail({ fault: 'EIO', path, nth: call })
      const failed = await backup(all, { keep: 3 }).then(
        () => false,
        error => {
          assert.ok(error instanceof KvError, String(error))
          return true
        },
      )
      rule.remove()
      if (rule.injected === 0) break
      // Some calls tidy up, and the backup is whole without them.
      if (!failed) continue
      await restoredState(all.disk)
    }
    assert.ok(calls > 15, `${calls}`)
    await backup(all)
    assert.deepEqual(await restoredState(all.disk), await readState(all.db))
    assert.deepEqual((await verify(all.disk)).findings, [])
    await drive(all.clock, all.db.close())
  })
})

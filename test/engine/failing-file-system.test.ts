// Goal: each fault does what it says, at the call it was ordered for and at no other, so that the
// tests built on it test what they claim.
// Method: the conformance suite through the wrapper without rules, then one test a fault.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemErrorCode } from '../../src/engine/file-system.ts'
import { seededRandom } from '../../src/random.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { fileSystemSuite } from '../support/file-system-suite.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'

fileSystemSuite('failing file system without rules', () => {
  const fileSystem = new FailingFileSystem(new MemoryFileSystem())
  return { fileSystem, root: '/' }
})

const ABCD = new TextEncoder().encode('abcd')

function makeDisk() {
  const memory = new MemoryFileSystem()
  const disk = new FailingFileSystem(memory)
  const file = disk.createSync('/a')
  disk.syncDirectorySync('/')
  const crashed = () => memory.crashClone(seededRandom(1), { keep: 'nothing' })
  return { memory, disk, file, crashed }
}

function hasCode(code: string): (error: unknown) => boolean {
  return error => systemErrorCode(error) === code
}

test('a fault happens at the nth matching call, once', async () => {
  const { disk, file } = makeDisk()
  const rule = disk.fail({ fault: 'EIO', kind: ['write', 'sync'], nth: 2 })
  file.writeSync(ABCD, 0, 4, 0)
  file.sizeSync()
  file.syncSync()
  await assert.rejects(file.write(ABCD, 0, 4, 4), hasCode('EIO'))
  assert.equal(file.sizeSync(), 4)
  await file.write(ABCD, 0, 4, 4)
  assert.deepEqual([rule.matched, rule.injected], [4, 1])
})

test('a fault that is for ever ends when it is removed', async () => {
  const { disk, file } = makeDisk()
  disk.createSync('/b').closeSync()
  const rule = disk.fail({ fault: 'ENOSPC', path: path => path === '/a', forever: true, nth: 1 })
  file.sizeSync()
  assert.throws(() => file.sizeSync(), hasCode('ENOSPC'))
  disk.removeSync('/b')
  await assert.rejects(file.sync(), hasCode('ENOSPC'))
  rule.remove()
  file.syncSync()
  assert.equal(rule.injected, 2)
})

test('every kind of call can fail', async () => {
  const { disk, file } = makeDisk()
  const lock = disk.lockSync('/')
  const buffer = new Uint8Array(4)
  const calls: Record<string, () => unknown> = {
    open: () => disk.openSync('/a'),
    create: () => disk.createSync('/new'),
    makeDirectory: () => disk.makeDirectorySync('/directory'),
    list: () => disk.listSync('/'),
    rename: () => disk.renameSync('/a', '/renamed'),
    'create later': () => disk.create('/new'),
    'rename later': () => disk.rename('/a', '/renamed'),
    'remove later': () => disk.remove('/a'),
    'syncDirectory later': () => disk.syncDirectory('/'),
    remove: () => disk.removeSync('/a'),
    link: () => disk.linkSync('/a', '/linked'),
    removeDirectory: () => disk.removeDirectorySync('/'),
    resolve: () => disk.resolveSync('/a'),
    syncDirectory: () => disk.syncDirectorySync('/'),
    lock: () => disk.lockSync('/'),
    verifyLock: () => lock.verifySync(),
    size: () => file.sizeSync(),
    read: () => file.readSync(buffer, 0, 4, 0),
    'read later': () => file.read(buffer, 0, 4, 0),
    write: () => file.writeSync(ABCD, 0, 4, 0),
    'write later': () => file.write(ABCD, 0, 4, 0),
    sync: () => file.syncSync(),
    'sync later': () => file.sync(),
    close: () => file.closeSync(),
  }
  for (const [name, call] of Object.entries(calls)) {
    disk.fail({ fault: 'EMFILE' })
    await assert.rejects(async () => await call(), hasCode('EMFILE'), name)
    const next = disk.callCount
    assert.deepEqual(new Set(disk.listSync('/')), new Set(['a', 'LOCK']), `${name} did nothing`)
    assert.equal(disk.callCount, next + 1)
  }
})

test('a short write leaves half of the bytes', async () => {
  const { disk, file } = makeDisk()
  disk.fail({ fault: 'shortWrite', nth: 0 })
  disk.fail({ fault: 'shortWrite', nth: 1 })
  assert.throws(() => file.writeSync(ABCD, 0, 4, 0), hasCode('ENOSPC'))
  assert.equal(file.sizeSync(), 2)
  await assert.rejects(file.write(ABCD, 0, 4, 8), hasCode('ENOSPC'))
  assert.equal(file.sizeSync(), 10)
})

test('a short read looks like the end of the file', async () => {
  const { disk, file } = makeDisk()
  file.writeSync(ABCD, 0, 4, 0)
  disk.fail({ fault: 'shortRead', forever: true })
  const target = new Uint8Array(4)
  assert.equal(file.readSync(target, 0, 4, 0), 2)
  assert.equal(await file.read(target, 0, 4, 0), 2)
})

test('a failed sync loses its bytes although the next sync succeeds', async () => {
  for (const asynchronous of [false, true]) {
    const { disk, file, crashed } = makeDisk()
    file.writeSync(ABCD, 0, 1, 0)
    file.syncSync()
    file.writeSync(ABCD, 1, 3, 1)
    disk.fail({ fault: 'failedSync' })
    if (asynchronous) await assert.rejects(file.sync(), hasCode('EIO'))
    else assert.throws(() => file.syncSync(), hasCode('EIO'))
    file.syncSync()
    assert.equal(file.sizeSync(), 4)
    assert.deepEqual(crashed().peek('/a'), ABCD.subarray(0, 1))
  }
})

test('a skipped sync reports success and does nothing', async () => {
  const { disk, file, crashed } = makeDisk()
  file.writeSync(ABCD, 0, 4, 0)
  const rule = disk.skipSync(path => path === '/a')
  file.syncSync()
  await file.sync()
  assert.equal(crashed().peek('/a').length, 0)
  rule.remove()
  file.syncSync()
  assert.equal(crashed().peek('/a').length, 4)
})

test('a skipped directory sync leaves names to chance', () => {
  const { disk, crashed } = makeDisk()
  const rule = disk.skipDirectorySync()
  disk.createSync('/b').closeSync()
  disk.syncDirectorySync('/')
  assert.deepEqual(crashed().listSync('/'), ['a'])
  rule.remove()
  disk.syncDirectorySync('/')
  assert.equal(crashed().listSync('/').length, 2)
})

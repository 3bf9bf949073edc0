// Goal: a file goes when nobody needs it, and not while somebody holds it.
// Method: holds and removals in every order, on the simulated disk.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventStream } from '../../src/engine/event-stream.ts'
import { ObsoleteFiles } from '../../src/engine/obsolete-files.ts'
import { LockedError } from '../../src/errors.ts'
import { silentLogger } from '../../src/logger.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'

function makeFiles(...names: string[]) {
  const disk = new MemoryFileSystem()
  disk.makeDirectorySync('/db')
  for (const name of names) disk.createSync(`/db/${name}`).closeSync()
  const files = new ObsoleteFiles(disk, '/db', silentLogger)
  async function left(): Promise<string> {
    await files.drain()
    return [...disk.listSync('/db')].sort(byText).join(' ')
  }
  return { disk, files, left }
}

test('a held file goes when the last holder lets go of it, and only if it was to be removed', async () => {
  const { files, left } = makeFiles('a', 'b', 'c')
  const first = files.hold(['a', 'b'])
  const second = files.hold(['b', 'c'])
  files.remove('a')
  files.remove('b')
  files.remove('b')
  assert.equal(await left(), 'a b c')
  first()
  assert.equal(await left(), 'b c')
  first()
  assert.equal(await left(), 'b c', 'letting go twice is letting go once')
  second()
  assert.equal(await left(), 'c')
  assert.equal(files.removed, 2)
  files.remove('c')
  assert.equal(await left(), '')
})

test('a file can be held again', async () => {
  const { files, left } = makeFiles('a')
  files.hold(['a'])()
  const again = files.hold(['a'])
  files.remove('a')
  assert.equal(await left(), 'a')
  again()
  assert.equal(await left(), '')
})

test('a failure is left to the next open, and the rest is removed', async () => {
  const { disk, files, left } = makeFiles('a', 'b', 'c')
  disk.onCall = (_index, kind, path) => {
    if (kind === 'remove' && path === '/db/b') throw new Error('planted')
  }
  for (const name of ['a', 'b', 'c']) files.remove(name)
  assert.equal(await left(), 'b')
  assert.equal(files.removed, 2)
})

test('what failed work left is gone at once, and no event tells of it', async () => {
  const { disk } = makeFiles('000001.sst', '000003.sst')
  const told: string[] = []
  const events = new EventStream(silentLogger)
  events.listen(({ type }) => told.push(type))
  const files = new ObsoleteFiles(disk, '/db', silentLogger, events)
  await files.discard(['000001.sst', '000002.sst', '000003.sst'])
  assert.deepEqual(disk.listSync('/db'), [])
  assert.equal(files.removed, 2)
  assert.deepEqual(told, [])
})

test('nothing is removed once the directory may be the one of another process', async () => {
  const { disk } = makeFiles('a', 'b', 'c')
  const verifyLock = () => {
    throw new LockedError('planted')
  }
  const events = new EventStream(silentLogger)
  const files = new ObsoleteFiles(disk, '/db', silentLogger, events, verifyLock)
  files.remove('a')
  files.removeIfExists('b')
  await files.discard(['c'])
  await files.drain()
  assert.deepEqual(disk.listSync('/db').sort(byText), ['a', 'b', 'c'])
  assert.equal(files.removed, 0)
})

function byText(a: string, b: string): number {
  return a < b ? -1 : 1
}

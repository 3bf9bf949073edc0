/**
 * What every FileSystem must do, as tests that run over any of them: the real disk and the
 * simulated one have to agree on each of these, or the simulation proves nothing.
 */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import {
  type File,
  type FileSystem,
  isWithin,
  joinPath,
  parentOf,
  systemErrorCode,
} from '../../src/engine/file-system.ts'
import { KvError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from './seed.ts'

/** A file system and an empty directory on it. */
export interface SuiteSubject {
  readonly fileSystem: FileSystem
  readonly root: string
}

export type MakeSubject = (context: TestContext) => SuiteSubject

/** Registers the suite under `name`. */
export function fileSystemSuite(name: string, make: MakeSubject): void {
  describe(`${name}: names`, () => namesSuite(make))
  describe(`${name}: bytes`, () => bytesSuite(make))
  describe(`${name}: directory lock`, () => lockSuite(make))
}

function bytesOf(...values: number[]): Uint8Array {
  return Uint8Array.from(values)
}

function throwsCode(code: string, call: () => unknown): void {
  assert.throws(call, error => systemErrorCode(error) === code, `fails with ${code}`)
}

async function rejectsCode(code: string, call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, error => systemErrorCode(error) === code, `fails with ${code}`)
}

function create(fileSystem: FileSystem, path: string, bytes: Uint8Array): void {
  const file = fileSystem.createSync(path)
  file.writeSync(bytes, 0, bytes.length, 0)
  file.closeSync()
}

function readAll(file: File): Uint8Array {
  const bytes = new Uint8Array(file.sizeSync())
  assert.equal(file.readSync(bytes, 0, bytes.length, 0), bytes.length)
  return bytes
}

function load(fileSystem: FileSystem, path: string): Uint8Array {
  const file = fileSystem.openSync(path)
  try {
    return readAll(file)
  } finally {
    file.closeSync()
  }
}

function namesSuite(make: MakeSubject): void {
  test('a created file is listed, and cannot be created twice', context => {
    const { fileSystem, root } = make(context)
    assert.deepEqual(fileSystem.listSync(root), [])
    fileSystem.createSync(joinPath(root, 'a')).closeSync()
    throwsCode('EEXIST', () => fileSystem.createSync(joinPath(root, 'a')))
    fileSystem.createSync(joinPath(root, 'b')).closeSync()
    assert.deepEqual(new Set(fileSystem.listSync(root)), new Set(['a', 'b']))
  })

  test('names are created, moved and synced off the thread as on it', async context => {
    const { fileSystem, root } = make(context)
    const [a, b, absent] = ['a', 'b', 'absent/a'].map(name => joinPath(root, name)) as [
      string,
      string,
      string,
    ]
    const file = await fileSystem.create(a)
    await file.write(bytesOf(1), 0, 1, 0)
    await file.sync()
    await fileSystem.syncDirectory(root)
    assert.deepEqual(readAll(file), bytesOf(1))
    file.closeSync()
    await rejectsCode('EEXIST', fileSystem.create(a))
    create(fileSystem, b, bytesOf(2))
    await fileSystem.rename(a, b)
    await fileSystem.syncDirectory(root)
    assert.deepEqual(fileSystem.listSync(root), ['b'])
    assert.deepEqual(load(fileSystem, b), bytesOf(1))
    await rejectsCode('ENOENT', fileSystem.create(absent))
    await rejectsCode('ENOENT', fileSystem.rename(a, b))
    await rejectsCode('ENOENT', fileSystem.syncDirectory(absent))
  })

  test('what is not there is ENOENT', context => {
    const { fileSystem, root } = make(context)
    const absent = joinPath(root, 'absent')
    throwsCode('ENOENT', () => fileSystem.openSync(absent))
    throwsCode('ENOENT', () => fileSystem.removeSync(absent))
    throwsCode('ENOENT', () => fileSystem.listSync(absent))
    throwsCode('ENOENT', () => fileSystem.syncDirectorySync(absent))
    throwsCode('ENOENT', () => fileSystem.lockSync(absent))
    throwsCode('ENOENT', () => fileSystem.renameSync(absent, joinPath(root, 'b')))
    throwsCode('ENOENT', () => fileSystem.createSync(joinPath(absent, 'b')))
    create(fileSystem, joinPath(root, 'here'), bytesOf(1))
    throwsCode('ENOENT', () =>
      fileSystem.renameSync(joinPath(root, 'here'), joinPath(absent, 'here')),
    )
  })

  test('a file is no directory', context => {
    const { fileSystem, root } = make(context)
    const path = joinPath(root, 'file')
    create(fileSystem, path, bytesOf(1))
    throwsCode('ENOTDIR', () => fileSystem.listSync(path))
    throwsCode('ENOTDIR', () => fileSystem.createSync(joinPath(path, 'below')))
    throwsCode('EEXIST', () => fileSystem.makeDirectorySync(path))
    throwsCode('ENOTDIR', () => fileSystem.makeDirectorySync(joinPath(path, 'below')))
  })

  test('what is no file is not opened as one', context => {
    const { fileSystem, root } = make(context)
    assert.throws(() => fileSystem.openSync(root), {
      code: 'KV_CORRUPTION',
      message: /move it away \(expected a file, found a directory\)/,
    })
  })

  test('a directory is made with its parents, and making it again is harmless', context => {
    const { fileSystem, root } = make(context)
    const path = joinPath(root, 'x/y/z')
    fileSystem.makeDirectorySync(path)
    create(fileSystem, joinPath(path, 'file'), bytesOf(1))
    fileSystem.makeDirectorySync(path)
    assert.deepEqual(fileSystem.listSync(joinPath(root, 'x/y')), ['z'])
    assert.deepEqual(fileSystem.listSync(path), ['file'])
  })

  test('a directory is neither removed nor replaced as if it were a file', context => {
    const { fileSystem, root } = make(context)
    fileSystem.makeDirectorySync(joinPath(root, 'directory'))
    create(fileSystem, joinPath(root, 'file'), bytesOf(1))
    assert.throws(() => fileSystem.removeSync(joinPath(root, 'directory')))
    assert.throws(() => fileSystem.renameSync(joinPath(root, 'file'), joinPath(root, 'directory')))
    assert.throws(() => fileSystem.renameSync(joinPath(root, 'directory'), joinPath(root, 'file')))
    assert.deepEqual(new Set(fileSystem.listSync(root)), new Set(['directory', 'file']))
  })

  test('rename moves, replaces, and crosses directories', context => {
    const { fileSystem, root } = make(context)
    const [a, b, c] = ['a', 'b', 'sub/c'].map(name => joinPath(root, name)) as [
      string,
      string,
      string,
    ]
    fileSystem.makeDirectorySync(joinPath(root, 'sub'))
    create(fileSystem, a, bytesOf(1))
    create(fileSystem, b, bytesOf(2))
    fileSystem.renameSync(a, b)
    assert.deepEqual(load(fileSystem, b), bytesOf(1))
    fileSystem.renameSync(b, b)
    fileSystem.renameSync(b, c)
    assert.deepEqual(load(fileSystem, c), bytesOf(1))
    assert.deepEqual(fileSystem.listSync(root), ['sub'])
    fileSystem.renameSync(joinPath(root, 'sub'), joinPath(root, 'moved'))
    assert.deepEqual(load(fileSystem, joinPath(root, 'moved/c')), bytesOf(1))
  })

  test('a link is a second name of one file', context => {
    const { fileSystem, root } = make(context)
    const [a, b] = [joinPath(root, 'a'), joinPath(root, 'below/b')]
    fileSystem.makeDirectorySync(joinPath(root, 'below'))
    const file = fileSystem.createSync(a)
    file.writeSync(bytesOf(1), 0, 1, 0)
    fileSystem.linkSync(a, b)
    file.writeSync(bytesOf(2), 0, 1, 1)
    file.closeSync()
    assert.deepEqual(load(fileSystem, b), bytesOf(1, 2))
    fileSystem.removeSync(a)
    assert.deepEqual(load(fileSystem, b), bytesOf(1, 2))
    create(fileSystem, a, bytesOf(9))
    throwsCode('EEXIST', () => fileSystem.linkSync(a, b))
    throwsCode('ENOENT', () => fileSystem.linkSync(joinPath(root, 'absent'), joinPath(root, 'c')))
    throwsCode('ENOENT', () => fileSystem.linkSync(a, joinPath(root, 'absent/c')))
    assert.deepEqual(load(fileSystem, b), bytesOf(1, 2))
  })

  test('only an empty directory is removed', context => {
    const { fileSystem, root } = make(context)
    const path = joinPath(root, 'directory')
    fileSystem.makeDirectorySync(path)
    create(fileSystem, joinPath(path, 'file'), bytesOf(1))
    assert.throws(
      () => fileSystem.removeDirectorySync(path),
      error => /^(?:ENOTEMPTY|EEXIST)$/.test(systemErrorCode(error) ?? ''),
    )
    throwsCode('ENOTDIR', () => fileSystem.removeDirectorySync(joinPath(path, 'file')))
    fileSystem.removeSync(joinPath(path, 'file'))
    fileSystem.removeDirectorySync(path)
    assert.deepEqual(fileSystem.listSync(root), [])
    throwsCode('ENOENT', () => fileSystem.removeDirectorySync(path))
  })

  test('paths of one place resolve alike, also where nothing is yet', context => {
    const { fileSystem, root } = make(context)
    fileSystem.makeDirectorySync(joinPath(root, 'a/b'))
    const resolved = fileSystem.resolveSync(joinPath(root, 'a'))
    assert.match(resolved, /^(?:[A-Za-z]:)?\/([^.].*\/)?a$/)
    for (const spelling of ['a/.', 'a/', 'a/b/..', './/a/b/../../a/']) {
      assert.equal(fileSystem.resolveSync(joinPath(root, spelling)), resolved)
    }
    const absent = fileSystem.resolveSync(joinPath(root, 'a/none/./x/../y'))
    assert.equal(absent, joinPath(resolved, 'none/y'))
    assert.equal(parentOf(absent), joinPath(resolved, 'none'))
    assert.ok(isWithin(absent, resolved) && isWithin(resolved, resolved))
    assert.ok(!isWithin(`${resolved}x`, resolved) && !isWithin(parentOf(resolved), resolved))
  })

  test('an open file outlives its name', context => {
    const { fileSystem, root } = make(context)
    const path = joinPath(root, 'a')
    const file = fileSystem.createSync(path)
    file.writeSync(bytesOf(1, 2), 0, 2, 0)
    fileSystem.removeSync(path)
    assert.deepEqual(fileSystem.listSync(root), [])
    create(fileSystem, path, bytesOf(9))
    file.writeSync(bytesOf(3), 0, 1, 2)
    assert.deepEqual(readAll(file), bytesOf(1, 2, 3))
    file.syncSync()
    file.closeSync()
    assert.deepEqual(load(fileSystem, path), bytesOf(9))
  })

  test('syncing works on directories and on files opened for writing again', context => {
    const { fileSystem, root } = make(context)
    create(fileSystem, joinPath(root, 'a'), bytesOf(1))
    fileSystem.syncDirectorySync(root)
    const file = fileSystem.openSync(joinPath(root, 'a'), 'readWrite')
    file.writeSync(bytesOf(2), 0, 1, 1)
    file.syncSync()
    file.closeSync()
    assert.deepEqual(load(fileSystem, joinPath(root, 'a')), bytesOf(1, 2))
  })
}

function bytesSuite(make: MakeSubject): void {
  test('reads stop at the end of the file, synchronous or not', async context => {
    const { fileSystem, root } = make(context)
    const file = fileSystem.createSync(joinPath(root, 'a'))
    file.writeSync(bytesOf(0, 1, 2, 3, 4), 1, 4, 0)
    const target = new Uint8Array(8).fill(99)
    assert.equal(file.readSync(target, 2, 5, 1), 3)
    assert.deepEqual(target, bytesOf(99, 99, 2, 3, 4, 99, 99, 99))
    assert.equal(await file.read(target, 0, 2, 2), 2)
    assert.deepEqual(target, bytesOf(3, 4, 2, 3, 4, 99, 99, 99))
    for (const position of [4, 5, 1000]) {
      assert.equal(file.readSync(target, 0, 8, position), 0)
      assert.equal(await file.read(target, 0, 8, position), 0)
    }
    assert.equal(file.readSync(target, 0, 0, 0), 0)
    assert.equal(await file.read(target, 8, 0, 0), 0)
    file.closeSync()
  })

  test('a write beyond the end leaves zeros between', async context => {
    const { fileSystem, root } = make(context)
    const file = fileSystem.createSync(joinPath(root, 'a'))
    file.writeSync(bytesOf(7), 0, 1, 3)
    await file.write(bytesOf(8, 9), 1, 1, 6)
    assert.equal(file.sizeSync(), 7)
    assert.deepEqual(readAll(file), bytesOf(0, 0, 0, 7, 0, 0, 9))
    file.writeSync(bytesOf(5), 0, 0, 100)
    await file.write(bytesOf(5), 1, 0, 100)
    assert.equal(file.sizeSync(), 7, 'a write of nothing changes nothing')
    file.closeSync()
  })

  test('files opened for reading refuse writes', async context => {
    const { fileSystem, root } = make(context)
    create(fileSystem, joinPath(root, 'a'), bytesOf(1))
    const file = fileSystem.openSync(joinPath(root, 'a'))
    assert.throws(() => file.writeSync(bytesOf(2), 0, 1, 0))
    await assert.rejects(file.write(bytesOf(2), 0, 1, 0))
    assert.deepEqual(readAll(file), bytesOf(1))
    file.closeSync()
  })

  test('two handles see one file', context => {
    const { fileSystem, root } = make(context)
    const writer = fileSystem.createSync(joinPath(root, 'a'))
    const reader = fileSystem.openSync(joinPath(root, 'a'))
    writer.writeSync(bytesOf(1, 2, 3), 0, 3, 0)
    assert.deepEqual(readAll(reader), bytesOf(1, 2, 3))
    assert.equal(reader.path, joinPath(root, 'a'))
    writer.closeSync()
    writer.closeSync()
    reader.closeSync()
  })

  test('a closed file and a wrong range are refused as bugs', async context => {
    const { fileSystem, root } = make(context)
    const file = fileSystem.createSync(joinPath(root, 'a'))
    const buffer = new Uint8Array(4)
    const bug = { name: 'AssertionError' }
    assert.throws(() => file.readSync(buffer, 2, 3, 0), bug)
    assert.throws(() => file.writeSync(buffer, -1, 1, 0), bug)
    await assert.rejects(file.read(buffer, 0, 5, 0), bug)
    await assert.rejects(file.write(buffer, 4, 1, 0), bug)
    file.closeSync()
    assert.throws(() => file.sizeSync(), bug)
    assert.throws(() => file.syncSync(), bug)
    await assert.rejects(file.read(buffer, 0, 1, 0), bug)
    await assert.rejects(file.sync(), bug)
  })

  test('closing waits for the calls under way', async context => {
    const { fileSystem, root } = make(context)
    const file = fileSystem.createSync(joinPath(root, 'a'))
    const source = new Uint8Array(100_000).fill(5)
    const writes = [0, 1, 2].map(index => file.write(source, 0, source.length, index * 100_000))
    const sync = file.sync()
    file.closeSync()
    // A descriptor closed too early would now be given to this file.
    const other = fileSystem.createSync(joinPath(root, 'b'))
    await Promise.all([...writes, sync])
    assert.equal(other.sizeSync(), 0)
    other.closeSync()
    assert.equal(load(fileSystem, joinPath(root, 'a')).length, 300_000)
  })

  test('random reads and writes agree with a plain array', async context => {
    const { fileSystem, root } = make(context)
    const seed = printSeed(context)
    const random = seededRandom(seed)
    for (let round = 0; round < 5; round++) {
      await randomReadsAndWrites(fileSystem, joinPath(root, `${round}`), random)
    }
  })
}

async function randomReadsAndWrites(
  fileSystem: FileSystem,
  path: string,
  random: Random,
): Promise<void> {
  const file = fileSystem.createSync(path)
  let expected = new Uint8Array(0)
  for (let step = 0; step < 60; step++) {
    const length = random.below(random.below(2) === 0 ? 20 : 20_000)
    const position = random.below(expected.length + 50)
    const offset = random.below(4)
    if (random.below(3) > 0) {
      const source = random.bytes(offset + length)
      if (random.below(2) === 0) file.writeSync(source, offset, length, position)
      else await file.write(source, offset, length, position)
      if (random.below(3) === 0) await file.sync()
      if (length === 0) continue
      const grown = new Uint8Array(Math.max(expected.length, position + length))
      grown.set(expected)
      grown.set(source.subarray(offset), position)
      expected = grown
    } else {
      const target = new Uint8Array(offset + length)
      const count =
        random.below(2) === 0
          ? file.readSync(target, offset, length, position)
          : await file.read(target, offset, length, position)
      assert.equal(count, Math.max(0, Math.min(length, expected.length - position)))
      assert.deepEqual(
        target.subarray(offset, offset + count),
        expected.subarray(position, position + count),
      )
    }
  }
  assert.deepEqual(readAll(file), expected)
  file.closeSync()
  assert.deepEqual(load(fileSystem, path), expected)
}

function lockSuite(make: MakeSubject): void {
  const locked = (error: unknown) => error instanceof KvError && error.code === 'KV_LOCKED'

  test('a directory is taken once, and again after its release', context => {
    const { fileSystem, root } = make(context)
    const lock = fileSystem.lockSync(root)
    lock.verifySync()
    assert.throws(() => fileSystem.lockSync(root), locked)
    assert.throws(() => fileSystem.lockSync(`${root}/`), locked, 'by another spelling')
    assert.deepEqual(fileSystem.listSync(root), ['LOCK'])
    lock.releaseSync()
    lock.releaseSync()
    assert.deepEqual(fileSystem.listSync(root), [])
    assert.throws(() => lock.verifySync(), locked)
    fileSystem.lockSync(root).releaseSync()
  })

  test('each directory has a lock of its own', context => {
    const { fileSystem, root } = make(context)
    fileSystem.makeDirectorySync(joinPath(root, 'below'))
    const outer = fileSystem.lockSync(root)
    const inner = fileSystem.lockSync(joinPath(root, 'below'))
    outer.releaseSync()
    inner.verifySync()
    inner.releaseSync()
  })

  test('a removed LOCK is noticed, and never removed from its next holder', context => {
    const { fileSystem, root } = make(context)
    const first = fileSystem.lockSync(root)
    fileSystem.removeSync(joinPath(root, 'LOCK'))
    assert.throws(() => first.verifySync(), locked)
    const second = fileSystem.lockSync(root)
    assert.throws(() => first.verifySync(), locked)
    first.releaseSync()
    second.verifySync()
    assert.throws(() => fileSystem.lockSync(root), locked)
    second.releaseSync()
  })
}

// Goal: the real disk keeps the FileSystem contract, also when the operating system does less than
// was asked in one call.
// Method: the conformance suite over a temporary directory, once as in production and once with
// calls of at most three bytes, which drives the loops that short reads and writes need.
import assert from 'node:assert/strict'
import { symlinkSync } from 'node:fs'
import { test } from 'node:test'
import { systemErrorCode } from '../../src/engine/file-system.ts'
import { nodeFileSystem } from '../../src/engine/node-file-system.ts'
import { fileSystemSuite } from '../support/file-system-suite.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

fileSystemSuite('node file system', context => ({
  fileSystem: nodeFileSystem(),
  root: temporaryDirectory(context),
}))

fileSystemSuite('node file system in small calls', context => ({
  fileSystem: nodeFileSystem({ callSizeMax: 1000 }),
  root: temporaryDirectory(context),
}))

test('calls of at most one byte still move everything', async context => {
  const fileSystem = nodeFileSystem({ callSizeMax: 1 })
  const file = fileSystem.createSync(`${temporaryDirectory(context)}/a`)
  const source = Uint8Array.from({ length: 300 }, (_, index) => index)
  file.writeSync(source, 0, 150, 0)
  await file.write(source, 150, 150, 150)
  const target = new Uint8Array(400)
  assert.equal(file.readSync(target, 0, 400, 0), 300)
  assert.deepEqual(target.subarray(0, 300), source)
  assert.equal(await file.read(target, 50, 350, 0), 300)
  assert.deepEqual(target.subarray(50, 350), source)
  file.closeSync()
})

test('errors of the operating system arrive with their code', async context => {
  const fileSystem = nodeFileSystem()
  const path = `${temporaryDirectory(context)}/a`
  fileSystem.createSync(path).closeSync()
  const file = fileSystem.openSync(path)
  // Writing through a descriptor opened for reading. Windows says EPERM.
  const refused = (error: unknown) => ['EBADF', 'EPERM'].includes(systemErrorCode(error) ?? '')
  assert.throws(() => file.writeSync(new Uint8Array(1), 0, 1, 0), refused)
  await assert.rejects(file.write(new Uint8Array(1), 0, 1, 0), refused)
  file.closeSync()
})

test('an existing directory is made durable again, whatever its spelling', context => {
  const fileSystem = nodeFileSystem()
  const root = temporaryDirectory(context)
  fileSystem.makeDirectorySync(`${root}/a/b/`)
  fileSystem.makeDirectorySync(`${root}/a/../a//b/./c`)
  assert.deepEqual(fileSystem.listSync(`${root}/a/b`), ['c'])
  fileSystem.makeDirectorySync('/')
  symlinkSync(`${root}/a`, `${root}/link`)
  fileSystem.makeDirectorySync(`${root}/link`)
  fileSystem.makeDirectorySync(`${root}/link/d`)
  assert.equal(fileSystem.resolveSync(`${root}/link/d/x`), fileSystem.resolveSync(`${root}/a/d/x`))
  assert.deepEqual(new Set(fileSystem.listSync(`${root}/a`)), new Set(['b', 'd']))
})

test('where no directory can be made the system has the last word', {
  skip: process.platform !== 'linux',
}, () => {
  // It says ENOENT for what would lie in /proc, though /proc is there.
  const isRefused = (error: unknown) => systemErrorCode(error) === 'ENOENT'
  assert.throws(() => nodeFileSystem().makeDirectorySync('/proc/duramen/a/b'), isRefused)
})

// Goal: files are read from any offset, compressed or not, pipes too; a file is replaced whole or
// not at all; every error names the path and what is wrong with it.
// Method: real files in a temporary directory.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { InputSource } from '../../src/cli/cli-io.ts'
import { nodeCliFiles } from '../../src/cli/node-cli-files.ts'
import { seededRandom } from '../../src/random.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const files = nodeCliFiles()
const ON_WINDOWS = process.platform === 'win32'

function setUp(t: TestContext) {
  const directory = temporaryDirectory(t)
  return { directory, path: (name: string): string => join(directory, name) }
}

async function readAll({ chunks }: Pick<InputSource, 'chunks'>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(chunk)
  return Buffer.concat(parts)
}

describe('an input', () => {
  test('is read from any offset of its content', async t => {
    const { path } = setUp(t)
    const content = Buffer.from(seededRandom(1).bytes(700_000))
    for (const name of ['x', 'x.gz']) {
      const stored = name === 'x' ? content : gzipSync(content)
      writeFileSync(path(name), stored)
      for (const offset of [0, 1, 300_000, content.length]) {
        const source = await files.openInput(path(name), offset)
        assert.ok((await readAll(source)).equals(content.subarray(offset)))
        assert.equal(source.size, stored.length)
        assert.equal(source.consumed(), stored.length)
        assert.equal(source.modifiedMs, statSync(path(name)).mtimeMs)
        source.close()
      }
    }
  })

  test('of several compressed parts is one', async t => {
    const { path } = setUp(t)
    writeFileSync(path('x.gz'), Buffer.concat([gzipSync('ab'), gzipSync('cd')]))
    assert.equal((await readAll(await files.openInput(path('x.gz'), 3))).toString(), 'd')
  })

  test('may be a pipe', { skip: ON_WINDOWS }, async t => {
    const { path } = setUp(t)
    execFileSync('mkfifo', [path('pipe')])
    for (const offset of [0, 2]) {
      const writing = open(path('pipe'), 'w').then(async handle => {
        await handle.write('abc')
        await handle.close()
      })
      const source = await files.openInput(path('pipe'), offset)
      assert.equal(source.size, undefined)
      assert.equal((await readAll(source)).toString(), 'abc'.slice(offset))
      await writing
    }
  })

  test('can be closed before and while it is read', async t => {
    const { path } = setUp(t)
    writeFileSync(path('x.gz'), gzipSync(Buffer.alloc(5_000_000)))
    const unread = await files.openInput(path('x.gz'), 0)
    unread.close()
    const source = await files.openInput(path('x.gz'), 0)
    const reader = source.chunks[Symbol.asyncIterator]()
    await reader.next()
    source.close()
    source.close()
    await assert.rejects(async () => {
      for (;;) if ((await reader.next()).done === true) return
    }, /cannot read/)
  })

  test('that is wrong is told with its path', async t => {
    const { path } = setUp(t)
    await assert.rejects(files.openInput(path('no'), 0), /cannot open .*no: there is no such file/)
    await assert.rejects(files.openInput(path('.'), 0), /it is a directory/)
    writeFileSync(path('x.gz'), 'plain')
    const plain = await files.openInput(path('x.gz'), 0)
    await assert.rejects(
      readAll(plain),
      /x\.gz: it is not valid gzip data \(behind byte 0; 0 bytes came out of it before\)/,
    )
    writeFileSync(path('y.gz'), gzipSync(Buffer.from(seededRandom(1).bytes(1000))).subarray(0, 900))
    const short = await files.openInput(path('y.gz'), 0)
    await assert.rejects(
      readAll(short),
      /cannot read .*y\.gz: the gzip data ends too early \(behind byte \d+; \d+ bytes/,
    )
    await assert.rejects(files.openInput(path('no'), 0), { code: 'KV_NOT_FOUND' })
  })
})

describe('an output', () => {
  test('takes its name when it is finished, compressed when the name says so', async t => {
    const { path, directory } = setUp(t)
    const content = Buffer.alloc(1_000_000, 'abc')
    for (const name of ['x', 'x.gz']) {
      const target = await files.createOutput(path(name))
      for (let at = 0; at < content.length; at += 100_000) {
        await target.write(content.subarray(at, at + 100_000))
      }
      assert.deepEqual(
        readdirSync(directory).filter(each => each === name),
        [],
      )
      await target.finish()
      await target.discard()
      const stored = readFileSync(path(name))
      assert.ok((name === 'x' ? stored : gunzipSync(stored)).equals(content))
      assert.ok(!readdirSync(directory).includes(`${name}.partial`))
    }
  })

  test('of a name that is taken is refused unless it may be replaced', async t => {
    const { path } = setUp(t)
    writeFileSync(path('x'), 'old')
    const refused = files.createOutput(path('x'))
    await assert.rejects(refused, { code: 'KV_INVALID_ARGUMENT', message: /x exists already$/ })
    const target = await files.createOutput(path('x'), { replace: true })
    await target.write(Buffer.from('new'))
    assert.equal(readFileSync(path('x'), 'utf8'), 'old')
    await target.finish()
    assert.equal(readFileSync(path('x'), 'utf8'), 'new')
  })

  test('that is discarded leaves nothing', async t => {
    const { path, directory } = setUp(t)
    for (const name of ['x', 'x.gz']) {
      const target = await files.createOutput(path(name))
      await target.write(Buffer.alloc(300_000))
      await target.discard()
      await target.discard()
    }
    assert.deepEqual(readdirSync(directory), [])
  })

  test('that cannot be made is told with its path', async t => {
    const { path } = setUp(t)
    await assert.rejects(
      files.createOutput(path('no/x')),
      /cannot create .*no\/x\.partial: there is/,
    )
    writeFileSync(path('file'), '')
    await assert.rejects(files.createOutput(path('file/x')), /a part of the path is no directory/)
    mkdirSync(path('directory'))
    await assert.rejects(files.createOutput(path('directory')), /it is a directory/)
  })

  test('of a full disk is told', { skip: process.platform !== 'linux' }, async () => {
    const target = await files.createOutput('/dev/full')
    await assert.rejects(async () => {
      await target.write(Buffer.alloc(300_000))
      await target.finish()
    }, /cannot write \/dev\/full: no space is left on the device/)
    await target.discard()
  })
})

describe('small files', () => {
  test('appending makes the file, its directory and its head', async t => {
    const { path } = setUp(t)
    const file = path('new/x')
    await files.append(file, 'a', { head: Buffer.from('h') })
    await files.append(file, 'b', { head: Buffer.from('h') })
    await files.append(file, Buffer.from('c'))
    assert.equal(readFileSync(file, 'utf8'), 'habc')
    await files.append(file, 'd', { replace: true, head: Buffer.from('h') })
    assert.equal(readFileSync(file, 'utf8'), 'hd')
    if (!ON_WINDOWS) assert.equal(statSync(file).mode & 0o777, 0o600)
  })

  test('a text is replaced as a whole', async t => {
    const { path, directory } = setUp(t)
    assert.equal(await files.readText(path('x')), undefined)
    await files.writeText(path('x'), 'long')
    await files.writeText(path('x'), 'é')
    assert.equal(await files.readText(path('x')), 'é')
    assert.deepEqual(await files.readBytes(path('x')), Buffer.from('é'))
    assert.deepEqual(readdirSync(directory), ['x'])
    await files.remove(path('x'))
    await files.remove(path('x'))
    assert.deepEqual(readdirSync(directory), [])
  })

  test('a directory is listed, anything else is empty', async t => {
    const { path, directory } = setUp(t)
    mkdirSync(path('b'))
    writeFileSync(path('a'), '')
    assert.deepEqual(await files.list(directory), ['a', 'b/'])
    assert.deepEqual(await files.list(path('a')), [])
    assert.deepEqual(await files.list(path('no')), [])
  })

  test('errors name the path', async t => {
    const { path } = setUp(t)
    mkdirSync(path('x'))
    await assert.rejects(files.readBytes(path('no')), /cannot read .*no: there is no such file/)
    await assert.rejects(files.readText(path('x')), /cannot read .*x: it is a directory/)
    await assert.rejects(files.writeText(path('x'), ''), /cannot write .*x: /)
    await assert.rejects(files.append(path('x'), ''), /cannot write .*x: it is a directory/)
    await assert.rejects(files.remove(path('x')), /cannot remove .*x: /)
  })
})

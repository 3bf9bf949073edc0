// Goal: an input is read from where it is to be gone on with, and one that is too short for that is
// not taken for one that is complete.
// Method: every offset of an input in pieces.
import assert from 'node:assert/strict'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'
import { skipBytes, stdinSource } from '../../src/cli/input-source.ts'

const PIECES = ['a', '', 'bcd', 'ef', 'g'].map(text => Buffer.from(text))

async function readAll(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  let text = ''
  for await (const chunk of chunks) {
    assert.ok(chunk instanceof Uint8Array)
    text += Buffer.from(chunk).toString()
  }
  return text
}

test('bytes are skipped, whatever the pieces', async () => {
  for (let offset = 0; offset <= 7; offset++) {
    const chunks = skipBytes(Readable.from(PIECES), offset, 'x')
    assert.equal(await readAll(chunks), 'abcdefg'.slice(offset))
  }
})

test('an input that ends before is not the same one', async () => {
  const isIt = { code: 'KV_IO', message: /^x ends at byte 7, before byte 9 where the import is to/ }
  await assert.rejects(readAll(skipBytes(Readable.from(PIECES), 9, 'x')), isIt)
})

test('standard input counts what it took, and is given up when it is closed', async () => {
  const stdin = new PassThrough()
  const source = stdinSource(stdin, 2)
  assert.equal(source.size, undefined)
  assert.equal(source.modifiedMs, undefined)
  stdin.write('abc')
  const reader = source.chunks[Symbol.asyncIterator]()
  const { value } = await reader.next()
  assert.equal(Buffer.from(value as Uint8Array).toString(), 'c')
  assert.equal(source.consumed(), 3)
  const next = reader.next()
  source.close()
  await assert.rejects(next)
  assert.ok(stdin.destroyed)
})

test('standard input that was set to text is bytes all the same', async () => {
  const stdin = new PassThrough()
  stdin.setEncoding('utf8')
  stdin.end('é')
  assert.equal(await readAll(stdinSource(stdin, 0).chunks), 'é')
})

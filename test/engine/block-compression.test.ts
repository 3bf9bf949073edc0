// Goal: a compressed block comes back as it was or not at all, whatever the codec, and compressing
// what does not shrink is given up quickly.
// Method: both codecs over the same properties (zstd where this Node.js has it), every cut length,
// every flipped byte, and a lying size; a whole database a setting, reopened.
import assert from 'node:assert/strict'
import { syncBuiltinESMExports } from 'node:module'
import { describe, test } from 'node:test'
import builtin, * as zlib from 'node:zlib'
import { BlockCodec } from '../../src/engine/block-codec.ts'
import {
  BLOCK_SIZE_MAX,
  type Compression,
  CompressionTrials,
  codecOf,
  compressBlock,
  decompressBlock,
  decompressLargeBlock,
} from '../../src/engine/block-compression.ts'
import { open } from '../../src/engine/index.ts'
import { decodeFailure, encodeFailure } from '../../src/engine/worker-messages.ts'
import { CorruptionError, InvalidArgumentError, OverloadedError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const HAS_ZSTD = 'zstdCompressSync' in zlib
const zstdIsMissing = HAS_ZSTD ? false : `SKIPPED: ${process.version} has no zstd`
const SHORTAGE = {
  code: 'KV_OVERLOADED',
  message: /000001\.sst@7: there is no memory to decompress/,
}
const file = { path: '/db/000001.sst', fileNumber: 1 }
const block = Uint8Array.from(Buffer.from('the heartwood lasts, the sapwood grows; '.repeat(100)))

for (const [name, codec] of [
  ['deflate', BlockCodec.deflateRaw],
  ['zstd', BlockCodec.zstd],
] as const) {
  describe(`a block compressed with ${name}`, { skip: name === 'zstd' && zstdIsMissing }, () => {
    const data = (): Uint8Array => compressBlock(block, codec)!

    test('decompresses to itself', () => {
      assert.ok(data().length < block.length / 4)
      const padded = Buffer.concat([Buffer.from('before'), data(), Buffer.from('after')])
      const end = padded.length - 5
      assert.deepEqual(decompressBlock(codec, padded, 6, end, file, 0), block)
    })

    test('is not made when it would not pay', () => {
      assert.equal(compressBlock(seededRandom(1).bytes(4000), codec), undefined)
    })

    test('never becomes something else when cut, or when its size lies', () => {
      const bytes = data()
      for (let size = 0; size < bytes.length; size++) {
        const open = () => decompressBlock(codec, bytes, 0, size, file, 77)
        assert.throws(open, { name: 'CorruptionError', offset: 77 })
      }
      const lies = [0, block.length - 1, block.length + 1, BLOCK_SIZE_MAX, 0xffff_ffff]
      for (const size of lies) {
        const lying = bytes.slice()
        new DataView(lying.buffer).setUint32(0, size, true)
        const open = () => decompressBlock(codec, lying, 0, lying.length, file, 0)
        assert.throws(open, CorruptionError)
      }
    })

    test('with a flipped byte it is damage, or a block of the size it says', () => {
      const bytes = data()
      for (let at = 0; at < bytes.length; at++) {
        const flipped = bytes.slice()
        flipped[at] = flipped[at]! ^ 0x55
        try {
          const size = new DataView(flipped.buffer).getUint32(0, true)
          assert.equal(decompressBlock(codec, flipped, 0, flipped.length, file, 0).length, size)
        } catch (error) {
          assert.ok(error instanceof CorruptionError, String(error))
        }
      }
    })
  })
}

describe('compression', () => {
  test('for which there is no memory is not called damaged', async () => {
    const inflateRawSync = builtin.inflateRawSync
    const inflateRaw = builtin.inflateRaw
    const data = compressBlock(block, BlockCodec.deflateRaw)!
    const read = [
      () => Promise.resolve(decompressBlock(BlockCodec.deflateRaw, data, 0, data.length, file, 7)),
      () => decompressLargeBlock(BlockCodec.deflateRaw, data, 0, data.length, file, 7),
    ]
    const failures: [Error, object][] = [
      ...['Z_MEM_ERROR', 'ERR_ZLIB_INITIALIZATION_FAILED', 'ENOMEM'].map(
        code => [Object.assign(new Error(code), { code }), SHORTAGE] as [Error, object],
      ),
      [new RangeError('Array buffer allocation failed'), SHORTAGE],
      [Object.assign(new Error('invalid'), { code: 'Z_DATA_ERROR' }), { code: 'KV_CORRUPTION' }],
      [new TypeError('a bug'), { name: 'TypeError' }],
    ]
    try {
      for (const [failure, expected] of failures) {
        builtin.inflateRawSync = () => {
          throw failure
        }
        builtin.inflateRaw = ((_stream: unknown, _options: unknown, done: (e: Error) => void) => {
          done(failure)
        }) as typeof builtin.inflateRaw
        syncBuiltinESMExports()
        for (const call of read) await assert.rejects(async () => call(), expected)
      }
    } finally {
      Object.assign(builtin, { inflateRawSync, inflateRaw })
      syncBuiltinESMExports()
    }
    for (const call of read) assert.deepEqual(await call(), block)
    const sent = decodeFailure(structuredClone(encodeFailure(new OverloadedError('full', 7))))
    assert.ok(sent instanceof OverloadedError && sent.retryAfterMs > 0, 'threads tell it, too')
  })

  test('a setting that is unknown, or needs another Node.js, is refused', () => {
    const wrong = 'lz4' as Compression
    assert.throws(() => codecOf(wrong), /must be 'none', 'deflate' or 'zstd', got "lz4"/)
    assert.throws(() => codecOf('toString' as Compression), InvalidArgumentError)
    if (!HAS_ZSTD) assert.throws(() => codecOf('zstd'), /needs Node.js 22.15 or later.*'deflate'/)
  })

  test('blocks that do not shrink are tried ever more rarely, and never given up', () => {
    const trials = new CompressionTrials()
    const tried: number[] = []
    for (let index = 0; index < 200; index++) {
      if (!trials.shouldTry()) continue
      tried.push(index)
      trials.tried(index === 160)
    }
    assert.deepEqual(tried, [0, 2, 6, 14, 30, 62, 94, 126, 158, 190])
    const again = new CompressionTrials()
    for (let index = 0; index < 5; index++) {
      assert.ok(again.shouldTry())
      again.tried(true)
    }
  })

  for (const compression of ['deflate', ['none', 'deflate'], 'zstd'] as const) {
    const name = JSON.stringify(compression)
    const skip = compression === 'zstd' && zstdIsMissing
    test(`a database with ${name} reads back and is smaller`, { skip }, async context => {
      const directory = temporaryDirectory(context)
      const tuning = { memtableSize: 64 * 1024, tableSizeTarget: 64 * 1024, compression }
      const value = (index: number): string => `https://example.org/${index}/`.repeat(4)
      const db = await open(directory, tuning)
      for (let index = 0; index < 3000; index++) {
        await db.put(`key${index}`, value(index), { durability: 'none' })
      }
      await db.close()
      // Written with one setting, read with another: the codec stands with each block.
      const again = await open(directory, { ...tuning, compression: 'none' })
      for (let index = 0; index < 3000; index += 7) {
        assert.equal(Buffer.from((await again.get(`key${index}`))!).toString(), value(index))
      }
      let count = 0
      for await (const [key, bytes] of again.entries()) {
        const index = Number(Buffer.from(key).subarray(3).toString())
        assert.equal(Buffer.from(bytes).toString(), value(index))
        count++
      }
      assert.equal(count, 3000)
      await again.close()
    })
  }

  test('settings of levels are checked', async context => {
    const directory = temporaryDirectory(context)
    await assert.rejects(open(directory, { compression: [] }), /one setting or a list of 1 to 7/)
    await assert.rejects(
      open(directory, { compression: new Array<Compression>(8).fill('none') }),
      InvalidArgumentError,
    )
  })
})

// Goal: every byte string has one text that leads back to it, and valid UTF-8 is its own text.
// Method: random mixtures of characters, broken characters and bytes, against the platform's own
// idea of UTF-8, sequence by sequence.
import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { bytesToText, hasStraySurrogate, textToBytes } from '../../src/cli/byte-text.ts'
import { printSeed } from '../support/seed.ts'

/** Bytes near the borders of UTF-8, and whole characters between them. */
const BORDERS = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xed]
const HIGH_BORDERS = [0xef, 0xf0, 0xf4, 0xf5, 0xff]
const CHARACTERS = [
  'a',
  'é',
  '\u07ff',
  '\u0800',
  '\ufeff',
  '\ud7ff',
  '\ue000',
  '\uffff',
  '😀',
  '💀',
]

const mixedBytes = fc
  .array(
    fc.oneof(
      fc.constantFrom(...BORDERS, ...HIGH_BORDERS).map(byte => Buffer.of(byte)),
      fc.constantFrom(...CHARACTERS).map(character => Buffer.from(character)),
      fc.uint8Array({ maxLength: 3 }),
    ),
    { maxLength: 20 },
  )
  .map(parts => Buffer.concat(parts))

/** The text by definition: the shortest valid prefix is a character, else one byte is escaped. */
function textByDefinition(bytes: Buffer): string {
  let text = ''
  for (let at = 0; at < bytes.length; ) {
    const lengths = [1, 2, 3, 4].filter(length => at + length <= bytes.length)
    const length = lengths.find(size => isUtf8(bytes.subarray(at, at + size)))
    text +=
      length === undefined
        ? String.fromCharCode(0xdc00 + bytes[at]!)
        : bytes.toString('utf8', at, at + length)
    at += length ?? 1
  }
  return text
}

describe('byte text', () => {
  test('is as defined, and leads back to the bytes', t => {
    fc.assert(
      fc.property(mixedBytes, bytes => {
        const text = bytesToText(bytes)
        assert.equal(text, textByDefinition(bytes))
        assert.deepEqual(Buffer.from(textToBytes(text)), bytes)
        assert.equal(hasStraySurrogate(text), false)
      }),
      { seed: printSeed(t), numRuns: 3000 },
    )
  })

  test('holds for long byte strings', () => {
    const piece = Buffer.concat([Buffer.from('aé😀'), Buffer.of(0xff, 0x00, 0xf0, 0x9f)])
    const bytes = Buffer.concat(Array.from({ length: 20_000 }, () => piece))
    const text = bytesToText(bytes)
    assert.equal(text, 'aé😀\udcff\0\udcf0\udc9f'.repeat(20_000))
    assert.deepEqual(Buffer.from(textToBytes(text)), bytes)
  })

  test('takes surrogates that stand for nothing as U+FFFD, and knows them', () => {
    for (const stray of ['\ud800', '\ude00', '\udc00', '\udc7f', 'a\udd00b']) {
      assert.equal(hasStraySurrogate(stray), true, JSON.stringify(stray))
      assert.equal(Buffer.from(textToBytes(stray)).toString().includes('\ufffd'), true)
    }
    // A byte, behind a surrogate that is a half of nothing.
    assert.deepEqual([...textToBytes('\ud800x\udc80')], [0xef, 0xbf, 0xbd, 0x78, 0x80])
  })

  test('is not mistaken for the second half of a character', () => {
    // U+1F480 is d83d dc80.
    assert.deepEqual(Buffer.from(textToBytes('💀\udc80')), Buffer.from('f09f928080', 'hex'))
  })
})

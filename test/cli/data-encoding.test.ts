// Goal: digits are what they say, of any length, and nothing else passes for them; what is shown of
// a key or value can be typed in again.
// Method: arbitrary bytes there and back; arbitrary text against Buffer's own reading; sizes that a
// careless expression cannot take.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { tokenize } from '../../src/cli/command-line.ts'
import {
  decodeArgument,
  decodeDigits,
  encodeDigits,
  jsonField,
  showToken,
  showValue,
} from '../../src/cli/data-encoding.ts'
import { UsageError } from '../../src/cli/usage-error.ts'
import { bytes } from '../support/messages.ts'
import { printSeed } from '../support/seed.ts'

describe('digits', () => {
  for (const encoding of ['hex', 'base64'] as const) {
    test(`${encoding}: there and back`, t => {
      const seed = printSeed(t)
      fc.assert(
        fc.property(bytes(0, 20), input => {
          const text = encodeDigits(input, encoding)
          assert.deepEqual(Uint8Array.from(decodeDigits(text, encoding)!), input)
          const bare = text.replace(/=+$/, '')
          assert.deepEqual(Uint8Array.from(decodeDigits(bare, encoding)!), input)
        }),
        { seed },
      )
    })

    test(`${encoding}: only digits pass, and all of them count`, t => {
      const seed = printSeed(t)
      const digit = fc.constantFrom(...'0aFz9+/=- \n')
      fc.assert(
        fc.property(fc.string({ unit: digit, maxLength: 9 }), text => {
          const decoded = decodeDigits(text, encoding)
          if (decoded === undefined) return
          assert.match(text, encoding === 'hex' ? /^[0-9a-fA-F]*$/ : /^[A-Za-z0-9+/]*=*$/)
          const digits = text.replace(/=+$/, '').length
          const perByte = encoding === 'hex' ? 4 : 6
          assert.equal(decoded.length, Math.floor((digits * perByte) / 8))
        }),
        { seed, numRuns: 2000 },
      )
    })

    test(`${encoding}: many megabytes`, () => {
      const digits = 'a'.repeat(16 * 1024 * 1024)
      assert.notEqual(decodeDigits(digits, encoding), undefined)
      assert.equal(decodeDigits(`${digits}!`, encoding), undefined)
    })
  }

  for (const text of ['A', 'AA=', 'AAA==', 'AA===', 'AAAA=', '=', 'A=AA', 'AA=A', 'AA\n', '-_8=']) {
    test(`${JSON.stringify(text)} is not base64`, () => {
      assert.equal(decodeDigits(text, 'base64'), undefined)
    })
  }
  for (const text of ['a', 'abc', 'zz', '0x00', 'ab\n']) {
    test(`${JSON.stringify(text)} is not hex`, () => {
      assert.equal(decodeDigits(text, 'hex'), undefined)
    })
  }
})

test('an argument that is not in its encoding is a mistake in the command', () => {
  assert.throws(
    () => decodeArgument('xyz', 'hex', 'key'),
    (error: unknown) => {
      return error instanceof UsageError && error.message === "the key 'xyz' is not hex"
    },
  )
})

test('a token that is shown reads back as the same bytes', t => {
  const seed = printSeed(t)
  const encoding = fc.constantFrom('text' as const, 'hex' as const, 'base64' as const)
  fc.assert(
    fc.property(bytes(0, 12), encoding, (input, shownIn) => {
      const shown = showToken(input, shownIn)
      // Every token is one word of a command line, an empty one too when it is text.
      const [word = { text: '' }, ...others] = tokenize(shown)
      assert.equal(others.length, 0)
      assert.deepEqual(Uint8Array.from(decodeArgument(word.text, shownIn, 'key')), input)
    }),
    { seed, numRuns: 1000 },
  )
})

test('a value that is shown never steers the terminal', t => {
  const seed = printSeed(t)
  fc.assert(
    fc.property(bytes(0, 12), input => {
      for (const character of showValue(input, 'text')) {
        const code = character.codePointAt(0)!
        assert.ok((code >= 0x20 && code !== 0x7f) || character === '\n' || character === '\t')
      }
    }),
    { seed, numRuns: 1000 },
  )
})

test('a JSON field says by its name how its bytes are written', () => {
  assert.deepEqual(jsonField('key', Buffer.from('é'), 'text'), { key: 'é' })
  assert.deepEqual(jsonField('key', Buffer.of(0xff), 'text'), { key64: '/w==' })
  assert.deepEqual(jsonField('key', Buffer.of(0xff), 'hex'), { key: 'ff' })
})

test('a value on a terminal is itself when it can be, line breaks and all', () => {
  for (const [value, shown] of [
    ['Ada', 'Ada'],
    ['{"a": 1}', '{"a": 1}'],
    ['two\n\tlines\n', 'two\n\tlines\n'],
    ['', '""'],
    ['\u001b[31mred', '"\\x1b[31mred"'],
    ['a\rb', '"a\\rb"'],
  ] as const) {
    assert.equal(showValue(Buffer.from(value), 'text'), shown)
  }
  assert.equal(showValue(Buffer.of(0xff), 'text'), '"\\xff"')
  assert.equal(showValue(Buffer.of(0xff), 'hex'), 'ff')
})

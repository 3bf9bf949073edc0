// Goal: any bytes that are shown as a token read back as the same bytes; what is shown is safe on a
// terminal; and a line means what the grammar says, finished or not.
// Method: random bytes through formatCommandLine and tokenize; a table of lines; every prefix of
// random lines through the unfinished form.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { textToBytes } from '../../src/cli/byte-text.ts'
import {
  formatCommandLine,
  formatQuotedToken,
  formatToken,
  isShowable,
  tokenize,
  tokenizeUnfinished,
} from '../../src/cli/command-line.ts'
import { UsageError } from '../../src/cli/usage-error.ts'
import { printSeed } from '../support/seed.ts'

const CHARACTERS = ['a', ' ', '"', "'", '\\', '#', '\n', '\t', '\0', '\u001b', '\u202e', '\u200d']
const token = fc.oneof(
  fc.uint8Array({ maxLength: 12 }),
  fc
    .array(fc.constantFrom(...CHARACTERS, 'é', '👨‍👩‍👧', '\u00a0', '\u2028', '\ud83d\ude00', '-'))
    .map(characters => Uint8Array.from(Buffer.from(characters.join('')))),
)

function bytesOf(line: string): Uint8Array[] {
  return tokenize(line).map(({ text }) => Uint8Array.from(textToBytes(text)))
}

describe('tokens', () => {
  test('read back as the bytes that they show, whatever these are', t => {
    fc.assert(
      fc.property(fc.array(token, { maxLength: 5 }), tokens => {
        const line = formatCommandLine(tokens)
        assert.deepEqual(bytesOf(line), tokens)
        assert.ok(isShowable(line), 'nothing that a terminal acts on')
        assert.ok(!/[\r\n]/.test(line), 'one line')
      }),
      { seed: printSeed(t), numRuns: 2000 },
    )
  })

  test('read back in quotes that they would not need', t => {
    fc.assert(
      fc.property(token, bytes => {
        const line = formatQuotedToken(bytes)
        assert.ok(line.startsWith('"') && line.endsWith('"'))
        assert.deepEqual(bytesOf(line), [bytes])
      }),
      { seed: printSeed(t), numRuns: 1000 },
    )
  })

  test('are bare where that is clear', () => {
    for (const [text, shown] of [
      ['user:1', 'user:1'],
      ['{"name":"Ada"}', '{"name":"Ada"}'],
      ['a\\nb', 'a\\nb'],
      ['', '""'],
      ['a b', '"a b"'],
      ['#1', '"#1"'],
      ["'", `"'"`],
      ['a"b', 'a"b'],
      ['"', '"\\""'],
      ['a\nb', '"a\\nb"'],
      ['\0', '"\\x00"'],
      ['\u0001' + '2', '"\\x012"'],
      ['Grüße 😀', '"Grüße 😀"'],
      ['\u202eabc', '"\\xe2\\x80\\xaeabc"'],
      ['👨‍👩‍👧', '👨‍👩‍👧'],
    ] as const) {
      assert.equal(formatToken(Buffer.from(text)), shown)
    }
    assert.equal(formatToken(Buffer.of(0xff, 0x41)), '"\\xffA"')
  })
})

describe('a line', () => {
  for (const [line, tokens] of [
    ['', []],
    ['   \t ', []],
    ['# a comment "', []],
    ['  # too', []],
    ['get a#b', ['get', 'a#b']],
    ['get #b', ['get', '#b']],
    ['put user:1 {"name":"Ada"}', ['put', 'user:1', '{"name":"Ada"}']],
    ["put it's fine", ['put', "it's", 'fine']],
    [`put "a b" 'c "d" \\n'`, ['put', 'a b', 'c "d" \\n']],
    ['"\\n\\r\\t\\0\\\\\\"\\x41"', ['\n\r\t\0\\"A']],
    ['"\\xc3\\xa9"', ['é']],
    ['"\\xff"', ['\udcff']],
    ['""', ['']],
    ["''", ['']],
    ['a\tb\r', ['a', 'b']],
  ] as const) {
    test(`${JSON.stringify(line)} means ${JSON.stringify(tokens)}`, () => {
      assert.deepEqual(
        tokenize(line).map(({ text }) => text),
        tokens,
      )
    })
  }

  for (const [line, message] of [
    ['put "a', /the quote that opens at column 5 is not closed/],
    ["'", /the quote that opens at column 1 is not closed/],
    ['put "a\\', /column 5 is not closed/],
    ['put "a"b', /a space must follow the closing quote at column 7/],
    ["'a''b'", /a space must follow the closing quote at column 3/],
    ['"\\q"', /unknown escape \\q at column 2; known are .*\\xHH/],
    ['"\\x4"', /unknown escape \\x at column 2/],
    ['"\\xg0"', /unknown escape \\x at column 2/],
  ] as const) {
    test(`${line} is refused`, () => {
      assert.throws(
        () => tokenize(line),
        (error: unknown) => error instanceof UsageError && message.test(error.message),
      )
    })
  }

  test('may be unfinished: each token knows where it stands and whether it is closed', t => {
    fc.assert(
      fc.property(fc.array(token, { minLength: 1, maxLength: 4 }), fc.nat(), (tokens, cut) => {
        const line = formatCommandLine(tokens)
        const begun = line.slice(0, cut % (line.length + 1))
        const whole = tokenize(line)
        let found: ReturnType<typeof tokenizeUnfinished>
        try {
          found = tokenizeUnfinished(begun)
        } catch (error) {
          // Cut within an escape.
          assert.match(String(error), /unknown escape \\x/)
          return
        }
        for (const [index, { start, end, closed, text }] of found.entries()) {
          assert.equal(start, whole[index]!.start)
          assert.ok(end <= begun.length)
          if (index < found.length - 1) assert.equal(closed, true)
          if (closed && end === whole[index]!.end) assert.equal(text, whole[index]!.text)
        }
      }),
      { seed: printSeed(t), numRuns: 1000 },
    )
  })
})

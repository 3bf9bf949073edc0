// Goal: a token that is whole is passed exactly; one that may go on is told from one that never can
// be, so that a parser knows whether to wait for more.
// Method: each token at every length of what is there of it. (json-parser.test.ts does documents.)
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { JsonCursor, JsonEnd, JsonProblem } from '../../src/cli/json-cursor.ts'

function cursorAt(text: string, final: boolean): JsonCursor {
  const bytes = Buffer.from(`##${text}`)
  const cursor = new JsonCursor()
  cursor.reset(bytes, 2, bytes.length, final)
  return cursor
}

const TOKENS = ['"a\\"b"', '"é\\u00e9"', '[1,{"a":[]}]', '{"]":"}"}', 'null', 'true', '-1.5e3']

for (const token of TOKENS) {
  test(`${token} is passed when it is whole, and waited for before`, () => {
    for (const behind of [',', ' ', '\n}', ']']) {
      const cursor = cursorAt(` \n${token}${behind}`, false)
      assert.equal(cursor.takeValue().toString(), token)
      assert.equal(cursor.line, 2)
      assert.equal(cursor.at, 2 + 2 + Buffer.byteLength(token))
    }
    const bytes = Buffer.from(token)
    for (let size = 0; size < bytes.length; size++) {
      const cursor = new JsonCursor()
      cursor.reset(bytes, 0, size, false)
      assert.throws(() => cursor.takeValue(), JsonEnd)
    }
    assert.equal(cursorAt(token, true).takeValue().toString(), token)
  })
}

test('a word may go on behind the bytes, unless these are the last', () => {
  assert.throws(() => cursorAt('12', false).takeValue(), JsonEnd)
  assert.equal(cursorAt('12', true).takeValue().toString(), '12')
  assert.throws(() => cursorAt('nul', false).takeNull(), JsonEnd)
  assert.throws(() => cursorAt('nul', true).takeNull(), JsonProblem)
  assert.equal(cursorAt('null', false).takeNull(), true)
  assert.equal(cursorAt('nope,', false).takeNull(), false)
})

describe('a string', () => {
  test('without escapes is a view of the text, one with them is not', () => {
    const cursor = cursorAt('"plain""esc\\u0061ped"', true)
    const plain = cursor.takeString('text')
    assert.equal(plain.buffer, cursor.bytes.buffer)
    assert.equal(cursor.takeString('text').toString(), 'escaped')
  })

  for (const text of ['"\n"', '"\\x"', '"\\ud800"', '"\\u12"', 'x', '"\\"']) {
    test(`${JSON.stringify(text)} is none`, () => {
      const wrong = text === '"\\"' ? JsonEnd : JsonProblem
      assert.throws(() => cursorAt(text, true).takeString('text'), wrong)
    })
  }
})

test('a problem names what stands there instead', () => {
  const found = (text: string): string => cursorAt(text, true).problem('expected x').message
  assert.equal(found('{'), "expected x, found '{'")
  assert.equal(found('\n'), 'expected x, found the end of the line')
  assert.equal(found('\u0001'), 'expected x, found byte 0x01')
  assert.equal(found(''), 'expected x, found the end')
})

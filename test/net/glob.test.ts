// Goal: patterns match what Redis says that they match, and take little memory however they are.
// Method: cases by hand; a pattern of as many sets as a key has bytes, and one of more.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { Glob } from '../../src/net/resp/glob.ts'

function matches(pattern: string, text: string): boolean {
  return new Glob(utf8Encode(pattern)).matches(utf8Encode(text))
}

test('patterns match as those of Redis', () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['a*c', ['ac', 'abc', 'abcc'], ['a', 'acb', 'bac']],
    ['*a*b', ['ab', 'xaxbxb'], ['ba', 'axbx']],
    ['a?c', ['abc', 'a*c'], ['ac', 'abbc']],
    ['[a-c]x', ['ax', 'cx'], ['dx', 'x']],
    ['[c-a]x', ['ax', 'cx'], ['dx']],
    ['[^a-c]x', ['dx', '^x'], ['ax', 'x']],
    ['[\\]]', [']'], ['\\', '[']],
    ['[]', [], ['', ']']],
    ['[^]', ['a', ']'], ['']],
    ['[ab', ['a', 'b'], ['[ab']],
    ['\\*', ['*'], ['a', '\\*']],
    ['', [''], ['a']],
    ['**', ['', 'a'], []],
  ]
  for (const [pattern, those, others] of cases) {
    for (const text of those) assert.ok(matches(pattern, text), `${pattern} is ${text}`)
    for (const text of others) assert.ok(!matches(pattern, text), `${pattern} is not ${text}`)
  }
})

test('a pattern of many sets takes no more memory than a key may', () => {
  const long = utf8Encode('[^a]'.repeat(60_000))
  const before = process.memoryUsage()
  const glob = new Glob(long)
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  const bytes = heapUsed + arrayBuffers - before.heapUsed - before.arrayBuffers
  assert.ok(bytes < 64 * 1024 * 1024, `${bytes} bytes`)
  assert.ok(glob.matches(new Uint8Array(60_000)))
  assert.ok(!glob.matches(new Uint8Array(59_999)))
  // Of more than any key has, nothing is kept.
  const longer = new Glob(utf8Encode('[^a]'.repeat(2_000_000)))
  assert.ok(!longer.matches(new Uint8Array(60_000)))
})

test('a pattern that repeats itself does not stop the node, whatever keys there are', () => {
  const text = new Uint8Array(60_000).fill(0x61)
  const hostile = new Glob(utf8Encode(`*${'a'.repeat(30_000)}b*`))
  assert.throws(() => hostile.matches(text), /^CommandError: ERR the pattern takes too many steps/)
  // What is usual takes no more steps the more keys there are.
  const usual = new Glob(utf8Encode('*aab*'))
  for (let round = 0; round < 100; round++) assert.ok(!usual.matches(text))
})

// Goal: a value is shown as it may be typed again, units mean what they say, and what is no such
// value is not taken for one.
// Method: random values through format and parse; tables of texts for each kind.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  choiceValue,
  durationValue,
  integerValue,
  optionalValue,
  sizeValue,
  switchValue,
  textValue,
  type ValueKind,
} from '../../src/cli/setting-values.ts'
import { printSeed } from '../support/seed.ts'

const MAX = 2 ** 50
const size = sizeValue(0, MAX)
const duration = durationValue(0, 1e12)
const integer = integerValue(0, MAX)

describe('what is shown may be typed', () => {
  for (const [name, kind] of [
    ['size', size],
    ['duration', duration],
    ['integer', integer],
  ] as const) {
    test(name, t => {
      const value = fc.oneof(
        fc.nat(5000),
        fc.nat(5000).map(n => n * 1024 ** 2),
        fc.nat(10 ** 9),
      )
      fc.assert(
        fc.property(value, bytes => assert.equal(kind.parse(kind.format(bytes)), bytes)),
        { seed: printSeed(t), numRuns: 2000 },
      )
    })
  }
})

const CASES: readonly (readonly [string, ValueKind<unknown>, string, unknown])[] = [
  ['size', size, '256MiB', 256 * 1024 ** 2],
  ['size', size, '1.5 GiB', 1.5 * 1024 ** 3],
  ['size', size, '200mb', 200e6],
  ['size', size, '10', 10],
  ['size', size, '10B', 10],
  ['size', size, ' 1KiB ', 1024],
  ['size', size, '0.5KB', 500],
  ['size', size, '1K', undefined],
  ['size', size, '-1MiB', undefined],
  ['size', size, '1e3', undefined],
  ['size', size, 'MiB', undefined],
  ['size', size, '', undefined],
  ['size', size, '2000TiB', undefined],
  ['duration', duration, '100ms', 100],
  ['duration', duration, '1.5h', 5_400_000],
  ['duration', duration, '2M', 120_000],
  ['duration', duration, '100', undefined],
  ['duration', duration, '1d', undefined],
  ['integer', integer, '007', 7],
  ['integer', integer, '1.0', undefined],
  ['integer', integer, '+1', undefined],
  ['integer', integer, '0x10', undefined],
  ['integer', integerValue(2, 4), '1', undefined],
  ['integer', integerValue(2, 4), '2', 2],
  ['integer', integerValue(2, 4), '4', 4],
  ['integer', integerValue(2, 4), '5', undefined],
  ['choice', choiceValue(['a', 'b']), 'b', 'b'],
  ['choice', choiceValue(['a', 'b']), 'B', undefined],
  ['switch', switchValue(), 'true', true],
  ['switch', switchValue(), '1', true],
  ['switch', switchValue(), '0', false],
  ['switch', switchValue(), 'no', undefined],
  ['text', textValue('a name'), 'x', 'x'],
  ['text', textValue('a name'), '', undefined],
]

for (const [name, kind, text, value] of CASES) {
  test(`${name} '${text}' is ${value}`, () => assert.equal(kind.parse(text), value))
}

test('a value that may be open is shown open', () => {
  const kind = optionalValue(integer, 'as made')
  assert.equal(kind.format(undefined), 'as made')
  assert.equal(kind.format(7), '7')
  assert.equal(kind.parse('7'), 7)
})

test('what is expected names the borders as they may be typed', () => {
  assert.equal(sizeValue(1, 1024 ** 2).expected, 'a size from 1B to 1MiB, such as 256MiB')
  assert.equal(durationValue(1, 60_000).expected, 'a duration from 1ms to 1m, such as 500ms')
  assert.equal(integerValue(0, 9).expected, 'a whole number from 0 to 9')
})

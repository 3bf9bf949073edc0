// Goal: columns of a table line up, and nothing that is cut to a width is wider.
// Method: a table of widths that terminals agree about; random texts cut to random widths.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fitText, padEnd, padStart, textWidth } from '../../src/cli/text-width.ts'
import { printSeed } from '../support/seed.ts'

const CHARACTERS = ['a', 'é', 'e\u0301', '日', '한', '😀', '…', '\u200d']
const text = fc.array(fc.constantFrom(...CHARACTERS)).map(characters => characters.join(''))

test('knows wide, narrow and invisible characters, and colours', () => {
  for (const [shown, width] of [
    ['', 0],
    ['abc', 3],
    ['Grüße', 5],
    ['e\u0301', 1],
    ['日本', 4],
    ['한국어', 6],
    ['😀', 2],
    ['\u001b[31mred\u001b[39m', 3],
  ] as const) {
    assert.equal(textWidth(shown), width, JSON.stringify(shown))
  }
})

test('a text that is cut fits, begins as it did, and shows that it was cut', t => {
  fc.assert(
    fc.property(text, fc.nat(12), (whole, widthMax) => {
      const fitted = fitText(whole, widthMax)
      assert.ok(textWidth(fitted) <= widthMax)
      if (textWidth(whole) <= widthMax) {
        assert.equal(fitted, whole)
        return
      }
      if (widthMax === 0) {
        assert.equal(fitted, '')
        return
      }
      assert.ok(fitted.endsWith('…'))
      assert.ok(whole.startsWith(fitted.slice(0, -1)))
      // A wide character may have had to go for one column.
      assert.ok(textWidth(fitted) >= widthMax - 1)
    }),
    { seed: printSeed(t), numRuns: 2000 },
  )
})

test('padding goes to the width, and never cuts', t => {
  fc.assert(
    fc.property(text, fc.nat(12), (whole, width) => {
      for (const padded of [padEnd(whole, width), padStart(whole, width)]) {
        assert.equal(textWidth(padded), Math.max(width, textWidth(whole)))
        assert.equal(padded.trim(), whole.trim())
      }
    }),
    { seed: printSeed(t), numRuns: 500 },
  )
})

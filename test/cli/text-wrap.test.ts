// Goal: help texts fit the terminal, at whatever width, and lose no word on the way.
// Method: random texts and widths from a printed seed; then a page by hand.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { layItems, wrapParagraphs, wrapWords } from '../../src/cli/text-wrap.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

function randomText(random: Random): string {
  const words = Array.from({ length: 1 + random.below(30) }, () => 'x'.repeat(1 + random.below(12)))
  return words.join(' ')
}

function wordsOf(text: string): string[] {
  return text.split(/\s+/).filter(word => word !== '')
}

test('words keep their order, and lines their width', t => {
  const random = seededRandom(printSeed(t))
  for (let round = 0; round < 500; round++) {
    const width = 12 + random.below(80)
    const text = randomText(random)
    const lines = wrapWords(text, width)
    assert.equal(lines.join(' '), text)
    for (const line of lines) assert.ok(line.length <= width, line)
    const items = [0, 1, 2].map(
      () => ['y'.repeat(1 + random.below(20)), randomText(random)] as const,
    )
    const wide = 48 + random.below(60)
    const laid = layItems(items, wide, Math.floor(wide / 2))
    assert.deepEqual(
      wordsOf(laid),
      items.flatMap(([term, text]) => [term, ...wordsOf(text)]),
    )
    for (const line of laid.split('\n')) assert.ok(line.length <= wide, line)
  }
})

describe('a list', () => {
  test('has one column of meanings; a long term stands alone', () => {
    const items = [
      ['get', 'print the value of a key'],
      ['a-very-long-term', 'short'],
      ['put', 'store'],
    ] as const
    assert.equal(
      layItems(items, 30, 10),
      [
        '  get  print the value of a',
        '       key',
        '  a-very-long-term',
        '       short',
        '  put  store',
      ].join('\n'),
    )
  })

  test('paragraphs are wrapped, lists that were laid out already are not', () => {
    assert.equal(
      wrapParagraphs('one two three\n\n  four  five six', 8),
      'one two\nthree\n\n  four  five six',
    )
  })
})

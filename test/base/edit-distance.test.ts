// Goal: a misspelt word finds the one that was meant, and another word finds none.
// Method: random edits against the number of edits made; the laws of a distance; a table.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { closestWord, editDistance } from '../../src/edit-distance.ts'
import { printSeed } from '../support/seed.ts'

const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 6 })

test('a distance is 0 only to itself, the same both ways, and never more than was changed', t => {
  fc.assert(
    fc.property(word, word, fc.nat(5), fc.constantFrom('a', 'x'), (a, b, at, letter) => {
      assert.equal(editDistance(a, b) === 0, a === b)
      assert.equal(editDistance(a, b), editDistance(b, a))
      assert.ok(editDistance(a, b) <= Math.max(a.length, b.length))
      const place = Math.min(at, a.length)
      const inserted = a.slice(0, place) + letter + a.slice(place)
      assert.equal(editDistance(a, inserted), 1)
      const [first, second] = [a[place], a[place + 1]]
      if (first === undefined || second === undefined || first === second) return
      const swapped = a.slice(0, place) + second + first + a.slice(place + 2)
      assert.equal(editDistance(a, swapped), 1)
    }),
    { seed: printSeed(t), numRuns: 2000 },
  )
})

test('finds what was meant', () => {
  const known = ['get', 'put', 'del', 'scan', 'count', 'import', 'export']
  for (const [typed, meant] of [
    ['gte', 'get'],
    ['gett', 'get'],
    ['scna', 'scan'],
    ['conut', 'count'],
    ['improt', 'import'],
    ['exprt', 'export'],
    ['frobnicate', undefined],
    ['x', undefined],
    ['', undefined],
  ] as const) {
    assert.equal(closestWord(typed, known), meant, typed)
  }
})

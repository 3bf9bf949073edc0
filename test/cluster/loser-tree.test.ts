// Goal: the tournament merges any number of sorted sources.
// Method: random sources of every count from 1 to 40, some empty, against a sort.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LoserTree } from '../../src/cluster/loser-tree.ts'
import { seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

test('loser tree merges sorted sources', t => {
  const random = seededRandom(printSeed(t))
  for (let count = 1; count <= 40; count++) {
    const sources = Array.from({ length: count }, () =>
      Array.from({ length: random.below(6) }, () => random.below(50)).sort((a, b) => a - b),
    )
    const positions = new Array<number>(count).fill(0)
    const head = (source: number) => sources[source]![positions[source]!] ?? Infinity
    const tree = new LoserTree(count, (a, b) => head(a) < head(b))
    const merged: number[] = []
    while (head(tree.winner) !== Infinity) {
      merged.push(head(tree.winner))
      positions[tree.winner] = positions[tree.winner]! + 1
      tree.replay()
    }
    assert.deepEqual(
      merged,
      sources.flat().sort((a, b) => a - b),
    )
  }
})

// Goal: the index names the first block that can hold a key, however the keys are spread; guesses
// at the place must never lead past it.
// Method: indices of one to thousands of blocks over separators that are even, skewed, clustered,
// or alike in their first bytes, asked for separators, their neighbours and random keys, against a
// search through the sorted separators. What only scans takes must take and refuse the same bytes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareBytes, DecodeError } from '../../src/bytes.ts'
import { BlockIndex } from '../../src/engine/block-index.ts'
import { BlockIndexBuilder } from '../../src/engine/block-index-builder.ts'
import { BlockOffsets } from '../../src/engine/block-offsets.ts'
import { BufferPool } from '../../src/engine/buffer-pool.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

const BLOCK_COUNTS = [1, 2, 63, 64, 65, 66, 200, 3000]
const PROBES = 600

/** Writes a number from 0 up to 2^48 so that it sorts like it. */
function writeHead(key: Uint8Array, at: number, head: number): void {
  for (let index = 5, rest = head; index >= 0; index--, rest = Math.floor(rest / 256)) {
    key[at + index] = rest % 256
  }
}

function randomHead(random: Random): number {
  return random.below(2 ** 24) * 2 ** 24 + random.below(2 ** 24)
}

const SPREADS: Readonly<Record<string, (random: Random) => Uint8Array>> = {
  even(random) {
    const key = random.bytes(10)
    writeHead(key, 0, randomHead(random))
    return key
  },
  skewed(random) {
    const key = random.bytes(10)
    writeHead(key, 0, Math.floor((randomHead(random) / 2 ** 48) ** 9 * 2 ** 48))
    return key
  },
  clustered(random) {
    const key = random.bytes(9)
    writeHead(
      key,
      0,
      [0, 2 ** 20, 2 ** 47, 2 ** 48 - 2 ** 12][random.below(4)]! + random.below(4000),
    )
    return key
  },
  'alike at first'(random) {
    const key = new Uint8Array(10).fill(7)
    key[5] = random.below(3)
    key[8] = random.below(256)
    key[9] = random.below(256)
    return key
  },
}

function separatorsOf(random: Random, make: (random: Random) => Uint8Array, count: number) {
  const byText = new Map<string, Uint8Array>()
  while (byText.size < count) {
    const key = make(random)
    byText.set(key.join(), key)
  }
  return [...byText.values()].sort(compareBytes)
}

/** The key itself, the one right behind it, one right before it, or another of its kind. */
function probeOf(random: Random, separator: Uint8Array, other: Uint8Array): Uint8Array {
  const probe = separator.slice()
  const last = probe.length - 1
  switch (random.below(4)) {
    case 0:
      return probe
    case 1:
      return Uint8Array.of(...probe, 0)
    case 2:
      return probe[last]! > 0 ? probe.fill(probe[last]! - 1, last) : probe.subarray(0, last)
    default:
      return other
  }
}

for (const [spread, make] of Object.entries(SPREADS)) {
  test(`the first block that can hold a key, separators ${spread}`, context => {
    const random = seededRandom(printSeed(context))
    for (const count of BLOCK_COUNTS) {
      const separators = separatorsOf(random, make, count)
      const builder = new BlockIndexBuilder(new BufferPool(0))
      for (const separator of separators) builder.add(4096, separator)
      const bytes = builder.finish()
      const index = BlockIndex.decode(bytes, 0, bytes.length)
      for (let round = 0; round < PROBES; round++) {
        const probe = probeOf(random, separators[random.below(count)]!, make(random))
        const found = separators.findIndex(separator => compareBytes(separator, probe) >= 0)
        const expected = found < 0 ? count : found
        assert.equal(index.find(probe, 0, probe.length), expected, `${probe} of ${count} blocks`)
      }
    }
  })
}

test('scans and searches take the same indices, and say the same of the others', context => {
  const random = seededRandom(printSeed(context))
  const buffers = new BufferPool(2 ** 20)
  const outcome = (decode: () => { readonly offsets: Float64Array }): unknown => {
    try {
      return [...decode().offsets]
    } catch (error) {
      assert.ok(error instanceof DecodeError)
      return [error.message, error.offset]
    }
  }
  let refused = 0
  for (const make of Object.values(SPREADS)) {
    for (let round = 0; round < 100; round++) {
      const builder = new BlockIndexBuilder(buffers)
      const count = random.below(12)
      for (const separator of count === 0 ? [] : separatorsOf(random, make, count)) {
        builder.add(1 + random.below(5000), separator)
      }
      const bytes = builder.finish().slice()
      builder.giveBuffersBack()
      if (round > 20) bytes[random.below(bytes.length)] = random.below(256)
      const end = bytes.length - (random.below(8) === 0 ? 1 : 0)
      const searched = outcome(() => BlockIndex.decode(bytes, 0, end))
      const scanned = outcome(() => {
        const index = BlockOffsets.decode(bytes, 0, end, buffers)
        index.release()
        return index
      })
      assert.deepEqual(scanned, searched)
      if (typeof (searched as unknown[])[0] === 'string') refused++
    }
  }
  assert.ok(refused > 50)
})

// Goal: an arena filled in order of arrival becomes the same sorted list as one filled by inserts,
// whatever the keys: digits and ends of keys, common prefixes short and long, zeros, versions.
// Method: random keys of shapes that reach each way of sorting, against a sorted array; the list is
// walked through the cursor that a flush uses.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes } from '../../src/bytes.ts'
import { BufferPool } from '../../src/engine/buffer-pool.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import { MemtableArena } from '../../src/engine/memtable-arena.ts'
import { ReplayArena } from '../../src/engine/replay-arena.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

const ARENA_SIZE = 4 * 1024 * 1024

type KeyShape = (random: Random) => Uint8Array

/** A key with `prefixLength` bytes that all keys share. */
function shared(prefixLength: number, tail: KeyShape): KeyShape {
  return random => {
    const end = tail(random)
    const key = new Uint8Array(prefixLength + end.length).fill(0x70, 0, prefixLength)
    key.set(end, prefixLength)
    return key
  }
}

const anyBytes: KeyShape = random => random.bytes(1 + random.below(24))
/** Mostly zeros, so that ends of keys and zeros meet, and few enough keys for many versions. */
const zeros: KeyShape = random =>
  random.bytes(1 + random.below(9)).map(byte => (byte < 230 ? 0 : byte))

const SHAPES: readonly (readonly [string, KeyShape])[] = [
  ['random bytes', anyBytes],
  ['zeros', zeros],
  ['one key', () => Uint8Array.of(7, 7, 7, 7, 7)],
  ['a common prefix of 3', shared(3, anyBytes)],
  ['a common prefix of 50', shared(50, zeros)],
  ['a common prefix beyond what digits are taken from', shared(300, zeros)],
  ['runs of one byte', random => new Uint8Array(1 + random.below(400)).fill(9)],
]

/** Of sorts before, so that each finds what another one left in it. */
const buffers = new BufferPool(ARENA_SIZE)

function walk(arena: ReplayArena) {
  const found: { key: Uint8Array; sequence: number; value: number }[] = []
  const cursor = new MemtableArena(arena.arena, 'arrival', buffers).cursor()
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
    const { keyBytes, keyStart, keyEnd, sequence, valueBytes, valueStart } = cursor
    found.push({ key: keyBytes.slice(keyStart, keyEnd), sequence, value: valueBytes[valueStart]! })
  }
  return found
}

describe('sorting an arena', () => {
  for (const [name, shape] of SHAPES) {
    test(name, t => {
      const random = seededRandom(printSeed(t))
      for (const count of [1, 2, 16, 17, 3000]) {
        const arena = new ReplayArena(new SharedArrayBuffer(ARENA_SIZE))
        const expected = Array.from({ length: count }, (_, index) => {
          const key = shape(random)
          // Across the border of 32 bits.
          const sequence = 2 ** 32 - 1500 + index
          assert.ok(arena.hasRoom(1, key.length + 1))
          const value = Uint8Array.of(index & 0xff)
          arena.add(EntryKind.put, sequence, key, 0, key.length, value, 0, 1)
          return { key, sequence, value: index & 0xff }
        })
        assert.equal(arena.entryCount, count)
        expected.sort((a, b) => compareBytes(a.key, b.key) || b.sequence - a.sequence)
        assert.deepEqual(walk(arena), expected)
        const { spareBytes } = buffers
        assert.deepEqual(walk(arena), expected)
        assert.equal(buffers.spareBytes, spareBytes, 'what the pool had lent came back')
        assert.ok(spareBytes >= count * 16)
      }
    })
  }

  test('an empty one', () => {
    assert.deepEqual(walk(new ReplayArena(new SharedArrayBuffer(1024))), [])
  })
})

// Goal: fragments say of every key and reader what the tombstones they were made of say, whether
// they were made at once (jobs), one by one (memtables) or read from a table; and stay few.
// Method: random overlapping tombstones and readers against the naive answer, a loop over all
// tombstones, at every bound and between them (fast-check shrinks what fails); damaged sections.
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { compareBytes, DecodeError } from '../../src/bytes.ts'
import { MemtableRanges } from '../../src/engine/memtable-ranges.ts'
import {
  coveringSequence,
  END_OF_KEYS,
  endAfter,
  fragmentsBefore,
  lastKeyBefore,
  type RangeFragment,
  type RangeFragments,
  sameSequences,
} from '../../src/engine/range-fragment.ts'
import { fragmentTombstones } from '../../src/engine/range-fragmenter.ts'
import { FragmentProbe } from '../../src/engine/range-probe.ts'
import {
  decodeRangeTombstones,
  encodeRangeTombstones,
} from '../../src/engine/range-tombstone-format.ts'
import { KEY_SIZE_MAX } from '../../src/key-value-store.ts'
import { printSeed } from '../support/seed.ts'

const NEWEST = Number.MAX_SAFE_INTEGER

/** Short keys over few bytes, so that bounds meet, and begin each other. */
const key = fc
  .array(fc.constantFrom(0, 1, 0x61, 0xff), { minLength: 1, maxLength: 3 })
  .map(bytes => Uint8Array.from(bytes))

const range = fc
  .tuple(key, fc.oneof({ arbitrary: key, weight: 9 }, fc.constant(END_OF_KEYS)))
  .filter(([a, b]) => compareBytes(a, b) !== 0)
  .map(([a, b]) => (compareBytes(a, b) < 0 ? [a, b] : [b, a]) as [Uint8Array, Uint8Array])

/** Tombstones with the sequences 10, 20, 30 and so on, in that order. */
const tombstones = fc
  .array(range, { maxLength: 12 })
  .map(ranges =>
    ranges.map(
      ([start, end], index): RangeFragment => ({ start, end, sequences: [10 + index * 10] }),
    ),
  )

/** Sequences of snapshots, ascending, each once. */
const snapshots = fc
  .uniqueArray(fc.nat(130), { maxLength: 4 })
  .map(sequences => Float64Array.from(sequences).sort())

function naive(all: RangeFragments, probe: Uint8Array, maxSequence: number): number {
  let newest = 0
  for (const { start, end, sequences } of all) {
    if (compareBytes(probe, start) < 0 || compareBytes(probe, end) >= 0) continue
    for (const sequence of sequences)
      if (sequence <= maxSequence) newest = Math.max(newest, sequence)
  }
  return newest
}

/** Every bound, and what lies right before and behind it. */
function probesOf(all: RangeFragments): Uint8Array[] {
  const probes: Uint8Array[] = [
    Uint8Array.of(0),
    Uint8Array.of(0x80),
    Uint8Array.of(0xff, 0xff, 0xff, 0xff),
  ]
  for (const bound of all.flatMap(({ start, end }) => [start, end])) {
    if (bound.length > KEY_SIZE_MAX) continue
    probes.push(bound, endAfter(bound))
    if (bound.length > 1) probes.push(bound.slice(0, -1))
  }
  return probes
}

function checkList(fragments: RangeFragments): void {
  for (const [index, fragment] of fragments.entries()) {
    assert.ok(compareBytes(fragment.start, fragment.end) < 0, 'a fragment holds a key')
    assert.ok(fragment.sequences.length > 0)
    for (let at = 1; at < fragment.sequences.length; at++) {
      assert.ok(fragment.sequences[at - 1]! > fragment.sequences[at]!, 'sequences fall')
    }
    const before = fragments[index - 1]
    if (before === undefined) continue
    const order = compareBytes(before.end, fragment.start)
    assert.ok(order <= 0, 'fragments ascend')
  }
}

/** Nothing is cut where nothing changes. */
function checkJoined(fragments: RangeFragments): void {
  for (const [index, { end, sequences }] of fragments.entries()) {
    const next = fragments[index + 1]
    if (next === undefined || compareBytes(end, next.start) < 0) continue
    assert.ok(!sameSequences(sequences, next.sequences))
  }
}

function checkAnswers(
  fragments: RangeFragments,
  all: RangeFragments,
  readers: readonly number[],
): void {
  for (const probe of probesOf(all)) {
    for (const reader of readers) {
      const actual = coveringSequence(fragments, probe, 0, probe.length, reader)
      assert.equal(actual, naive(all, probe, reader), `${Buffer.from(probe).toString('hex')}`)
    }
  }
}

function check<T>(context: TestContext, arbitrary: fc.Arbitrary<T>, holds: (input: T) => void) {
  const property = fc.property(arbitrary, input => holds(input))
  fc.assert(property, { seed: printSeed(context), numRuns: 600 })
}

describe('the fragmenter', () => {
  test('answers every snapshot and the newest state as the tombstones do', context => {
    check(context, fc.tuple(tombstones, snapshots), ([all, taken]) => {
      const fragments = fragmentTombstones(all, taken)
      checkList(fragments)
      checkJoined(fragments)
      checkAnswers(fragments, all, [...taken, NEWEST])
      for (const { sequences } of fragments) assert.ok(sequences.length <= taken.length + 1)
    })
  })

  test('takes fragments again: of parts, in any order, in two rounds', context => {
    const parts = fc.tuple(tombstones, snapshots, fc.nat(12), fc.boolean())
    check(context, parts, ([all, taken, at, isReversed]) => {
      const halves = [all.slice(0, at), all.slice(at)].map(half => fragmentTombstones(half, taken))
      const again = fragmentTombstones((isReversed ? halves.reverse() : halves).flat(), taken)
      assert.deepEqual(again, fragmentTombstones(all, taken))
    })
  })

  test('keeps of each stripe only the newest', () => {
    const [start, end] = [Uint8Array.of(1), Uint8Array.of(2)]
    const all = [5, 10, 15, 20, 25].map(sequence => ({ start, end, sequences: [sequence] }))
    const kept = (...taken: number[]) => fragmentTombstones(all, Float64Array.from(taken))[0]!
    assert.deepEqual(kept().sequences, [25])
    assert.deepEqual(kept(15).sequences, [25, 15])
    assert.deepEqual(kept(14).sequences, [25, 10])
    assert.deepEqual(kept(4, 5, 19, 25, 30).sequences, [25, 15, 5])
  })
})

describe('the ranges of a memtable', () => {
  test('answer all readers after each tombstone as the tombstones do', context => {
    const steps = fc.array(fc.tuple(range, fc.nat(3), fc.boolean(), fc.boolean()), {
      maxLength: 12,
    })
    check(context, steps, drawn => {
      const ranges = new MemtableRanges()
      const all: RangeFragment[] = []
      const taken: number[] = []
      const kept: [RangeFragments, RangeFragments][] = []
      let visible = 0
      for (const [index, [[start, end], release, isSeen, isKept]] of drawn.entries()) {
        const sequence = 10 + index * 10
        const readers = Float64Array.from([...taken, visible])
        ranges.add(start, end, sequence, readers)
        all.push({ start, end, sequences: [sequence] })
        if (isKept) {
          const { fragments } = ranges
          checkList(fragments)
          checkAnswers(fragments, all, [...readers, NEWEST])
          kept.push([fragments, [...fragments]])
        }
        for (const probe of probesOf(all)) {
          const actual = ranges.covering(probe, 0, probe.length, NEWEST)
          assert.equal(actual, naive(all, probe, NEWEST))
        }
        // The group is seen; somebody may take a snapshot, somebody may let one go.
        if (isSeen) visible = sequence
        if (release === 0) taken.push(visible)
        if (release === 1) taken.shift()
      }
      for (const [list, copy] of kept) assert.deepEqual(list, copy, 'a list that is kept stays')
    })
  })

  test('shrink when a wide tombstone swallows narrow ones, and keep them for a snapshot', () => {
    const fill = (readers: Float64Array) => {
      const ranges = new MemtableRanges()
      for (let index = 0; index < 600; index++) {
        const start = Uint8Array.of(index >> 8, index & 255)
        ranges.add(start, endAfter(start), 1 + index, readers)
      }
      assert.equal(ranges.fragments.length, 600)
      ranges.add(Uint8Array.of(0), Uint8Array.of(255), 1000, readers)
      return ranges
    }
    assert.equal(fill(Float64Array.of(0)).fragments.length, 1)
    const held = fill(Float64Array.of(600))
    assert.equal(held.fragments.length, 1201)
    // Once the snapshot is gone the next one tidies up.
    held.add(Uint8Array.of(0), Uint8Array.of(255), 1001, Float64Array.of(1000))
    assert.equal(held.fragments.length, 1)
    assert.equal(held.count, 602)
  })
})

describe('a probe', () => {
  test('finds what a search finds, wherever it stood before', context => {
    check(context, fc.tuple(tombstones, fc.array(key, { maxLength: 40 })), ([all, keys]) => {
      const fragments = fragmentTombstones(all, new Float64Array(0))
      const probe = new FragmentProbe(fragments)
      for (const wanted of keys) {
        const found = probe.find(Uint8Array.from([9, ...wanted, 9]), 1, 1 + wanted.length)
        const expected = fragments.find(
          ({ start, end }) => compareBytes(start, wanted) <= 0 && compareBytes(wanted, end) < 0,
        )
        assert.equal(found, expected)
      }
    })
  })
})

describe('bounds', () => {
  test('of what lies before a key are cut there', context => {
    check(context, fc.tuple(tombstones, key), ([all, end]) => {
      const fragments = fragmentTombstones(all, new Float64Array(0))
      const before = fragmentsBefore(fragments, end)
      for (const probe of probesOf(fragments)) {
        const isBefore = compareBytes(probe, end) < 0
        const expected = isBefore ? naive(fragments, probe, NEWEST) : 0
        assert.equal(coveringSequence(before, probe, 0, probe.length, NEWEST), expected)
      }
    })
  })

  test('name the last key of a range and the first one behind it', () => {
    const longest = new Uint8Array(KEY_SIZE_MAX).fill(0xff)
    assert.deepEqual(endAfter(Uint8Array.of(7)), Uint8Array.of(7, 0))
    assert.deepEqual(lastKeyBefore(Uint8Array.of(7, 0)), Uint8Array.of(7))
    assert.deepEqual(lastKeyBefore(Uint8Array.of(7)), Uint8Array.of(7))
    assert.equal(endAfter(longest), END_OF_KEYS)
    assert.deepEqual(lastKeyBefore(END_OF_KEYS), longest)
    assert.deepEqual(endAfter(longest.with(0, 1)), Uint8Array.of(2))
  })
})

describe('the section of range tombstones', () => {
  const someFragments = fc
    .tuple(tombstones, snapshots)
    .map(([all, taken]) => fragmentTombstones(all, taken))
    .filter(fragments => fragments.length > 0)

  test('reads back as it was written', context => {
    check(context, someFragments, fragments => {
      const bytes = Uint8Array.from([9, ...encodeRangeTombstones(fragments), 9])
      assert.deepEqual(decodeRangeTombstones(bytes, 1, bytes.length - 1), fragments)
    })
  })

  test('is refused when cut, and never breaks when a byte is changed', context => {
    check(context, fc.tuple(someFragments, fc.nat(), fc.nat(255)), ([fragments, at, byte]) => {
      const bytes = encodeRangeTombstones(fragments)
      assert.throws(() => decodeRangeTombstones(bytes, 0, at % bytes.length), DecodeError)
      const changed = bytes.slice()
      changed[at % bytes.length] = byte
      try {
        checkOrder(decodeRangeTombstones(changed, 0, changed.length))
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error))
      }
    })
  })
})

/** What is decoded can be searched. */
function checkOrder(fragments: RangeFragments): void {
  for (const [index, { start, end, sequences }] of fragments.entries()) {
    assert.ok(compareBytes(start, end) < 0 && sequences.length > 0)
    const before = fragments[index - 1]
    assert.ok(before === undefined || compareBytes(before.end, start) <= 0)
  }
}

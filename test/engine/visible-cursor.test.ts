// Goal: a visible cursor shows what its snapshot sees at its time, each key once, both ways.
// Method: random entries with versions, tombstones and expiries; a map built from them by the rule
// (newest version at or below the snapshot) is the model; random walks that turn at every point.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes } from '../../src/bytes.ts'
import { Cursor } from '../../src/engine/cursor.ts'
import { EntryKind, readExpiry } from '../../src/engine/internal-key.ts'
import { mergeCursors } from '../../src/engine/merging-cursor.ts'
import { RangeProgress, seekPlace } from '../../src/engine/range-progress.ts'
import { VisibleCursor } from '../../src/engine/visible-cursor.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'
import {
  ArrayCursor,
  dealOut,
  expiringValue,
  type ModelEntry,
  randomEntries,
  textEntry,
} from '../support/table-model.ts'

interface Shown {
  readonly key: Uint8Array
  readonly sequence: number
  readonly value: Uint8Array
}

/** What a reader sees, by the definition. `entries` are in internal order. */
function visible(entries: readonly ModelEntry[], maxSequence: number, wallMs: number): Shown[] {
  const newest = new Map<string, ModelEntry>()
  for (const entry of entries) {
    const name = Buffer.from(entry.key).toString('hex')
    if (entry.sequence <= maxSequence && !newest.has(name)) newest.set(name, entry)
  }
  const shown: Shown[] = []
  for (const { key, sequence, kind, value } of newest.values()) {
    if (kind === EntryKind.delete) continue
    const isExpiring = kind === EntryKind.putExpiring
    if (isExpiring && readExpiry(value, 0) <= wallMs) continue
    shown.push({ key, sequence, value: isExpiring ? value.slice(8) : value })
  }
  return shown
}

function shownAt(cursor: VisibleCursor): Shown {
  return {
    key: new Uint8Array(cursor.keyBytes.subarray(cursor.keyStart, cursor.keyEnd)),
    sequence: cursor.sequence,
    value: new Uint8Array(cursor.valueBytes.subarray(cursor.valueStart, cursor.valueEnd)),
  }
}

function walk(random: Random, cursor: VisibleCursor, model: Shown[], keys: Uint8Array[]): void {
  let at = -1
  const path: string[] = []
  for (let move = 0; move < 120; move++) {
    const draw = random.below(10)
    if (at < 0 || at >= model.length || draw === 0) {
      at = jump(random, cursor, model, keys, path)
    } else if (draw < 6) {
      path.push('next')
      cursor.next()
      at++
    } else {
      path.push('prev')
      cursor.prev()
      at--
    }
    const isValid = at >= 0 && at < model.length
    assert.equal(cursor.valid, isValid, path.join(' '))
    if (isValid) assert.deepEqual(shownAt(cursor), model[at], path.join(' '))
  }
}

function jump(
  random: Random,
  cursor: VisibleCursor,
  model: Shown[],
  keys: Uint8Array[],
  path: string[],
): number {
  const near = keys[random.below(keys.length)]!
  const key = near.slice(0, random.below(3) === 0 ? 1 + random.below(near.length) : near.length)
  const padded = Uint8Array.from([9, ...key, 9])
  const kind = ['first', 'last', 'seek', 'before', 'atOrBefore'][random.below(5)]!
  path.push(`${kind}(${Buffer.from(key).toString('hex')})`)
  const behind = model.findIndex(shown => compareBytes(shown.key, key) >= 0)
  const first = behind < 0 ? model.length : behind
  switch (kind) {
    case 'first':
      cursor.seekToFirst()
      return 0
    case 'last':
      cursor.seekToLast()
      return model.length - 1
    case 'seek':
      cursor.seek(padded, 1, 1 + key.length)
      return first
    case 'before':
      cursor.seekBefore(padded, 1, 1 + key.length)
      return first - 1
    default: {
      cursor.seekAtOrBefore(padded, 1, 1 + key.length)
      const isHere = first < model.length && compareBytes(model[first]!.key, key) === 0
      return isHere ? first : first - 1
    }
  }
}

const FICKLE = new Error('now and then')

/** The cursor below, which counts how often it is moved, and fails instead of move `failAt`. */
class FickleCursor extends Cursor {
  moves = 0
  readonly #inner: Cursor
  readonly #failAt: number

  constructor(inner: Cursor, failAt: number) {
    super()
    this.#inner = inner
    this.#failAt = failAt
  }

  override seekToFirst(): void {
    this.#move(inner => inner.seekToFirst())
  }

  override seekToLast(): void {
    this.#move(inner => inner.seekToLast())
  }

  override seek(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    this.#move(inner => inner.seek(key, keyStart, keyEnd, sequence))
  }

  override next(): void {
    this.#move(inner => inner.next())
  }

  override prev(): void {
    this.#move(inner => inner.prev())
  }

  #move(move: (inner: Cursor) => void): void {
    this.moves++
    this.valid = false
    if (this.moves === this.#failAt) throw FICKLE
    const inner = this.#inner
    move(inner)
    const { valid, keyBytes, keyStart, keyEnd, sequence, kind } = inner
    const { valueBytes, valueStart, valueEnd } = inner
    const entry = { valid, keyBytes, keyStart, keyEnd, sequence, kind }
    Object.assign(this, entry, { valueBytes, valueStart, valueEnd })
  }
}

describe('visible cursor', () => {
  test('agrees with the definition on random walks', context => {
    const random = seededRandom(printSeed(context))
    for (let round = 0; round < 400; round++) {
      const count = 1 + random.below(80)
      const entries = randomEntries(random, {
        count,
        keySpace: [1, 5, 60][random.below(3)]!,
        keyLengthMax: 6,
        valueLengthMax: 20,
        specialShare: [0, 0.15, 0.45][random.below(3)]!,
      })
      const maxSequence = random.below(count * 4 + 2)
      const wallMs = random.below(2002)
      const children = dealOut(random, entries, 1 + random.below(4))
      const source = mergeCursors(children.map(list => new ArrayCursor(list)))
      const cursor = new VisibleCursor(source, maxSequence, wallMs)
      const keys = entries.map(entry => entry.key)
      walk(random, cursor, visible(entries, maxSequence, wallMs), keys)
    }
  })

  test('goes on in pieces of few steps, over a source that fails now and then', context => {
    const random = seededRandom(printSeed(context))
    let pieces = 0
    for (let round = 0; round < 400; round++) {
      const count = 1 + random.below(120)
      const entries = randomEntries(random, {
        count,
        keySpace: [1, 5, 60][random.below(3)]!,
        keyLengthMax: 6,
        specialShare: [0, 0.15, 0.45][random.below(3)]!,
      })
      const maxSequence = random.below(count * 4 + 2)
      const wallMs = random.below(2002)
      const stepsMax = 1 + random.below(30)
      const isReverse = random.below(2) === 0
      const progress = new RangeProgress()
      const shown: Shown[] = []
      for (let isOver = false; !isOver; pieces++) {
        assert.ok(pieces < 400_000, 'it comes to an end')
        const children = dealOut(random, entries, 1 + random.below(4))
        const merged = mergeCursors(children.map(list => new ArrayCursor(list)))
        const source = new FickleCursor(merged, random.below(3) > 0 ? 0 : 1 + random.below(40))
        const cursor = new VisibleCursor(source, maxSequence, wallMs, stepsMax)
        const { place } = progress
        try {
          if (place !== undefined) seekPlace(cursor, place, isReverse)
          else if (isReverse) cursor.seekToLast()
          else cursor.seekToFirst()
          while (cursor.valid) {
            shown.push(shownAt(cursor))
            if (isReverse) cursor.prev()
            else cursor.next()
          }
          isOver = !cursor.paused
        } catch (error) {
          assert.equal(error, FICKLE)
        }
        progress.advanceTo(cursor.place)
        // A key is never left half way, so one is passed too many: sixteen versions and some seeks.
        assert.ok(source.moves <= stepsMax + 16 + 8, `${source.moves} moves of ${stepsMax}`)
      }
      const expected = visible(entries, maxSequence, wallMs)
      assert.deepEqual(shown, isReverse ? expected.reverse() : expected)
    }
  })

  test('steps over few of many versions', () => {
    const many = Array.from({ length: 5000 }, (_, index) => textEntry('b', 5000 - index, 'b'))
    const entries = [textEntry('a', 1, 'a'), ...many, textEntry('c', 2, 'c')]
    for (const [maxSequence, keys] of [
      [5000, ['a', 'b', 'c']],
      [2, ['a', 'b', 'c']],
    ] as const) {
      for (const isReverse of [false, true]) {
        const source = new FickleCursor(new ArrayCursor(entries), 0)
        const cursor = new VisibleCursor(source, maxSequence, 0)
        const found: string[] = []
        if (isReverse) cursor.seekToLast()
        else cursor.seekToFirst()
        while (cursor.valid) {
          found.push(Buffer.from(shownAt(cursor).key).toString())
          if (isReverse) cursor.prev()
          else cursor.next()
        }
        assert.deepEqual(found, isReverse ? [...keys].reverse() : keys)
        assert.ok(source.moves < 100, `${source.moves} moves`)
      }
    }
  })

  test('knows sequence 0 and the greatest sequence', () => {
    const entries = [
      textEntry('a', Number.MAX_SAFE_INTEGER, 'new'),
      textEntry('a', 0, 'old'),
      textEntry('b', 0, 'b'),
    ]
    const cursor = new VisibleCursor(new ArrayCursor(entries), 0, 0)
    cursor.seekToLast()
    cursor.prev()
    assert.equal(Buffer.from(shownAt(cursor).value).toString(), 'old')
    cursor.next()
    assert.equal(Buffer.from(shownAt(cursor).value).toString(), 'b')
    cursor.seekBefore(Buffer.from('b'), 0, 1)
    assert.equal(Buffer.from(shownAt(cursor).value).toString(), 'old')
    cursor.seekAtOrBefore(Buffer.from('b'), 0, 1)
    assert.equal(Buffer.from(shownAt(cursor).value).toString(), 'b')
  })

  test('hides an entry from the millisecond of its expiry on', () => {
    const value = expiringValue(1000, Buffer.from('v'))
    const entries = [{ key: Buffer.from('a'), sequence: 1, kind: EntryKind.putExpiring, value }]
    for (const [wallMs, isVisible] of [
      [999, true],
      [1000, false],
      [1001, false],
    ] as const) {
      const cursor = new VisibleCursor(new ArrayCursor(entries), 5, wallMs)
      cursor.seekToFirst()
      assert.equal(cursor.valid, isVisible)
      cursor.seekToLast()
      assert.equal(cursor.valid, isVisible)
    }
  })

  test('fails on a kind that no table holds', () => {
    const entries = [{ ...textEntry('a', 1, ''), kind: EntryKind.deleteRange }]
    const cursor = new VisibleCursor(new ArrayCursor(entries), 5, 0)
    assert.throws(() => cursor.seekToFirst(), /no entries of kind 4/)
    assert.throws(() => cursor.seekToLast(), /no entries of kind 4/)
    assert.equal(cursor.valid, false)
  })
})

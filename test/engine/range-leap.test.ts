// Goal: a leaping read comes to exactly the entries that seeks over a sorted array would find, in
// both directions, in one state, whatever writes and compactions do between its waits.
// Method: random leaps and steps from a printed seed over a database of memtable and levels, with
// deleted ranges and blocks that are not in memory, against the array of its entries.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes, utf8Encode } from '../../src/bytes.ts'
import type { Db, LeapEntry, LeapRead, LeapStep } from '../../src/engine/index.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const KEY_COUNT = 400
const LEAPS = 300
const STEPS = ['leap', 'leap', 'leap', 'next', 'next', 'stop'] as const

const keyOf = (index: number): Uint8Array => utf8Encode(`k${String(index).padStart(5, '0')}`)

type Model = Map<number, string>

async function write(db: Db, model: Model, random: Random): Promise<void> {
  const index = random.below(KEY_COUNT)
  const draw = random.below(20)
  if (draw === 0) {
    const end = index + random.below(30)
    for (let hidden = index; hidden < end; hidden++) model.delete(hidden)
    if (end > index) await db.deleteRange({ gte: keyOf(index), lt: keyOf(end) })
  } else if (draw < 4) {
    model.delete(index)
    await db.delete(keyOf(index))
  } else {
    const value = 'v'.repeat(1 + random.below(40)) + draw
    model.set(index, value)
    await db.put(keyOf(index), value)
  }
}

/** Leaps by chance, and holds each entry against the model. */
class ModelLeap implements LeapRead {
  readonly reverse: boolean
  readonly snapshot
  readonly end: Uint8Array | undefined
  from: Uint8Array
  isInclusive: boolean
  arrivals = 0
  readonly #random: Random
  readonly #keys: readonly number[]
  readonly #model: ReadonlyMap<number, string>
  /** Place in #keys of what it must come to next. */
  #expected: number

  constructor(db: Db, model: Model, random: Random) {
    this.reverse = random.below(2) === 0
    this.snapshot = db.snapshot()
    this.#random = random
    this.#model = new Map(model)
    const indices = [...model.keys()].sort((a, b) => (this.reverse ? b - a : a - b))
    const end = random.below(3) === 0 ? undefined : random.below(KEY_COUNT)
    this.end = end === undefined ? undefined : keyOf(end)
    this.#keys = indices.filter(index => end === undefined || this.#isBefore(index, end))
    this.from = keyOf(random.below(KEY_COUNT))
    this.isInclusive = random.below(2) === 0
    this.#expected = this.#place()
  }

  #isBefore(a: number, b: number): boolean {
    return this.reverse ? a > b : a < b
  }

  /** The first of the keys from `from` on. */
  #place(): number {
    const sign = this.reverse ? -1 : 1
    const place = this.#keys.findIndex(index => {
      const order = compareBytes(keyOf(index), this.from) * sign
      return this.isInclusive ? order >= 0 : order > 0
    })
    return place < 0 ? this.#keys.length : place
  }

  arrive(entry: LeapEntry): LeapStep {
    this.arrivals++
    const index = this.#keys[this.#expected]
    assert.ok(index !== undefined, 'it comes to no entry beyond its end')
    const { keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd } = entry
    assert.deepEqual(keyBytes.slice(keyStart, keyEnd), keyOf(index))
    const value = Buffer.from(valueBytes.slice(valueStart, valueEnd)).toString()
    assert.equal(value, this.#model.get(index))
    const step = STEPS[this.#random.below(STEPS.length)]!
    const by = step === 'leap' ? this.#random.below(60) : 0
    const target = index + (this.reverse ? -by : by)
    this.from = target < 0 ? new Uint8Array(1) : keyOf(target)
    this.isInclusive = by > 0 && this.#random.below(2) === 0
    this.#expected = this.#place()
    return step
  }

  /** Called when it was said to be over: nothing is left. */
  assertEnded(): void {
    assert.equal(this.#expected, this.#keys.length)
  }
}

async function leapToEnd(db: Db, leap: ModelLeap, clock: SimClock): Promise<void> {
  while (!(await drive(clock, Promise.resolve(db.leap(leap)))));
  leap.assertEnded()
  leap.snapshot.release()
}

describe('a leaping read', () => {
  test('comes to the entries that seeks would find', async t => {
    const random = seededRandom(printSeed(t))
    const clock = new SimClock()
    const db = await openEngine(new MemoryFileSystem(), { clock })
    const model: Model = new Map()
    let arrivals = 0
    for (let round = 0; round < LEAPS; round++) {
      for (let count = 0; count < 10; count++) await drive(clock, write(db, model, random))
      const leap = new ModelLeap(db, model, random)
      const leaping = leapToEnd(db, leap, clock)
      // What is written meanwhile, it must not see.
      for (let count = 0; count < 3; count++) await drive(clock, write(db, model, random))
      await leaping
      arrivals += leap.arrivals
    }
    const { levels } = db.stats()
    assert.ok(
      levels.some(({ tables }) => tables > 0),
      'there are tables',
    )
    assert.ok(arrivals > LEAPS, `${arrivals} arrivals`)
    assert.equal(db.stats().snapshots, 0)
    await drive(clock, db.close())
  })
})

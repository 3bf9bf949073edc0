// Goal: the oracle of the kill loop believes every honest store, and catches each way to lie.
// Method: a store that is a map, with calls that overlap, and outcomes drawn from all there are;
// crashes end what is in flight. Then the same with one lie before the check, told in every kind.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Random, seededRandom } from '../../src/random.ts'
import {
  type RecordOperation,
  RecordOracle,
  type RecordTicket,
  ViolationError,
  type ViolationKind,
} from '../support/record-oracle.ts'
import { printSeed } from '../support/seed.ts'

const KEY_COUNT = 60
const HOUR_MS = 3_600_000

interface Call {
  readonly ticket: RecordTicket
  readonly operations: readonly RecordOperation[]
  done: boolean
}

/** A store of strings that does what it is asked, when the test lets it. */
class World {
  readonly oracle = new RecordOracle()
  readonly data = new Map<string, string>()
  readonly random: Random
  readonly inFlight: Call[] = []
  /** What each key held before. */
  readonly old = new Map<string, string>()
  nowMs = 1_000_000
  #count = 0

  constructor(random: Random) {
    this.random = random
  }

  submit(operations = this.operations()): Call {
    const call = { ticket: this.oracle.submit(operations, this.nowMs), operations, done: false }
    this.inFlight.push(call)
    return call
  }

  operations(): RecordOperation[] {
    const size = this.random.below(4) === 0 ? 2 + this.random.below(6) : 1
    return Array.from({ length: size }, () => {
      const key = `key-${this.random.below(KEY_COUNT)}`
      const value = this.random.below(4) === 0 ? undefined : `value ${this.#count++}`
      return { key, value, ttlMs: value !== undefined && this.random.below(8) === 0 ? HOUR_MS : 0 }
    })
  }

  perform(call: Call): void {
    for (const { key, value } of call.operations) {
      const before = this.data.get(key)
      if (before !== undefined) this.old.set(key, before)
      if (value === undefined) this.data.delete(key)
      else this.data.set(key, value)
    }
    call.done = true
  }

  step(): void {
    const { random, inFlight, oracle } = this
    this.nowMs++
    if (inFlight.length < 4) this.submit()
    const call = inFlight[random.below(inFlight.length)]!
    if (!call.done) {
      if (random.below(12) > 0) {
        this.perform(call)
        return
      }
      oracle.reject(call.ticket)
    } else oracle.acknowledge(call.ticket, this.nowMs)
    inFlight.splice(inFlight.indexOf(call), 1)
  }

  crash(): void {
    for (const call of this.inFlight) this.oracle.leaveUnknown(call.ticket, this.nowMs)
    this.inFlight.length = 0
    this.oracle.nothingPending()
  }

  /** A scan of everything, and a read of every key. */
  check(entries = [...this.data].sort(([a], [b]) => (a < b ? -1 : 1))): void {
    const scan = this.oracle.check('scan', this.nowMs)
    for (const [key, value] of entries) scan.entry(key, value, 'ascending')
    scan.endOfScan(this.nowMs)
    const reads = this.oracle.check('reads', this.nowMs)
    for (let index = 0; index <= KEY_COUNT; index++) {
      reads.read(`key-${index}`, this.data.get(`key-${index}`), this.nowMs)
    }
    reads.end()
  }

  run(): this {
    for (let steps = 200 + this.random.below(200); steps > 0; steps--) this.step()
    this.crash()
    return this
  }

  /** A key of which no call was in flight at the end. */
  settledKey(): string {
    this.check()
    return [...this.data.keys()][this.random.below(this.data.size)]!
  }
}

const LIES: readonly (readonly [string, ViolationKind, (world: World) => void])[] = [
  ['an acknowledged record is lost', 'lost', w => w.data.delete(w.settledKey())],
  [
    'an overwritten value is back',
    'wrong',
    world => {
      world.check()
      const [key, value] = [...world.old].find(([k, v]) => (world.data.get(k) ?? v) !== v)!
      world.data.set(key, value)
    },
  ],
  ['a value changes by a byte', 'wrong', w => w.data.set(w.settledKey(), 'value !')],
  ['a key is invented', 'invented', w => w.data.set('nobody wrote this', '')],
  [
    'a deleted key is back',
    'wrong',
    world => {
      const key = world.settledKey()
      const value = world.data.get(key)!
      const call = world.submit([{ key, value: undefined, ttlMs: 0 }])
      world.oracle.acknowledge(call.ticket, world.nowMs)
      world.data.set(key, value)
    },
  ],
  [
    'half of a batch is there',
    'torn',
    world => {
      const keys = ['torn-1', 'torn-2', 'torn-3']
      world.submit(keys.map(key => ({ key, value: key, ttlMs: 0 })))
      world.crash()
      for (const key of keys.slice(1)) world.data.set(key, key)
    },
  ],
  [
    'an expired record stays',
    'late',
    world => {
      const call = world.submit([{ key: 'mortal', value: 'ash', ttlMs: 50 }])
      world.perform(call)
      world.oracle.acknowledge(call.ticket, world.nowMs)
      world.nowMs += 10_000
    },
  ],
  [
    'a write that was seen to be missing comes later',
    'wrong',
    world => {
      const call = world.submit([{ key: world.settledKey(), value: 'from the grave', ttlMs: 0 }])
      world.crash()
      world.check()
      world.perform(call)
    },
  ],
]

function violation(run: () => void): ViolationError {
  try {
    run()
  } catch (error) {
    if (error instanceof ViolationError) return error
    throw error
  }
  assert.fail('the lie was believed')
}

describe('the oracle of the kill loop', () => {
  test('believes a store that crashes, and does nothing wrong', t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 30; round++) {
      const world = new World(random)
      for (let crashes = 0; crashes < 4; crashes++) world.run().check()
      assert.ok(world.oracle.isSettled)
      const { acknowledged, unknown, surfaced, vanished } = world.oracle.counts
      assert.ok(acknowledged > 0 && surfaced + vanished <= unknown)
    }
  })

  for (const [what, kind, lie] of LIES) {
    test(`catches when ${what}`, t => {
      const random = seededRandom(printSeed(t))
      for (let round = 0; round < 10; round++) {
        const world = new World(random).run()
        lie(world)
        const { counts, message } = violation(() => world.check())
        assert.ok((counts[kind] ?? 0) > 0, message)
      }
    })
  }

  test('catches a scan out of order, and an entry that comes twice', t => {
    const world = new World(seededRandom(printSeed(t))).run()
    world.check()
    const entries = [...world.data].sort(([a], [b]) => (a < b ? -1 : 1))
    const reversed = violation(() => world.check(entries.toReversed()))
    assert.ok(reversed.counts.disordered! > 0, reversed.message)
    const twice = violation(() => world.check(entries.flatMap(entry => [entry, entry])))
    assert.ok(twice.counts.disordered! > 0, twice.message)
  })
})

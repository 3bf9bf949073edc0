// Goal: writes of the SDK under connections that break happen once: each is stored under one
// version and once, an acknowledged write is never lost to an earlier one that arrives late, be it
// another or its own retry, and the wrong wall clock of a client changes nothing about that.
// Method: two clients with wrong clocks, a network that cuts and delivers late, a node's store over
// the fake engine; one write after the other, each held against a model. Replays from its seed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode } from '../../src/bytes.ts'
import type { Clock } from '../../src/clock.ts'
import { NodeHandler } from '../../src/cluster/node-handler.ts'
import { isNodeKey } from '../../src/cluster/partition.ts'
import type { StorePut } from '../../src/cluster/store.ts'
import type { BatchOperation } from '../../src/key-value-store.ts'
import { Client } from '../../src/net/client.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { type Outcome, watch } from '../support/client-harness.ts'
import { CutNetwork } from '../support/cut-network.ts'
import { type FakeNode, startFakeNode } from '../support/fake-node.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

/** More for a longer hunt. */
const SEED_COUNT = Number(process.env['DURAMEN_SEEDS'] ?? 40)
const WRITES = 40
const KEYS = ['a', 'b', 'c'] as const
/** Longer than clients can be wrong about the server's time, and than anything arrives late. */
const REST_MS = 400
/** Of a call, its retries included. */
const TIMEOUT_MS = 5000

type Model = Map<string, string | undefined>

/** The same time, but for a wall clock that is wrong. */
function skewed(clock: SimClock, byMs: number): Clock {
  return {
    monotonicMs: () => clock.monotonicMs(),
    wallMs: () => clock.wallMs() + byMs,
    setTimer: (delayMs, callback, options) => clock.setTimer(delayMs, callback, options),
  }
}

/** Stored forms that were handed to the engine, and how often. */
function watchWrites({ engine }: FakeNode): Map<string, number> {
  const seen = new Map<string, number>()
  const write = engine.write.bind(engine)
  engine.write = (operations: readonly StorePut[]) => {
    for (const { key, value } of operations) {
      if (isNodeKey(key)) continue
      const name = `${Buffer.from(key).toString('hex')} ${Buffer.from(value).toString('hex')}`
      seen.set(name, (seen.get(name) ?? 0) + 1)
    }
    return write(operations)
  }
  return seen
}

class World {
  readonly random: Random
  readonly clock = new SimClock()
  readonly network: CutNetwork
  readonly node: FakeNode
  readonly clients: readonly Client[]
  readonly stored: Map<string, number>
  /** What each key must hold. */
  readonly model: Model = new Map()
  /** What it may hold instead: writes since whose outcome is unknown. */
  readonly maybe = new Map<string, Set<string | undefined>>()
  acknowledged = 0
  #last = -1

  constructor(random: Random, node: FakeNode, clock: SimClock) {
    this.random = random
    this.node = node
    this.clock = clock
    this.stored = watchWrites(node)
    this.network = new CutNetwork({
      clock,
      random,
      handler: new NodeHandler(
        node.store,
        () => ({}),
        () => new Uint8Array(0),
      ),
      timeMs: () => node.versions.timeMs,
      cutEvery: 6 + random.below(20),
    })
    this.clients = [0, 1].map(
      () =>
        new Client({
          url: 'kv://a:1',
          lazy: true,
          timeoutMs: TIMEOUT_MS,
          connector: this.network,
          clock: skewed(clock, random.below(20_000_000) - 10_000_000),
          random: seededRandom(random.below(2 ** 31)),
        }),
    )
  }

  async step(count: number): Promise<void> {
    const turn = this.random.below(2)
    if (turn !== this.#last) await this.clock.advanceAsync(REST_MS, 1)
    this.#last = turn
    const operations = this.#operations(count)
    const client = this.clients[turn]!
    const [only] = operations
    const promise =
      operations.length > 1 || only === undefined
        ? client.batch(operations)
        : only.type === 'put'
          ? client.put(only.key, only.value)
          : client.delete(only.key)
    const outcome = watch(promise)
    const cutsBefore = this.network.cuts
    const startMs = this.clock.monotonicMs()
    while (outcome.state === 'pending') await this.clock.advanceAsync(5, 1)
    for (const operation of operations) {
      const key = String(operation.key)
      const value = operation.type === 'put' ? String(operation.value) : undefined
      if (outcome.state === 'resolved') {
        this.model.set(key, value)
        this.maybe.delete(key)
      } else if (outcome.error?.outcome === 'unknown') {
        this.maybe.set(key, new Set([...(this.maybe.get(key) ?? []), value]))
      }
    }
    if (outcome.state === 'resolved') this.acknowledged++
    else this.#explain(outcome, this.network.cuts - cutsBefore, startMs)
    await this.check()
  }

  /** A call fails as its connections broke, mostly the last; or until its time was over. */
  #explain({ error }: Outcome, cuts: number, startMs: number): void {
    const tookMs = this.clock.monotonicMs() - startMs
    const isOver = cuts > 1 && tookMs >= TIMEOUT_MS
    const expected = isOver ? ['KV_UNAVAILABLE', 'KV_TIMEOUT'] : ['KV_UNAVAILABLE']
    const what = `${error?.message} (${cuts} cuts, ${tookMs} ms)`
    assert.ok(expected.includes(String(error?.code)), what)
  }

  #operations(count: number): BatchOperation[] {
    const keys = KEYS.filter(() => this.random.below(2) === 0)
    const chosen = keys.length === 0 ? [KEYS[this.random.below(KEYS.length)]!] : keys
    return chosen.map((key, index) => {
      if (this.random.below(4) === 0) return { type: 'del', key }
      return { type: 'put', key, value: `${count}.${index}` }
    })
  }

  async check(): Promise<void> {
    for (const key of KEYS) {
      const found = await this.node.store.get(Buffer.from(key))
      const value = found && utf8Decode(found)
      const allowed = [this.model.get(key), ...(this.maybe.get(key) ?? [])]
      assert.ok(allowed.includes(value), `${key} is ${value}, not one of ${allowed.join(', ')}`)
    }
  }

  async end(): Promise<void> {
    this.network.fickle = false
    await this.clock.advanceAsync(REST_MS, 1)
    await this.check()
    for (const client of this.clients) {
      const closed = watch(client.close())
      while (closed.state === 'pending') await this.clock.advanceAsync(50, 1)
    }
    for (const [form, times] of this.stored) assert.equal(times, 1, `${form} was stored ${times}x`)
    const values = [...this.stored.keys()].map(form => {
      // Engine key, and behind form, flags and version the value; tombstones have none.
      const [key, stored = ''] = form.split(' ')
      return stored.length > 36 ? `${key} ${stored.slice(36)}` : form
    })
    assert.equal(new Set(values).size, values.length, 'a write was stored under two versions')
  }
}

test('a write happens once, and stays, however often its connection breaks', async t => {
  const first = printSeed(t)
  let cuts = 0
  let acknowledged = 0
  let superseded = 0
  for (let seed = first; seed < first + SEED_COUNT; seed++) {
    const random = seededRandom(seed)
    const clock = new SimClock()
    const node = await startFakeNode({ clock, random })
    const world = new World(random, node, clock)
    try {
      for (let count = 0; count < WRITES; count++) await world.step(count)
      await world.end()
    } catch (error) {
      t.diagnostic(`replay with DURAMEN_SEED=${seed} DURAMEN_SEEDS=1`)
      throw error
    }
    cuts += world.network.cuts
    acknowledged += world.acknowledged
    superseded += node.store.stats.superseded
  }
  t.diagnostic(`${acknowledged} acknowledged, ${cuts} cuts, ${superseded} replays`)
  assert.ok(cuts > SEED_COUNT && superseded > 0, 'connections broke, and writes came twice')
  assert.ok(acknowledged > SEED_COUNT * WRITES * 0.8, `${acknowledged} were acknowledged`)
})

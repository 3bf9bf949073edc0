// Goal: however the server answers, in whatever order, the later of two records with one key wins,
// batches are acknowledged in order and only when they are stored, and what fails for good or is
// stopped ends in bounded time with nothing on its way.
// Method: random batches over few keys against a store that answers at random; then each way to
// end, by hand, on a clock that the test moves.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BatchBuilder, type ImportBatch, type ImportPut } from '../../src/cli/import-batch.ts'
import {
  ImportWindow,
  type ImportWindowOptions,
  STOP_GRACE_MS,
} from '../../src/cli/import-window.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import { IoError, OverloadedError, TimeoutError, UnavailableError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { FickleStore } from '../support/fickle-store.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

/** More for a longer hunt. */
const SEED_COUNT = Number(process.env['DURAMEN_SEEDS'] ?? 60)
const PATIENCE_MS = 30_000

/** A batch of `key` -> `value` whose mark is `offset`. */
function batchOf(offset: number, ...puts: readonly (readonly [string, string])[]): ImportBatch {
  const builder = new BatchBuilder({ countMax: 100, bytesMax: 10_000 }, undefined)
  for (const [key, value] of puts) {
    builder.add(Buffer.from(key), Buffer.from(value), offset, offset, undefined)
  }
  return builder.take({ offset, state: { line: 1 } }, 0)
}

function setUp(changes: Partial<ImportWindowOptions> = {}) {
  const store = new FickleStore()
  const clock = new SimClock()
  const controller = new AbortController()
  const log: string[] = []
  const options: ImportWindowOptions = {
    send: (operations, signal) => store.batch(operations, { signal }),
    countMax: 3,
    patienceMs: PATIENCE_MS,
    clock,
    signal: controller.signal,
    onAcknowledged: batch => log.push(`acknowledged ${batch.mark.offset}`),
    onRefused: (batch, index) => {
      log.push(`refused ${batch.mark.offset}:${index}`)
      return Promise.resolve()
    },
    onIdle: () => log.push('idle'),
    onFailed: () => log.push('failed'),
    onRetry: error => log.push(`retry ${error.code}`),
    onSilence: () => undefined,
    whyAway: () => undefined,
    ...changes,
  }
  const window = new ImportWindow(options)
  return { store, clock, controller, log, window }
}

/** Lets promises that can settle do so. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await yieldToEventLoop()
}

/** What became of a promise so far. */
function watch(promise: Promise<unknown>): { state: string; error?: unknown } {
  const seen: { state: string; error?: unknown } = { state: 'pending' }
  promise.then(
    () => {
      seen.state = 'resolved'
    },
    (error: unknown) => {
      seen.state = 'rejected'
      seen.error = error
    },
  )
  return seen
}

function randomBatch(random: Random, offset: number): ImportBatch {
  const puts = Array.from({ length: 1 + random.below(6) }, (_, index) => {
    const refused = random.below(15) === 0 ? '!' : ''
    return [`k${random.below(30)}${refused}`, `${offset}.${index}`] as const
  })
  return batchOf(offset, ...puts)
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString()
}

async function randomLife(seed: number): Promise<void> {
  const random = seededRandom(seed)
  const countMax = 1 + random.below(5)
  const acknowledged: ImportBatch[] = []
  const refusals: string[] = []
  const latest = new Map<string, string>()
  const { store, clock, window } = setUp({
    countMax,
    patienceMs: 1e9,
    onAcknowledged: (batch, refused) => {
      acknowledged.push(batch)
      for (const [index, { key, value }] of batch.operations.entries()) {
        const isRefused = store.isRefused([{ type: 'put', key, value }])
        assert.equal(refused.includes(index), isRefused)
        if (!isRefused) latest.set(textOf(key), textOf(value))
      }
      for (const [key] of latest) assert.ok(store.data.has(key), 'acknowledged, so it is stored')
    },
    onRefused: async (batch, index) => {
      await yieldToEventLoop()
      refusals.push(textOf(batch.operations[index]!.key))
    },
  })
  store.onBatch = () => {
    assert.ok(store.pending.length <= countMax, 'the window is bounded')
    const keys = store.pending.map(
      ({ operations }) => new Set(operations.map(put => textOf(put.key))),
    )
    const all = keys.flatMap(set => [...set])
    assert.equal(new Set(all).size, all.length, 'no key is on its way twice')
  }
  const batches = Array.from({ length: 12 }, (_, index) => randomBatch(random, index + 1))
  const work = (async () => {
    for (const batch of batches) await window.push(batch)
    await window.drain()
  })()
  const outcome = watch(work)
  for (let step = 0; outcome.state === 'pending' && step < 10_000; step++) {
    await yieldToEventLoop()
    if (random.below(3) > 0) store.answerAnyhow(random)
    else clock.advance(random.below(300))
  }
  await work
  assert.deepEqual(acknowledged, batches)
  assert.deepEqual(store.data, latest)
  const puts: ImportPut[] = batches.flatMap(({ operations }) => [...operations])
  const refused = puts.map(({ key }) => textOf(key)).filter(key => key.includes('!'))
  assert.deepEqual(new Set(refusals), new Set(refused))
  assert.equal(refusals.length, refused.length)
  assert.ok(window.isIdle)
}

describe('whatever the server answers', () => {
  test('the store is that of the input in order', async t => {
    const first = printSeed(t)
    for (let seed = first; seed < first + SEED_COUNT; seed++) {
      try {
        await randomLife(seed)
      } catch (error) {
        t.diagnostic(`replay with DURAMEN_SEED=${seed}`)
        throw error
      }
    }
  })

  test('a batch waits for one with the same key, another one does not', async () => {
    const { store, window } = setUp()
    await window.push(batchOf(1, ['a', '1'], ['b', '1']))
    await window.push(batchOf(2, ['c', '2']))
    const third = watch(window.push(batchOf(3, ['d', '3'], ['b', '3'])))
    await settle()
    assert.equal(third.state, 'pending')
    store.answer(store.pending[1]!)
    await settle()
    assert.equal(third.state, 'pending')
    store.answer(store.pending[0]!)
    await settle()
    assert.equal(third.state, 'resolved')
    assert.equal(store.pending.length, 1)
  })

  test('acknowledgements keep the order of the input', async () => {
    const { store, window, log } = setUp()
    for (const offset of [1, 2, 3]) await window.push(batchOf(offset, [`k${offset}`, '']))
    store.answer(store.pending[2]!)
    store.answer(store.pending[1]!)
    await settle()
    assert.deepEqual(log, [])
    store.answer(store.pending[0]!)
    await window.drain()
    assert.deepEqual(log, ['acknowledged 1', 'acknowledged 2', 'acknowledged 3', 'idle'])
  })
})

describe('failures that may pass', () => {
  test('are met with tries that come further apart, by themselves', async () => {
    const { store, clock, window, log } = setUp()
    await window.push(batchOf(1, ['a', '1']))
    const pauses: number[] = []
    for (let attempt = 0; attempt < 7; attempt++) {
      store.fail(store.pending[0]!, new UnavailableError('gone'), false)
      await settle()
      const startMs = clock.monotonicMs()
      while (store.pending.length === 0) await clock.advanceAsync(10)
      pauses.push(clock.monotonicMs() - startMs)
    }
    assert.deepEqual(pauses, [50, 100, 200, 400, 800, 1000, 1000])
    store.answerAlways()
    await settle()
    assert.deepEqual(log.slice(-2), ['acknowledged 1', 'idle'])
    assert.equal(clock.timerCount, 0)
  })

  test('an overloaded server gets the time that it asks for', async () => {
    const { store, clock, window } = setUp()
    await window.push(batchOf(1, ['a', '1']))
    store.fail(store.pending[0]!, new OverloadedError('too much', 700), false)
    await settle()
    await clock.advanceAsync(699)
    assert.equal(store.pending.length, 0)
    await clock.advanceAsync(1)
    assert.equal(store.pending.length, 1)
  })

  test('patience begins when something is sent after a rest', async () => {
    const { store, clock, window } = setUp()
    await clock.advanceAsync(10 * PATIENCE_MS)
    await window.push(batchOf(1, ['a', '1']))
    store.fail(store.pending[0]!, new TimeoutError('late'), false)
    await settle()
    await clock.advanceAsync(PATIENCE_MS - 1)
    store.answerAlways()
    await clock.advanceAsync(2000)
    await window.drain()
    assert.deepEqual([...store.data], [['a', '1']])
  })

  test('a success between renews it', async () => {
    const { store, clock, window } = setUp()
    await window.push(batchOf(1, ['a', '1']))
    await window.push(batchOf(2, ['b', '1']))
    store.fail(store.pending[0]!, new TimeoutError('late'), false)
    await settle()
    await clock.advanceAsync(PATIENCE_MS - 1)
    store.answer(store.pending.find(({ operations }) => textOf(operations[0]!.key) === 'b')!)
    await settle()
    store.fail(store.pending[0]!, new TimeoutError('late'), false)
    await settle()
    await clock.advanceAsync(PATIENCE_MS - 1)
    store.answerAlways()
    await clock.advanceAsync(2000)
    await window.drain()
  })

  test('a server that says nothing at all uses it up, and counts as away', async () => {
    let silences = 0
    const { store, clock, window, log } = setUp({
      onSilence: () => silences++,
      whyAway: () => 'connect ECONNREFUSED',
    })
    await window.push(batchOf(1, ['a', '1']))
    const drained = watch(window.drain())
    await clock.advanceAsync(PATIENCE_MS - 1)
    assert.equal(drained.state, 'pending')
    assert.equal(silences, PATIENCE_MS / 1000 - 1)
    await clock.advanceAsync(1)
    assert.equal(drained.state, 'rejected')
    const error = drained.error as UnavailableError
    assert.equal(error.code, 'KV_UNAVAILABLE')
    assert.equal(error.outcome, 'unknown')
    assert.equal(error.message, 'no answer for 30.0 s: connect ECONNREFUSED')
    assert.equal(store.pending.length, 0)
    assert.equal(clock.timerCount, 0)
    assert.deepEqual(log, ['failed'])
  })

  test('attempts that time out are the same as no answer, too much to do is not', async () => {
    for (const [failure, code] of [
      [new TimeoutError('late'), 'KV_UNAVAILABLE'],
      [new OverloadedError('too much', 100), 'KV_OVERLOADED'],
    ] as const) {
      const { store, clock, window } = setUp({ patienceMs: 2000 })
      await window.push(batchOf(1, ['a', '1']))
      const drained = watch(window.drain())
      for (let ms = 0; ms < 2000; ms += 100) {
        if (store.pending.length > 0) store.fail(store.pending[0]!, failure, false)
        await clock.advanceAsync(100)
      }
      assert.equal(drained.state, 'rejected')
      assert.equal((drained.error as UnavailableError).code, code)
    }
  })

  test('at its end attempts under way are given up, and the reason is told', async () => {
    const { store, clock, window, log } = setUp()
    await window.push(batchOf(1, ['a', '1']))
    await window.push(batchOf(2, ['b', '1']))
    const gone = new UnavailableError('gone')
    store.fail(store.pending[0]!, gone, false)
    await settle()
    const drained = watch(window.drain())
    await clock.advanceAsync(PATIENCE_MS)
    assert.equal(drained.state, 'rejected')
    assert.equal(drained.error, gone)
    assert.equal(store.pending.length, 0)
    assert.equal(log.at(-1), 'failed')
    assert.equal(clock.timerCount, 0)
    await assert.rejects(window.push(batchOf(3, ['c', '1'])), gone)
  })
})

describe('failures that do not pass', () => {
  test('end it once the batches before have their answers; the first of them is told', async () => {
    const { store, window, log } = setUp({ countMax: 4 })
    for (const offset of [1, 2, 3, 4]) await window.push(batchOf(offset, [`k${offset}`, '']))
    const [first, second, third, fourth] = [...store.pending]
    const [early, late] = [new IoError('the disk of 2'), new IoError('the disk of 3')]
    const fifth = watch(window.push(batchOf(5, ['k5', ''])))
    store.fail(third!, late, false)
    store.answer(fourth!)
    await settle()
    store.fail(second!, early, false)
    await settle()
    assert.equal(fifth.state, 'pending')
    store.answer(first!)
    await settle()
    assert.equal(fifth.error, early)
    assert.deepEqual(log, ['acknowledged 1', 'failed'])
    assert.equal(store.pending.length, 0)
  })

  test('a batch behind them is not tried again, one before them is', async () => {
    const { store, clock, window } = setUp()
    for (const offset of [1, 2, 3]) await window.push(batchOf(offset, [`k${offset}`, '']))
    const [first, second, third] = [...store.pending]
    const fatal = new IoError('the disk')
    store.fail(second!, fatal, false)
    store.fail(first!, new UnavailableError('gone'), false)
    store.fail(third!, new UnavailableError('gone'), false)
    await settle()
    const drained = watch(window.drain())
    await clock.advanceAsync(60)
    assert.equal(store.pending.length, 1)
    store.answerAlways()
    await settle()
    assert.equal(drained.error, fatal)
    assert.deepEqual([...store.data.keys()], ['k1'])
  })

  test('refused records are found, all others of the batch are stored', async () => {
    const { store, window, log } = setUp()
    store.answerAlways()
    const puts = Array.from({ length: 20 }, (_, index) => [`k${index}`, ''] as const)
    const bad = [0, 7, 8, 19]
    const marked = puts.map(
      ([key, value], index) => [bad.includes(index) ? `${key}!` : key, value] as const,
    )
    await window.push(batchOf(9, ...marked))
    await window.drain()
    assert.deepEqual(
      log.slice(0, -2),
      bad.map(index => `refused 9:${index}`),
    )
    assert.equal(store.data.size, 16)
  })

  test('a refusal that ends the import keeps what stood before it', async () => {
    const mine = new Error('bad record')
    const { store, window, log } = setUp({ onRefused: () => Promise.reject(mine) })
    store.answerAlways()
    await window.push(batchOf(1, ['a', ''], ['b', ''], ['c!', ''], ['d', '']))
    await assert.rejects(window.drain(), mine)
    assert.deepEqual([...store.data.keys()], ['a', 'b'])
    assert.deepEqual(log, ['failed'])
  })
})

describe('a stop', () => {
  test('lets answers come, for a while', async () => {
    const { store, clock, controller, window, log } = setUp()
    for (const offset of [1, 2]) await window.push(batchOf(offset, [`k${offset}`, '']))
    controller.abort()
    await settle()
    assert.equal(store.pending.length, 2)
    store.answer(store.pending[0]!)
    await settle()
    const drained = watch(window.drain())
    await clock.advanceAsync(STOP_GRACE_MS - 1)
    assert.equal(drained.state, 'pending')
    await clock.advanceAsync(1)
    assert.equal(drained.state, 'rejected')
    assert.deepEqual(log, ['acknowledged 1', 'failed'])
    assert.equal(clock.timerCount, 0)
  })

  test('ends pauses at once and takes nothing more', async () => {
    const { store, clock, controller, window } = setUp({ countMax: 1 })
    await window.push(batchOf(1, ['a', '']))
    const second = watch(window.push(batchOf(2, ['b', ''])))
    store.fail(store.pending[0]!, new OverloadedError('too much', 20_000), false)
    await settle()
    controller.abort()
    await settle()
    assert.equal(second.state, 'rejected')
    assert.equal(store.attempts, 1)
    assert.equal(clock.timerCount, 0)
    await assert.rejects(window.push(batchOf(3, ['c', ''])), { code: 'KV_ABORTED' })
  })

  test('with nothing on its way leaves nothing behind', async () => {
    const { clock, controller, window } = setUp()
    controller.abort()
    await window.drain()
    assert.equal(clock.timerCount, 0)
  })
})

// Goal: latency tells how long round trips took, whoever looks: a terminal, a script, Ctrl-C.
// Method: the whole program over a store whose answers take as long as the test says, by a clock
// moved by hand; and the histogram alone against a sorted list, over random durations.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { LiveBlock } from '../../src/cli/live-block.ts'
import { RoundTrips, renderRoundTrips } from '../../src/cli/round-trips.ts'
import { PLAIN_STYLE } from '../../src/cli/style.ts'
import { textWidth } from '../../src/cli/text-width.ts'
import { UnavailableError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { CliHarness, until } from '../support/cli-harness.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { VirtualScreen } from '../support/virtual-screen.ts'

/** A store whose pings take so many milliseconds each, in turn. */
function slowStore(harness: () => CliHarness, tookMs: readonly number[]): MemoryStore {
  const store = new MemoryStore()
  let index = 0
  store.ping = async () => {
    harness().clock.advance(tookMs[index++ % tookMs.length]!)
  }
  return store
}

function harnessOf(argv: string, tookMs: readonly number[], screen?: VirtualScreen): CliHarness {
  const store = slowStore(() => harness, tookMs)
  const stdout = screen === undefined ? {} : { stdout: screen }
  const harness: CliHarness = new CliHarness({ argv, store, ...stdout })
  return harness
}

/** Lets the program run to its end, time passing as fast as it asks for. */
async function ended(harness: CliHarness): Promise<ExitCode> {
  let code: ExitCode | undefined
  void harness.run().then(result => {
    code = result
  })
  await until(
    () => {
      const { clock } = harness
      clock.advance((clock.nextTimerMs ?? clock.monotonicMs()) - clock.monotonicMs())
      return code !== undefined
    },
    () => `${harness.out}${harness.err}`,
  )
  return code!
}

describe('latency', () => {
  test('gives programs the figures and the histogram', async () => {
    const harness = harnessOf('latency -n 4 -i 10ms --json', [1, 3, 5, 100])
    assert.equal(await ended(harness), ExitCode.ok)
    const [result] = harness.json as [Record<string, unknown>]
    const { count, errors, minMs, meanMs, maxMs, operation, intervalMs, buckets } = result
    assert.deepEqual([count, errors, operation, intervalMs], [4, 0, 'ping', 10])
    // The histogram holds three digits.
    for (const [told, real] of [
      [minMs, 1],
      [meanMs, 27.25],
      [maxMs, 100],
    ] as const) {
      assert.ok(Math.abs(Number(told) - real) <= real * 0.001, `${told} is not ${real}`)
    }
    const counts = (buckets as { toUs: number; count: number }[]).filter(each => each.count > 0)
    assert.deepEqual(
      counts.map(({ toUs, count: many }) => [toUs, many]),
      [1024, 4096, 8192, 131_072].map(toUs => [toUs, 1]),
    )
  })

  test('asks at the interval, and a slow answer puts the next ones off', async () => {
    const harness = harnessOf('latency -n 3 -i 50ms', [10, 120, 10])
    await ended(harness)
    // Sent at 0, at 50, and at once behind the one that ended at 170.
    assert.equal(harness.clock.monotonicMs(), 180)
  })

  test('on a terminal goes on until Ctrl-C, one drawing over the other', async () => {
    const screen = new VirtualScreen()
    const harness = harnessOf('latency', [1], screen)
    let code: ExitCode | undefined
    void harness.run().then(result => {
      code = result
    })
    for (let turn = 0; turn < 30; turn++) await harness.clock.advanceAsync(100)
    assert.match(screen.lines[0]!, /^ping to kv:\/\/127\.0\.0\.1:7700, one every 100 ms$/)
    assert.match(screen.lines.at(-3)!, /^3\d round trips, 0 errors$/)
    harness.interrupt()
    await until(
      () => code !== undefined,
      () => screen.lines.join('\n'),
    )
    assert.equal(code, ExitCode.ok)
    assert.equal(screen.lines.filter(line => line.includes('round trips')).length, 1)
    assert.match(screen.lines.at(-3)!, /^3\d round trips, 0 errors$/)
  })

  test('counts what fails, goes on, and ends with 1', async () => {
    const harness = harnessOf('latency -n 3', [1])
    harness.store.failNext = new UnavailableError('gone')
    const ping = MemoryStore.prototype.ping
    harness.store.ping = options => ping.call(harness.store, options)
    assert.equal(await ended(harness), ExitCode.failed)
    assert.match(harness.out, /2 round trips, 1 errors/)
    assert.match(harness.err, /the last error: gone/)
  })

  test('of puts leaves nothing behind', async () => {
    const store = MemoryStore.with({ 'kvcli-latency:': 'not one of them' })
    const harness = new CliHarness({ argv: 'latency -o put -n 70 --consistency quorum', store })
    assert.equal(await ended(harness), ExitCode.ok)
    const puts = store.calls.filter(({ name }) => name === 'put')
    assert.equal(puts.length, 70)
    assert.equal(puts[0]?.options['consistency'], 'quorum')
    assert.deepEqual(store.keyTexts, ['kvcli-latency:'])
  })
})

describe('round trips', () => {
  test('are counted as a sorted list has them', () => {
    const random = seededRandom(7)
    for (let round = 0; round < 20; round++) {
      const trips = new RoundTrips()
      const times = Array.from({ length: 1 + random.below(300) }, () => {
        return 0.0005 * 2 ** (random.next() * 25)
      })
      for (const ms of times) trips.record(ms)
      times.sort((a, b) => a - b)
      const { count, p50Ms, p99Ms, minMs, maxMs } = trips.summary()
      assert.equal(count, times.length)
      const last = times.length - 1
      // Of a percentile that falls between two, either is right.
      for (const [told, index] of [
        [p50Ms, last * 0.5],
        [p99Ms, last * 0.99],
        [minMs, 0],
        [maxMs, last],
      ] as const) {
        const low = times[Math.max(0, Math.ceil(index) - 1)]!
        const high = times[Math.min(last, Math.floor(index) + 1)]!
        const isThere = told >= low * 0.998 - 1e-6 && told <= high * 1.002 + 1e-6
        assert.ok(isThere, `${told} is not from ${low} to ${high}`)
      }
      for (const bucket of trips.buckets()) {
        const inside = times.filter(ms => ms * 1000 >= bucket.fromUs && ms * 1000 < bucket.toUs)
        assert.equal(bucket.count, inside.length)
      }
      for (const width of [50, 79, 200]) {
        const lines = renderRoundTrips(trips, width, PLAIN_STYLE)
        if (width >= 79) assert.ok(lines.every(line => textWidth(line) <= width))
      }
    }
  })

  test('that all failed have no figures', () => {
    const trips = new RoundTrips()
    trips.fail()
    assert.deepEqual(renderRoundTrips(trips, 79, PLAIN_STYLE), ['', '0 round trips, 1 errors'])
    assert.equal(trips.summary().p99Ms, 0)
  })
})

test('a live block never has more lines, nor longer ones, than the terminal', () => {
  const screen = new VirtualScreen(20)
  screen.rows = 4
  const block = new LiveBlock(screen)
  block.show(['1', '2', '3', '4', '5'])
  block.show(['\u001b[31ma line that is far too long\u001b[39m', 'second', 'third'])
  assert.deepEqual(screen.lines, ['a line that is far…', 'second', 'third'])
  block.show(['one'])
  assert.deepEqual(screen.lines, ['one'])
  assert.deepEqual(screen.cursor, { row: 1, column: 0 })
})

// Goal: the clock of a client gives ascending versions, follows the server's time wherever a server
// contradicts its own, and does not take the delay of a message for a difference of clocks.
// Method: each kind of news by hand, on a clock that the test moves; then random news.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { WriteClock } from '../../src/net/write-clock.ts'
import { seededRandom } from '../../src/random.ts'
import { versionCounter, versionTimeMs } from '../../src/write-version.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const START_MS = 1_000_000

function setUp() {
  const clock = new SimClock({ wallMs: START_MS })
  let writers = 0
  const versions = new WriteClock(clock, () => new Uint8Array(8).fill(7 + writers++))
  const next = () => {
    const versionWriter = new Uint8Array(0)
    const stamp = { versionMs: 0, versionCounter: 0, versionWriter, stampedMs: 0 }
    versions.stamp(stamp)
    return stamp
  }
  return { clock, versions, next }
}

test('versions ascend, whatever is heard of the server', t => {
  const random = seededRandom(printSeed(t))
  const { clock, versions, next } = setUp()
  let last = next()
  for (let round = 0; round < 2000; round++) {
    clock.advance(random.below(3))
    const serverMs = clock.wallMs() + random.below(4000) - 2000
    if (random.below(3) === 0) versions.greeted(serverMs, random.below(100))
    if (random.below(3) === 0) versions.corrected(serverMs, last)
    const stamp = next()
    const ascends =
      stamp.versionMs > last.versionMs ||
      (stamp.versionMs === last.versionMs && stamp.versionCounter > last.versionCounter)
    assert.ok(ascends)
    last = stamp
  }
})

test('no version comes twice, whatever was refused; and a retry has that of its write', t => {
  const random = seededRandom(printSeed(t))
  const { clock, versions, next } = setUp()
  const version = new Uint8Array(16)
  const textOf = (stamp: ReturnType<typeof next>) => {
    versions.encode(stamp, version)
    return Buffer.from(version).toString('hex')
  }
  const all = new Map<string, ReturnType<typeof next>>()
  for (let round = 0; round < 2000; round++) {
    clock.advance(random.below(3))
    if (random.below(10) === 0) versions.refused(clock.wallMs() + random.below(100) - 50)
    const stamp = next()
    assert.ok(!all.has(textOf(stamp)), `round ${round}`)
    all.set(textOf(stamp), stamp)
  }
  for (const [text, stamp] of all) assert.equal(textOf(stamp), text)
})

test('a version is its time, its counter and its writer', () => {
  const { versions, next } = setUp()
  next()
  const version = new Uint8Array(16)
  versions.encode(next(), version)
  assert.equal(versionTimeMs(version), START_MS)
  assert.equal(versionCounter(version), 1)
  assert.deepEqual(version.subarray(8), new Uint8Array(8).fill(7))
})

describe('HELLO', () => {
  for (const [name, serverMs, roundTripMs, expectedMs] of [
    ['that took as long as the difference leaves the clock alone', START_MS - 40, 50, START_MS],
    ['from ahead moves the clock to it', START_MS + 5000, 50, START_MS + 5000],
    ['from behind moves the clock back, but for the way', START_MS - 5000, 50, START_MS - 4950],
  ] as const) {
    test(name, () => {
      const { versions, next } = setUp()
      versions.greeted(serverMs, roundTripMs)
      assert.equal(next().versionMs, expectedMs)
    })
  }
})

describe('the time in an answer to a write', () => {
  test('moves the clock forwards when it is ahead', () => {
    const { versions, next } = setUp()
    versions.corrected(START_MS + 300, next())
    assert.equal(next().versionMs, START_MS + 300)
  })

  test('moves it back by what the version was ahead when it was answered', () => {
    const { clock, versions, next } = setUp()
    versions.corrected(START_MS - 300, next())
    clock.advance(1000)
    assert.equal(next().versionMs, START_MS + 700)
  })

  test('moves it back once, however many answers are under way', () => {
    const { clock, versions, next } = setUp()
    const answers: (() => void)[] = []
    // A server 300 ms behind, whose answers take 20 ms.
    for (let round = 0; round < 2000; round++) {
      clock.advance(1)
      const stamp = next()
      const serverMs = clock.wallMs() - 300 + 10
      answers.push(() => versions.corrected(serverMs, stamp))
      if (answers.length > 20) answers.shift()?.()
    }
    const aheadMs = next().versionMs - (clock.wallMs() - 300)
    assert.ok(aheadMs >= 0 && aheadMs <= 20, `${aheadMs} ms ahead`)
  })

  test('that is old because the answer was slow says nothing', () => {
    const { clock, versions, next } = setUp()
    const stamp = next()
    clock.advance(2000)
    versions.corrected(START_MS + 100, stamp)
    assert.equal(next().versionMs, START_MS + 2000)
  })
})

test('a refused version lets the clock go back at once', () => {
  const { versions, next } = setUp()
  next()
  versions.refused(START_MS - 60_000)
  assert.equal(next().versionMs, START_MS - 60_000)
})

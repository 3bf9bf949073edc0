// Goal: timers fire once and never early, on the machine's clock and on the tests' own.
// Method: one suite over both clocks, the real one with delays of a few milliseconds; then what
// only the manual clock promises.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Clock, delay, systemClock, yieldToEventLoop } from '../../src/clock.ts'
import { SimClock } from '../support/sim-clock.ts'

const CLOCKS: readonly { name: string; make: () => { clock: Clock; pass: Pass } }[] = [
  {
    name: 'system clock',
    make() {
      const clock = systemClock()
      return { clock, pass: ms => delay(clock, ms) }
    },
  },
  {
    name: 'sim clock',
    make() {
      const clock = new SimClock()
      return { clock, pass: ms => clock.advanceAsync(ms) }
    },
  },
]
/** Lets so many milliseconds pass. */
type Pass = (ms: number) => Promise<void>

/** Lets time pass until `done`: a busy machine may take a while to fire what is due. */
async function passUntil(pass: Pass, done: () => boolean): Promise<void> {
  for (let round = 0; round < 500 && !done(); round++) await pass(10)
  assert.ok(done(), 'it happened in time')
}

for (const { name, make } of CLOCKS) {
  describe(name, () => {
    test('never goes backwards, and knows the year', async () => {
      const { clock, pass } = make()
      let last = clock.monotonicMs()
      for (let round = 0; round < 20; round++) {
        if (round % 5 === 0) await pass(1)
        const now = clock.monotonicMs()
        assert.ok(now >= last)
        last = now
      }
      assert.ok(clock.wallMs() > Date.UTC(2025, 0) && clock.wallMs() < Date.UTC(2100, 0))
    })

    test('timers fire once, in the order of their times, and not early', async () => {
      const { clock, pass } = make()
      const fired: number[] = []
      const start = clock.monotonicMs()
      for (const delayMs of [12, 0, 6, 3.5]) {
        clock.setTimer(delayMs, () => {
          assert.ok(clock.monotonicMs() >= start + delayMs, `${delayMs} ms have passed`)
          fired.push(delayMs)
        })
      }
      await passUntil(pass, () => fired.length >= 4)
      await pass(15)
      // Node keeps no order between timers that are all overdue.
      if (clock instanceof SimClock) assert.deepEqual(fired, [0, 3.5, 6, 12])
      else assert.deepEqual(new Set(fired), new Set([0, 3.5, 6, 12]))
      assert.equal(fired.length, 4)
    })

    test('a cancelled timer does not fire, and cancelling late is harmless', async () => {
      const { clock, pass } = make()
      const fired: string[] = []
      const cancelFirst = clock.setTimer(2, () => fired.push('first'))
      const cancelSecond = clock.setTimer(2, () => fired.push('second'))
      cancelFirst()
      cancelFirst()
      await passUntil(pass, () => fired.length > 0)
      cancelSecond()
      assert.deepEqual(fired, ['second'])
    })

    test('a timer may set another', async () => {
      const { clock, pass } = make()
      let fired = 0
      clock.setTimer(1, () => clock.setTimer(1, () => fired++))
      await passUntil(pass, () => fired > 0)
      await pass(5)
      assert.equal(fired, 1)
    })

    test('a timer beyond 2^31 ms does not fire at once', async context => {
      const { clock, pass } = make()
      // Node warns of a timeout that is too long for it, and then counts 1 ms.
      const warnings: Error[] = []
      const note = (warning: Error): void => {
        warnings.push(warning)
      }
      process.on('warning', note)
      context.after(() => process.off('warning', note))
      let fired = false
      const cancel = clock.setTimer(2 ** 40, () => {
        fired = true
      })
      await pass(5)
      cancel()
      assert.equal(fired, false)
      assert.deepEqual(warnings, [])
    })
  })
}

describe('sim clock alone', () => {
  test('runs what falls due, in order, at its time', () => {
    const clock = new SimClock({ wallMs: 1000 })
    const seen: string[] = []
    const note = (name: string) => () => seen.push(`${name}@${clock.monotonicMs()}`)
    clock.setTimer(10, note('b'))
    clock.setTimer(5, () => {
      note('a')()
      clock.setTimer(5, note('c'))
      clock.setTimer(0, note('at once'))
    })
    clock.setTimer(11, note('late'))
    assert.equal(clock.nextTimerMs, 5)
    clock.advance(10)
    assert.deepEqual(seen, ['a@5', 'at once@5', 'b@10', 'c@10'])
    assert.equal(clock.monotonicMs(), 10)
    assert.equal(clock.wallMs(), 1010)
    assert.equal(clock.timerCount, 1)
  })

  test('lets promises go on between timers', async () => {
    const clock = new SimClock()
    const seen: number[] = []
    async function poll(): Promise<void> {
      for (let round = 0; round < 3; round++) {
        await delay(clock, 10)
        await yieldToEventLoop()
        seen.push(clock.monotonicMs())
      }
    }
    const polling = poll()
    await clock.advanceAsync(100)
    await polling
    assert.deepEqual(seen, [10, 20, 30])
  })

  test('the wall clock jumps alone', () => {
    const clock = new SimClock({ wallMs: 1000 })
    let fired = false
    clock.setTimer(50, () => {
      fired = true
    })
    clock.jumpWall(-5000)
    assert.equal(clock.wallMs(), -4000)
    assert.equal(clock.monotonicMs(), 0)
    clock.advance(49)
    assert.equal(fired, false)
    clock.advance(1)
    assert.equal(fired, true)
  })

  test('background timers are not counted as work', () => {
    const clock = new SimClock()
    clock.setTimer(1, () => undefined, { background: true })
    assert.equal(clock.timerCount, 0)
    assert.equal(clock.nextTimerMs, 1)
  })
})

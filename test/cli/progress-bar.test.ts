// Goal: the line fits the terminal whatever its width, says how far the work is and how long it
// will take as things go of late, and leaves the terminal as it was.
// Method: the pure line over all widths and arbitrary figures; the bar on a clock that the test
// moves and a terminal that keeps what it gets.
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ProgressBar, type ProgressSample, renderProgress } from '../../src/cli/progress-bar.ts'
import { createStyle, PLAIN_STYLE } from '../../src/cli/style.ts'
import { textWidth } from '../../src/cli/text-width.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

class Terminal extends Writable {
  text = ''
  columns = 80
  /** While true, it takes nothing: writes are never done. */
  stuck = false

  constructor() {
    super({ highWaterMark: 1 })
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    if (!this.stuck) done()
  }

  /** What was written since the last look, as lines. */
  look(): string {
    const { text } = this
    this.text = ''
    return text
  }
}

const view = (sample: ProgressSample, remainingMs?: number) => ({
  title: 'importing',
  sample,
  elapsedMs: 61_000,
  perSecond: 1234.5,
  remainingMs,
})

describe('the line', () => {
  test('of every width', () => {
    const sample = { done: 1, total: 3, records: 1_234_567, bytes: 5 }
    const line = (width: number): string => renderProgress(view(sample, 9410), width)
    const figures = '1,234,567 records  1,235/s  9.41 s left'
    const bar = `${'█'.repeat(10)}${'░'.repeat(20)}`
    assert.equal(line(100), `importing   33.3 %  ${bar}  ${figures}`)
    assert.equal(line(72), `importing   33.3 %  ███░░░░░░░░  ${figures}`)
    assert.equal(line(70), `importing   33.3 %  ${figures}`)
    assert.equal(line(30), 'importing   33.3 %  1,234,567…')
    assert.equal(line(0), '')
  })

  test('without a total, and at the ends', () => {
    const none = { done: 7, total: undefined, records: 7, bytes: 2048 }
    assert.equal(renderProgress(view(none), 80), 'importing  7 records  1,235/s  2.00 KiB  1m 01s')
    const end = renderProgress(view({ ...none, total: 7 }, 0), 80)
    assert.match(end, /^importing {2}100\.0 % {2}█+ {2}7 records {2}1,235\/s {2}under 1 s left$/)
    const empty = renderProgress(view({ ...none, done: 0, total: 0 }), 80)
    assert.match(empty, /^importing {2}100\.0 %/)
    const beyond = renderProgress(view({ ...none, total: 6 }), 80)
    assert.match(beyond, /^importing {2}100\.0 %/)
  })

  test('never is wider than it may be, in colour or not, and never says 100 % too early', t => {
    const seed = printSeed(t)
    const count = fc.maxSafeNat()
    fc.assert(
      fc.property(count, fc.option(count), count, fc.nat(200), (done, total, ms, width) => {
        const sample = { done, total: total ?? undefined, records: done, bytes: ms }
        for (const style of [PLAIN_STYLE, createStyle(true)]) {
          const line = renderProgress(view(sample, ms), width, style)
          assert.ok(textWidth(line) <= width)
          assert.ok(!line.includes('\n'))
          if (done < (total ?? 0)) assert.ok(!line.includes('100.0 %') || done / total! > 0.9999999)
        }
      }),
      { seed },
    )
  })
})

describe('the bar', () => {
  function setUp(total: number | undefined = 1000) {
    const clock = new SimClock()
    const terminal = new Terminal()
    const now = { done: 0, total, records: 0, bytes: 0 }
    const options = { title: 'x', clock, terminal, style: PLAIN_STYLE, sample: () => ({ ...now }) }
    const bar = new ProgressBar(options)
    return { clock, terminal, now, bar }
  }

  test('is drawn at once, again and again, and taken away', async () => {
    const { clock, terminal, bar } = setUp()
    assert.match(terminal.look(), /^\rx {2,}0\.0 % .*0 records/)
    await clock.advanceAsync(99)
    assert.equal(terminal.look(), '')
    await clock.advanceAsync(1)
    assert.match(terminal.look(), /^\rx /)
    assert.equal(clock.timerCount, 0, 'it keeps no process alive')
    bar.stop()
    assert.equal(terminal.look(), '\r\u001b[K')
    bar.stop()
    await clock.advanceAsync(1000)
    assert.equal(terminal.look(), '')
  })

  test('shows the rate of late and what is left at that rate', async () => {
    const { clock, terminal, now } = setUp()
    // 10 units a second for ten seconds, then 100.
    for (let step = 0; step < 100; step++) {
      now.done++
      now.records += 2
      await clock.advanceAsync(100)
    }
    assert.match(terminal.look(), /10\.0 % .* {2}200 records {2}20\.?0?\/s {2}1m 30s left.{3}$/)
    for (let step = 0; step < 60; step++) {
      now.done += 10
      now.records += 20
      await clock.advanceAsync(100)
    }
    assert.match(terminal.look(), /70\.0 % .* {2}1,400 records {2}200\/s {2}3\.00 s left.{3}$/)
  })

  test('a standstill is shown as one', async () => {
    const { clock, terminal, now } = setUp()
    now.done = 500
    now.records = 500
    await clock.advanceAsync(100)
    await clock.advanceAsync(6000)
    const last = terminal.look().split('\r').at(-1)
    assert.match(last ?? '', /500 records {2}0\.00\/s.{3}$/)
  })

  test('a note stands above it', () => {
    const { terminal, bar } = setUp()
    terminal.look()
    bar.note('something')
    assert.equal(terminal.look(), '\r\u001b[Ksomething\n')
  })

  test('leaves the last column free, and copes with terminals that do not say theirs', async () => {
    const { clock, terminal } = setUp()
    for (const [columns, width] of [
      [40, 39],
      [0, 79],
    ] as const) {
      terminal.look()
      terminal.columns = columns
      await clock.advanceAsync(100)
      const line = terminal.look().replace('\r', '').replace('\u001b[K', '')
      assert.ok(textWidth(line) <= width && textWidth(line) > 20, line)
    }
  })

  test('a terminal that does not keep up gets nothing more until it does', async () => {
    const { clock, terminal } = setUp()
    terminal.look()
    terminal.stuck = true
    await clock.advanceAsync(1000)
    assert.equal(terminal.look().split('\r').length, 2)
  })
})

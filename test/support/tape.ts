/**
 * As much of the test runner tape, over node:test, as the conformance suite of abstract-level
 * uses. (tape itself would bring 120 packages.)
 *
 * Like tape, and unlike node:test: a failed assertion does not throw, so that what follows it, such
 * as closing a database, still happens; a test ends when its promise resolves, when end() is
 * called, or once as many assertions were made as were planned, and fails when there are more.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'

type Body = (test: TapeTest) => unknown

export interface TapeCounts {
  tests: number
  assertions: number
}

/** A `test` function for suites written for tape; counts what it ran. */
export function tapeOverNode(counts: TapeCounts): (name: string, body: Body) => void {
  return (name, body) => {
    test(name, () => runTape(body, counts))
  }
}

async function runTape(body: Body, counts: TapeCounts): Promise<void> {
  counts.tests++
  const tape = new TapeTest(counts)
  const result = body(tape)
  if (result instanceof Promise) {
    await result
    tape.end()
  }
  await tape.runSubtests()
  await tape.ended
  // An assertion too many comes right behind the last planned one.
  await yieldToEventLoop()
  tape.finish()
}

export class TapeTest {
  readonly ended: Promise<void>
  readonly #counts: TapeCounts
  readonly #failures: Error[] = []
  readonly #subtests: [name: string, body: Body][] = []
  #resolve!: () => void
  #planned: number | undefined
  #count = 0

  constructor(counts: TapeCounts) {
    this.#counts = counts
    this.ended = new Promise(resolve => {
      this.#resolve = resolve
    })
  }

  plan(count: number): void {
    this.#planned = count
    if (count === 0) this.end()
  }

  end(): void {
    this.#resolve()
  }

  test(name: string, body: Body): void {
    this.#subtests.push([name, body])
  }

  /** Runs them one after another, those included that they add. Each counts as an assertion. */
  async runSubtests(): Promise<void> {
    for (let next = this.#subtests.shift(); next !== undefined; next = this.#subtests.shift()) {
      const [name, body] = next
      try {
        await runTape(body, this.#counts)
      } catch (error) {
        this.#failures.push(new Error(name, { cause: error }))
      }
      this.#countOne()
    }
  }

  /** Throws what failed. */
  finish(): void {
    assert.equal(this.#subtests.length, 0, 'subtests are added before the test ends')
    const [first, ...others] = this.#failures
    if (first !== undefined) {
      if (others.length > 0) first.message += ` (and ${others.length} more failed)`
      throw first
    }
    if (this.#planned !== undefined) assert.equal(this.#count, this.#planned, 'as many as planned')
  }

  is(actual: unknown, expected: unknown, message?: string): void {
    this.#check(() => assert.strictEqual(actual, expected, message))
  }

  isNot(actual: unknown, expected: unknown, message?: string): void {
    this.#check(() => assert.notStrictEqual(actual, expected, message))
  }

  same(actual: unknown, expected: unknown, message?: string): void {
    this.#check(() => assert.deepStrictEqual(actual, expected, message))
  }

  ok(value: unknown, message?: string): void {
    this.#check(() => assert.ok(value, message))
  }

  pass(): void {
    this.#countOne()
  }

  fail(message: string | Error): void {
    this.#check(() => assert.fail(message))
  }

  throws(body: () => void, expected?: RegExp | ((error: unknown) => boolean)): void {
    this.#check(() => {
      if (expected === undefined) assert.throws(body)
      else assert.throws(body, expected)
    })
  }

  doesNotThrow(body: () => void): void {
    this.#check(() => assert.doesNotThrow(body))
  }

  #check(assertion: () => void): void {
    try {
      assertion()
    } catch (error) {
      this.#failures.push(error as Error)
    }
    this.#countOne()
  }

  #countOne(): void {
    this.#count++
    this.#counts.assertions++
    if (this.#count === this.#planned) this.end()
  }
}

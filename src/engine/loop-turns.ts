/**
 * A turn of the event loop every millisecond for callers who are answered at once.
 *
 * `await` on a promise that is settled already continues in the same turn. A loop of awaited reads
 * from memory, or of writes that need no sync, would therefore keep timers, sockets and the results
 * of the workers waiting for as long as it runs: 400,000 operations were seen without a turn.
 *
 * Invariants:
 *  1. Of calls one after another one waits after SLICE_MS, give or take OPERATIONS_PER_LOOK.
 *  2. Whoever waits lets the whole loop go round: timers, input and output.
 */
import { type Clock, yieldToEventLoop } from '../clock.ts'

/** Operations between two looks at the clock, about 0.3 ms of them; a look costs 30 ns. */
const OPERATIONS_PER_LOOK = 128
/** What callers may take of the loop before it is somebody else's. */
const SLICE_MS = 1

export class LoopTurns {
  readonly #clock: Clock
  #operations = 0
  #turnMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts what was answered at once. A promise is to be awaited before the answer. */
  count(operations = 1): Promise<void> | undefined {
    this.#operations += operations
    if (this.#operations < OPERATIONS_PER_LOOK) return undefined
    this.#operations = 0
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#turnMs < SLICE_MS) return undefined
    return this.#turn()
  }

  /** Counts `answer`, and resolves to it, after a turn when one is due. */
  answer<T>(answer: T): Promise<T> {
    const turn = this.count()
    return turn === undefined ? Promise.resolve(answer) : answerAfter(turn, answer)
  }

  async #turn(): Promise<void> {
    await yieldToEventLoop()
    this.#turnMs = this.#clock.monotonicMs()
  }
}

async function answerAfter<T>(turn: Promise<void>, answer: T): Promise<T> {
  await turn
  return answer
}

/**
 * The event loop, shared between what takes long (a count, the pages of scans, large batches, a
 * connection that pipelines without end) and everything else.
 *
 * All long work of one kind together gets `turnMs` in each round of the event loop; then whatever
 * input and output has come is served before it goes on. So a short request waits for one turn,
 * not for one of everybody, however much long work there is. Those that wait for a turn take it
 * client by client (fair-queue.ts).
 *
 *   idle --begin--> a turn runs --its time is over, or nobody waits--> idle
 *
 * Invariants:
 *  1. Who waits goes on in a later round of the event loop, and only while its turn has time left.
 *  2. Nobody overtakes: while somebody waits, who begins waits too.
 */
import { type Clock, endOfTick, yieldToEventLoop } from './clock.ts'
import { type ClientIdentity, FairQueue } from './fair-queue.ts'

/** Half of the millisecond that nothing may exceed: the step after a look takes time too. */
const TURN_MS = 0.5

export class WorkTurns {
  readonly #clock: Clock
  readonly #turnMs: number
  readonly #waiting = new FairQueue<() => void>()
  #endMs = Number.NEGATIVE_INFINITY
  /** True from the begin of a turn until the next round of the event loop. */
  #turning = false

  constructor(clock: Clock, turnMs = TURN_MS) {
    this.#clock = clock
    this.#turnMs = turnMs
  }

  /** How many wait for their turn. */
  get waitingCount(): number {
    return this.#waiting.length
  }

  /** True when who works now should `pause`. Looks at the clock: ask every few microseconds. */
  get isOver(): boolean {
    return this.#clock.monotonicMs() >= this.#endMs
  }

  /** Undefined when there is time now, else a promise that resolves when there is. */
  begin(client: ClientIdentity): Promise<void> | undefined {
    if (this.#waiting.length > 0) return this.pause(client)
    if (!this.#turning) this.#startTurn()
    else if (this.isOver) return this.pause(client)
    return undefined
  }

  /** Resolves when it is this client's turn again, with time left. */
  pause(client: ClientIdentity): Promise<void> {
    if (!this.#turning) this.#startTurn()
    return new Promise(resolve => {
      this.#waiting.push(client, resolve)
    })
  }

  #startTurn(): void {
    this.#turning = true
    this.#endMs = this.#clock.monotonicMs() + this.#turnMs
    void this.#untilNextRound()
  }

  async #untilNextRound(): Promise<void> {
    await yieldToEventLoop()
    this.#turning = false
    if (this.#waiting.length === 0) return
    this.#startTurn()
    // At least one each turn, or a slow clock would stop everything.
    do {
      this.#waiting.shift()?.()
      // Who was let go works until it pauses, ends, or waits for something else.
      await endOfTick()
    } while (this.#waiting.length > 0 && !this.isOver)
  }
}

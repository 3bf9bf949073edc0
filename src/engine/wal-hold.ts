/**
 * A reader's claim on the log: segments with entries from some sequence on stay on disk until the
 * reader has advanced past them or lets go. Kept and counted by wal-segments.ts.
 */
import { describe } from '../arguments.ts'
import { InvalidArgumentError } from '../errors.ts'

/** What `Db.holdWal` gives. */
export interface WalHold {
  /** The log is kept from this sequence on. */
  readonly sequence: number
  /**
   * Whether the log was given up all the same: it had come to take more than `heldWalSizeMax`, or
   * it was not there when the database was opened. A broken hold keeps nothing.
   */
  readonly broken: boolean
  /**
   * Holds from `sequence` on only; what is before it may go. Does nothing once the hold was
   * released or is broken. Throws InvalidArgumentError for a sequence before that of the hold.
   */
  advance(sequence: number): void
  /** Lets go. Idempotent. */
  release(): void
  [Symbol.dispose](): void
}

/** Throws InvalidArgumentError unless `value` is a sequence. */
export function checkSequence(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new InvalidArgumentError(
    `${name} must be a sequence (an integer from 0 on), got ${describe(value)}`,
  )
}

export type HoldState = 'held' | 'released' | 'broken'

/** Who keeps the segments is told of every change. */
export class EngineWalHold implements WalHold {
  #sequence: number
  #state: HoldState = 'held'
  readonly #onChange: (hold: EngineWalHold) => void

  constructor(sequence: number, onChange: (hold: EngineWalHold) => void) {
    this.#sequence = sequence
    this.#onChange = onChange
  }

  get sequence(): number {
    return this.#sequence
  }

  get state(): HoldState {
    return this.#state
  }

  get broken(): boolean {
    return this.#state === 'broken'
  }

  advance(sequence: number): void {
    checkSequence('sequence', sequence)
    if (sequence < this.#sequence) {
      throw new InvalidArgumentError(
        `a hold only advances: it is at ${this.#sequence}, and cannot go back to ${sequence}`,
      )
    }
    if (sequence === this.#sequence || this.#state !== 'held') return
    this.#sequence = sequence
    this.#onChange(this)
  }

  release(): void {
    if (this.#state !== 'held') return
    this.#state = 'released'
    this.#onChange(this)
  }

  [Symbol.dispose](): void {
    this.release()
  }

  /** Called by who keeps the segments, which forgets it. */
  break(): void {
    this.#state = 'broken'
  }
}

/** When and how often to try again. Pure: time and randomness come in as arguments. */
import type { Consistency } from '../key-value-store.ts'
import type { Random } from '../random.ts'

/**
 * Calls may be repeated at this fraction of those that succeed, so that retries cannot snowball.
 */
const TOKENS_PER_SUCCESS = 0.1
/** So often a second even when nothing succeeds. */
const TOKENS_PER_SECOND = 10
/** Enough for everything in flight on two connections that break at once. */
const TOKENS_MAX = 4096

/** A token bucket: every repeated call takes a token; successes and time bring them back. */
export class RetryBudget {
  readonly #tokensMax: number
  #tokens: number
  #updatedMs: number

  /** `tokensMax`: so many calls may be repeated at once when none was for a while. */
  constructor(nowMs: number, tokensMax = TOKENS_MAX) {
    this.#updatedMs = nowMs
    this.#tokensMax = tokensMax
    this.#tokens = tokensMax
  }

  get tokens(): number {
    return this.#tokens
  }

  succeeded(): void {
    if (this.#tokens < this.#tokensMax) this.#add(TOKENS_PER_SUCCESS)
  }

  /** Takes a token; false when there is none, and then the call fails with what it has. */
  take(nowMs: number): boolean {
    this.#add(((nowMs - this.#updatedMs) / 1000) * TOKENS_PER_SECOND)
    this.#updatedMs = nowMs
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  #add(tokens: number): void {
    this.#tokens = Math.min(this.#tokensMax, this.#tokens + tokens)
  }
}

export interface Backoff {
  readonly delayMinMs: number
  readonly delayMaxMs: number
}

/** Between attempts of one call. */
export const CALL_BACKOFF: Backoff = { delayMinMs: 25, delayMaxMs: 500 }

/**
 * Milliseconds to wait before attempt `attempt` (1 is the first repetition): doubles from the
 * minimum to the maximum, and lies uniformly between half of that and all of it, so that clients
 * which failed together do not come back together.
 */
export function backoffMs(attempt: number, backoff: Backoff, random: Random): number {
  const doubled = backoff.delayMinMs * 2 ** Math.min(30, Math.max(0, attempt - 1))
  const ceiling = Math.min(backoff.delayMaxMs, doubled)
  return ceiling / 2 + (random.next() * ceiling) / 2
}

/** So many servers may say that too few replicas are there: one may know less than another. */
const REPLICA_ANSWERS_MAX = 2

/**
 * Whether to believe the servers of a call that they cannot reach as many replicas as it wants: the
 * only one there is at once, for who is refused wants to know it now.
 */
export function lacksReplicas(
  consistency: Consistency | undefined,
  attempts: number,
  hasOther: boolean,
): boolean {
  if (consistency === undefined || consistency === 'one') return false
  return !hasOther || attempts >= REPLICA_ANSWERS_MAX
}

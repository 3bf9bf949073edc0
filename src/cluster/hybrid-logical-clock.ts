/**
 * The clock that versions writes: wall-clock milliseconds that never repeat and never go back,
 * with a counter within the millisecond (hybrid logical clock; Kulkarni et al. 2014).
 *
 * A high-water mark, durable in the node's own records, lies ahead of every version that the node
 * acknowledged. After a restart the clock goes on above it, whatever the wall clock says by then.
 * The mark is extended while there are writes and not otherwise, LEASE_MS at a time, in the same
 * group commit as they; it stays below the skew that peers and clients tolerate, so a restart
 * right after a crash does not stamp from their future.
 *
 * In a cluster the wall clock is one that others have confirmed (believed-clock.ts), and when the
 * clock has come further all the same than it should have, it is set back (clock-watch.ts): better
 * that what was made meanwhile stays than that everything is made in the future from then on.
 *
 * Invariants:
 *  1. A version from next() is greater than every version from next() and witness() before it, in
 *     this process and before its start, back to when it was set back. No two are the same even so.
 *  2. The clock is never ahead of the wall clock because of others by more than SKEW_AHEAD_MAX_MS,
 *     so one client with a wrong clock cannot drag a node into the future; unless most members are
 *     ahead together, and then by no more than that beyond them. What overwrites a version that a
 *     replica has taken is later than that, and moves it by REPLICAS_AHEAD_MAX_MS at most.
 *  3. covered() resolves only once a durable mark lies at or above every version so far.
 *  4. Of what is stored from further ahead than REPLICAS_AHEAD_MAX_MS a durable record tells first,
 *     so that the next process compares with it.
 */
import { assert } from '../assert.ts'
import type { Clock } from '../clock.ts'
import { ClockSkewError, UnavailableError } from '../errors.ts'
import {
  VERSION_COUNTER_MAX as COUNTER_MAX,
  encodeVersion,
  VERSION_SIZE,
  versionCounter,
  versionTimeMs,
} from '../write-version.ts'
import type { ClockMarks } from './clock-mark.ts'

/** A version further ahead of the wall clock is refused. */
export const SKEW_AHEAD_MAX_MS = 500
/**
 * A version further behind is refused: it comes from a client whose clock is wrong, and would lose
 * silently. It also bounds how late an old write can arrive, and so how long a tombstone must stay.
 */
export const SKEW_BEHIND_MAX_MS = 3_600_000
/**
 * How far ahead of this node's clock replicas may be whose clocks are right, as far as that is
 * looked at: a second to either side (clock-watch.ts), and what they allow their clients.
 */
export const REPLICAS_AHEAD_MAX_MS = 2000 + SKEW_AHEAD_MAX_MS
/** Of what is further ahead the record is put ahead by so much, for more of it mostly follows. */
const STORED_LEASE_MS = 60_000
/** How far the mark is put ahead; the next extension begins when half of it is used up. */
export const LEASE_MS = 400

export interface HybridLogicalClockOptions {
  readonly clock: Clock
  /** Eight bytes that no other writer uses or has used. */
  readonly newWriter: () => Uint8Array
  /** What the last process left; 0 for none. */
  readonly marks: ClockMarks
  /** Resolves once they are durable, whatever durability writes ask for; in order. */
  readonly persistMarks: (marks: ClockMarks) => Promise<void>
}

export class HybridLogicalClock {
  readonly #options: HybridLogicalClockOptions
  #writer: Uint8Array
  #timeMs: number
  #counter = COUNTER_MAX
  /** Durable. */
  #markMs: number
  /** Asked for, and durable once #extending resolves without a failure. */
  #markAskedMs: number
  /** Durable: up to there versions may be stored, be they of this clock or not. */
  #storedMs: number
  #storedAskedMs: number
  #extending: Promise<void> | undefined
  #failure: unknown
  #leadMs = 0
  /** How often it was set back. */
  #setBacks = 0

  constructor(options: HybridLogicalClockOptions) {
    this.#options = options
    this.#writer = options.newWriter()
    // Everything up to the mark may have been used.
    const { markMs, storedMs } = options.marks
    this.#timeMs = markMs
    this.#markMs = markMs
    this.#markAskedMs = markMs
    this.#storedMs = storedMs
    this.#storedAskedMs = storedMs
  }

  /** Milliseconds since the Unix epoch, never less than any version so far. */
  get timeMs(): number {
    return Math.max(this.#timeMs, Math.floor(this.#options.clock.wallMs()))
  }

  /** Of the latest version so far, or of the mark that was found. 0 while there is neither. */
  get reachedMs(): number {
    return this.#timeMs
  }

  /** Up to there versions may be stored that an earlier process took. */
  get storedMs(): number {
    return Math.max(this.#storedMs, this.#timeMs)
  }

  /**
   * As next(), and greater than what a replica has taken, if that is not too far ahead: then it
   * wins over whatever comes until that time, and what this returns does not.
   */
  nextAbove(timeMs: number, counter: number): Uint8Array {
    if (timeMs <= this.#wallMs + this.#leadMs + REPLICAS_AHEAD_MAX_MS) this.#reach(timeMs, counter)
    return this.next()
  }

  /** A version of this writer, greater than every one before. */
  next(): Uint8Array {
    const wallMs = this.#wallMs
    if (wallMs > this.#timeMs) {
      this.#timeMs = wallMs
      this.#counter = 0
    } else if (this.#counter === COUNTER_MAX) {
      this.#timeMs++
      this.#counter = 0
    } else {
      this.#counter++
    }
    this.#extend()
    return encodeVersion(this.#timeMs, this.#counter, this.#writer)
  }

  /**
   * Takes note of a version that somebody else assigned, so that later ones of this clock are
   * greater. Throws ClockSkewError when it is too far from this node's time.
   */
  witness(version: Uint8Array): void {
    assert(version.length === VERSION_SIZE, 'the door checked the size of the version')
    const wallMs = this.#wallMs
    const timeMs = versionTimeMs(version)
    // What this clock has already reached is no news: accepting it moves nothing.
    if (timeMs > Math.max(wallMs + this.#aheadMaxMs, this.#timeMs)) {
      throw skewError(timeMs - wallMs, 'ahead of', SKEW_AHEAD_MAX_MS, this.timeMs)
    }
    const nowMs = Math.max(wallMs, this.#timeMs)
    if (timeMs < nowMs - SKEW_BEHIND_MAX_MS) {
      throw skewError(nowMs - timeMs, 'behind', SKEW_BEHIND_MAX_MS, this.timeMs)
    }
    this.#reach(timeMs, versionCounter(version))
  }

  /**
   * As witness, of a version that another replica has accepted: however old it is, it is no error,
   * and one too far ahead moves nothing.
   */
  follow(version: Uint8Array): void {
    const timeMs = versionTimeMs(version)
    if (timeMs <= this.#wallMs + this.#aheadMaxMs) this.#reach(timeMs, versionCounter(version))
  }

  /**
   * Undefined, or resolves, when what is stored under a version of that time cannot be overlooked
   * by the next process. Rejects with UnavailableError.
   */
  noteStored(timeMs: number): Promise<void> | undefined {
    // The mark is lowered to what was reached, when it is set back or closed: no farther it tells.
    const knownMs = Math.max(Math.min(this.#markMs, this.#timeMs), this.#storedMs)
    if (timeMs <= knownMs) return undefined
    return timeMs <= this.#wallMs + REPLICAS_AHEAD_MAX_MS ? undefined : this.#noteStored(timeMs)
  }

  /** Most members are so far ahead of their wall clocks: what they have reached is no skew. */
  setLead(leadMs: number): void {
    this.#leadMs = leadMs
  }

  get #wallMs(): number {
    return Math.floor(this.#options.clock.wallMs())
  }

  get #aheadMaxMs(): number {
    return this.#leadMs + SKEW_AHEAD_MAX_MS
  }

  /** Goes on from `timeMs`, under another writer, so that no version comes a second time. */
  setBack(timeMs: number): void {
    if (timeMs >= this.#timeMs) return
    this.#setBacks++
    this.#writer = this.#options.newWriter()
    // The record that has the lower mark has this. Until it is there, or when it fails, the one
    // before tells as much as its mark did.
    this.#storedMs = Math.max(this.#storedMs, Math.min(this.#markMs, this.#timeMs))
    this.#storedAskedMs = Math.max(this.#storedAskedMs, this.#timeMs)
    this.#timeMs = timeMs
    this.#counter = COUNTER_MAX
    this.#markMs = timeMs
    this.#markAskedMs = timeMs
    this.#extend()
  }

  async #noteStored(timeMs: number): Promise<void> {
    const storedMs = Math.max(this.#storedAskedMs, timeMs + STORED_LEASE_MS)
    this.#storedAskedMs = storedMs
    try {
      await this.#options.persistMarks({ markMs: this.#markAskedMs, storedMs })
    } catch (error) {
      throw new UnavailableError(
        'a version that is far ahead could not be noted, so it was not stored: try again',
        { cause: error },
      )
    }
    this.#storedMs = Math.max(this.#storedMs, storedMs)
  }

  #reach(timeMs: number, counter: number): void {
    if (timeMs < this.#timeMs || (timeMs === this.#timeMs && counter <= this.#counter)) return
    this.#timeMs = timeMs
    this.#counter = counter
    this.#extend()
  }

  /** Undefined when a durable mark covers every version so far, else a promise that it does. */
  covered(): Promise<void> | undefined {
    return this.#timeMs <= this.#markMs ? undefined : this.#cover(this.#timeMs)
  }

  /** Leaves an exact mark, so that the next process need not skip ahead. Nothing may follow it. */
  async close(): Promise<void> {
    await this.#extending
    if (this.#timeMs >= this.#markMs) return
    const storedMs = Math.max(this.#storedAskedMs, this.#timeMs)
    await this.#options.persistMarks({ markMs: this.#timeMs, storedMs })
  }

  async #cover(timeMs: number): Promise<void> {
    await this.#extending
    if (timeMs <= this.#markMs) return
    throw new UnavailableError('the clock of this node could not be made durable', {
      cause: this.#failure,
      outcome: 'unknown',
    })
  }

  #extend(): void {
    if (this.#timeMs + LEASE_MS / 2 <= this.#markAskedMs) return
    const markMs = this.#timeMs + LEASE_MS
    this.#markAskedMs = markMs
    const before = this.#extending
    const extending = this.#persist(markMs).then(() => before)
    this.#extending = extending
  }

  /** Never rejects: whoever waits finds the mark where it was. */
  async #persist(markMs: number): Promise<void> {
    const setBacks = this.#setBacks
    const storedAskedMs = this.#storedAskedMs
    try {
      await this.#options.persistMarks({ markMs, storedMs: Math.max(storedAskedMs, markMs) })
      this.#storedMs = Math.max(this.#storedMs, storedAskedMs)
      // Of before: the mark that replaced it is on its way.
      if (this.#setBacks !== setBacks) return
      this.#markMs = Math.max(this.#markMs, markMs)
    } catch (error) {
      this.#failure = error
      if (this.#setBacks !== setBacks) return
      // The next version asks again.
      this.#markAskedMs = this.#markMs
    }
  }
}

function skewError(
  byMs: number,
  where: string,
  limitMs: number,
  serverTimeMs: number,
): ClockSkewError {
  const now = new Date(serverTimeMs).toISOString()
  return new ClockSkewError(
    `the write's version is ${Math.round(byMs)} ms ${where} this server's clock (${now}), ` +
      `more than ${limitMs} ms: set the clocks of both machines`,
    { serverTimeMs },
  )
}

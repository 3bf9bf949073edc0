/**
 * The clock by which a client versions its writes: a hybrid logical clock (Kulkarni et al. 2014)
 * that follows the servers'. Versions decide which of two clients' writes stays, so what counts is
 * that clients agree with each other, and the server is what they have in common.
 *
 * The wall clock of this machine is right as long as no server contradicts it. HELLO and the
 * replies to writes tell the server's time as of when they were sent; on arrival it is a little
 * later, by an unknown delay. So a time from a server that is ahead is believed at once, one that
 * is behind only where the delay cannot explain it: for HELLO, by more than the round trip, and
 * for a write, by more than passed since it got its version. Each news bounds the clock from both
 * sides by itself, so that many answers that tell the same correct it once.
 *
 * Invariant: versions ascend, except after a server has refused one as too far in the future: then
 * they go on from its time, under another writer, so that no two are the same even so.
 */
import type { Clock } from '../clock.ts'
import { UINT48_MAX, VERSION_COUNTER_MAX, writeVersion } from '../write-version.ts'

/** What a write carries from its first attempt on. */
export interface VersionStamp {
  versionMs: number
  versionCounter: number
  /** Eight bytes. */
  versionWriter: Uint8Array
  /** When it got the version, in milliseconds by the wall clock of this machine. */
  stampedMs: number
}

export class WriteClock {
  readonly #clock: Clock
  /** Makes eight bytes that no other writer uses, or has used. */
  readonly #newWriter: () => Uint8Array
  #writer: Uint8Array
  /** What is added to the wall clock. */
  #offsetMs = 0
  #lastMs = 0
  #counter = 0

  constructor(clock: Clock, newWriter: () => Uint8Array) {
    this.#clock = clock
    this.#newWriter = newWriter
    this.#writer = newWriter()
  }

  /** The least time of the next version, in milliseconds since the Unix epoch. */
  get timeMs(): number {
    return Math.max(this.#lastMs, this.#nowMs)
  }

  get #nowMs(): number {
    return this.#timeAt(this.#clock.wallMs())
  }

  #timeAt(wallMs: number): number {
    return Math.min(UINT48_MAX, Math.max(0, Math.floor(wallMs + this.#offsetMs)))
  }

  /** Gives the write a version greater than all before it. */
  stamp(write: VersionStamp): void {
    const wallMs = this.#clock.wallMs()
    const nowMs = this.#timeAt(wallMs)
    if (nowMs > this.#lastMs) {
      this.#lastMs = nowMs
      this.#counter = 0
    } else if (this.#counter === VERSION_COUNTER_MAX) {
      this.#lastMs++
      this.#counter = 0
    } else {
      this.#counter++
    }
    write.versionMs = this.#lastMs
    write.versionCounter = this.#counter
    write.versionWriter = this.#writer
    write.stampedMs = wallMs
  }

  /** The version of a stamped write, into the first 16 bytes of `target`. */
  encode(stamp: VersionStamp, target: Uint8Array): void {
    writeVersion(target, stamp.versionMs, stamp.versionCounter, stamp.versionWriter)
  }

  /** A server said in HELLO, asked `roundTripMs` ago, what time it is. */
  greeted(serverMs: number, roundTripMs: number): void {
    const wallMs = this.#clock.wallMs()
    this.#offsetMs = Math.min(Math.max(wallMs, serverMs), serverMs + roundTripMs) - wallMs
  }

  /**
   * A server said in its answer to a write what time it is: a time between those at which the write
   * was stamped and now.
   */
  corrected(serverMs: number, { stampedMs }: VersionStamp): void {
    const least = serverMs - this.#clock.wallMs()
    this.#offsetMs = Math.max(least, Math.min(this.#offsetMs, serverMs - stampedMs))
  }

  /** A server refused a version as too far from its time: from now on that time counts. */
  refused(serverMs: number): void {
    this.#offsetMs = serverMs - this.#clock.wallMs()
    this.#lastMs = 0
    this.#writer = this.#newWriter()
  }
}

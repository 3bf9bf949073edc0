/**
 * One direction of a simulated TCP connection: bytes arrive in order, after a latency, or not
 * before the way is free again. What is neither taken by the reader nor on its way waits with the
 * sender, whose buffer is bounded: the rest is its backlog.
 */
import { copyBytes } from '../../../src/bytes.ts'
import type { Scheduler } from './scheduler.ts'

/** The conditions of the way from one machine to another. */
export interface Route {
  /** True while nothing gets through. */
  readonly isCut: boolean
  /** True while nothing comes back, acknowledgements included. */
  readonly isOneWay: boolean
  /** How long `size` bytes take that are sent now, in milliseconds. */
  latencyMs(size: number): number
  /** Calls back once it may be free again, and the sender has noticed. */
  whenFree(callback: () => void): void
}

/** The two ends of a pipe. */
export interface PipeEnds {
  /** Asks the reader to take what arrived: calls `take` once it reads. */
  whenReading(take: () => void): void
  arrived(bytes: Uint8Array): void
  /** Everything came, and nothing will follow. */
  finished(): void
  /** The backlog of the sender is gone. */
  drained(): void
}

interface Segment {
  /** Undefined for the end of the stream. */
  readonly bytes: Uint8Array | undefined
  readonly arrivalMs: number
}

/** Bytes that the operating systems of both ends hold for a stream. */
const BUFFER_SIZE = 256 * 1024
/** Bytes that get through without acknowledgement. */
const WINDOW_SIZE = 64 * 1024

export class Pipe {
  readonly #scheduler: Scheduler
  readonly #route: Route
  readonly #ends: PipeEnds
  #segments: Segment[] = []
  #pendingBytes = 0
  #unacknowledged = 0
  #lastArrivalMs = 0
  #isMoving = false
  #wasFull = false
  #isClosed = false

  constructor(scheduler: Scheduler, route: Route, ends: PipeEnds) {
    this.#scheduler = scheduler
    this.#route = route
    this.#ends = ends
  }

  get backlogBytes(): number {
    return Math.max(0, this.#pendingBytes - BUFFER_SIZE)
  }

  /** Copies the bytes. */
  write(bytes: Uint8Array): void {
    this.#send(copyBytes(bytes))
    if (this.backlogBytes > 0) this.#wasFull = true
  }

  /** The stream ends with what was written so far. */
  finish(): void {
    this.#send(undefined)
  }

  /** Nothing more arrives. */
  close(): void {
    this.#isClosed = true
    this.#segments = []
    this.#pendingBytes = 0
  }

  #send(bytes: Uint8Array | undefined): void {
    if (this.#isClosed) return
    const size = bytes?.length ?? 0
    const arrivalMs = this.#scheduler.nowMs + this.#route.latencyMs(size)
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, arrivalMs)
    this.#segments.push({ bytes, arrivalMs: this.#lastArrivalMs })
    this.#pendingBytes += size
    this.#move()
  }

  #move(): void {
    const [first] = this.#segments
    if (this.#isMoving || first === undefined) return
    this.#isMoving = true
    this.#scheduler.after(first.arrivalMs - this.#scheduler.nowMs, () => this.#arrive())
  }

  #arrive(): void {
    if (this.#isClosed) return
    const isStuck = this.#route.isOneWay && this.#unacknowledged > WINDOW_SIZE
    if (this.#route.isCut || isStuck) this.#route.whenFree(() => this.#arrive())
    else this.#ends.whenReading(() => this.#take())
  }

  #take(): void {
    const segment = this.#segments.shift()
    if (this.#isClosed || segment === undefined) return
    this.#isMoving = false
    const size = segment.bytes?.length ?? 0
    this.#pendingBytes -= size
    this.#unacknowledged = this.#route.isOneWay ? this.#unacknowledged + size : 0
    if (segment.bytes === undefined) this.#ends.finished()
    else this.#ends.arrived(segment.bytes)
    if (this.#wasFull && this.backlogBytes === 0) {
      this.#wasFull = false
      this.#ends.drained()
    }
    this.#move()
  }
}

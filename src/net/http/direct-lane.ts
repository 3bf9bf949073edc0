/**
 * The direct lane: requests about one key that arrive whole are answered without node:http, whose
 * streams and events for each request and response cost more than reading a key (bench/README.md
 * has what it bought). It knows one form of request; a connection that brings anything else is
 * given to node:http, with the bytes at hand, for good.
 *
 *   idle --whole request--> busy --answered--> idle --silent for too long--> closed
 *     |--anything else--> node:http
 *
 * Invariants:
 *  1. One request of a connection is under way at a time; what comes meanwhile waits, unread but
 *     for a chunk or two.
 *  2. A connection is here or with node:http, never both, and never comes back.
 */
import type { Clock } from '../../clock.ts'
import { type WholeRequest, wholeRequest } from './direct-request.ts'
import { DirectResponse, type DirectResponseOwner } from './direct-response.ts'
import type { HttpConnection, HttpSocket } from './http-connection.ts'

export interface DirectLaneOptions {
  readonly clock: Clock
  /** A connection that says nothing is closed: one that never did, and one that was answered. */
  readonly silentMs: { readonly strange: number; readonly known: number }
  /** Of output, that the client does not take. */
  readonly outputStallMs: number
  /** Bodies of more bytes are node:http's to refuse. */
  readonly bodySizeMax: number
  answer(connection: HttpConnection, request: WholeRequest, response: DirectResponse): void
  /** To node:http, which reads what the lane had read first. */
  handOver(socket: HttpSocket): void
  /** It said nothing, in time for a first request. */
  tooSlow(socket: HttpSocket): void
}

export class DirectLane {
  readonly #options: DirectLaneOptions
  readonly #connections = new Set<DirectConnection>()
  readonly #keepAlive: string
  #dateSecond = 0
  #staying = ''
  #closing = ''

  constructor(options: DirectLaneOptions) {
    this.#options = options
    const seconds = Math.floor(options.silentMs.known / 1000)
    this.#keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${seconds}\r\n\r\n`
  }

  /** Takes a connection that has said nothing yet. */
  add(connection: HttpConnection): void {
    const direct = new DirectConnection(this, connection, this.#options)
    this.#connections.add(direct)
  }

  left(direct: DirectConnection): void {
    this.#connections.delete(direct)
  }

  get stayingLines(): string {
    this.#renewDate()
    return this.#staying
  }

  get closingLines(): string {
    this.#renewDate()
    return this.#closing
  }

  #renewDate(): void {
    const nowMs = this.#options.clock.wallMs()
    const second = Math.floor(nowMs / 1000)
    if (second === this.#dateSecond) return
    this.#dateSecond = second
    const date = `Date: ${new Date(nowMs).toUTCString()}\r\n`
    this.#staying = date + this.#keepAlive
    this.#closing = `${date}Connection: close\r\n\r\n`
  }

  /** Looked at every so often. */
  sweep(nowMs: number): void {
    for (const direct of this.#connections) direct.sweep(nowMs)
  }

  closeIdle(): void {
    for (const direct of this.#connections) direct.closeIfIdle()
  }

  closeAll(): void {
    for (const { socket } of this.#connections) socket.destroy()
  }
}

class DirectConnection implements DirectResponseOwner {
  readonly socket: HttpSocket
  readonly #lane: DirectLane
  readonly #connection: HttpConnection
  readonly #options: DirectLaneOptions
  #isBusy = false
  /** The client has said that it says no more. */
  #hasEnded = false
  /** What came while it was busy. */
  #waiting: Buffer | undefined
  #wasAnswered = false
  #silentSinceMs: number

  constructor(lane: DirectLane, connection: HttpConnection, options: DirectLaneOptions) {
    const { socket } = connection
    this.socket = socket
    this.#lane = lane
    this.#connection = connection
    this.#options = options
    this.#silentSinceMs = options.clock.monotonicMs()
    socket.on('data', this.#take)
    socket.on('end', this.#end)
    socket.on('close', this.#leave)
    // It is closed behind it.
    socket.on('error', ignore)
  }

  get stayingLines(): string {
    return this.#lane.stayingLines
  }

  get closingLines(): string {
    return this.#lane.closingLines
  }

  readonly #take = (chunk: Buffer): void => {
    if (this.#isBusy) {
      this.#waiting = this.#waiting === undefined ? chunk : Buffer.concat([this.#waiting, chunk])
      this.socket.pause()
      return
    }
    const request = wholeRequest(chunk)
    if (request === undefined || request.body.length > this.#options.bodySizeMax) {
      this.#handOver(chunk)
      return
    }
    this.#isBusy = true
    this.#options.answer(this.#connection, request, new DirectResponse(this))
  }

  readonly #end = (): void => {
    this.#hasEnded = true
    if (!this.#isBusy) this.socket.end()
  }

  readonly #leave = (): void => this.#lane.left(this)

  ended(keepsAlive: boolean): void {
    this.#isBusy = false
    this.#wasAnswered = true
    if (!keepsAlive || (this.#hasEnded && this.#waiting === undefined)) {
      this.socket.destroySoon()
      return
    }
    this.#silentSinceMs = this.#options.clock.monotonicMs()
    const chunk = this.#waiting
    if (chunk === undefined) return
    this.#waiting = undefined
    this.socket.resume()
    this.#take(chunk)
  }

  #handOver(chunk: Buffer): void {
    const { socket } = this
    if (this.#hasEnded) {
      // node:http would answer nothing any more, and nothing can be put back into such a socket.
      socket.destroySoon()
      return
    }
    socket.removeListener('data', this.#take)
    socket.removeListener('end', this.#end)
    socket.removeListener('close', this.#leave)
    socket.removeListener('error', ignore)
    this.#lane.left(this)
    socket.unshift(chunk)
    this.#options.handOver(socket)
  }

  sweep(nowMs: number): void {
    const { silentMs, outputStallMs } = this.#options
    const connection = this.#connection
    if (connection.heldBytes > 0 && connection.outputStalledMs(nowMs) > outputStallMs) {
      this.socket.destroy()
    } else if (this.#isBusy) return
    else if (!this.#wasAnswered && nowMs - this.#silentSinceMs > silentMs.strange) {
      this.#options.tooSlow(this.socket)
    } else if (this.#wasAnswered && nowMs - this.#silentSinceMs > silentMs.known) {
      this.socket.destroy()
    }
  }

  closeIfIdle(): void {
    if (!this.#isBusy && this.socket.writableLength === 0) this.socket.destroy()
  }
}

function ignore(): void {}

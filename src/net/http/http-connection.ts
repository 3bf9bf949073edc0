/**
 * One connection of an HTTP client: what it holds of the server's budgets, who it was found to be,
 * and how long it has not moved. Parsing and the order of replies are node:http's business.
 *
 * Invariants:
 *  1. What it holds is given back when its socket closes, once; nothing is counted for it after.
 *  2. `heldBytes` is what was answered and not taken by the client, as far as it was told (`hold`).
 */
import type { ServerResponse } from 'node:http'
import type { Share } from '../admission.ts'
import type { Access } from '../auth/index.ts'
import type { ServerLimits } from '../limits.ts'
import type { MemoryHolder } from '../pressure.ts'
import type { CallResponse } from './call-parts.ts'

/** The part of node:net's Socket that this door uses; node:net itself is for other files. */
export type HttpSocket = NonNullable<ServerResponse['socket']>

interface Progress {
  readonly bytes: number
  readonly atMs: number
}

export class HttpConnection implements MemoryHolder {
  readonly socket: HttpSocket
  readonly share: Share
  readonly remoteAddress: string
  /** Told that there is no place for it, and closed. */
  readonly isRefused: boolean
  isClosed = false
  /** The Authorization header that was accepted last, and what its user may do. */
  admitted: { readonly header: Buffer; readonly access: Access } | undefined
  /** The Host header that was accepted last. */
  host: string | undefined
  /** Requests whose answer has not been produced yet. */
  waiting = 0
  /** Of the last request of node:http; what is behind it in the input is nobody's. */
  lastResponse: ServerResponse | undefined
  readonly #limits: ServerLimits
  #heldBytes = 0
  #output: Progress
  #input: Progress

  constructor(
    socket: HttpSocket,
    share: Share,
    limits: ServerLimits,
    isRefused: boolean,
    nowMs: number,
  ) {
    this.socket = socket
    this.share = share
    this.isRefused = isRefused
    this.#limits = limits
    this.remoteAddress = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`
    this.#output = this.#input = { bytes: 0, atMs: nowMs }
  }

  /** MemoryHolder. */
  get session(): { readonly share: Share } {
    return this
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Throws OverloadedError when a reply of `size` bytes must not wait here. */
  checkRoom(size: number): void {
    const isOwnFull = this.#heldBytes > 0 && this.#heldBytes + size > this.#limits.outputBytesMax
    this.share.checkOutput(isOwnFull ? Number.POSITIVE_INFINITY : size)
  }

  /** The client has not taken these bytes of the response yet. */
  hold(response: CallResponse, bytes: number): void {
    if (this.isClosed) return
    this.#setHeld(this.#heldBytes + bytes)
    response.once('close', () => this.#setHeld(this.#heldBytes - bytes))
  }

  #setHeld(bytes: number): void {
    this.#heldBytes = bytes
    if (!this.isClosed) this.share.setOutput(Math.max(0, bytes))
  }

  /** Looked at every so often. */
  sweep(nowMs: number): void {
    const { bytesRead, bytesWritten, writableLength } = this.socket
    const taken = bytesWritten - writableLength
    if (taken !== this.#output.bytes || this.#heldBytes === 0) {
      this.#output = { bytes: taken, atMs: nowMs }
    }
    if (bytesRead !== this.#input.bytes || this.share.receiveBytes === 0) {
      this.#input = { bytes: bytesRead, atMs: nowMs }
    }
  }

  outputStalledMs(nowMs: number): number {
    return nowMs - this.#output.atMs
  }

  inputStalledMs(nowMs: number): number {
    return nowMs - this.#input.atMs
  }

  failUnderPressure(): void {
    this.socket.destroy()
  }

  /** The socket is closed. */
  close(): void {
    this.isClosed = true
    this.lastResponse = undefined
    this.share.leave()
  }
}

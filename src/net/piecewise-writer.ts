/**
 * Writes to a socket, and what is long in pieces.
 *
 * Node counts a write until the last byte of it is gone, and gathers what waits behind it into one
 * more. So who looks at a slow link sees nothing move for as long as a value of megabytes takes,
 * and cannot tell it from a dead one; and TLS encrypts all of it in one turn. A piece is given to
 * the socket when the piece before it was taken.
 *
 * Invariants:
 *  1. Bytes leave in the order in which they were written, all of them before the end.
 *  2. Once as much waits as makes a stream of Node say so (its high-water mark), `drained` is told
 *     when everything was taken. Of less nobody is told: who waits for that asks `backlogBytes`.
 */
import type { Socket } from 'node:net'

/** What one write is at most: 30 ms of a link of 8 MiB a second, 0.1 ms of encrypting. */
const PIECE_SIZE = 256 * 1024

export class PiecewiseWriter {
  /** Everything written was taken. */
  drained: () => void
  readonly #socket: Socket
  readonly #pieceTaken = () => {
    this.#pieces--
    this.#goOn()
  }
  /** What the socket was not given yet, in order; `#queuedBytes` long. */
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  /** Pieces given to the socket that it has not said to be taken: each says so. */
  #pieces = 0
  #owesDrained = false
  #isEnding = false

  constructor(socket: Socket, drained: () => void = () => {}) {
    this.#socket = socket
    this.drained = drained
    socket.on('drain', () => this.#goOn())
    socket.on('close', () => this.#goOn())
  }

  /** Bytes written that the kernel has not taken. */
  get backlogBytes(): number {
    return this.#queuedBytes + this.#socket.writableLength
  }

  /** True when the bytes were taken at once, so that their memory may be used again. */
  write(bytes: Uint8Array): boolean {
    if (this.#queuedBytes === 0 && bytes.length <= PIECE_SIZE) this.#socket.write(bytes)
    else this.#enqueue(bytes)
    const isTaken = this.backlogBytes === 0
    if (!isTaken) this.#owesDrained = true
    return isTaken
  }

  /** Finishes what was written, then ends the socket's side. */
  end(): void {
    if (this.#queuedBytes > 0) this.#isEnding = true
    else this.#socket.end()
  }

  #enqueue(bytes: Uint8Array): void {
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
    this.#pump()
  }

  /**
   * Gives the socket a piece after the other while it takes them at once. Behind something short
   * that it has not taken it is given one all the same, as nobody would be told of that.
   */
  #pump(): void {
    const socket = this.#socket
    while (this.#queuedBytes > 0 && (socket.writableLength === 0 || this.#pieces === 0)) {
      this.#pieces++
      socket.write(this.#nextPiece(), this.#pieceTaken)
    }
  }

  #nextPiece(): Uint8Array {
    const [first] = this.#queue as [Uint8Array]
    const piece = first.subarray(0, PIECE_SIZE)
    if (piece.length === first.length) this.#queue.shift()
    else this.#queue[0] = first.subarray(PIECE_SIZE)
    this.#queuedBytes -= piece.length
    return piece
  }

  #goOn(): void {
    if (this.#socket.destroyed) {
      this.#queue = []
      this.#queuedBytes = 0
      return
    }
    this.#pump()
    if (this.backlogBytes > 0) return
    if (this.#isEnding) {
      this.#isEnding = false
      this.#socket.end()
    }
    if (!this.#owesDrained) return
    this.#owesDrained = false
    this.drained()
  }
}

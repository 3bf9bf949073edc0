/**
 * The response to a request of the direct lane: head and body leave in one write where both are
 * text, and nothing is made for it but the text. What it says is what node:http would say.
 */
import { STATUS_CODES } from 'node:http'
import type { CallResponse } from './call-parts.ts'
import type { HttpSocket } from './http-connection.ts'

/** Who is told when it is over. */
export interface DirectResponseOwner {
  readonly socket: HttpSocket
  /** The last lines of the head of a response behind which the connection stays, and of others. */
  readonly stayingLines: string
  readonly closingLines: string
  /** All of it was handed to the socket. */
  ended(keepsAlive: boolean): void
}

export class DirectResponse implements CallResponse {
  shouldKeepAlive = true
  readonly #owner: DirectResponseOwner
  /** Not sent yet. */
  #head = ''
  #isEnded = false
  readonly #closers: (() => void)[] = []

  constructor(owner: DirectResponseOwner) {
    this.#owner = owner
  }

  get socket(): HttpSocket {
    return this.#owner.socket
  }

  get writableNeedDrain(): boolean {
    return this.socket.writableNeedDrain
  }

  writeHead(status: number, headers: readonly string[]): void {
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`
    for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`
    const { stayingLines, closingLines } = this.#owner
    this.#head = head + (this.shouldKeepAlive ? stayingLines : closingLines)
  }

  /** Nobody who waits for a word comes this way. */
  writeContinue(): void {}

  write(chunk: string | Uint8Array, taken?: () => void): boolean {
    const { socket } = this
    socket.cork()
    this.#sendHead()
    const hasRoom = socket.write(chunk, taken)
    socket.uncork()
    return hasRoom
  }

  #sendHead(): void {
    if (this.#head === '') return
    this.socket.write(this.#head, 'latin1')
    this.#head = ''
  }

  end(chunk: string | Uint8Array = '', encoding: BufferEncoding = 'utf8'): void {
    const { socket } = this
    if (typeof chunk === 'string' && (chunk === '' || encoding === 'latin1')) {
      const text = this.#head + chunk
      this.#head = ''
      if (text !== '') socket.write(text, 'latin1')
    } else if (typeof chunk === 'string') this.write(Buffer.from(chunk, encoding))
    else this.write(chunk)
    this.#isEnded = true
    for (const closer of this.#closers) this.#whenTaken(closer)
    this.#owner.ended(this.shouldKeepAlive)
  }

  /** Behind everything else, nothing is written: who is told of it is told of all before. */
  #whenTaken(listener: () => void): void {
    if (!this.socket.writableEnded) this.socket.write('', () => listener())
  }

  once(event: 'close' | 'drain', listener: () => void): void {
    if (event === 'drain') this.socket.once('drain', listener)
    else if (this.#isEnded) this.#whenTaken(listener)
    else this.#closers.push(listener)
  }

  removeListener(_event: 'drain', listener: () => void): void {
    this.socket.removeListener('drain', listener)
  }
}

/** A socket that speaks the protocol by hand, or breaks it. */
import { connect, type Socket } from 'node:net'
import type { Request, RequestOptions } from '../../src/net/request.ts'
import { frameOf, HELLO, type Reply, ReplyReader } from './session-harness.ts'

export class RawClient {
  readonly socket: Socket
  readonly #reader = new ReplyReader()
  #waiting: (() => void)[] = []
  #id = 1
  closed = false
  /** Chunks that arrived. */
  chunkCount = 0
  bytesReceived = 0

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => {
      this.chunkCount++
      this.bytesReceived += chunk.length
      this.#reader.push(chunk)
      this.#wake()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.closed = true
      this.#wake()
    })
  }

  static connect(port: number, allowHalfOpen = false): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen })
      const client = new RawClient(socket)
      socket.once('connect', () => resolve(client))
      socket.once('error', reject)
    })
  }

  /** Connected and greeted. */
  static async open(port: number): Promise<RawClient> {
    const client = await RawClient.connect(port)
    client.socket.write(frameOf(HELLO, 1))
    await client.take(1)
    return client
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  send(request: Request, options: Partial<RequestOptions> = {}): number {
    this.socket.write(frameOf(request, ++this.#id, options))
    return this.#id
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  /** Replies that came and were not taken. */
  get replyCount(): number {
    return this.#reader.replies.length
  }

  /** The next `count` replies; fewer when the connection closes before. */
  async take(count: number): Promise<Reply[]> {
    while (this.#reader.replies.length < count && !this.closed) await this.#something()
    return this.#reader.replies.splice(0, count)
  }

  /** Everything until the connection is closed. */
  async takeAll(): Promise<Reply[]> {
    while (!this.closed) await this.#something()
    return this.#reader.replies.splice(0)
  }

  #something(): Promise<void> {
    return new Promise(resolve => {
      this.#waiting.push(resolve)
    })
  }

  destroy(): void {
    this.socket.destroy()
  }
}

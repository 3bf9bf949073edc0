/** A socket that speaks the Redis protocol by hand, and sees replies as the bytes that they are. */
import { connect, type Socket } from 'node:net'

export type Argument = string | Uint8Array | number

/** A command as an array of bulk strings; text is one byte a character. */
export function commandOf(...args: readonly Argument[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${args.length}\r\n`)]
  for (const arg of args) {
    const bytes = arg instanceof Uint8Array ? Buffer.from(arg) : Buffer.from(String(arg), 'latin1')
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'))
  }
  return Buffer.concat(parts)
}

/** Where the reply at `start` ends; -1 when it is not complete. Throws for what is no reply. */
export function replyEnd(bytes: Buffer, start: number): number {
  const lineEnd = bytes.indexOf('\r\n', start)
  if (lineEnd < 0) return -1
  const type = String.fromCharCode(bytes[start]!)
  const count = Number(bytes.toString('latin1', start + 1, lineEnd))
  const next = lineEnd + 2
  switch (type) {
    case '+':
    case '-':
    case ':':
    case '_':
    case ',':
    case '#':
    case '(':
      return next
    case '$':
    case '=':
    case '!': {
      const end = count < 0 ? next : next + count + 2
      return end <= bytes.length ? end : -1
    }
    case '*':
    case '~':
    case '>':
    case '%': {
      let at = next
      for (let left = type === '%' ? 2 * count : count; left > 0; left--) {
        at = replyEnd(bytes, at)
        if (at < 0) return -1
      }
      return at
    }
    default:
      throw new Error(`no reply: ${JSON.stringify(bytes.toString('latin1', start, start + 100))}`)
  }
}

export class RespClient {
  readonly socket: Socket
  closed = false
  #received: Buffer = Buffer.alloc(0)
  #waiting: (() => void)[] = []

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.closed = true
      this.#wake()
    })
  }

  /** To a port of this machine, or a socket in the file system. */
  static connect(to: number | string): Promise<RespClient> {
    return new Promise((resolve, reject) => {
      const where = typeof to === 'number' ? { port: to, host: '127.0.0.1' } : { path: to }
      const socket = connect({ ...where, noDelay: true })
      const client = new RespClient(socket)
      socket.once('connect', () => resolve(client))
      socket.once('error', reject)
    })
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  /** The next `count` replies, or fewer when the connection ends before. */
  async take(count: number): Promise<string[]> {
    const replies: string[] = []
    while (replies.length < count) {
      const end = this.#received.length === 0 ? -1 : replyEnd(this.#received, 0)
      if (end >= 0) {
        replies.push(this.#received.toString('latin1', 0, end))
        this.#received = this.#received.subarray(end)
      } else if (this.closed) break
      else {
        await new Promise<void>(resolve => {
          this.#waiting.push(resolve)
        })
      }
    }
    return replies
  }

  async ask(...args: readonly Argument[]): Promise<string> {
    this.socket.write(commandOf(...args))
    const [reply] = await this.take(1)
    return reply ?? 'closed'
  }

  /** Sends bytes as they are, and takes everything until the connection ends. */
  async untilClosed(bytes: Uint8Array): Promise<string> {
    this.socket.write(bytes)
    while (!this.closed) {
      await new Promise<void>(resolve => {
        this.#waiting.push(resolve)
      })
    }
    return this.#received.toString('latin1')
  }

  end(): void {
    this.socket.destroy()
  }
}

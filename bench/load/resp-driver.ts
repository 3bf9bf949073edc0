/**
 * The Redis protocol (RESP2), as far as SET and GET need it. Replies come in the order of the
 * requests, so the ids wait in a queue.
 *
 *   request := "*" count CRLF ("$" length CRLF bytes CRLF) * count
 *   reply   := "+" text CRLF | "-" text CRLF | ":" number CRLF | "$" length CRLF bytes CRLF
 *            | "$-1" CRLF                                                (the key is absent)
 */
import type { Driver, DriverConnection, OnReply } from './driver.ts'

const CARRIAGE_RETURN = 13
const PLUS = 43
const MINUS = 45
const DOLLAR = 36
const DIGIT_ZERO = 48
const LINE_END_SIZE = 2
const NOTHING = Buffer.alloc(0)

/** A command whose arguments have the same sizes every time but for their bytes. */
class CommandTemplate {
  readonly #pieces: readonly Buffer[]
  readonly #sizes: readonly number[]
  readonly #total: number

  constructor(name: string, sizes: readonly number[]) {
    const heads = sizes.map(size => `\r\n$${size}\r\n`)
    const first = `*${sizes.length + 1}\r\n$${name.length}\r\n${name}`
    this.#pieces = [...heads, '\r\n'].map((text, position) =>
      Buffer.from(position === 0 ? first + text : text, 'latin1'),
    )
    this.#sizes = sizes
    this.#total = [...this.#pieces.map(piece => piece.length), ...sizes].reduce((a, b) => a + b)
  }

  fits(first: Uint8Array, second: Uint8Array | undefined): boolean {
    return this.#sizes[0] === first.length && this.#sizes[1] === second?.length
  }

  fill(first: Uint8Array, second: Uint8Array | undefined): Buffer {
    const target = Buffer.allocUnsafe(this.#total)
    let at = 0
    for (let position = 0; position < this.#pieces.length; position++) {
      const piece = this.#pieces[position] ?? NOTHING
      target.set(piece, at)
      at += piece.length
      const argument = position === 0 ? first : position === 1 ? second : undefined
      if (argument === undefined) continue
      target.set(argument, at)
      at += argument.length
    }
    return target
  }
}

export class RespConnection implements DriverConnection {
  readonly #valueSize: number
  readonly #onReply: OnReply
  /** Ids of unanswered requests, the oldest at #first. */
  readonly #ids: number[] = []
  #first = 0
  /** The beginning of a reply that has not come completely. */
  #rest: Buffer = NOTHING
  #get = new CommandTemplate('GET', [0])
  #set = new CommandTemplate('SET', [0, 0])

  constructor(valueSize: number, onReply: OnReply) {
    this.#valueSize = valueSize
    this.#onReply = onReply
  }

  greet(): undefined {
    return undefined
  }

  read(id: number, key: Uint8Array): Uint8Array {
    this.#ids.push(id)
    if (!this.#get.fits(key, undefined)) this.#get = new CommandTemplate('GET', [key.length])
    return this.#get.fill(key, undefined)
  }

  write(id: number, key: Uint8Array, value: Uint8Array): Uint8Array {
    this.#ids.push(id)
    if (!this.#set.fits(key, value)) {
      this.#set = new CommandTemplate('SET', [key.length, value.length])
    }
    return this.#set.fill(key, value)
  }

  receive(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    for (;;) {
      const size = this.#reply(bytes, at)
      if (size === 0) break
      at += size
    }
    // A copy: the chunk's memory belongs to the socket's pool.
    this.#rest = at === bytes.length ? NOTHING : Buffer.from(bytes.subarray(at))
  }

  /** Answers the oldest request with the reply at `at`. The reply's size, 0 when incomplete. */
  #reply(bytes: Buffer, at: number): number {
    const lineEnd = bytes.indexOf(CARRIAGE_RETURN, at)
    if (lineEnd < 0 || lineEnd + 1 >= bytes.length) return 0
    const lineSize = lineEnd + LINE_END_SIZE - at
    const type = bytes[at]
    if (type === PLUS) {
      this.#answer(undefined)
      return lineSize
    }
    if (type !== DOLLAR) {
      const text = bytes.toString('latin1', at, lineEnd)
      if (type !== MINUS) throw new Error(`unexpected reply ${text}`)
      this.#answer(text.slice(1).split(' ')[0] ?? 'error')
      return lineSize
    }
    if (bytes[at + 1] === MINUS) {
      this.#answer('key is absent')
      return lineSize
    }
    let length = 0
    for (let digit = at + 1; digit < lineEnd; digit++) {
      length = length * 10 + (bytes[digit] ?? 0) - DIGIT_ZERO
    }
    if (bytes.length < at + lineSize + length + LINE_END_SIZE) return 0
    this.#answer(length === this.#valueSize ? undefined : 'value of wrong size')
    return lineSize + length + LINE_END_SIZE
  }

  #answer(error: string | undefined): void {
    const id = this.#ids[this.#first]
    if (id === undefined) throw new Error('a reply without a request')
    this.#first++
    if (this.#first === this.#ids.length || this.#first === 1024) {
      this.#ids.splice(0, this.#first)
      this.#first = 0
    }
    this.#onReply(id, error)
  }
}

export function respDriver(): Driver {
  return { connect: (valueSize, onReply) => new RespConnection(valueSize, onReply) }
}

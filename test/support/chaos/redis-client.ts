/**
 * A client of Redis Cluster, as simple as it can be and as patient as the SDK: it asks for the map
 * of slots, sends each call to the master of its slot, and tries again after an error, with a fresh
 * map, until the deadline.
 */
import { connect, type Socket } from 'node:net'
import { delay, systemClock } from '../../../src/clock.ts'
import { TimeoutError, UnavailableError } from '../../../src/errors.ts'
import type { ChaosClient } from './load.ts'

const SLOT_COUNT = 16_384
const ATTEMPT_MS = 1000
const PAUSE_MS = 50
/** Maps are asked for at most so often. */
const REFRESH_MS = 100
const CRC_POLYNOMIAL = 0x1021

export type RedisReply = string | number | null | RedisError | readonly RedisReply[]

export class RedisError extends Error {}

/** CRC16/XMODEM, by which Redis Cluster places keys. */
export function slotOf(key: string): number {
  let crc = 0
  for (const byte of Buffer.from(key)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ CRC_POLYNOMIAL
    }
    crc &= 0xffff
  }
  return crc % SLOT_COUNT
}

interface Waiting {
  resolve(reply: RedisReply): void
  reject(error: Error): void
}

/** One connection; calls are answered in their order. */
export class RedisConnection {
  readonly #socket: Socket
  #waiting: Waiting[] = []
  #rest = Buffer.alloc(0)
  #failure: Error | undefined

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.on('data', chunk => this.#received(chunk))
    this.#socket.on('error', error => this.fail(error))
    this.#socket.on('close', () => this.fail(new Error('closed')))
  }

  get isOver(): boolean {
    return this.#failure !== undefined
  }

  call(...words: readonly string[]): Promise<RedisReply> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const parts = words.map(word => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
    this.#socket.write(`*${words.length}\r\n${parts.join('')}`)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })
  }

  fail(error: Error): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#socket.destroy()
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }

  #received(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const reader = new ReplyReader(bytes)
    let done = 0
    for (let reply = reader.next(); reply !== undefined; reply = reader.next()) {
      done = reader.at
      this.#waiting.shift()?.resolve(reply)
    }
    this.#rest = Buffer.from(bytes.subarray(done))
  }
}

class ReplyReader {
  at = 0
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Undefined when it has not come completely; then `at` says nothing. */
  next(): RedisReply | undefined {
    const end = this.#bytes.indexOf('\r\n', this.at)
    if (end < 0) return undefined
    const type = String.fromCharCode(this.#bytes[this.at]!)
    const text = this.#bytes.toString('utf8', this.at + 1, end)
    this.at = end + 2
    switch (type) {
      case '+':
        return text
      case '-':
        return new RedisError(text)
      case ':':
        return Number(text)
      case '$':
        return this.#bulk(Number(text))
      default:
        return this.#list(Number(text))
    }
  }

  #bulk(size: number): RedisReply | undefined {
    if (size < 0) return null
    if (this.#bytes.length < this.at + size + 2) return undefined
    const text = this.#bytes.toString('utf8', this.at, this.at + size)
    this.at += size + 2
    return text
  }

  #list(count: number): RedisReply | undefined {
    if (count < 0) return null
    const items: RedisReply[] = []
    for (let index = 0; index < count; index++) {
      const item = this.next()
      if (item === undefined) return undefined
      items.push(item)
    }
    return items
  }
}

export class RedisClusterClient implements ChaosClient {
  readonly #ports: readonly number[]
  readonly #timeoutMs: number
  readonly #clock = systemClock()
  readonly #connections = new Map<number, RedisConnection>()
  /** The port of each slot's master. */
  readonly #masters = new Uint16Array(SLOT_COUNT)
  #refreshing: Promise<void> | undefined
  #refreshedMs = Number.NEGATIVE_INFINITY

  constructor(ports: readonly number[], timeoutMs: number) {
    this.#ports = ports
    this.#timeoutMs = timeoutMs
  }

  async get(key: string): Promise<string | undefined> {
    const reply = await this.#call(key, false, 'GET', key)
    return typeof reply === 'string' ? reply : undefined
  }

  async put(key: string, value: string): Promise<void> {
    await this.#call(key, true, 'SET', key, value)
  }

  async #call(key: string, isWrite: boolean, ...words: string[]): Promise<RedisReply> {
    const endMs = this.#clock.monotonicMs() + this.#timeoutMs
    let inDoubt = false
    for (;;) {
      const port = this.#masters[slotOf(key)]!
      try {
        if (port !== 0) {
          const reply = await this.#attempt(port, endMs, words)
          if (!(reply instanceof RedisError)) return reply
        }
      } catch (error) {
        if (!(error instanceof Error)) throw error
        inDoubt = true
      }
      if (this.#clock.monotonicMs() + PAUSE_MS >= endMs) {
        const outcome = inDoubt && isWrite ? 'unknown' : 'rejected'
        throw new UnavailableError('no master answered in time', { outcome })
      }
      await delay(this.#clock, PAUSE_MS)
      await this.#refresh()
    }
  }

  async #attempt(port: number, endMs: number, words: readonly string[]): Promise<RedisReply> {
    const connection = this.#connection(port)
    const leftMs = Math.min(ATTEMPT_MS, endMs - this.#clock.monotonicMs())
    return await new Promise((resolve, reject) => {
      const cancel = this.#clock.setTimer(Math.max(1, leftMs), () => {
        const late = new TimeoutError('no answer came', { outcome: 'unknown' })
        // Replies come in order: what follows on this connection would wait as long.
        connection.fail(late)
        reject(late)
      })
      connection.call(...words).then(
        reply => {
          cancel()
          resolve(reply)
        },
        error => {
          cancel()
          reject(error)
        },
      )
    })
  }

  #connection(port: number): RedisConnection {
    const known = this.#connections.get(port)
    if (known !== undefined && !known.isOver) return known
    const made = new RedisConnection(port)
    this.#connections.set(port, made)
    return made
  }

  /** Asks one node after the other for the map of slots. */
  #refresh(): Promise<void> {
    if (this.#clock.monotonicMs() - this.#refreshedMs < REFRESH_MS) return Promise.resolve()
    this.#refreshing ??= this.#fetchSlots().finally(() => {
      this.#refreshing = undefined
      this.#refreshedMs = this.#clock.monotonicMs()
    })
    return this.#refreshing
  }

  async #fetchSlots(): Promise<void> {
    for (const port of this.#ports) {
      try {
        const endMs = this.#clock.monotonicMs() + ATTEMPT_MS
        const slots = await this.#attempt(port, endMs, ['CLUSTER', 'SLOTS'])
        if (!Array.isArray(slots)) continue
        for (const [from, to, [, master]] of slots as [number, number, [string, number]][]) {
          this.#masters.fill(master, from, to + 1)
        }
        return
      } catch (error) {
        if (!(error instanceof Error)) throw error
      }
    }
  }

  close(): Promise<void> {
    for (const connection of this.#connections.values()) connection.fail(new Error('closed'))
    return Promise.resolve()
  }
}

/**
 * One real socket of the load generator: sends requests, matches replies, keeps when each was due.
 *
 * Invariants:
 *  1. An id is in flight at most once; ids are reused only after their reply.
 *  2. `dueMs` is when the request should have been sent, not when it was: a server that stalls is
 *     charged for all requests that were due meanwhile (coordinated omission).
 */
import { connect, type Socket } from 'node:net'
import { type Driver, type DriverConnection, GREETING_ID, type Operation } from './driver.ts'

/** Requests in flight on one connection: a power of two. Beyond it the generator counts errors. */
export const IN_FLIGHT_MAX = 1024
const CONNECT_TIMEOUT_MS = 10_000
const TOO_MANY = 'too many in flight'

export interface Outcome {
  readonly operation: Operation
  readonly dueMs: number
  readonly error: string | undefined
}

export class LoadConnection {
  readonly #socket: Socket
  readonly #protocol: DriverConnection
  readonly #onOutcome: (outcome: Outcome, connection: LoadConnection) => void
  readonly #dueMs = new Float64Array(IN_FLIGHT_MAX)
  /** 0 free, 1 read, 2 write. */
  readonly #states = new Uint8Array(IN_FLIGHT_MAX)
  #nextId = 0
  #inFlight = 0
  #greeted: ((error: string | undefined) => void) | undefined
  #failure: string | undefined

  private constructor(
    socket: Socket,
    driver: Driver,
    valueSize: number,
    onOutcome: (outcome: Outcome, connection: LoadConnection) => void,
  ) {
    this.#socket = socket
    this.#onOutcome = onOutcome
    this.#protocol = driver.connect(valueSize, (id, error) => this.#reply(id, error))
  }

  /** Connects and greets. Rejects when the server does not answer. */
  static async open(
    place: { readonly host: string; readonly port: number },
    driver: Driver,
    valueSize: number,
    onOutcome: (outcome: Outcome, connection: LoadConnection) => void,
  ): Promise<LoadConnection> {
    const socket = connect({ host: place.host, port: place.port, noDelay: true })
    socket.setTimeout(CONNECT_TIMEOUT_MS)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
      socket.once('timeout', () => reject(new Error('connecting timed out')))
    })
    socket.setTimeout(0)
    const connection = new LoadConnection(socket, driver, valueSize, onOutcome)
    socket.on('data', chunk => connection.#receive(chunk))
    socket.on('error', error => connection.#fail(error.message))
    socket.on('close', () => connection.#fail('connection closed'))
    await connection.#greet()
    return connection
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Whether the next request could be sent; false for ever once the connection failed. */
  get canSend(): boolean {
    const slot = (this.#nextId + 1) & (IN_FLIGHT_MAX - 1)
    return this.#failure === undefined && this.#states[slot] === 0
  }

  /** Sends, or reports at once that it cannot. */
  send(operation: Operation, key: Uint8Array, value: Uint8Array, dueMs: number): void {
    const id = this.#nextId + 1
    const slot = id & (IN_FLIGHT_MAX - 1)
    if (this.#failure !== undefined || this.#states[slot] !== 0) {
      const error = this.#failure ?? TOO_MANY
      this.#onOutcome({ operation, dueMs, error }, this)
      return
    }
    this.#nextId = id === 0x7fff_ffff ? 0 : id
    this.#states[slot] = operation === 'read' ? 1 : 2
    this.#dueMs[slot] = dueMs
    this.#inFlight++
    const isRead = operation === 'read'
    this.#socket.write(isRead ? this.#protocol.read(id, key) : this.#protocol.write(id, key, value))
  }

  /** Between cork and uncork requests gather and leave in one write. */
  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
  }

  /** Forgets what was not answered and says how much that was. */
  abandon(): number {
    const count = this.#inFlight
    this.#states.fill(0)
    this.#inFlight = 0
    return count
  }

  close(): void {
    this.#failure ??= 'closed'
    this.#socket.destroy()
  }

  #greet(): Promise<void> {
    const greeting = this.#protocol.greet()
    if (greeting === undefined) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#greeted = error => (error === undefined ? resolve() : reject(new Error(error)))
      this.#socket.write(greeting)
    })
  }

  #receive(chunk: Buffer): void {
    try {
      this.#protocol.receive(chunk)
    } catch (error) {
      this.#fail(String(error))
      this.#socket.destroy()
    }
  }

  #reply(id: number, error: string | undefined): void {
    if (id === GREETING_ID) {
      this.#greeted?.(error)
      this.#greeted = undefined
      return
    }
    const slot = id & (IN_FLIGHT_MAX - 1)
    const state = this.#states[slot]
    // Abandoned after the end of a run: nobody waits for it.
    if (state === 0) return
    const dueMs = this.#dueMs[slot] ?? 0
    this.#states[slot] = 0
    this.#inFlight--
    this.#onOutcome({ operation: state === 1 ? 'read' : 'write', dueMs, error }, this)
  }

  /** Every request in flight fails, and every later one. */
  #fail(error: string): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#greeted?.(error)
    for (let slot = 0; slot < IN_FLIGHT_MAX; slot++) {
      const state = this.#states[slot]
      if (state === 0) continue
      this.#states[slot] = 0
      this.#inFlight--
      const operation = state === 1 ? 'read' : 'write'
      this.#onOutcome({ operation, dueMs: this.#dueMs[slot] ?? 0, error }, this)
    }
  }
}

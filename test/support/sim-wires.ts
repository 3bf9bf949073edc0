/**
 * A network without sockets between hosts of one process, on a SimClock: what a test puts in the
 * place of TCP. Streams are in order and complete while they live. A direction between two hosts
 * can be silenced: what is sent stays on its way until then, as TCP would send it again.
 */

import type { Clock } from '../../src/clock.ts'
import { LockedError } from '../../src/errors.ts'
import type {
  Accept,
  AcceptedEvents,
  AcceptedWire,
  AcceptOptions,
  Acceptor,
  Listening,
} from '../../src/net/acceptor.ts'
import type { NodeAddress } from '../../src/net/connection-url.ts'
import type { Connector, Wire, WireEvents } from '../../src/net/connector.ts'

/** What the two kernels of a connection hold before a writer is told to wait. */
const WINDOW_BYTES = 256 * 1024
/** What takes long arrives in pieces that take so long. */
const PIECE_MS = 16

export interface SimWiresOptions {
  /** Milliseconds that the next chunk takes. @defaultValue 1 */
  readonly latencyMs?: () => number
  /** Of each direction of a connection. @defaultValue without a limit */
  readonly bytesPerSecond?: number
}

export class SimWires {
  readonly clock: Clock
  readonly latencyMs: () => number
  readonly bytesPerMs: number
  readonly listeners = new Map<string, SimListener>()
  /** Directions "from>to" in which nothing arrives. */
  readonly #silent = new Set<string>()
  readonly #ends = new Set<SimEnd>()
  /** Wires dialled so far. */
  dialled = 0
  /** Writes of all wires so far. */
  writes = 0
  nextPort = 40_000

  constructor(clock: Clock, options: SimWiresOptions = {}) {
    this.clock = clock
    this.latencyMs = options.latencyMs ?? (() => 1)
    this.bytesPerMs = (options.bytesPerSecond ?? Number.POSITIVE_INFINITY) / 1000
  }

  connector(host: string): Connector {
    return { dial: (address, events) => this.#dial(host, address, events) }
  }

  acceptor(host: string): Acceptor {
    return { listen: (options, accept) => this.#listen(host, options, accept) }
  }

  /** Nothing that `from` sends arrives at `to`, until `hear`. */
  silence(from: string, to: string): void {
    this.#silent.add(`${from}>${to}`)
  }

  hear(from: string, to: string): void {
    this.#silent.delete(`${from}>${to}`)
    for (const end of this.#ends) end.pump()
  }

  isSilent(from: string, to: string): boolean {
    return this.#silent.has(`${from}>${to}`)
  }

  /** Every connection of the host breaks, at both ends. */
  reset(host: string): void {
    for (const end of [...this.#ends]) {
      if (end.host === host || end.other.host === host) end.broken(systemError('ECONNRESET'))
    }
  }

  /** Ends of connections that are open at `host`. */
  openEndsAt(host: string): number {
    let count = 0
    for (const end of this.#ends) if (end.host === host) count++
    return count
  }

  add(end: SimEnd): void {
    this.#ends.add(end)
  }

  remove(end: SimEnd): void {
    this.#ends.delete(end)
  }

  async #listen(host: string, options: AcceptOptions, accept: Accept): Promise<Listening> {
    const port = options.port === 0 ? this.nextPort++ : options.port
    const place = `${options.host === '127.0.0.1' ? host : options.host}:${port}`
    if (this.listeners.has(place)) throw new LockedError(`another program listens on ${place}`)
    const listener = new SimListener(accept)
    this.listeners.set(place, listener)
    return {
      address: { host: options.host, port },
      close: () => {
        if (this.listeners.get(place) === listener) this.listeners.delete(place)
        return listener.close()
      },
    }
  }

  #dial(host: string, address: NodeAddress, events: WireEvents): Wire {
    this.dialled++
    const target = address.host === '127.0.0.1' ? host : address.host
    const place = `${target}:${address.port}`
    const dialler = new SimEnd(this, host, `${host}:${this.nextPort++}`)
    const acceptor = new SimEnd(this, target, place)
    dialler.other = acceptor
    acceptor.other = dialler
    dialler.events = {
      opened: () => events.opened(),
      received: bytes => events.received(bytes),
      drained: () => events.drained(),
      // No half-open connections for who dials.
      ended: () => dialler.end(),
      closed: error => events.closed(error),
    }
    this.add(dialler)
    this.add(acceptor)
    // The other end is there once the first packet is.
    acceptor.isPaused = true
    dialler.sendSignal('connect')
    acceptor.onConnect = () => this.#arrive(place, dialler, acceptor)
    return dialler
  }

  #arrive(place: string, dialler: SimEnd, acceptor: SimEnd): void {
    const listener = this.listeners.get(place)
    if (listener === undefined) {
      acceptor.sendSignal('reset', systemError('ECONNREFUSED'))
      acceptor.broken(undefined)
      return
    }
    listener.ends.add(acceptor)
    acceptor.onClosed = () => listener.removed(acceptor)
    acceptor.remoteAddress = dialler.name
    const events = listener.accept(acceptor)
    if (events === undefined) {
      acceptor.destroy()
      return
    }
    acceptor.events = { opened: () => undefined, ...acceptedEvents(events) }
    acceptor.isPaused = false
    acceptor.sendSignal('accept')
    acceptor.pump()
  }
}

interface EndEvents {
  opened(): void
  received(bytes: Uint8Array): void
  drained(): void
  ended(): void
  closed(error: Error | undefined): void
}

function acceptedEvents(events: AcceptedEvents): Omit<EndEvents, 'opened'> {
  return {
    received: bytes => events.received(bytes, bytes.length),
    drained: () => events.drained(),
    ended: () => events.ended(),
    closed: error => events.closed(error),
  }
}

class SimListener {
  readonly accept: Accept
  readonly ends = new Set<SimEnd>()
  #emptied: (() => void) | undefined

  constructor(accept: Accept) {
    this.accept = accept
  }

  removed(end: SimEnd): void {
    this.ends.delete(end)
    if (this.ends.size === 0) this.#emptied?.()
  }

  close(): Promise<void> {
    if (this.ends.size === 0) return Promise.resolve()
    return new Promise(resolve => {
      this.#emptied = resolve
    })
  }
}

type Signal = 'connect' | 'accept' | 'end' | 'reset'
type Packet = Uint8Array | { readonly signal: Signal; readonly error: Error | undefined }

/** One end of a connection. */
class SimEnd implements AcceptedWire {
  readonly host: string
  readonly name: string
  remoteAddress = ''
  isPaused = false
  events: EndEvents | undefined
  onConnect: (() => void) | undefined
  onClosed: (() => void) | undefined
  readonly #network: SimWires
  #other: SimEnd | undefined
  /** What has come, or would have if the network were not silent. */
  readonly #incoming: Packet[] = []
  /** Bytes sent that the other end has not received. */
  #onTheWay = 0
  #lastArrivalMs = 0
  #backlogged = false
  #hasEnded = false
  #otherEnded = false
  #closed = false
  #pumping = false

  constructor(network: SimWires, host: string, name: string) {
    this.#network = network
    this.host = host
    this.name = name
  }

  get other(): SimEnd {
    return this.#other!
  }

  set other(end: SimEnd) {
    this.#other = end
  }

  get backlogBytes(): number {
    return Math.max(0, this.#onTheWay - WINDOW_BYTES)
  }

  write(bytes: Uint8Array): boolean {
    if (this.#closed || this.#hasEnded) return true
    this.#network.writes++
    this.#onTheWay += bytes.length
    const pieceSize = Math.ceil(PIECE_MS * this.#network.bytesPerMs)
    let left = Uint8Array.from(bytes)
    for (; left.length > pieceSize; left = left.subarray(pieceSize)) {
      this.#send(left.subarray(0, pieceSize))
    }
    this.#send(left)
    this.#backlogged = this.backlogBytes > 0
    return !this.#backlogged
  }

  sendSignal(signal: Signal, error?: Error): void {
    this.#send({ signal, error })
  }

  #send(packet: Packet): void {
    const { clock, latencyMs, bytesPerMs } = this.#network
    const nowMs = clock.monotonicMs()
    const tookMs = packet instanceof Uint8Array ? packet.length / bytesPerMs : 0
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs + tookMs, nowMs + latencyMs())
    const { other } = this
    clock.setTimer(this.#lastArrivalMs - nowMs, () => {
      // A reset takes with it what was not read yet.
      if (!(packet instanceof Uint8Array) && packet.signal === 'reset') other.#incoming.length = 0
      other.#incoming.push(packet)
      other.pump()
    })
  }

  /** Hands out what has come, unless paused or cut off. */
  pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    while (!this.#closed && this.#incoming.length > 0) {
      if (this.#network.isSilent(this.other.host, this.host)) break
      const packet = this.#incoming[0]!
      const isBytes = packet instanceof Uint8Array
      if (this.isPaused && (isBytes || packet.signal === 'end')) break
      this.#incoming.shift()
      if (isBytes) this.#received(packet)
      else this.#signalled(packet.signal, packet.error)
    }
    this.#pumping = false
  }

  #received(bytes: Uint8Array): void {
    this.events?.received(bytes)
    this.other.#taken(bytes.length)
  }

  #taken(size: number): void {
    this.#onTheWay -= size
    if (!this.#backlogged || this.#onTheWay > 0 || this.#closed) return
    this.#backlogged = false
    this.events?.drained()
  }

  #signalled(signal: Signal, error: Error | undefined): void {
    if (signal === 'connect') this.onConnect?.()
    else if (signal === 'accept') this.events?.opened()
    else if (signal === 'reset') this.broken(error)
    else {
      this.#otherEnded = true
      this.events?.ended()
      this.#closeIfBothEnded()
    }
  }

  #closeIfBothEnded(): void {
    if (this.#hasEnded && this.#otherEnded) this.broken(undefined)
  }

  /** The connection is over at this end. */
  broken(error: Error | undefined): void {
    if (this.#closed) return
    this.#closed = true
    this.#network.remove(this)
    this.events?.closed(error)
    this.onClosed?.()
  }

  end(): void {
    if (this.#closed || this.#hasEnded) return
    this.#hasEnded = true
    this.sendSignal('end')
    this.#closeIfBothEnded()
  }

  destroy(): void {
    if (this.#closed) return
    this.sendSignal('reset')
    // Nothing is heard any more from now on, and `closed` comes in a turn of its own.
    this.isPaused = true
    this.#network.clock.setTimer(0, () => this.broken(undefined))
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    // In a turn of its own, as sockets do.
    this.#network.clock.setTimer(0, () => this.pump())
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code })
}

/**
 * One end of a simulated TCP connection, as its program sees it: what `tcpConnector` and
 * `tcpAcceptor` give, without sockets.
 *
 * Invariants:
 *  1. The program is told nothing within a call of its own, and nothing after `closed`.
 *  2. What was written before `end` or `destroy` still arrives, unless the connection is reset.
 */
import type { AcceptedWire } from '../../../src/net/index.ts'
import { systemError } from '../system-error.ts'
import type { Pipe } from './pipe.ts'
import type { SimProcess } from './sim-process.ts'

export interface SocketEvents {
  opened(): void
  received(chunk: Uint8Array): void
  drained(): void
  ended(): void
  closed(error: Error | undefined): void
}

/** What its network does for a socket. */
export interface SocketNetwork {
  /** Nothing will be read from the socket any more; `abruptly`: the other end is reset. */
  left(socket: SimSocket, abruptly: boolean): void
}

export class SimSocket implements AcceptedWire {
  readonly process: SimProcess
  readonly machine: string
  readonly remoteAddress: string
  readonly #network: SocketNetwork
  /** Undefined until the connection is made. */
  out: Pipe | undefined
  peer: SimSocket | undefined
  events: SocketEvents | undefined
  /** True when the program, or the operating system for it, reads no more. */
  isGone = false
  #outEnded = false
  #inEnded = false
  #isPaused = false
  #waiting: (() => void)[] = []
  #toldClosed = false

  constructor(
    network: SocketNetwork,
    process: SimProcess,
    machine: string,
    remoteAddress: string,
    events: SocketEvents | undefined,
  ) {
    this.#network = network
    this.process = process
    this.machine = machine
    this.remoteAddress = remoteAddress
    this.events = events
  }

  get backlogBytes(): number {
    return this.out?.backlogBytes ?? 0
  }

  write(bytes: Uint8Array): boolean {
    if (this.isGone || this.#outEnded) return true
    this.out?.write(bytes)
    return this.backlogBytes === 0
  }

  end(): void {
    if (this.isGone || this.#outEnded) return
    this.#outEnded = true
    this.out?.finish()
    this.#closeWhenBothEnded()
  }

  destroy(): void {
    if (this.isGone) return
    this.isGone = true
    if (!this.#outEnded) this.out?.finish()
    this.#network.left(this, this.#waiting.length > 0)
    this.#tellClosed(undefined)
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const take of waiting) this.process.later(0, () => this.whenReading(take))
  }

  /** For the pipe that leads here. */
  whenReading(take: () => void): void {
    if (this.isGone) take()
    else if (this.#isPaused) this.#waiting.push(take)
    else {
      this.process.happens(() => {
        if (this.#isPaused) this.#waiting.push(take)
        else take()
      })
    }
  }

  /** The connection was made. */
  open(): void {
    this.#tell(events => events.opened())
  }

  arrived(bytes: Uint8Array): void {
    this.#tell(events => events.received(bytes))
  }

  drained(): void {
    this.#tell(events => events.drained())
  }

  /** The other end has finished. */
  finished(): void {
    this.#inEnded = true
    this.#tell(events => events.ended())
    this.#closeWhenBothEnded()
  }

  /** The connection broke. */
  broke(code: string): void {
    if (this.isGone) return
    this.isGone = true
    this.out?.close()
    this.#tellClosed(systemError(code, 'read', this.remoteAddress))
  }

  /** The program died; its operating system closes what it had. */
  abandon(abruptly: boolean): void {
    if (this.isGone) return
    this.isGone = true
    if (!this.#outEnded) this.out?.finish()
    this.#network.left(this, abruptly)
  }

  /** The machine lost its power: nobody is told. */
  vanish(): void {
    this.isGone = true
    this.out?.close()
  }

  #closeWhenBothEnded(): void {
    if (!this.#inEnded || !this.#outEnded || this.isGone) return
    this.isGone = true
    this.#network.left(this, false)
    this.#tellClosed(undefined)
  }

  #tell(event: (events: SocketEvents) => void): void {
    this.process.happens(() => {
      if (!this.#toldClosed && this.events !== undefined && !this.isGone) event(this.events)
    })
  }

  #tellClosed(error: Error | undefined): void {
    this.process.later(0, () => {
      if (this.#toldClosed) return
      this.#toldClosed = true
      this.events?.closed(error)
    })
  }
}

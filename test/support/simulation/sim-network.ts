/**
 * The network between simulated machines: connections, and what breaks them. Ways can be cut in one
 * direction or both, machines can be off, connections can be reset with the tail of what was sent
 * lost, and one end may not hear of it.
 */

import { assert } from '../../../src/assert.ts'
import { LockedError } from '../../../src/errors.ts'
import { xxh32 } from '../../../src/hash.ts'
import type { Accept, Acceptor, Connector, Listening, NodeAddress } from '../../../src/net/index.ts'
import type { Random } from '../../../src/random.ts'
import { Pipe } from './pipe.ts'
import { type RouteConditions, SimRoute } from './route.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimProcess } from './sim-process.ts'
import { SimSocket, type SocketEvents, type SocketNetwork } from './sim-socket.ts'
import type { Trace } from './trace.ts'

interface Listener {
  readonly process: SimProcess
  readonly accept: Accept
}

/** Intervals of the attempts to connect of Linux: 1 s, doubled each time. */
const SYN_INTERVAL_MS = 1000
const SYN_ATTEMPTS = 7
const EPHEMERAL_PORT = 32_768

export class SimNetwork implements SocketNetwork {
  /** Set by faults at any time. */
  conditions: RouteConditions
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #trace: Trace
  readonly #routes = new Map<string, SimRoute>()
  readonly #cuts = new Set<string>()
  readonly #off = new Set<string>()
  /** By host:port. */
  readonly #listeners = new Map<string, Listener>()
  readonly #sockets = new Set<SimSocket>()
  #ports = EPHEMERAL_PORT

  constructor(scheduler: Scheduler, random: Random, trace: Trace, conditions: RouteConditions) {
    this.#scheduler = scheduler
    this.#random = random
    this.#trace = trace
    this.conditions = conditions
  }

  /** How a program on a machine reaches others. */
  connector(process: SimProcess, machine: string): Connector {
    return {
      dial: (address, events) => {
        const socket = new SimSocket(this, process, machine, `${address.host}:${address.port}`, {
          ...dialledEvents(events, () => socket.end()),
        })
        this.#sockets.add(socket)
        this.#synchronize(socket, address, 0)
        return socket
      },
    }
  }

  /** How others reach a program on a machine. */
  acceptor(process: SimProcess, machine: string): Acceptor {
    return {
      listen: async (options, accept) => {
        assert(options.port > 0, 'simulated programs listen on ports that were chosen')
        const name = `${machine}:${options.port}`
        const former = this.#listeners.get(name)
        if (former?.process.isAlive === true) throw new LockedError(`somebody listens on ${name}`)
        this.#listeners.set(name, { process, accept })
        const listening: Listening = {
          address: { host: machine, port: options.port },
          close: async () => {
            if (this.#listeners.get(name)?.process === process) this.#listeners.delete(name)
          },
        }
        return listening
      },
    }
  }

  isOpen(from: string, to: string): boolean {
    return !this.#off.has(from) && !this.#off.has(to) && !this.#cuts.has(`${from}>${to}`)
  }

  /** Nothing gets from one machine to the other any more. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`)
  }

  /** Everything gets through again. */
  heal(): void {
    this.#cuts.clear()
    for (const route of this.#routes.values()) route.extraMs = 0
    this.#changed()
  }

  /** Every segment takes longer. */
  slowDown(from: string, to: string, byMs: number): void {
    this.#route(from, to).extraMs = byMs
  }

  /** The program was killed: its operating system closes its connections, some abruptly. */
  killed(process: SimProcess): void {
    for (const socket of [...this.#sockets]) {
      if (socket.process === process) socket.abandon(this.#random.below(2) === 0)
    }
  }

  /** The power of the machine is gone: its connections are, and nobody is told. */
  powerOff(machine: string): void {
    this.#off.add(machine)
    for (const socket of [...this.#sockets]) {
      if (socket.machine !== machine) continue
      socket.vanish()
      this.#sockets.delete(socket)
    }
  }

  powerOn(machine: string): void {
    this.#off.delete(machine)
    this.#changed()
  }

  /** Breaks some connection; what was on its way is lost, and one end may find out much later. */
  resetOne(): void {
    const connected = [...this.#sockets].filter(socket => socket.peer !== undefined)
    const socket = connected[this.#random.below(Math.max(1, connected.length))]
    if (socket?.peer === undefined) return
    this.#trace.add(this.#scheduler.nowMs, socket.machine, 'reset', socket.remoteAddress)
    if (this.#random.below(2) === 0) socket.peer.broke('ECONNRESET')
    socket.broke('ECONNRESET')
    this.#forget(socket)
  }

  left(socket: SimSocket, abruptly: boolean): void {
    this.#forget(socket)
    if (!abruptly) return
    socket.out?.close()
    this.#resetLater(socket, socket.peer)
  }

  #forget(socket: SimSocket): void {
    this.#sockets.delete(socket)
  }

  /** Tells `victim` that the connection is gone, unless the way is cut. */
  #resetLater(from: SimSocket, victim: SimSocket | undefined): void {
    if (victim === undefined) return
    const route = this.#route(from.machine, victim.machine)
    this.#scheduler.after(route.latencyMs(0), () => {
      if (route.isCut) return
      victim.broke('ECONNRESET')
      this.#forget(victim)
    })
  }

  #route(from: string, to: string): SimRoute {
    const name = `${from}>${to}`
    let route = this.#routes.get(name)
    if (route === undefined) {
      route = new SimRoute(this.#scheduler, this.#random, this, { from, to })
      this.#routes.set(name, route)
    }
    return route
  }

  #changed(): void {
    for (const route of this.#routes.values()) route.changed()
  }

  /** The first packet of a connection, and its repetitions. */
  #synchronize(socket: SimSocket, address: NodeAddress, attempt: number): void {
    const there = this.#route(socket.machine, address.host)
    this.#scheduler.after(there.latencyMs(0), () => {
      if (socket.isGone) return
      if (!there.isCut && !there.isOneWay) this.#connect(socket, address)
      else if (attempt === SYN_ATTEMPTS) socket.broke('ETIMEDOUT')
      else {
        const retryMs = SYN_INTERVAL_MS * 2 ** attempt
        this.#scheduler.after(retryMs, () => this.#synchronize(socket, address, attempt + 1))
      }
    })
  }

  #connect(socket: SimSocket, address: NodeAddress): void {
    const listener = this.#listeners.get(`${address.host}:${address.port}`)
    const back = this.#route(address.host, socket.machine)
    if (listener === undefined || !listener.process.isAlive) {
      this.#scheduler.after(back.latencyMs(0), () => socket.broke('ECONNREFUSED'))
      return
    }
    const remoteAddress = `${socket.machine}:${this.#ports++}`
    const accepted = new SimSocket(this, listener.process, address.host, remoteAddress, undefined)
    this.#sockets.add(accepted)
    this.#join(socket, accepted)
    listener.process.happens(() => {
      const events = listener.accept(accepted)
      if (events === undefined) accepted.destroy()
      else accepted.events = acceptedEvents(events)
    })
    this.#scheduler.after(back.latencyMs(0), () => socket.open())
  }

  #join(one: SimSocket, other: SimSocket): void {
    one.peer = other
    other.peer = one
    one.out = this.#pipe(one, other)
    other.out = this.#pipe(other, one)
  }

  #pipe(sender: SimSocket, receiver: SimSocket): Pipe {
    const route = this.#route(sender.machine, receiver.machine)
    return new Pipe(this.#scheduler, route, {
      whenReading: take => receiver.whenReading(take),
      arrived: bytes => {
        const { nowMs } = this.#scheduler
        this.#trace.addDetail(nowMs, receiver.machine, 'bytes', xxh32(bytes, 0, bytes.length, 0))
        if (receiver.isGone) this.#resetLater(receiver, sender)
        else receiver.arrived(bytes)
      },
      finished: () => {
        if (!receiver.isGone) receiver.finished()
      },
      drained: () => sender.drained(),
    })
  }
}

/** A program that dials closes its side as soon as the other one does, as Node does. */
function dialledEvents(events: Parameters<Connector['dial']>[1], end: () => void): SocketEvents {
  return {
    opened: () => events.opened(),
    received: chunk => events.received(chunk),
    drained: () => events.drained(),
    ended: end,
    closed: error => events.closed(error),
  }
}

function acceptedEvents(events: NonNullable<ReturnType<Accept>>): SocketEvents {
  return {
    opened: () => undefined,
    received: chunk => events.received(chunk, chunk.length),
    drained: () => events.drained(),
    ended: () => events.ended(),
    closed: error => events.closed(error),
  }
}

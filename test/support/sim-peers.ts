/**
 * Links between nodes in one process, without bytes on a wire: messages take a random time, get
 * lost, come twice where they ask for no answer, and whole directions between two nodes can be cut.
 * A node can crash, or stand still as after SIGSTOP: then its timers and what arrives wait.
 */
import { copyBytes } from '../../src/bytes.ts'
import type { CancelTimer, Clock, TimerOptions } from '../../src/clock.ts'
import type { Lane, PeerHandler, Peers } from '../../src/cluster/peers.ts'
import type { NodeId } from '../../src/cluster/ring-member.ts'
import {
  ClosedError,
  KvError,
  ProtocolError,
  TimeoutError,
  UnavailableError,
} from '../../src/errors.ts'
import type { Random } from '../../src/random.ts'
import type { SimClock } from './sim-clock.ts'

export interface SimPeersOptions {
  readonly clock: SimClock
  readonly random: Random
  /** Of a message, either way. */
  readonly lossRate?: number
  readonly delayMaxMs?: number
}

export class SimPeerNetwork {
  readonly clock: SimClock
  readonly random: Random
  lossRate: number
  delayMaxMs: number
  messages = 0
  readonly #nodes = new Map<NodeId, SimPeers>()
  /** `from to`, for directions in which nothing arrives. */
  readonly #cuts = new Set<string>()

  constructor(options: SimPeersOptions) {
    this.clock = options.clock
    this.random = options.random
    this.lossRate = options.lossRate ?? 0
    this.delayMaxMs = options.delayMaxMs ?? 2
  }

  /** A node as it starts; one of the same id that runs is taken to have crashed. */
  start(self: NodeId): SimPeers {
    this.crash(self)
    const node = new SimPeers(this, self)
    this.#nodes.set(self, node)
    for (const other of this.#nodes.values()) {
      if (other === node) continue
      node.linkLater(other.self)
      other.linkLater(self)
    }
    return node
  }

  crash(id: NodeId): void {
    const node = this.#nodes.get(id)
    if (node === undefined) return
    node.isCrashed = true
    this.#nodes.delete(id)
    for (const other of this.#nodes.values()) other.unlink(id)
  }

  node(id: NodeId): SimPeers | undefined {
    return this.#nodes.get(id)
  }

  /** Nothing arrives any more from one at the other; nobody is told. */
  cut(from: NodeId, to: NodeId): void {
    this.#cuts.add(`${from} ${to}`)
  }

  healAll(): void {
    this.#cuts.clear()
  }

  isCut(from: NodeId, to: NodeId): boolean {
    return this.#cuts.has(`${from} ${to}`)
  }

  delayMs(): number {
    return this.random.next() * this.delayMaxMs
  }

  /** Calls back at the other node after a while, unless it gets lost. */
  carry(from: NodeId, to: NodeId, arrive: (peers: SimPeers) => void): void {
    this.messages++
    const target = this.#nodes.get(to)
    if (target === undefined || this.isCut(from, to)) return
    if (this.random.next() < this.lossRate) return
    this.clock.setTimer(this.delayMs(), () => target.run(() => arrive(target)))
  }
}

export class SimPeers implements Peers {
  readonly self: NodeId
  readonly clock: Clock
  isCrashed = false
  readonly #network: SimPeerNetwork
  readonly #handlers = new Map<number, PeerHandler>()
  readonly #listeners = new Set<(peer: NodeId, isLinked: boolean) => void>()
  readonly #linked = new Set<NodeId>()
  /** How to fail the requests under way to a peer. */
  readonly #pending = new Map<NodeId, Set<() => void>>()
  #isPaused = false
  #waitingTimers: (() => void)[] = []
  #waiting: (() => void)[] = []

  constructor(network: SimPeerNetwork, self: NodeId) {
    this.#network = network
    this.self = self
    this.clock = new NodeClock(network.clock, callback => this.#fire(callback))
  }

  /** Stands still until `resume`. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    // As a process does that is let go on: timers that are due, then what has arrived.
    const waiting = [...this.#waitingTimers, ...this.#waiting]
    this.#waitingTimers = []
    this.#waiting = []
    for (const callback of waiting) this.run(callback)
  }

  #fire(callback: () => void): void {
    if (this.isCrashed) return
    if (this.#isPaused) this.#waitingTimers.push(callback)
    else callback()
  }

  run(callback: () => void): void {
    if (this.isCrashed) return
    if (this.#isPaused) this.#waiting.push(callback)
    else callback()
  }

  linkLater(peer: NodeId): void {
    this.#network.clock.setTimer(this.#network.delayMs(), () =>
      this.run(() => this.#setLinked(peer, this.#network.node(peer) !== undefined)),
    )
  }

  unlink(peer: NodeId): void {
    this.run(() => this.#setLinked(peer, false))
  }

  #setLinked(peer: NodeId, isLinked: boolean): void {
    if (this.#linked.has(peer) === isLinked) return
    if (isLinked) this.#linked.add(peer)
    else this.#linked.delete(peer)
    if (!isLinked) for (const fail of this.#pending.get(peer) ?? []) fail()
    for (const listener of this.#listeners) listener(peer, isLinked)
  }

  handle(kind: number, handler: PeerHandler): void {
    this.#handlers.set(kind, handler)
  }

  send(peer: NodeId, _lane: Lane, kind: number, body: Uint8Array): boolean {
    if (this.isCrashed || !this.#linked.has(peer)) return false
    const copy = copyBytes(body)
    const times = this.#network.random.below(20) === 0 ? 2 : 1
    for (let time = 0; time < times; time++) {
      this.#network.carry(this.self, peer, target => {
        void target.answer(this.self, kind, copy, Number.POSITIVE_INFINITY).catch(mustBeKnown)
      })
    }
    return true
  }

  request(
    peer: NodeId,
    _lane: Lane,
    kind: number,
    body: Uint8Array,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    // What it has begun before a crash may still run here; nobody hears of that.
    if (this.isCrashed || !this.#linked.has(peer)) {
      return Promise.reject(new UnavailableError(`no link to ${peer}`))
    }
    const copy = copyBytes(body)
    const network = this.#network
    return new Promise((resolve, reject) => {
      const pending = this.#pending.get(peer) ?? new Set()
      this.#pending.set(peer, pending)
      const end = (settle: () => void): void => {
        cancel()
        pending.delete(broken)
        settle()
      }
      const cancel = this.clock.setTimer(timeoutMs, () =>
        end(() => reject(new TimeoutError('no answer'))),
      )
      const broken = (): void => end(() => reject(new ClosedError('the link broke')))
      pending.add(broken)
      const back = (settle: () => void): void => {
        network.carry(peer, this.self, () => end(settle))
      }
      network.carry(this.self, peer, target => {
        const deadlineMs = this.clock.monotonicMs() + timeoutMs
        target.answer(this.self, kind, copy, deadlineMs).then(
          answer => {
            if (!target.isCrashed) back(() => resolve(copyBytes(answer)))
          },
          error => {
            mustBeKnown(error)
            if (!target.isCrashed) back(() => reject(error))
          },
        )
      })
    })
  }

  async answer(
    from: NodeId,
    kind: number,
    body: Uint8Array,
    deadlineMs: number,
  ): Promise<Uint8Array> {
    const handler = this.#handlers.get(kind)
    if (handler === undefined) throw new ProtocolError(`nobody here answers messages of ${kind}`)
    return await handler(body, { from, epoch: 1, deadlineMs })
  }

  isLinked(peer: NodeId): boolean {
    return this.#linked.has(peer)
  }

  onLink(listener: (peer: NodeId, isLinked: boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  isAnswering(peer: NodeId): boolean {
    return this.isLinked(peer)
  }

  onAnswering(): () => void {
    return () => undefined
  }

  backlogBytes(): number {
    return 0
  }

  isReceivingLarge(): boolean {
    return false
  }
}

/** A node's view of the clock: its timers wait while it stands still, and die with it. */
class NodeClock implements Clock {
  readonly #clock: SimClock
  readonly #run: (callback: () => void) => void

  constructor(clock: SimClock, run: (callback: () => void) => void) {
    this.#clock = clock
    this.#run = run
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs()
  }

  wallMs(): number {
    return this.#clock.wallMs()
  }

  setTimer(delayMs: number, callback: () => void, options?: TimerOptions): CancelTimer {
    let isCancelled = false
    const fire = (): void => {
      if (!isCancelled) callback()
    }
    const cancel = this.#clock.setTimer(delayMs, () => this.#run(fire), options)
    return () => {
      isCancelled = true
      cancel()
    }
  }
}

function mustBeKnown(error: unknown): void {
  if (!(error instanceof KvError)) throw error
}

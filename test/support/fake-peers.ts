/**
 * Links between nodes in one process: messages take a time that the seed decides, links are cut and
 * mended, a node that is stopped answers nothing. Liveness is what the links say.
 */
import type { Clock } from '../../src/clock.ts'
import type { Liveness, LivenessView } from '../../src/cluster/liveness.ts'
import type { Lane, PeerHandler, Peers } from '../../src/cluster/peers.ts'
import type { NodeId } from '../../src/cluster/ring-member.ts'
import { ClosedError, ProtocolError, TimeoutError, UnavailableError } from '../../src/errors.ts'
import type { Random } from '../../src/random.ts'

/** See PeerStream. */
const LARGE_BYTES = 64 * 1024

export interface FakeNetworkOptions {
  readonly clock: Clock
  readonly random: Random
  /** One way, at most; at least 0. */
  readonly latencyMaxMs?: number
  /** Of requests in each direction between two nodes. Absent: as many as there are. */
  readonly bytesPerSecond?: number
}

interface Waiting {
  readonly from: NodeId
  readonly to: NodeId
  readonly reject: (error: Error) => void
}

interface Held {
  readonly from: NodeId
  readonly to: NodeId
  readonly deliver: () => void
}

export class FakeNetwork {
  readonly #options: FakeNetworkOptions
  readonly #nodes = new Map<NodeId, FakePeers>()
  readonly #cuts = new Set<string>()
  readonly #paused = new Set<NodeId>()
  readonly #silent = new Set<NodeId>()
  /** Requests that came to a node which is paused. */
  #held: Held[] = []
  readonly #waiting = new Set<Waiting>()
  /** By sender and receiver, when what was sent so far is over. */
  readonly #sendingUntilMs = new Map<string, number>()
  /** The same of what was large. */
  readonly #largeUntilMs = new Map<string, number>()
  messages = 0
  bytes = 0
  /** Messages of each kind. */
  readonly kinds = new Map<number, number>()

  constructor(options: FakeNetworkOptions) {
    this.#options = options
  }

  /** The links of a node; again after a restart. */
  join(self: NodeId): FakePeers {
    const peers = new FakePeers(this, self)
    this.#nodes.set(self, peers)
    return peers
  }

  /** The node is gone until it joins again. */
  stop(node: NodeId): void {
    this.#nodes.delete(node)
    this.#breakOff(waiting => waiting.from === node || waiting.to === node)
    this.#tell()
  }

  cut(a: NodeId, b: NodeId): void {
    this.#cuts.add(a < b ? a + b : b + a)
    this.#breakOff(({ from, to }) => !this.isLinked(from, to))
    this.#tell()
  }

  mend(): void {
    this.#cuts.clear()
    this.#paused.clear()
    this.#silent.clear()
    this.#tell()
    for (const peers of this.#nodes.values()) peers.listened()
    for (const { deliver } of this.#held.splice(0)) deliver()
  }

  /** Its links stay; requests wait for it to go on, other messages get lost. */
  pause(node: NodeId): void {
    this.#paused.add(node)
  }

  /** The same, and the others have noticed. */
  silence(node: NodeId): void {
    this.#paused.add(node)
    this.#silent.add(node)
    for (const peers of this.#nodes.values()) peers.listened()
  }

  isSilent(node: NodeId): boolean {
    return this.#silent.has(node)
  }

  isLinked(a: NodeId, b: NodeId): boolean {
    return this.#nodes.has(a) && this.#nodes.has(b) && !this.#cuts.has(a < b ? a + b : b + a)
  }

  /** Tells every node how it is linked now. */
  #tell(): void {
    for (const peers of this.#nodes.values()) peers.refresh([...this.#nodes.keys()])
  }

  announce(): void {
    this.#tell()
  }

  #breakOff(isBroken: (waiting: Pick<Waiting, 'from' | 'to'>) => boolean): void {
    this.#held = this.#held.filter(held => !isBroken(held))
    for (const waiting of this.#waiting) {
      if (!isBroken(waiting)) continue
      this.#waiting.delete(waiting)
      waiting.reject(new ClosedError('the link broke'))
    }
  }

  request(
    from: NodeId,
    to: NodeId,
    kind: number,
    body: Uint8Array,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    if (!this.isLinked(from, to)) {
      return Promise.reject(new UnavailableError(`no link from ${from} to ${to}`))
    }
    const { clock } = this.#options
    const copy = body.slice()
    this.#count(kind, copy)
    return new Promise((resolve, reject) => {
      const waiting = { from, to, reject }
      this.#waiting.add(waiting)
      const end = (settle: () => void): void => {
        if (!this.#waiting.delete(waiting)) return
        cancel()
        settle()
      }
      const cancel = clock.setTimer(timeoutMs, () => {
        end(() => reject(new TimeoutError(`no answer from ${to}`, { outcome: 'unknown' })))
      })
      const deadlineMs = clock.monotonicMs() + timeoutMs
      const deliver = (): void => {
        void this.#deliver(from, to, kind, copy, deadlineMs).then(
          answer => {
            this.bytes += answer.length
            const delayMs = this.#latency() + this.#sendingMs(to, from, answer.length)
            clock.setTimer(delayMs, () => end(() => resolve(answer.slice())))
          },
          (error: Error) => {
            clock.setTimer(this.#latency(), () => end(() => reject(error)))
          },
        )
      }
      clock.setTimer(this.#latency() + this.#sendingMs(from, to, copy.length), () => {
        if (this.#paused.has(to)) this.#held.push({ from, to, deliver })
        else deliver()
      })
    })
  }

  send(from: NodeId, to: NodeId, kind: number, body: Uint8Array): boolean {
    if (!this.isLinked(from, to)) return false
    const copy = body.slice()
    this.#count(kind, copy)
    this.#options.clock.setTimer(this.#latency(), () => {
      if (this.#paused.has(to) || !this.isLinked(from, to)) return
      void this.#deliver(from, to, kind, copy, Number.POSITIVE_INFINITY).catch(() => undefined)
    })
    return true
  }

  #count(kind: number, body: Uint8Array): void {
    this.messages++
    this.bytes += body.length
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1)
  }

  async #deliver(
    from: NodeId,
    to: NodeId,
    kind: number,
    body: Uint8Array,
    deadlineMs: number,
  ): Promise<Uint8Array> {
    const handler = this.#nodes.get(to)?.handlers.get(kind)
    if (handler === undefined) throw new ProtocolError(`nobody handles messages of kind ${kind}`)
    const answer = await handler(body, { from, epoch: 1, deadlineMs })
    body.fill(0xa5)
    return answer
  }

  /** How long it is until so many bytes more are over. */
  #sendingMs(from: NodeId, to: NodeId, bytes: number): number {
    const { clock, bytesPerSecond } = this.#options
    if (bytesPerSecond === undefined) return 0
    const nowMs = clock.monotonicMs()
    const beginMs = Math.max(nowMs, this.#sendingUntilMs.get(from + to) ?? 0)
    const endMs = beginMs + (bytes / bytesPerSecond) * 1000
    this.#sendingUntilMs.set(from + to, endMs)
    if (bytes >= LARGE_BYTES) this.#largeUntilMs.set(from + to, endMs)
    return endMs - nowMs
  }

  isSendingLarge(from: NodeId, to: NodeId): boolean {
    return this.#options.clock.monotonicMs() < (this.#largeUntilMs.get(from + to) ?? 0)
  }

  #latency(): number {
    const { random, latencyMaxMs = 2 } = this.#options
    return random.next() * latencyMaxMs
  }
}

export class FakePeers implements Peers, LivenessView {
  readonly self: NodeId
  readonly handlers = new Map<number, PeerHandler>()
  readonly #network: FakeNetwork
  readonly #listeners = new Set<(peer: NodeId, isLinked: boolean) => void>()
  readonly #answeringListeners = new Set<(peer: NodeId) => void>()
  readonly #livenessListeners = new Set<(node: NodeId, liveness: Liveness) => void>()
  readonly #linked = new Map<NodeId, boolean>()

  constructor(network: FakeNetwork, self: NodeId) {
    this.#network = network
    this.self = self
  }

  handle(kind: number, handler: PeerHandler): void {
    if (this.handlers.has(kind)) throw new Error(`kind ${kind} has a handler`)
    this.handlers.set(kind, handler)
  }

  send(peer: NodeId, _lane: Lane, kind: number, body: Uint8Array): boolean {
    return this.#network.send(this.self, peer, kind, body)
  }

  request(
    peer: NodeId,
    _lane: Lane,
    kind: number,
    body: Uint8Array,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    return this.#network.request(this.self, peer, kind, body, timeoutMs)
  }

  isLinked(peer: NodeId): boolean {
    return this.#network.isLinked(this.self, peer)
  }

  onLink(listener: (peer: NodeId, isLinked: boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  isAnswering(peer: NodeId): boolean {
    return this.isLinked(peer) && !this.#network.isSilent(peer)
  }

  onAnswering(listener: (peer: NodeId) => void): () => void {
    this.#answeringListeners.add(listener)
    return () => this.#answeringListeners.delete(listener)
  }

  /** Looks again who is silent. */
  listened(): void {
    for (const node of this.#linked.keys()) {
      for (const listener of this.#answeringListeners) listener(node)
    }
  }

  backlogBytes(): number {
    return 0
  }

  isReceivingLarge(peer: NodeId): boolean {
    return this.#network.isSendingLarge(peer, this.self)
  }

  liveness(node: NodeId): Liveness {
    return node === this.self || this.isLinked(node) ? 'up' : 'down'
  }

  onLiveness(listener: (node: NodeId, liveness: Liveness) => void): () => void {
    this.#livenessListeners.add(listener)
    return () => this.#livenessListeners.delete(listener)
  }

  refresh(nodes: readonly NodeId[]): void {
    for (const node of new Set([...nodes, ...this.#linked.keys()])) {
      const isLinked = node !== this.self && this.isLinked(node)
      if ((this.#linked.get(node) ?? false) === isLinked) continue
      this.#linked.set(node, isLinked)
      for (const listener of this.#listeners) listener(node, isLinked)
      for (const listener of this.#livenessListeners) listener(node, isLinked ? 'up' : 'down')
    }
  }
}

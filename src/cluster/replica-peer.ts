/**
 * One other replica, as a coordinator sees it: whether it can be sent writes now, the queue of
 * those, and what becomes of them when it cannot.
 */
import type { Clock } from '../clock.ts'
import { KvError } from '../errors.ts'
import { Breaker } from './breaker.ts'
import { LARGEST_ANSWER_MS } from './link-rate.ts'
import type { LivenessView } from './liveness.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { encodeEntries } from './replica-message.ts'
import { type OwedEntry, type OwedRuns, REPLICA_TIMEOUT_MS, ReplicaQueue } from './replica-queue.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'

/** When so much waits for all peers that are there, writers wait, too. */
export const PENDING_BYTES_MAX = 4 * 1024 * 1024
/**
 * What may be acknowledged at `one` and not be on this peer: then writes wait for one more replica,
 * and this one gets hints.
 */
export const UNREPLICATED_BYTES_MAX = 8 * 1024 * 1024
export const UNREPLICATED_AGE_MAX_MS = 1000
/** What whoever waits for its acknowledgements may add to that. */
export const PATIENT_BYTES_MAX = 32 * 1024 * 1024
/** A write that is owed for longer, beside what sending takes, becomes a hint: it holds the log. */
export const PENDING_AGE_MAX_MS = 5000

export interface ReplicaPeerOptions {
  readonly nodeId: NodeId
  readonly number: number
  readonly peers: Peers
  readonly liveness: LivenessView
  readonly clock: Clock
  readonly table: () => RingTable
  /** These are the peer's no more, or it does not take them: somebody must make hints of them. */
  readonly onMoved: (runs: OwedRuns) => void
  readonly onGivenUp: (peer: ReplicaPeer, runs: OwedRuns) => void
  /** It can be sent to again. */
  readonly onReturned: (peer: ReplicaPeer) => void
  readonly onProgress: () => void
  readonly onNewerEpoch: (peer: NodeId, epoch: number) => void
  readonly onFailure: (peer: NodeId, error: unknown) => void
}

export class ReplicaPeer {
  readonly nodeId: NodeId
  readonly number: number
  readonly #options: ReplicaPeerOptions
  readonly #breaker: Breaker
  readonly #queue: ReplicaQueue
  #wasSendable = false

  constructor(options: ReplicaPeerOptions) {
    const { nodeId, peers, clock, table, onMoved, onProgress, onNewerEpoch } = options
    this.nodeId = nodeId
    this.number = options.number
    this.#options = options
    this.#breaker = new Breaker({
      clock,
      probe: () => this.#probe(),
      onChange: () => this.look(),
    })
    this.#queue = new ReplicaQueue({
      peer: nodeId,
      peers,
      clock,
      breaker: this.#breaker,
      table,
      onMoved: entries => onMoved([entries]),
      onProgress,
      onNewerEpoch,
      onFailure: error => options.onFailure(nodeId, error),
    })
    this.#wasSendable = this.isSendable
  }

  /** There, linked, giving signs of life, and answering in time. */
  get isSendable(): boolean {
    const { peers, liveness } = this.#options
    return (
      !this.#breaker.isOpen &&
      peers.isAnswering(this.nodeId) &&
      liveness.liveness(this.nodeId) !== 'down'
    )
  }

  get isBreakerOpen(): boolean {
    return this.#breaker.isOpen
  }

  /** So much waits for it that writers should wait. */
  get isFull(): boolean {
    return this.#queue.bytes >= PENDING_BYTES_MAX
  }

  /** So much waits for it that nothing may be added, by whoever waits for it or does not. */
  isOverfull(isPatient: boolean): boolean {
    return this.#queue.bytes >= (isPatient ? PATIENT_BYTES_MAX : UNREPLICATED_BYTES_MAX)
  }

  get pendingBytes(): number {
    return this.#queue.bytes
  }

  get ackedCount(): number {
    return this.#queue.ackedCount
  }

  /** Milliseconds since the oldest write that it has not acknowledged; 0 when there is none. */
  get pendingAgeMs(): number {
    const { oldest } = this.#queue
    return oldest === undefined ? 0 : this.#options.clock.monotonicMs() - oldest.sinceMs
  }

  /** What is acknowledged at `one` must not be on this node alone for longer than this. */
  get isBehind(): boolean {
    return this.pendingAgeMs > UNREPLICATED_AGE_MAX_MS || this.#queue.bytes > UNREPLICATED_BYTES_MAX
  }

  /** Floor of the oldest write that it has not acknowledged. */
  get oldestFloor(): number | undefined {
    return this.#queue.oldest?.floor
  }

  /** What it has not acknowledged. */
  pending(): OwedRuns {
    return this.#queue.pending()
  }

  push(entry: OwedEntry): void {
    this.#queue.push(entry)
  }

  /** Something about the peer may have changed. */
  look(): void {
    const { isSendable } = this
    if (!isSendable) this.#giveUp()
    else if (!this.#wasSendable) this.#options.onReturned(this)
    this.#wasSendable = isSendable
  }

  linked(isLinked: boolean): void {
    if (isLinked) this.#breaker.reset()
    this.look()
  }

  /** What is owed for too long becomes hints; so does everything when `isUrgent`. */
  sweep(isUrgent: boolean): void {
    if (isUrgent) this.#giveUp()
    else if (this.pendingAgeMs > PENDING_AGE_MAX_MS + this.#excusedMs) this.#breaker.trip()
  }

  /** What its answers may take longer, as something large is on its way to it, or from it. */
  get #excusedMs(): number {
    const isReceiving = this.#options.peers.isReceivingLarge(this.nodeId, 'data')
    return this.#queue.flyingMs + (isReceiving ? LARGEST_ANSWER_MS : 0)
  }

  stop(): void {
    this.#breaker.stop()
    this.#queue.takeAll()
  }

  /** It left the ring: what it was owed is for somebody else. */
  leave(): void {
    this.#breaker.stop()
    const runs = this.#queue.takeAll()
    if (runs.length > 0) this.#options.onMoved(runs)
  }

  #giveUp(): void {
    const runs = this.#queue.takeAll()
    if (runs.length > 0) this.#options.onGivenUp(this, runs)
  }

  /** Answered once the peer has made durable what came before. */
  async #probe(): Promise<boolean> {
    const { peers, table } = this.#options
    const body = encodeEntries({ epoch: table().ring.epoch, entries: [] })
    try {
      // Whichever ring it goes by: it answers in time.
      await peers.request(this.nodeId, 'data', PeerMessage.replicate, body, REPLICA_TIMEOUT_MS)
      return true
    } catch (error) {
      if (!(error instanceof KvError)) this.#options.onFailure(this.nodeId, error)
      return false
    }
  }
}

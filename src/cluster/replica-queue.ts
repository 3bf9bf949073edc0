/**
 * What one peer is still to be sent, or has not answered: all writes of a tick in one message, a
 * few messages at a time, each entry kept until it is acknowledged, refused, or given up.
 *
 *   queued --flush--> flying --applied--> gone
 *                       |  +--stale, behind, overloaded, lost--> waiting --later--> flying
 *                       +--takeAll()--> the caller makes hints of them
 *
 * Messages are applied in no particular order and may come twice: the later form of a key wins.
 *
 * A peer counts as slow for a message after a time that grows with what is on its way, and not
 * while the answer waits behind a large one that arrives. The message is not sent again for that:
 * the link lost nothing, so a late answer still counts, and all of it once more would only make a
 * narrow link slower.
 *
 * Invariants:
 *  1. Entries in the queue, in the order of their log sequences, hold the log: see oldest.
 *  2. At most MESSAGES_MAX messages and FLYING_BYTES_MAX bytes are on their way, one large entry
 *     excepted; all together take `bytes`, which who pushes keeps within bounds.
 */
import { type CancelTimer, type Clock, endOfTick } from '../clock.ts'
import { ClosedError, OverloadedError, TimeoutError, UnavailableError } from '../errors.ts'
import type { Breaker } from './breaker.ts'
import { sendingMs } from './link-rate.ts'
import { enginePartition } from './partition.ts'
import type { StoredEntry } from './partitioned-store.ts'
import { PeerMessage, type Peers } from './peers.ts'
import {
  decodeAnswer,
  ENTRY_OVERHEAD,
  encodeEntries,
  MESSAGE_ENTRIES_MAX,
  MESSAGE_SIZE_TARGET,
  type ReplicaAnswer,
  ReplicaStatus,
} from './replica-message.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'
import type { WriteAcks } from './write-acks.ts'

/** After this long without an answer a peer counts as slow, but for what sending takes. */
export const REPLICA_TIMEOUT_MS = 500
/** So many times as long a message is waited for. By then the breaker is open, or it was lost. */
const TIMEOUTS_WAITED = 4
const RETRY_MS = 50
/** A timeout that comes later than due by so much is this node's own. */
const OWN_PAUSE_MS = 200
const MESSAGES_MAX = 8
const FLYING_BYTES_MAX = 2 * 1024 * 1024

/** A write of a client, as far as its entries share something. */
export interface OwedWrite {
  /** Undefined when nobody waits for peers. */
  readonly acks: WriteAcks | undefined
  /** The node itself could not write it: what was not sent yet must not be. */
  isCancelled: boolean
  /** Some of it may have reached a peer. */
  wasSent: boolean
}

export interface OwedEntry extends StoredEntry {
  /** Every sequence of the write in the log is greater. */
  readonly floor: number
  /** Monotonic milliseconds. */
  readonly sinceMs: number
  /** Whether the log has a duty for it; else it is sent for the sake of the answer only. */
  readonly isDuty: boolean
  readonly write: OwedWrite
}

/** Entries, each run of them in the order of the log: in pieces, so that no list is copied. */
export type OwedRuns = readonly (readonly OwedEntry[])[]

interface Message {
  readonly entries: readonly OwedEntry[]
  readonly bytes: number
  /** The peer was too slow for it once. */
  isLate: boolean
  cancelWatch: CancelTimer
  state: 'flying' | 'waiting' | 'done'
}

export interface ReplicaQueueOptions {
  readonly peer: NodeId
  readonly peers: Peers
  readonly clock: Clock
  readonly breaker: Breaker
  readonly table: () => RingTable
  /** Entries that are none of the peer's business any more. */
  readonly onMoved: (entries: readonly OwedEntry[]) => void
  /** Some entries were acknowledged, or dropped. */
  readonly onProgress: () => void
  readonly onNewerEpoch: (peer: NodeId, epoch: number) => void
  /** The peer answered with an error that will not pass by itself. */
  readonly onFailure: (error: unknown) => void
}

export class ReplicaQueue {
  readonly #options: ReplicaQueueOptions
  #queued: OwedEntry[] = []
  /** Those not done, in order; done ones may be among them. */
  #messages: Message[] = []
  #bytes = 0
  #acked = 0
  #isFlushing = false
  readonly #timers = new Set<CancelTimer>()

  constructor(options: ReplicaQueueOptions) {
    this.#options = options
  }

  /** Of entries that are not acknowledged. */
  get bytes(): number {
    return this.#bytes
  }

  /** Milliseconds that what is on its way takes for its size alone. */
  get flyingMs(): number {
    let bytes = 0
    for (const message of this.#messages) if (message.state === 'flying') bytes += message.bytes
    return sendingMs(bytes)
  }

  /** Entries that the peer acknowledged so far. */
  get ackedCount(): number {
    return this.#acked
  }

  /** Of those not acknowledged, the one that was pushed first. */
  get oldest(): OwedEntry | undefined {
    let oldest = this.#queued[0]
    // What went back into the queue once left again behind messages with younger entries.
    for (const { state, entries } of this.#messages) {
      const first = entries[0]!
      if (state !== 'done' && (oldest === undefined || first.floor < oldest.floor)) oldest = first
    }
    return oldest
  }

  /** Takes over the bytes of the entry, which must not change any more. */
  push(entry: OwedEntry): void {
    entry.write.acks?.sent(this.#options.peer)
    this.#queued.push(entry)
    this.#bytes += sizeOf(entry)
    this.#flushSoon()
  }

  /** What is not acknowledged. */
  pending(): OwedRuns {
    return [...this.#messagesOpen(), this.#queued.slice()]
  }

  #messagesOpen(): OwedRuns {
    return this.#messages.filter(({ state }) => state !== 'done').map(({ entries }) => entries)
  }

  /** The same, and nothing of it is left. What flies is forgotten. */
  takeAll(): OwedRuns {
    const runs = [...this.#messagesOpen(), this.#queued].filter(({ length }) => length > 0)
    for (const message of this.#messages) message.state = 'done'
    this.#messages = []
    this.#queued = []
    this.#bytes = 0
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
    return runs
  }

  /** All writes of this tick leave together. */
  #flushSoon(): void {
    if (this.#isFlushing) return
    this.#isFlushing = true
    void endOfTick().then(() => {
      this.#isFlushing = false
      this.#flush()
    })
  }

  #flush(): void {
    while (this.#queued.length > 0 && this.#hasRoom()) {
      const entries = this.#next()
      if (entries.length === 0) continue
      const bytes = entries.reduce((sum, entry) => sum + sizeOf(entry), 0)
      const unsent = { isLate: false, cancelWatch: nothing, state: 'waiting' as const }
      const message: Message = { entries, bytes, ...unsent }
      this.#messages.push(message)
      this.#send(message)
    }
  }

  #hasRoom(): boolean {
    const flying = this.#messages.filter(({ state }) => state !== 'done')
    const bytes = flying.reduce((sum, message) => sum + message.bytes, 0)
    return flying.length < MESSAGES_MAX && (bytes === 0 || bytes < FLYING_BYTES_MAX)
  }

  /** Takes what fits one message; what must not be sent any more falls out. */
  #next(): OwedEntry[] {
    const { peer, table } = this.#options
    let count = 0
    let bytes = 0
    for (; count < this.#queued.length && count < MESSAGE_ENTRIES_MAX; count++) {
      const size = sizeOf(this.#queued[count]!)
      if (count > 0 && bytes + size > MESSAGE_SIZE_TARGET) break
      bytes += size
    }
    const taken = this.#queued.splice(0, count)
    const current = table()
    const moved: OwedEntry[] = []
    const entries = taken.filter(entry => {
      if (entry.write.isCancelled) return false
      if (current.isOwner(enginePartition(entry.engineKey), peer)) return true
      moved.push(entry)
      return false
    })
    if (entries.length < taken.length) {
      const kept = entries.reduce((sum, entry) => sum + sizeOf(entry), 0)
      this.#bytes -= bytes - kept
      if (moved.length > 0) this.#options.onMoved(moved)
      this.#options.onProgress()
    }
    return entries
  }

  #send(message: Message): void {
    const { peer, peers, table } = this.#options
    message.state = 'flying'
    message.isLate = false
    const timeoutMs = REPLICA_TIMEOUT_MS + this.flyingMs
    this.#watch(message, timeoutMs)
    for (const { write } of message.entries) write.wasSent = true
    const body = encodeEntries({ epoch: table().ring.epoch, entries: message.entries })
    void peers
      .request(peer, 'data', PeerMessage.replicate, body, timeoutMs * TIMEOUTS_WAITED)
      .then(decodeAnswer)
      .then(
        answer => this.#answered(message, answer),
        error => this.#failed(message, error),
      )
  }

  /** Tells the breaker whenever so much more time is over without an answer. */
  #watch(message: Message, timeoutMs: number): void {
    const { clock, breaker, peer, peers } = this.#options
    const dueMs = clock.monotonicMs() + timeoutMs
    const cancel = clock.setTimer(
      timeoutMs,
      () => {
        this.#timers.delete(cancel)
        this.#watch(message, timeoutMs)
        // When the timer itself came late, this node was paused, and answers may be waiting here.
        if (clock.monotonicMs() - dueMs >= OWN_PAUSE_MS) return
        if (peers.isReceivingLarge(peer, 'data')) return
        message.isLate = true
        breaker.timedOut()
      },
      { background: true },
    )
    this.#timers.add(cancel)
    message.cancelWatch = () => {
      cancel()
      this.#timers.delete(cancel)
    }
  }

  #answered(message: Message, answer: ReplicaAnswer): void {
    if (message.state !== 'flying') return
    message.cancelWatch()
    const { peer, breaker, onNewerEpoch } = this.#options
    if (!message.isLate) breaker.succeeded()
    if (answer.status === ReplicaStatus.applied) {
      this.#complete(message, new Set(answer.refused))
      return
    }
    if (answer.status === ReplicaStatus.staleEpoch) onNewerEpoch(peer, answer.epoch)
    this.#retryLater(message, RETRY_MS)
  }

  #failed(message: Message, error: unknown): void {
    if (message.state !== 'flying') return
    message.cancelWatch()
    const { breaker, onFailure } = this.#options
    if (error instanceof TimeoutError) {
      // It stays in flight for whoever looks.
      message.state = 'waiting'
      if (!breaker.isOpen) this.#retryLater(message, 0)
    } else if (error instanceof OverloadedError) {
      this.#retryLater(message, Math.max(RETRY_MS, error.retryAfterMs))
    } else if (error instanceof UnavailableError || error instanceof ClosedError) {
      this.#retryLater(message, RETRY_MS)
    } else {
      message.state = 'waiting'
      onFailure(error)
      breaker.trip()
      this.#retryLater(message, RETRY_MS)
    }
  }

  #retryLater(message: Message, delayMs: number): void {
    if (message.state === 'done') return
    message.state = 'waiting'
    const { clock, peer, table } = this.#options
    const cancel = clock.setTimer(
      delayMs,
      () => {
        this.#timers.delete(cancel)
        if (message.state !== 'waiting') return
        const current = table()
        const isOwned = ({ engineKey }: OwedEntry) =>
          current.isOwner(enginePartition(engineKey), peer)
        if (message.entries.every(isOwned)) this.#send(message)
        else this.#requeue(message)
      },
      { background: true },
    )
    this.#timers.add(cancel)
  }

  /** The ring has changed: some of its entries may be somebody else's. */
  #requeue(message: Message): void {
    message.state = 'done'
    const last = message.entries.at(-1)!.floor
    // Hardly any: it went out before what is queued.
    const younger = this.#queued.findIndex(({ floor }) => floor > last)
    const older = this.#queued.splice(0, younger < 0 ? this.#queued.length : younger)
    const front = [...message.entries, ...older].sort((a, b) => a.floor - b.floor)
    this.#queued.unshift(...front)
    this.#trim()
    this.#flushSoon()
  }

  #complete(message: Message, refused: ReadonlySet<number>): void {
    const { peer, onMoved, onProgress } = this.#options
    message.state = 'done'
    this.#bytes -= message.bytes
    const moved: OwedEntry[] = []
    for (const [index, entry] of message.entries.entries()) {
      if (refused.has(index)) {
        moved.push(entry)
        continue
      }
      this.#acked++
      entry.write.acks?.acked(peer)
    }
    if (moved.length > 0) onMoved(moved)
    this.#trim()
    onProgress()
    this.#flush()
  }

  #trim(): void {
    const open = this.#messages.findIndex(({ state }) => state !== 'done')
    this.#messages.splice(0, open < 0 ? this.#messages.length : open)
  }
}

function nothing(): void {}

export function sizeOf({ engineKey, stored }: StoredEntry): number {
  return engineKey.length + stored.length + ENTRY_OVERHEAD
}

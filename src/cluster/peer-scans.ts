/**
 * Scans that other nodes have open here, of partitions that this node has a copy of.
 *
 *   open --next--> … --last page, close, link down, idle, evicted--> gone
 *
 * Whose scan is gone by the time it asks for more is answered KV_NOT_FOUND, and goes on behind the
 * last key, here or elsewhere.
 *
 * Invariants:
 *  1. A peer has at most SCANS_MAX open; PAGES_AT_ONCE pages are produced at once for all of them.
 *     These places are not those of clients: nodes that scan each other would wait for each other.
 *  2. A scan that is not read for IDLE_MS is closed.
 *  3. Nothing is told of a copy that is known to lack entries.
 *  4. While this process runs no two scans have the same id. Another one may give it again: whoever
 *     asks forgets what was open when the link breaks (link-breaks.ts).
 */

import type { CancelTimer } from '../clock.ts'
import { NotFoundError, OverloadedError } from '../errors.ts'
import { countEntries } from './count-entries.ts'
import { OrderedScan } from './ordered-scan.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { type PeerContext, PeerMessage, type Peers } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import { checkOwner } from './replica-reads.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { NodeId } from './ring-member.ts'
import type { PartitionScan } from './scan.ts'
import type { ScanMemory } from './scan-memory.ts'
import {
  decodeClose,
  decodeCount,
  decodeNext,
  decodeOpen,
  encodeCounted,
  encodePage,
} from './scan-messages.ts'
import { UnorderedScan } from './unordered-scan.ts'
import { WorkPlaces } from './work-places.ts'

const SCANS_MAX = 256
const PAGES_AT_ONCE = 32
const IDLE_MS = 60_000
const RETRY_AFTER_MS = 100
const NO_ANSWER = new Uint8Array(0)

export interface PeerScansOptions {
  readonly peers: Peers
  readonly store: PartitionedStore
  readonly sets: CurrentReplicaSets
  readonly marks: PurgeMarks
  readonly memory: ScanMemory
}

interface PeerScan {
  readonly scan: PartitionScan
  /** Throws when the copies have lost something since it was opened. */
  readonly check: () => void
  cancelIdle: CancelTimer
}

/** What a peer has open, and as whom its work is counted. */
interface PeerState {
  readonly scans: Map<number, PeerScan>
}

export class PeerScans {
  readonly #options: PeerScansOptions
  readonly #peers = new Map<NodeId, PeerState>()
  readonly #places = new WorkPlaces(PAGES_AT_ONCE)
  /** Of all peers, so that what a peer was forgotten for is not called so again. */
  #nextId = 1

  /** Answers the peers from here on: made once a node, before its links are started. */
  constructor(options: PeerScansOptions) {
    this.#options = options
    const { peers } = options
    peers.handle(PeerMessage.scanOpen, (body, context) => this.#open(body, context))
    peers.handle(PeerMessage.scanNext, (body, context) => this.#next(body, context))
    peers.handle(PeerMessage.scanClose, (body, context) => this.#close(body, context))
    peers.handle(PeerMessage.count, (body, context) => this.#count(body, context))
    peers.onLink((peer, isLinked) => {
      if (!isLinked) this.#forget(peer)
    })
  }

  get open(): number {
    let count = 0
    for (const { scans } of this.#peers.values()) count += scans.size
    return count
  }

  async #open(body: Uint8Array, { from }: PeerContext): Promise<Uint8Array> {
    const { store, sets, marks, memory } = this.#options
    const { epoch, isUnordered, request, partitions, ...size } = decodeOpen(
      body,
      store.partitioner.count,
    )
    checkOwner(sets, epoch, partitions)
    const check = marks.guard(partitions)
    const peer = this.#stateOf(from)
    if (peer.scans.size >= SCANS_MAX) {
      throw new OverloadedError(`${from} has ${SCANS_MAX} scans open here`, RETRY_AFTER_MS)
    }
    const ownRequest = { ...request, partitions, client: peer }
    const scan = isUnordered
      ? new UnorderedScan(store, ownRequest)
      : new OrderedScan(store, ownRequest, memory)
    const id = this.#register(peer, scan, check)
    return await this.#page(peer, id, size.entriesMax, size.bytesMax, true)
  }

  async #next(body: Uint8Array, { from }: PeerContext): Promise<Uint8Array> {
    const { id, entriesMax, bytesMax } = decodeNext(body)
    return await this.#page(this.#stateOf(from), id, entriesMax, bytesMax, false)
  }

  #close(body: Uint8Array, { from }: PeerContext): Uint8Array {
    this.#drop(this.#stateOf(from), decodeClose(body))
    return NO_ANSWER
  }

  async #count(body: Uint8Array, { from, deadlineMs }: PeerContext): Promise<Uint8Array> {
    const { store, sets, marks } = this.#options
    const { epoch, range, partitions } = decodeCount(body, store.partitioner.count)
    checkOwner(sets, epoch, partitions)
    const check = marks.guard(partitions)
    const client = this.#stateOf(from)
    const count = await countEntries(store, { ...range, partitions, client }, { deadlineMs })
    check()
    return encodeCounted(count)
  }

  async #page(
    peer: PeerState,
    id: number,
    entriesMax: number,
    bytesMax: number,
    isFirst: boolean,
  ): Promise<Uint8Array> {
    const open = peer.scans.get(id)
    if (open === undefined) throw new NotFoundError('the scan is not open here any more')
    open.cancelIdle()
    try {
      const page = await this.#places.use(peer, () => open.scan.next(entriesMax, bytesMax))
      open.check()
      if (page.done) this.#drop(peer, id)
      else open.cancelIdle = this.#startIdle(peer, id)
      return encodePage(page, isFirst ? id : undefined)
    } catch (error) {
      this.#drop(peer, id)
      throw error
    }
  }

  #register(peer: PeerState, scan: PartitionScan, check: () => void): number {
    const id = this.#nextId
    this.#nextId = (id + 1) >>> 0
    peer.scans.set(id, { scan, check, cancelIdle: this.#startIdle(peer, id) })
    return id
  }

  #startIdle(peer: PeerState, id: number): CancelTimer {
    const { clock } = this.#options.store
    return clock.setTimer(IDLE_MS, () => this.#drop(peer, id), { background: true })
  }

  #drop(peer: PeerState, id: number): void {
    const open = peer.scans.get(id)
    if (open === undefined) return
    peer.scans.delete(id)
    open.cancelIdle()
    open.scan.close()
  }

  #forget(node: NodeId): void {
    const peer = this.#peers.get(node)
    if (peer === undefined) return
    for (const id of [...peer.scans.keys()]) this.#drop(peer, id)
    this.#peers.delete(node)
  }

  #stateOf(node: NodeId): PeerState {
    const peer = this.#peers.get(node) ?? { scans: new Map() }
    this.#peers.set(node, peer)
    return peer
  }
}

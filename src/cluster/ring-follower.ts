/**
 * Keeps this node at the latest ring that it hears of: who is ahead is asked for his ring, who is
 * behind is given this one.
 */
import { KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { CurrentRing } from './current-ring.ts'
import { decodeCommit, decodeEpoch, encodeCommit, encodeEpoch } from './epoch-format.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { decodeRingMessage } from './ring-format.ts'
import type { NodeId } from './ring-member.ts'

/** The most that an exchange of a ring takes before it is given up, and tried again later. */
const EXCHANGE_TIMEOUT_MS = 2000

export interface RingFollowerOptions {
  readonly peers: Peers
  readonly ring: CurrentRing
  readonly logger: Logger
  /** Resolves, once writes go by the current ring, to the epoch that they go by. */
  readonly inForce: () => Promise<number>
}

/** So often, before it is told. */
const MISSED_TOLD = 3

/** The epoch that a node is known to go by, and how often its ring could not be had. */
interface Missed {
  readonly epoch: number
  readonly count: number
}

export class RingFollower {
  readonly #options: RingFollowerOptions
  /** By node: the epoch that could not be got from it, once that was said. */
  readonly #missed = new Map<NodeId, Missed>()
  /** Nodes that are asked for their ring right now. */
  readonly #asking = new Set<NodeId>()
  #isStopped = false

  constructor(options: RingFollowerOptions) {
    this.#options = options
    const { peers, ring, inForce } = options
    peers.handle(PeerMessage.ringFetch, (body, { from }) => {
      this.heard(from, decodeEpoch(body, from))
      return encodeCommit(ring.bytes)
    })
    peers.handle(PeerMessage.epochCommit, async (body, { from }) => {
      await this.take(decodeCommit(body, from), from)
      return encodeEpoch(await inForce())
    })
  }

  /** Asks nobody any more. */
  stop(): void {
    this.#isStopped = true
  }

  /** A node goes by the ring of that epoch. Asks for it when it is later than this node's. */
  heard(from: NodeId, epoch: number): void {
    const { ring, logger } = this.#options
    if (this.#isStopped || epoch <= ring.ring.epoch || this.#asking.has(from)) return
    this.#asking.add(from)
    const failed = (error: unknown): void => {
      // Whoever is ahead will be heard again.
      if (!(error instanceof KvError)) throw error
      const before = this.#missed.get(from)
      const count = before?.epoch === epoch ? before.count + 1 : 1
      this.#missed.set(from, { epoch, count })
      // Links come and go while nodes start; what cannot be had again and again is told once.
      const level = count === MISSED_TOLD ? 'warn' : 'debug'
      logger[level]('could not get a later ring; asking again when it is heard of', {
        from,
        epoch,
        error,
      })
    }
    void this.fetch(from)
      .catch(failed)
      .finally(() => this.#asking.delete(from))
  }

  /** Goes by the ring of that node, if it is later. Rejects as peer or store do. */
  async fetch(from: NodeId): Promise<void> {
    const { peers, ring } = this.#options
    const { ringFetch } = PeerMessage
    const body = encodeEpoch(ring.ring.epoch)
    const answer = await peers.request(from, 'urgent', ringFetch, body, EXCHANGE_TIMEOUT_MS)
    await this.take(decodeCommit(answer, from), from)
  }

  /** Gives the current ring to a node; resolves to the epoch that it goes by then. */
  async give(to: NodeId): Promise<number> {
    const { peers, ring } = this.#options
    const body = encodeCommit(ring.bytes)
    const { epochCommit } = PeerMessage
    const answer = await peers.request(to, 'urgent', epochCommit, body, EXCHANGE_TIMEOUT_MS)
    const epoch = decodeEpoch(answer, to)
    this.heard(to, epoch)
    return epoch
  }

  /** Goes by a ring that was decided, if it is later. */
  async take(bytes: Uint8Array, from: NodeId): Promise<void> {
    const { ring, logger } = this.#options
    const next = decodeRingMessage(bytes, from)
    const verdict = await ring.accept(next)
    if (verdict !== 'accepted') return
    this.#missed.clear()
    const { epoch, phase, members } = next
    const level = phase === 'stable' ? 'info' : 'debug'
    logger[level]('the ring has changed', { epoch, phase, members: members.length, from })
  }
}

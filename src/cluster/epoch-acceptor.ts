/**
 * A member's part in deciding on the ring of the next epoch: the acceptor of Paxos (Lamport, Paxos
 * Made Simple, 2001), one decision an epoch, kept under its node key.
 *
 * Invariants:
 *  1. What it promised or accepted is fsynced before it says so.
 *  2. It takes part for the epoch after the current one only; what it kept of others is forgotten.
 *  3. It never accepts under a ballot below one that it promised; and while it may have forgotten
 *     what it promised, for its disk is an old copy or may be found to be one, it takes no part at
 *     all.
 */
import { UnavailableError } from '../errors.ts'
import { type Ballot, compareBallots, NO_BALLOT } from './ballot.ts'
import type { CurrentRing } from './current-ring.ts'
import {
  type AcceptorAnswer,
  decodeProposalRecord,
  encodeProposalRecord,
  type ProposalRecord,
} from './epoch-format.ts'
import { NodeKey, nodeKey } from './partition.ts'
import type { Ring } from './ring.ts'
import { encodeRing } from './ring-format.ts'
import type { Store } from './store.ts'

export class EpochAcceptor {
  readonly #store: Store
  readonly #ring: CurrentRing
  readonly #hasForgotten: () => boolean
  #state: ProposalRecord
  /** What is asked is answered one after another. Never rejects. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(
    store: Store,
    ring: CurrentRing,
    state: ProposalRecord,
    hasForgotten: () => boolean,
  ) {
    this.#store = store
    this.#ring = ring
    this.#state = state
    this.#hasForgotten = hasForgotten
  }

  /** `path` is the directory, for messages. Rejects when the record is damaged or newer. */
  static async open(
    store: Store,
    path: string,
    ring: CurrentRing,
    hasForgotten: () => boolean = () => false,
  ): Promise<EpochAcceptor> {
    const record = await store.read(nodeKey(NodeKey.proposal))
    const state = record === undefined ? none(0) : decodeProposalRecord(record, path)
    return new EpochAcceptor(store, ring, state, hasForgotten)
  }

  /** The highest ballot that was promised for the next epoch. */
  get promised(): Ballot {
    return this.#stateOf(this.#ring.ring.epoch + 1).promised
  }

  /** Asks it to accept nothing below this ballot, and what it has accepted. */
  prepare(epoch: number, ballot: Ballot): Promise<AcceptorAnswer> {
    return this.#inTurn(async () => {
      const answer = this.#judge(epoch, ballot)
      if (answer !== undefined) return answer
      const { promised, accepted } = this.#stateOf(epoch)
      // Asked again, perhaps because the answer was lost.
      if (compareBallots(ballot, promised) !== 0)
        await this.#keep({ epoch, promised: ballot, accepted })
      return { type: 'promised', accepted }
    })
  }

  /** Asks it to accept the ring of that epoch. Rejects with KV_PROTOCOL when it cannot be that. */
  accept(epoch: number, ballot: Ballot, ring: Ring): Promise<AcceptorAnswer> {
    return this.#inTurn(async () => {
      const answer = this.#judge(epoch, ballot)
      if (answer !== undefined) return answer
      this.#ring.check(ring)
      const accepted = { ballot, ring: encodeRing(ring) }
      await this.#keep({ epoch, promised: ballot, accepted })
      return { type: 'accepted' }
    })
  }

  /** Why it takes no part in that; undefined when it does. */
  #judge(epoch: number, ballot: Ballot): AcceptorAnswer | undefined {
    const { ring, bytes } = this.#ring
    if (epoch <= ring.epoch) return { type: 'decided', ring: bytes }
    if (epoch > ring.epoch + 1) return { type: 'behind', epoch: ring.epoch }
    if (this.#hasForgotten()) {
      throw new UnavailableError(
        'this node has no vote on the ring: its disk is an old copy that was taken back, and is ' +
          'to be compared with others first, or it has just started, and too few have met it',
      )
    }
    const { promised } = this.#stateOf(epoch)
    return compareBallots(ballot, promised) < 0 ? { type: 'refused', promised } : undefined
  }

  #stateOf(epoch: number): ProposalRecord {
    return this.#state.epoch === epoch ? this.#state : none(epoch)
  }

  async #keep(state: ProposalRecord): Promise<void> {
    const value = encodeProposalRecord(state)
    const put = { type: 'put', key: nodeKey(NodeKey.proposal), value, expiryMs: 0 } as const
    await this.#store.write([put], { durability: 'sync' })
    this.#state = state
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => undefined)
    return done
  }
}

function none(epoch: number): ProposalRecord {
  return { epoch, promised: NO_BALLOT, accepted: undefined }
}

/**
 * How the ring changes: a member derives the next one, and a majority of those that own before the
 * change agree that it is the next one, by single-decree Paxos, one instance an epoch (Lamport,
 * Paxos Made Simple, 2001). Members that are down count in the majority.
 *
 * Invariants:
 *  1. An epoch has one ring, whatever is lost, comes twice, crashes or is proposed at once.
 *  2. A ring is proposed only on top of the current one, and becomes current only when decided.
 *  3. A proposer promises its ballot to itself first, durably, so that no ballot is used twice.
 */

import { equalBytes } from '../bytes.ts'
import { type Clock, delay } from '../clock.ts'
import { KvError, TimeoutError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import { type Ballot, compareBallots, NO_BALLOT } from './ballot.ts'
import type { CurrentRing } from './current-ring.ts'
import type { EpochAcceptor } from './epoch-acceptor.ts'
import {
  type AcceptorAnswer,
  decodeAnswer,
  decodeProposal,
  encodeAnswer,
  encodeProposal,
  type ProposalMessage,
} from './epoch-format.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { findMember, type Ring } from './ring.ts'
import { RingChangeError } from './ring-change.ts'
import type { RingFollower } from './ring-follower.ts'
import { decodeRingMessage, encodeRing } from './ring-format.ts'
import { type NodeId, ownsBefore } from './ring-member.ts'

/** For one answer of one member. */
const ANSWER_TIMEOUT_MS = 1000
const BACKOFF_MS = 50
const BACKOFF_MAX_MS = 1000

export interface EpochAgreementOptions {
  readonly peers: Peers
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly ring: CurrentRing
  readonly acceptor: EpochAcceptor
  readonly follower: RingFollower
}

/** What asking the members came to. */
interface Verdict {
  readonly granted: readonly AcceptorAnswer[]
  readonly isMajority: boolean
  /** The highest ballot that stood in the way. */
  readonly refusedFor: Ballot
  /** Who gave no answer. */
  readonly silent: readonly NodeId[]
}

/** One attempt: the ring that is current now, or who did not answer. */
type Attempt =
  | { readonly type: 'decided' }
  | { readonly type: 'lost'; readonly silent: readonly NodeId[]; readonly mayCome: boolean }

export class EpochAgreement {
  readonly #options: EpochAgreementOptions
  /** The highest round that was heard of. */
  #roundSeen = 0
  /** Changes of this node go one after another. Never rejects. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: EpochAgreementOptions) {
    this.#options = options
    const { peers, acceptor } = options
    peers.handle(PeerMessage.epochPrepare, async (body, { from }) => {
      const { epoch, ballot } = decodeProposal(body, from)
      this.#admit(from, epoch)
      return encodeAnswer(await acceptor.prepare(epoch, ballot))
    })
    peers.handle(PeerMessage.epochAccept, async (body, { from }) => {
      const { epoch, ballot, ring: bytes } = decodeProposal(body, from)
      const proposed = decodeRingMessage(bytes ?? new Uint8Array(0), from)
      this.#admit(from, epoch)
      return encodeAnswer(await acceptor.accept(epoch, ballot, proposed))
    })
  }

  /**
   * Changes the ring to what `derive` makes of the current one; resolves to the ring that is
   * current then, once that is decided and durable here. `derive` is called again when another
   * change came first; it returns the ring that it was given when there is nothing to do, and what
   * it throws rejects the call. Rejects with KV_TIMEOUT when no majority answered in time.
   */
  change(derive: (ring: Ring) => Ring, timeoutMs: number): Promise<Ring> {
    const done = this.#turn.then(() => this.#change(derive, timeoutMs))
    this.#turn = done.catch(() => undefined)
    return done
  }

  async #change(derive: (ring: Ring) => Ring, timeoutMs: number): Promise<Ring> {
    const { clock, ring, random } = this.#options
    const deadlineMs = clock.monotonicMs() + timeoutMs
    let mayCome = false
    let proposed: Uint8Array | undefined
    for (let attempt = 0; ; attempt++) {
      const current = ring.ring
      // Others may have had decided what this node proposed.
      if (proposed !== undefined && equalBytes(ring.bytes, proposed)) return current
      const next = derive(current)
      if (next === current) return current
      proposed = encodeRing(next)
      const result = await this.#propose(current, next)
      if (result.type === 'decided') continue
      mayCome ||= result.mayCome
      const waitMs = random.next() * Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** attempt)
      if (clock.monotonicMs() + waitMs >= deadlineMs) throw noMajority(current, result, mayCome)
      await delay(clock, waitMs, { background: true })
    }
  }

  async #propose(current: Ring, next: Ring): Promise<Attempt> {
    const { ring, acceptor, peers, logger } = this.#options
    const { epoch } = next
    const acceptors = current.members.filter(ownsBefore).map(({ nodeId }) => nodeId)
    if (!acceptors.includes(peers.self)) {
      throw new RingChangeError('unknown-member', `${peers.self} has no say in epoch ${epoch} yet`)
    }
    const round = Math.max(acceptor.promised.round, this.#roundSeen) + 1
    const ballot = { round, node: peers.self }
    this.#roundSeen = round
    const own = await acceptor.prepare(epoch, ballot)
    if (own.type === 'decided') return { type: 'decided' }
    if (own.type !== 'promised') return { type: 'lost', silent: [], mayCome: false }
    const prepared = await this.#ask({ epoch, ballot, ring: undefined }, acceptors, [own])
    if (ring.ring.epoch >= epoch) return { type: 'decided' }
    if (!prepared.isMajority) return this.#lost(prepared, false)
    const value = chooseValue(prepared.granted) ?? encodeRing(next)
    const proposed = decodeRingMessage(value, peers.self)
    const accepted = await acceptor.accept(epoch, ballot, proposed)
    if (accepted.type === 'decided') return { type: 'decided' }
    if (accepted.type !== 'accepted') return { type: 'lost', silent: [], mayCome: false }
    const verdict = await this.#ask({ epoch, ballot, ring: value }, acceptors, [accepted])
    if (ring.ring.epoch < epoch) {
      if (!verdict.isMajority) return this.#lost(verdict, true)
      await ring.accept(proposed)
      const { phase, members } = proposed
      const level = phase === 'stable' ? 'info' : 'debug'
      logger[level]('the ring has changed', { epoch, phase, members: members.length })
    }
    this.#tellAll(current, proposed)
    return { type: 'decided' }
  }

  #lost({ refusedFor, silent }: Verdict, mayCome: boolean): Attempt {
    this.#roundSeen = Math.max(this.#roundSeen, refusedFor.round)
    return { type: 'lost', silent, mayCome }
  }

  /** Resolves as soon as a majority agrees, somebody knows better, or all have answered. */
  #ask(
    message: ProposalMessage,
    acceptors: readonly NodeId[],
    own: readonly AcceptorAnswer[],
  ): Promise<Verdict> {
    const { ring, peers } = this.#options
    const majority = Math.floor(acceptors.length / 2) + 1
    const granted = [...own]
    const waiting = new Set(acceptors.filter(nodeId => nodeId !== peers.self))
    const silent: NodeId[] = []
    let refusedFor = NO_BALLOT
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        const isMajority = granted.length >= majority
        const isDecided = ring.ring.epoch >= message.epoch
        if (!isMajority && !isDecided && waiting.size > 0) return
        resolve({ granted, isMajority, refusedFor, silent: [...silent, ...waiting] })
      }
      for (const nodeId of waiting) {
        const answered = (answer: AcceptorAnswer | undefined): void => {
          waiting.delete(nodeId)
          if (answer === undefined) silent.push(nodeId)
          else if (answer.type === 'promised' || answer.type === 'accepted') granted.push(answer)
          else if (answer.type === 'refused' && compareBallots(answer.promised, refusedFor) > 0) {
            refusedFor = answer.promised
          }
          settle()
        }
        this.#askOne(nodeId, message).then(answered, reject)
      }
      settle()
    })
  }

  /** What the member answered; undefined when it did not, or could not. */
  async #askOne(nodeId: NodeId, message: ProposalMessage): Promise<AcceptorAnswer | undefined> {
    const { follower, logger } = this.#options
    try {
      const answer = await this.#request(nodeId, message)
      if (answer.type === 'decided') await follower.take(answer.ring, nodeId)
      if (answer.type !== 'behind') return answer
      await follower.give(nodeId)
      return await this.#request(nodeId, message)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      logger.debug('a member does not answer about an epoch', { node: nodeId, error })
      return undefined
    }
  }

  async #request(nodeId: NodeId, message: ProposalMessage): Promise<AcceptorAnswer> {
    const { peers } = this.#options
    const { epochPrepare, epochAccept } = PeerMessage
    const kind = message.ring === undefined ? epochPrepare : epochAccept
    const body = encodeProposal(message)
    const answer = await peers.request(nodeId, 'urgent', kind, body, ANSWER_TIMEOUT_MS)
    return decodeAnswer(answer, nodeId)
  }

  /** Gossip reaches whom this does not. */
  #tellAll(before: Ring, after: Ring): void {
    const { peers, follower, logger } = this.#options
    const members = [...before.members, ...after.members].map(({ nodeId }) => nodeId)
    for (const nodeId of new Set(members)) {
      if (nodeId === peers.self) continue
      follower.give(nodeId).catch((error: unknown) => {
        if (!(error instanceof KvError)) throw error
        logger.debug('a member was not told of the ring', { node: nodeId, error })
      })
    }
  }

  /** Who proposes goes by the ring before. Throws unless it is a member, as far as is known. */
  #admit(from: NodeId, epoch: number): void {
    const { ring } = this.#options.ring
    this.#options.follower.heard(from, epoch - 1)
    if (epoch !== ring.epoch + 1 || findMember(ring, from) !== undefined) return
    throw new RingChangeError('unknown-member', `${from} is no member in epoch ${ring.epoch}`)
  }
}

/** The ring that was accepted under the highest ballot, which may be decided already. */
function chooseValue(promises: readonly AcceptorAnswer[]): Uint8Array | undefined {
  let best: { readonly ballot: Ballot; readonly ring: Uint8Array } | undefined
  for (const answer of promises) {
    if (answer.type !== 'promised' || answer.accepted === undefined) continue
    const { accepted } = answer
    if (best === undefined || compareBallots(accepted.ballot, best.ballot) > 0) best = accepted
  }
  return best?.ring
}

function noMajority(ring: Ring, attempt: Attempt, mayCome: boolean): TimeoutError {
  const silent = attempt.type === 'lost' ? attempt.silent : []
  const count = ring.members.filter(ownsBefore).length
  const wanted = Math.floor(count / 2) + 1
  const why =
    silent.length === 0 ? 'others proposed at the same time' : `no answer from ${silent.join(', ')}`
  return new TimeoutError(
    `${wanted} of ${count} members must agree on the ring after epoch ${ring.epoch}: ${why}; ` +
      'see that they run and reach each other, then try again',
    { outcome: mayCome ? 'unknown' : 'rejected' },
  )
}

/**
 * What a member does for a node that wants to join: it takes the ring through the phases of the
 * join. Any member can do it, and go on where another one stopped.
 *
 *   all are empty, it is reached --> joining, readOld --> all go by that, are empty still
 *     --> readNew --> normal
 *
 * Invariants:
 *  1. Nobody joins unless every member says that it holds nothing of a user: nothing is copied.
 *  2. Nobody joins whom this node cannot dial, with all that a link takes: a member that others
 *     cannot reach would be down for all of them.
 *  3. Emptiness is asked again once every member sends its writes to the joining node as well.
 */
import { type Clock, delay, yieldToEventLoop } from '../clock.ts'
import { KvError, UnavailableError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { CurrentRing } from './current-ring.ts'
import type { EpochAgreement } from './epoch-agreement.ts'
import {
  decodeEmptiness,
  decodeJoinRequest,
  encodeEmptiness,
  encodeIsEmpty,
  encodeJoinAnswer,
  type JoinAnswer,
} from './join-format.ts'
import { PARTITION_COUNT_WITH_PEERS_MAX } from './partition.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { findMember, type Ring } from './ring.ts'
import { abort, beginJoin, finish, moveReads, RingChangeError } from './ring-change.ts'
import type { RingFollower } from './ring-follower.ts'
import type { NewMember, NodeId } from './ring-member.ts'
import { chooseTokenSalt } from './token-salt.ts'

/** For one of the agreements that a join takes. */
const AGREEMENT_MS = 10_000
/** For all members to go by the ring of a phase. */
const BARRIER_MS = 10_000
const BARRIER_RETRY_MS = 100
const ANSWER_TIMEOUT_MS = 2000

export interface JoinLeaderOptions {
  readonly peers: Peers
  readonly clock: Clock
  readonly logger: Logger
  readonly ring: CurrentRing
  readonly agreement: EpochAgreement
  readonly follower: RingFollower
  /** True when this node holds nothing of a user, and nothing is being written. */
  readonly isEmpty: () => Promise<boolean>
  /**
   * Dials an address. Resolves to the node that is there once it is linked to; rejects with a
   * KvError that says why it is not.
   */
  readonly meet: (address: string) => Promise<NodeId>
}

/** The cluster takes nobody in as it is. */
class JoinRefusal extends Error {}

export class JoinLeader {
  readonly #options: JoinLeaderOptions
  /** Joins that this node leads right now. */
  readonly #leading = new Map<NodeId, Promise<JoinAnswer>>()

  constructor(options: JoinLeaderOptions) {
    this.#options = options
    const { peers, ring, isEmpty } = options
    peers.handle(PeerMessage.join, async (body, { from }) => {
      const request = decodeJoinRequest(body, from)
      if (request.step === 'join') return encodeJoinAnswer(await this.#leadOnce(request.member))
      options.follower.heard(from, request.epoch)
      const empty = await isEmpty()
      return encodeEmptiness({ epoch: ring.ring.epoch, isEmpty: empty })
    })
  }

  #leadOnce(member: NewMember): Promise<JoinAnswer> {
    const { nodeId } = member
    let leading = this.#leading.get(nodeId)
    if (leading === undefined) {
      leading = this.#answer(member).finally(() => this.#leading.delete(nodeId))
      this.#leading.set(nodeId, leading)
    }
    return leading
  }

  async #answer(member: NewMember): Promise<JoinAnswer> {
    const { logger } = this.#options
    try {
      await this.#lead(member)
      return { outcome: 'joined', text: '' }
    } catch (error) {
      if (error instanceof JoinRefusal) return { outcome: 'refused', text: error.message }
      if (!(error instanceof KvError)) throw error
      const isBusy = error instanceof RingChangeError && error.reason === 'busy'
      const isFinal = error instanceof RingChangeError && !isBusy
      const fields = { node: member.nodeId, error }
      if (isBusy) logger.debug('a node waits for the join of another one', fields)
      else logger.warn('a node could not join', fields)
      return { outcome: isFinal ? 'refused' : 'later', text: error.message }
    }
  }

  async #lead(member: NewMember): Promise<void> {
    const { ring, agreement, logger } = this.#options
    const { nodeId } = member
    if (findMember(ring.ring, nodeId) === undefined) await this.#begin(member)
    for (;;) {
      const current = ring.ring
      if (findMember(current, nodeId)?.state !== 'joining') break
      await this.#barrier(current)
      const next = current.phase === 'readOld' ? await this.#afterReadOld(current) : finish
      const step = (now: Ring): Ring => (now.epoch === current.epoch ? next(now) : now)
      await agreement.change(step, AGREEMENT_MS)
    }
    if (findMember(ring.ring, nodeId) === undefined) {
      throw new JoinRefusal(
        `the join of ${nodeId} was taken back: start it with an empty directory`,
      )
    }
    logger.info('a node has joined', { node: nodeId, members: ring.ring.members.length })
  }

  async #begin(member: NewMember): Promise<void> {
    const { ring, agreement } = this.#options
    const before = ring.ring
    checkPossible(before, member)
    // Also throws for what cannot begin now, before anybody is asked.
    beginJoin(before, member)
    if (!(await this.#areEmpty(before))) throw new JoinRefusal(NOT_EMPTY)
    await this.#reach(member)
    const salt = await chosenSalt(before, member)
    const begin = (now: Ring): Ring =>
      findMember(now, member.nodeId) === undefined ? beginJoin(now, member, salt) : now
    await agreement.change(begin, AGREEMENT_MS)
  }

  /** Rejects unless the node is at the address that it gives, and lets itself be linked to. */
  async #reach({ nodeId, peerAddress }: NewMember): Promise<void> {
    let found: NodeId
    try {
      found = await this.#options.meet(peerAddress)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      throw new UnavailableError(
        `${this.#options.peers.self}, a member, cannot reach this node at ${peerAddress}, where ` +
          `it says that it is: ${error.message}`,
        { cause: error },
      )
    }
    if (found === nodeId) return
    throw new JoinRefusal(
      `at ${peerAddress}, where this node says that it is, the members find another one, ` +
        `${found}: give it the address at which they reach it (kvd: --peer-address)`,
    )
  }

  /** Every member sends its writes to the joining node by now. */
  async #afterReadOld(current: Ring): Promise<(ring: Ring) => Ring> {
    if (await this.#areEmpty(current)) return moveReads
    this.#options.logger.warn('the join is taken back: a user has written meanwhile', {})
    return abort
  }

  /** Resolves once all members go by the ring, or a later one. Rejects when one does not answer. */
  async #barrier({ epoch, members }: Ring): Promise<void> {
    const { peers, clock, follower } = this.#options
    const deadlineMs = clock.monotonicMs() + BARRIER_MS
    const waiting = new Set(members.map(({ nodeId }) => nodeId))
    waiting.delete(peers.self)
    const give = async (nodeId: NodeId): Promise<void> => {
      try {
        if ((await follower.give(nodeId)) >= epoch) waiting.delete(nodeId)
      } catch (error) {
        if (!(error instanceof KvError)) throw error
      }
    }
    for (;;) {
      await Promise.all([...waiting].map(give))
      if (waiting.size === 0) return
      if (clock.monotonicMs() >= deadlineMs) break
      await delay(clock, BARRIER_RETRY_MS, { background: true })
    }
    throw new UnavailableError(
      `all members must go by epoch ${epoch} for a node to join, and ${[...waiting].join(', ')} ` +
        'cannot be reached',
    )
  }

  /**
   * False as soon as one holds data, for no word of others changes that, least of all of one whose
   * disk is lost. Else rejects with UnavailableError when a member does not say.
   */
  async #areEmpty({ epoch, members }: Ring): Promise<boolean> {
    const { peers, isEmpty } = this.#options
    const others = members.filter(({ nodeId, state }) => {
      return nodeId !== peers.self && state !== 'joining'
    })
    const asked = [isEmpty(), ...others.map(({ nodeId }) => this.#isEmpty(nodeId, epoch))]
    const answers = await Promise.allSettled(asked)
    if (answers.some(answer => answer.status === 'fulfilled' && !answer.value)) return false
    const silent = answers.find(answer => answer.status === 'rejected')
    if (silent !== undefined) throw silent.reason
    return true
  }

  async #isEmpty(nodeId: NodeId, epoch: number): Promise<boolean> {
    const { peers } = this.#options
    const { join } = PeerMessage
    try {
      const body = encodeIsEmpty(epoch)
      const answer = await peers.request(nodeId, 'urgent', join, body, ANSWER_TIMEOUT_MS)
      const emptiness = decodeEmptiness(answer, nodeId)
      if (emptiness.epoch >= epoch) return emptiness.isEmpty
      throw new UnavailableError(`it goes by epoch ${emptiness.epoch} yet`)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      throw new UnavailableError(
        `every member must say that it holds no data for a node to join, and ${nodeId} does not ` +
          `answer: ${error.message}`,
        { cause: error },
      )
    }
  }
}

const NOT_EMPTY =
  'the cluster holds data of users, and nodes can join only while it is empty: join all nodes ' +
  'first, or export the data and import it into a new cluster'

function checkPossible({ partitionCount, members }: Ring, { peerAddress }: NewMember): void {
  if (partitionCount > PARTITION_COUNT_WITH_PEERS_MAX) {
    throw new JoinRefusal(
      `the cluster has ${partitionCount} partitions, and more than one node takes at most ` +
        `${PARTITION_COUNT_WITH_PEERS_MAX}: make a new one with fewer`,
    )
  }
  if (peerAddress === '') {
    throw new JoinRefusal('the node does not say where others reach it: give it a peer address')
  }
  const hidden = members.find(member => member.peerAddress === '')
  if (hidden === undefined) return
  throw new JoinRefusal(
    `nobody knows where ${hidden.nodeId}, a member, is reached by other nodes: give it a peer ` +
      'address',
  )
}

async function chosenSalt(ring: Ring, member: NewMember): Promise<number> {
  const choice = chooseTokenSalt(ring, member)
  for (;;) {
    const { done, value } = choice.next()
    if (done === true) return value
    await yieldToEventLoop()
  }
}

/**
 * What a node does to become a member: it asks one member after another to take it in, until one
 * has, or says why that can never be.
 */
import { type Clock, delay } from '../clock.ts'
import { InvalidArgumentError, KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import type { CurrentRing } from './current-ring.ts'
import { decodeJoinAnswer, encodeJoin, type JoinAnswer } from './join-format.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { chooseSome } from './random-choice.ts'
import { findMember } from './ring.ts'
import type { RingFollower } from './ring-follower.ts'
import { type NewMember, type NodeId, ownsBefore } from './ring-member.ts'

/** A member leads a join for no longer than its agreements and barriers take. */
const JOIN_TIMEOUT_MS = 60_000
const RETRY_MS = 200
const RETRY_MAX_MS = 3000
/** A wait that is shorter is nothing to worry about: others join, or links are being made. */
const QUIET_MS = 5000

export interface JoinerOptions {
  readonly peers: Peers
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly ring: CurrentRing
  readonly follower: RingFollower
  /** This node, as it wants to be a member. */
  readonly member: () => NewMember
  /** Makes it end, with an error. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Resolves once this node is a member like the others. Rejects with InvalidArgumentError when it
 * will never be, and with the signal's reason. Tries for ever otherwise, and says so.
 */
export async function joinCluster(options: JoinerOptions): Promise<void> {
  const { clock, random, logger, ring, signal } = options
  const { self } = options.peers
  const sinceMs = clock.monotonicMs()
  let lastText = ''
  for (let attempt = 0; ; attempt++) {
    signal?.throwIfAborted()
    checkNotRemoved(ring, self)
    if (findMember(ring.ring, self)?.state === 'normal') return
    const answer = await orAborted(askAnyMember(options), signal)
    if (answer.outcome === 'refused') throw new InvalidArgumentError(answer.text)
    if (answer.outcome === 'joined') continue
    // Of nodes that start together, all but one wait for a moment.
    const isLong = clock.monotonicMs() - sinceMs >= QUIET_MS
    if (isLong && answer.text !== lastText) {
      logger.warn('this node cannot join yet; it goes on asking', { why: answer.text })
      lastText = answer.text
    } else logger.debug('this node cannot join yet', { why: answer.text })
    const waitMs = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** attempt) * (0.5 + random.next())
    await delay(clock, waitMs, { background: true })
  }
}

/** Rejects with the signal's reason once it fires, whatever becomes of the promise. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

/** The first answer that a member gives, and the ring that it goes by. */
async function askAnyMember(options: JoinerOptions): Promise<JoinAnswer> {
  const { peers, random, ring, follower, member } = options
  const members = ring.ring.members.filter(ownsBefore).map(({ nodeId }) => nodeId)
  const others = members.filter(nodeId => nodeId !== peers.self)
  const linked = others.filter(nodeId => peers.isLinked(nodeId))
  let text = `none of the ${others.length} members can be reached`
  for (const nodeId of chooseSome(random, linked, linked.length)) {
    try {
      const body = encodeJoin(member())
      const answer = await ask(options, nodeId, body)
      await follower.fetch(nodeId)
      return answer
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      text = error.message
    }
  }
  return { outcome: 'later', text }
}

async function ask({ peers }: JoinerOptions, nodeId: NodeId, body: Uint8Array) {
  const { join } = PeerMessage
  const answer = await peers.request(nodeId, 'data', join, body, JOIN_TIMEOUT_MS)
  return decodeJoinAnswer(answer, nodeId)
}

function checkNotRemoved({ ring }: CurrentRing, self: NodeId): void {
  if (!ring.removedIds.includes(self)) return
  throw new InvalidArgumentError(
    `${self} has left this cluster for good: start it with an empty directory, as a new node`,
  )
}

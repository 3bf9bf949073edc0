/**
 * How one epoch of the ring follows from another: pure functions that give the next ring or throw
 * RingChangeError. Who may propose, and how members agree, is not decided here.
 *
 * An operation begins on a stable ring only, so that there is one at a time; what it does to data
 * is ring.ts's phases. Whoever ends an operation as the one that goes, or as one that never came
 * in, is remembered as removed: what lies on its disk may lack deletions that everybody else has
 * forgotten by the time it would come back.
 */
import { InvalidArgumentError, KvError, type KvErrorAction } from '../errors.ts'
import { PARTITION_COUNT_WITH_PEERS_MAX } from './partition.ts'
import {
  createRing,
  findMember,
  operationOf,
  REMOVED_IDS_MAX,
  REPLICATION_FACTOR_DEFAULT,
  type Ring,
  type RingOperation,
  VIRTUAL_NODES_DEFAULT,
} from './ring.ts'
import {
  createMember,
  type MemberState,
  type NewMember,
  type NodeId,
  newMember,
  type RingMember,
} from './ring-member.ts'

/** Why a ring cannot change in the way that was asked for. */
export type RingRefusal =
  /** Another operation is under way: wait for its end, or abort it. */
  | 'busy'
  /** Nothing is under way, or not what was asked to go on. */
  | 'not-under-way'
  /** Reads have moved to the new owners: it can only be finished. */
  | 'too-late'
  /** No member has the id. */
  | 'unknown-member'
  /** A member has the id already. */
  | 'member'
  /** The id has left the cluster; a node that comes back comes with an empty directory. */
  | 'removed'
  /** Nobody would be left. */
  | 'last-member'
  /** Fewer members would be left than there are to be replicas. */
  | 'too-few-members'
  /** A limit of the ring is reached, or a field is out of bounds. */
  | 'limit'

/** The ring cannot change in that way; nothing has changed. */
export class RingChangeError extends KvError {
  override readonly name = 'RingChangeError'
  readonly code = 'KV_INVALID_ARGUMENT'
  readonly action: KvErrorAction
  readonly reason: RingRefusal

  constructor(reason: RingRefusal, message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
    this.action = reason === 'busy' ? 'retry-later' : 'fix-request'
  }
}

export interface InitOptions {
  readonly clusterId: string
  readonly partitionCount: number
  /** @defaultValue 3 */
  readonly replicationFactor?: number
  /** @defaultValue 128 */
  readonly virtualNodes?: number
}

/** Epoch 1 of a new cluster, with its only member. Throws InvalidArgumentError. */
export function initRing(member: NewMember, options: InitOptions): Ring {
  return createRing({
    epoch: 1,
    clusterId: options.clusterId,
    phase: 'stable',
    partitionCount: options.partitionCount,
    replicationFactor: options.replicationFactor ?? REPLICATION_FACTOR_DEFAULT,
    virtualNodes: options.virtualNodes ?? VIRTUAL_NODES_DEFAULT,
    members: [newMember(member, 'normal', 0)],
    removedIds: [],
  })
}

/** A node begins to join. `tokenSalt` comes from chooseTokenSalt; any is correct. */
export function beginJoin(ring: Ring, member: NewMember, tokenSalt = 0): Ring {
  checkIdle(ring)
  checkNew(ring, member.nodeId)
  const joining = bounded(() => newMember(member, 'joining', tokenSalt))
  return next(ring, 'readOld', [...ring.members, joining])
}

export interface LeaveOptions {
  /** Agrees to having fewer members than the replication factor says. @defaultValue false */
  readonly allowFewerReplicas?: boolean
}

/** A member that is alive begins to hand its partitions over. */
export function beginLeave(ring: Ring, nodeId: NodeId, options: LeaveOptions = {}): Ring {
  checkIdle(ring)
  const member = memberOf(ring, nodeId)
  checkNotLast(ring)
  const left = ring.members.length - 1
  if (left < ring.replicationFactor && options.allowFewerReplicas !== true) {
    throw new RingChangeError(
      'too-few-members',
      `${left} members would be left for ${ring.replicationFactor} replicas of everything`,
    )
  }
  return next(ring, 'readOld', withState(ring.members, member, 'leaving'))
}

/** A member that is gone for good begins to be removed; what it owned, the others fill. */
export function beginRemove(ring: Ring, nodeId: NodeId): Ring {
  checkIdle(ring)
  const member = memberOf(ring, nodeId)
  checkNotLast(ring)
  return next(ring, 'readOld', withState(ring.members, member, 'removing'))
}

/** A new node begins to take the tokens and the weight of a member that is gone for good. */
export function beginReplace(ring: Ring, nodeId: NodeId, replacement: NewMember): Ring {
  checkIdle(ring)
  const going = memberOf(ring, nodeId)
  checkNew(ring, replacement.nodeId)
  const { tokenId, tokenSalt, weight } = going
  const fresh = bounded(() => newMember({ ...replacement, weight }, 'joining', tokenSalt))
  const joining = createMember({ ...fresh, tokenId })
  return next(ring, 'readOld', [...withState(ring.members, going, 'replaced'), joining])
}

/** The new owners have everything: reads move to them. From here on there is no way back. */
export function moveReads(ring: Ring): Ring {
  underWay(ring)
  if (ring.phase !== 'readOld') throw new RingChangeError('not-under-way', 'reads have moved')
  return next(ring, 'readNew', ring.members)
}

/** Ends the operation: who came is a member like the others, who went is remembered as removed. */
export function finish(ring: Ring): Ring {
  underWay(ring)
  if (ring.phase !== 'readNew') {
    throw new RingChangeError('not-under-way', 'reads have not moved to the new owners yet')
  }
  return settled(ring, ['leaving', 'removing', 'replaced'])
}

/** Takes the operation back: owners are those before it. Possible until reads have moved. */
export function abort(ring: Ring): Ring {
  underWay(ring)
  if (ring.phase !== 'readOld') {
    throw new RingChangeError('too-late', 'reads have moved to the new owners: it can only finish')
  }
  return settled(ring, ['joining'])
}

/** A member is reached elsewhere. Changes no ownership, so it may come at any time. */
export function readdress(
  ring: Ring,
  nodeId: NodeId,
  addresses: Pick<RingMember, 'clientAddress' | 'peerAddress'>,
): Ring {
  const { clientAddress, peerAddress } = addresses
  const moved = bounded(() =>
    createMember({ ...memberOf(ring, nodeId), clientAddress, peerAddress }),
  )
  return next(ring, ring.phase, replaceMember(ring.members, moved))
}

/** The next epoch, once members in one of the states `gone` have left it. */
function settled(ring: Ring, gone: readonly MemberState[]): Ring {
  const left = ring.members.filter(({ state }) => gone.includes(state))
  const stayed = ring.members.filter(({ state }) => !gone.includes(state))
  const members = stayed.map(member => createMember({ ...member, state: 'normal' }))
  const removedIds = [...ring.removedIds, ...left.map(({ nodeId }) => nodeId)]
  return createRing({ ...ring, epoch: ring.epoch + 1, phase: 'stable', members, removedIds })
}

function next(ring: Ring, phase: Ring['phase'], members: readonly RingMember[]): Ring {
  return bounded(() => createRing({ ...ring, epoch: ring.epoch + 1, phase, members }))
}

/** What the caller gave breaks a bound of the ring or of a member. */
function bounded<Result>(make: () => Result): Result {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error
    throw new RingChangeError('limit', error.message, { cause: error })
  }
}

function checkIdle(ring: Ring): void {
  const operation = operationOf(ring.members)
  if (operation !== undefined) {
    throw new RingChangeError(
      'busy',
      `a ${operation.type} is under way (${describe(operation)}): wait for its end or abort it`,
    )
  }
  // Every operation ends with one id to remember, however it ends.
  if (ring.removedIds.length < REMOVED_IDS_MAX) return
  throw new RingChangeError('limit', `the cluster remembers ${REMOVED_IDS_MAX} removed ids`)
}

function underWay(ring: Ring): void {
  if (ring.phase !== 'stable') return
  throw new RingChangeError('not-under-way', 'nothing is under way: no node joins or leaves')
}

function describe(operation: RingOperation): string {
  switch (operation.type) {
    case 'join':
      return `${operation.joining} joins`
    case 'leave':
      return `${operation.going} leaves`
    case 'remove':
      return `${operation.going} is removed`
    case 'replace':
      return `${operation.joining} replaces ${operation.going}`
  }
}

function checkNew(ring: Ring, nodeId: NodeId): void {
  if (ring.partitionCount > PARTITION_COUNT_WITH_PEERS_MAX) {
    throw new RingChangeError(
      'limit',
      `a node with ${ring.partitionCount} partitions cannot have peers: export it into a cluster ` +
        `with at most ${PARTITION_COUNT_WITH_PEERS_MAX}`,
    )
  }
  if (findMember(ring, nodeId) !== undefined) {
    throw new RingChangeError('member', `${nodeId} is a member already`)
  }
  if (!ring.removedIds.includes(nodeId)) return
  throw new RingChangeError(
    'removed',
    `${nodeId} has left this cluster for good: start the node with an empty directory`,
  )
}

function checkNotLast(ring: Ring): void {
  if (ring.members.length > 1) return
  throw new RingChangeError('last-member', 'the only member cannot go: nobody would have the data')
}

function memberOf(ring: Ring, nodeId: NodeId): RingMember {
  const member = findMember(ring, nodeId)
  if (member !== undefined) return member
  throw new RingChangeError('unknown-member', `${nodeId} is no member of the cluster`)
}

function withState(
  members: readonly RingMember[],
  member: RingMember,
  state: MemberState,
): RingMember[] {
  return replaceMember(members, createMember({ ...member, state }))
}

function replaceMember(members: readonly RingMember[], changed: RingMember): RingMember[] {
  return members.map(member => (member.nodeId === changed.nodeId ? changed : member))
}

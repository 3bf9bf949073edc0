/**
 * The ring of one epoch: who the members are and what changes. An immutable value; who owns which
 * partition follows from it alone (ring-table.ts).
 *
 * Ownership changes only from epoch to epoch, by one operation at a time (ring-change.ts), and an
 * operation goes through phases, each an epoch of its own:
 *
 *   stable --begin--> readOld --moveReads--> readNew --finish--> stable
 *                        |
 *                        +------abort------> stable
 *
 * While it is under way there are two generations of owners, before and after; writes go to both,
 * reads to the old ones, then to the new ones.
 *
 * Invariants:
 *  1. Members ascend by node id, removed ids ascend; no id is both.
 *  2. The phase is stable exactly when all members are normal. Otherwise the other states are those
 *     of one operation: one joining, one leaving, one removing, or one replaced and one joining
 *     that has its tokens.
 *  3. Both generations have a member, and within each token ids are distinct.
 *  4. A member's tokens are its own, or of one that left and that it replaced, by itself or through
 *     others.
 *  5. Ids that left never return, so that what an old disk holds never counts as current.
 */
import { InvalidArgumentError } from '../errors.ts'
import { checkPartitionCount } from './partition.ts'
import type { PlacementRules } from './placement.ts'
import {
  createMember,
  isNodeId,
  type MemberState,
  type NodeId,
  ownsAfter,
  ownsBefore,
  type RingMember,
} from './ring-member.ts'
import { MEMBERS_MAX } from './token-ring.ts'

export const REPLICATION_FACTOR_DEFAULT = 3
export const REPLICATION_FACTOR_MAX = 7
export const VIRTUAL_NODES_DEFAULT = 128
export const VIRTUAL_NODES_MAX = 1024
/** Tokens of all members together: what building a ring costs is about in their number. */
export const TOKENS_MAX = 2 ** 20
/** Ids that a cluster remembers as gone, 16 bytes each. No operation that needs one more begins. */
export const REMOVED_IDS_MAX = 65_535

export type RingPhase = 'stable' | 'readOld' | 'readNew'

/** What is under way, of whom. */
export type RingOperation =
  | { readonly type: 'join'; readonly joining: NodeId }
  | { readonly type: 'leave'; readonly going: NodeId }
  | { readonly type: 'remove'; readonly going: NodeId }
  | { readonly type: 'replace'; readonly going: NodeId; readonly joining: NodeId }

/** Immutable. */
export interface Ring extends PlacementRules {
  /** 1 for a new cluster; only grows. */
  readonly epoch: number
  /** 128 bits in hexadecimal, the same for every node and epoch of the cluster. */
  readonly clusterId: string
  readonly phase: RingPhase
  readonly members: readonly RingMember[]
  readonly removedIds: readonly NodeId[]
}

/** The same ring, in order, checked and frozen. Throws InvalidArgumentError for what is none. */
export function createRing(ring: Ring): Ring {
  checkNumbers(ring)
  const members = ring.members.map(createMember).sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
  const removedIds = ring.removedIds.toSorted()
  checkMembers(members, ring.virtualNodes)
  checkRemoved(members, removedIds)
  checkPhase(ring.phase, operationOf(members))
  const { epoch, clusterId, phase, partitionCount, replicationFactor, virtualNodes } = ring
  return Object.freeze({
    epoch,
    clusterId,
    phase,
    partitionCount,
    replicationFactor,
    virtualNodes,
    members: Object.freeze(members),
    removedIds: Object.freeze(removedIds),
  })
}

/** What the states of the members say is under way. Throws InvalidArgumentError for a mixture. */
export function operationOf(members: readonly RingMember[]): RingOperation | undefined {
  const joining = onlyOne(members, 'joining')
  const going = onlyOne(members, 'leaving', 'removing', 'replaced')
  if (going === undefined) {
    return joining && Object.freeze({ type: 'join', joining: joining.nodeId })
  }
  if (going.state === 'replaced') {
    check(
      joining?.tokenId === going.tokenId &&
        joining.tokenSalt === going.tokenSalt &&
        joining.weight === going.weight,
      'a replaced member has one that takes its tokens',
    )
    return Object.freeze({ type: 'replace', going: going.nodeId, joining: joining.nodeId })
  }
  check(joining === undefined, 'one operation is under way at a time')
  const type = going.state === 'leaving' ? 'leave' : 'remove'
  return Object.freeze({ type, going: going.nodeId })
}

/** The member with that id, if there is one. */
export function findMember(ring: Ring, nodeId: NodeId): RingMember | undefined {
  return ring.members.find(member => member.nodeId === nodeId)
}

function onlyOne(
  members: readonly RingMember[],
  ...states: readonly MemberState[]
): RingMember | undefined {
  const found = members.filter(member => states.includes(member.state))
  check(found.length <= 1, 'one operation is under way at a time')
  return found[0]
}

function checkNumbers(ring: Ring): void {
  const { epoch, replicationFactor, virtualNodes } = ring
  check(Number.isSafeInteger(epoch) && epoch >= 1, `an epoch is at least 1, got ${epoch}`)
  check(isNodeId(ring.clusterId), 'a cluster id has 32 hexadecimal digits')
  checkPartitionCount(ring.partitionCount)
  check(
    Number.isInteger(replicationFactor) &&
      replicationFactor >= 1 &&
      replicationFactor <= REPLICATION_FACTOR_MAX,
    `the replication factor is 1 to ${REPLICATION_FACTOR_MAX}, got ${replicationFactor}`,
  )
  check(
    Number.isInteger(virtualNodes) && virtualNodes >= 1 && virtualNodes <= VIRTUAL_NODES_MAX,
    `virtual nodes are 1 to ${VIRTUAL_NODES_MAX} a member, got ${virtualNodes}`,
  )
}

function checkMembers(members: readonly RingMember[], virtualNodes: number): void {
  check(members.length <= MEMBERS_MAX, `a ring has at most ${MEMBERS_MAX} members`)
  for (const [index, { nodeId }] of members.entries()) {
    check(members[index + 1]?.nodeId !== nodeId, `${nodeId} is a member twice`)
  }
  const weights = members.reduce((sum, { weight }) => sum + weight, 0)
  check(weights * virtualNodes <= TOKENS_MAX, `a ring has at most ${TOKENS_MAX} tokens`)
  for (const owns of [ownsBefore, ownsAfter]) {
    const tokenIds = members.filter(owns).map(({ tokenId }) => tokenId)
    check(tokenIds.length > 0, 'a ring has a member that stays')
    check(new Set(tokenIds).size === tokenIds.length, 'no two members have the same tokens')
  }
}

function checkRemoved(members: readonly RingMember[], removedIds: readonly NodeId[]): void {
  check(removedIds.length <= REMOVED_IDS_MAX, `at most ${REMOVED_IDS_MAX} ids are remembered`)
  const removed = new Set(removedIds)
  check(removed.size === removedIds.length, 'no id is removed twice')
  for (const id of removedIds) check(isNodeId(id), 'a removed id has 32 hexadecimal digits')
  const replacing = members.some(({ state }) => state === 'replaced')
  for (const { nodeId, tokenId, state } of members) {
    check(!removed.has(nodeId), `${nodeId} has left for good`)
    const isHeir = removed.has(tokenId) || (replacing && state === 'joining')
    check(tokenId === nodeId || isHeir, `${nodeId} has the tokens of nobody that it replaced`)
  }
}

function checkPhase(phase: RingPhase, operation: RingOperation | undefined): void {
  const isStable = phase === 'stable'
  check(isStable === (operation === undefined), 'a ring is stable when nothing is under way')
}

function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvalidArgumentError(message)
}

/**
 * What a node thinks of its cluster, and of each member, in one word and in figures. Pure; from the
 * ring, the node's statistics, and what all members say that they owe.
 *
 *   green    all nodes are up and take writes, by one ring that does not change, and all of them
 *            say that they owe nothing
 *   yellow   something is not as it should be; every key is served, at quorum too
 *   red      some keys have no quorum of replicas in reach, or no replica at all
 */
import type { HintReport } from './hint-reports.ts'
import type { RingPhase } from './ring.ts'
import type { MemberState, NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'

export type HealthColour = 'green' | 'yellow' | 'red'

/** A member as the node that was asked sees it. JSON-serialisable; times in milliseconds. */
export interface MemberStatus {
  readonly nodeId: NodeId
  readonly isAsked: boolean
  readonly state: MemberState
  readonly rack: string
  readonly weight: number
  readonly partitions: number
  /** By all members that answer: writes with a hint for it, partitions of which it may lack any. */
  readonly owedWrites: number
  readonly isOwedEstimate: boolean
  readonly owedPartitions: number
  readonly clientAddress: string
  readonly peerAddress: string
  /** `up`, or anything else. */
  readonly liveness: string
  readonly forMs: number
  readonly incarnation?: number
  readonly generation?: number
  /** Of the ring that it goes by; absent while it has not said. */
  readonly epoch?: number
  readonly states: Readonly<Record<string, number>>
}

export interface ClusterStatus {
  readonly clusterId: string
  readonly epoch: number
  readonly phase: RingPhase
  readonly replicationFactor: number
  readonly health: HealthColour
  readonly isWell: boolean
  readonly partitionsWithoutReplica: number
  readonly partitionsWithoutQuorum: number
  readonly members: readonly MemberStatus[]
}

/** What a node's statistics say of a member; see members in stats. */
interface MemberFigures {
  readonly liveness: string
  readonly forMs: number
  readonly clientAddress?: string
  readonly peerAddress?: string
  readonly states?: Readonly<Record<string, number>>
}

export function clusterStatus(
  table: RingTable,
  stats: Readonly<Record<string, unknown>>,
  hints: readonly HintReport[],
): ClusterStatus {
  const members = membersOf(table, stats, hints)
  const { ring } = table
  const { clusterId, epoch, phase, replicationFactor } = ring
  const reach = countReach(table, members)
  const isAllTold = hints.every(({ error }) => error === undefined)
  const isWell =
    phase === 'stable' &&
    isAllTold &&
    members.every(member => {
      const isOwed = member.owedWrites + member.owedPartitions > 0
      const isInStep = (member.epoch ?? epoch) === epoch
      return member.liveness === 'up' && isInStep && takesWrites(member) && !isOwed
    })
  const health = reach.fewer > 0 ? 'red' : isWell ? 'green' : 'yellow'
  return {
    clusterId,
    epoch,
    phase,
    replicationFactor,
    health,
    isWell: health === 'green',
    partitionsWithoutReplica: reach.without,
    partitionsWithoutQuorum: reach.fewer,
    members,
  }
}

/** False for a member that is up and says that its clock or its disk keeps it from that. */
function takesWrites({ states }: MemberStatus): boolean {
  return !states['clockOffMs'] && !states['writesRefused']
}

function membersOf(
  table: RingTable,
  stats: Readonly<Record<string, unknown>>,
  hints: readonly HintReport[],
): MemberStatus[] {
  const self = readSelf(stats)
  const figures = readMembers(stats)
  const owned = table.readers.partitionsOwned()
  return table.ring.members.map((member, index) => {
    const { nodeId, rack, weight, state } = member
    const isAsked = nodeId === self
    const known = figures.get(nodeId) ?? { liveness: isAsked ? 'up' : 'unknown', forMs: 0 }
    const { clientAddress, peerAddress, states = {}, ...rest } = known
    return {
      nodeId,
      isAsked,
      state,
      rack,
      weight,
      partitions: owned[index]!,
      ...owedTo(nodeId, hints),
      clientAddress: clientAddress || member.clientAddress,
      peerAddress: peerAddress || member.peerAddress,
      ...rest,
      states,
    }
  })
}

function owedTo(
  nodeId: NodeId,
  hints: readonly HintReport[],
): Pick<MemberStatus, 'owedWrites' | 'isOwedEstimate' | 'owedPartitions'> {
  const owed = hints.flatMap(({ owes }) => owes).filter(({ peer }) => peer === nodeId)
  return {
    owedWrites: owed.reduce((sum, { writes }) => sum + writes, 0),
    isOwedEstimate: owed.some(({ isEstimate }) => isEstimate),
    owedPartitions: owed.reduce((sum, { partitions }) => sum + partitions, 0),
  }
}

function readSelf(stats: Readonly<Record<string, unknown>>): string | undefined {
  const { node } = stats as { readonly node?: { readonly id?: string } }
  return node?.id
}

/** By node id; empty for a node that stands alone. */
function readMembers(stats: Readonly<Record<string, unknown>>): Map<string, MemberFigures> {
  type Entry = MemberFigures & { readonly nodeId: string }
  const { members = [] } = stats as { readonly members?: readonly Entry[] }
  return new Map(members.map(entry => [entry.nodeId, entry]))
}

/** Partitions with no reader that is up, and those with fewer than a quorum of them. */
function countReach(
  { readers, quorum, ring }: RingTable,
  members: readonly MemberStatus[],
): { without: number; fewer: number } {
  // By place in the ring; there may be two hundred thousand places to look at.
  const isUp = Uint8Array.from(members, member => Number(isReachable(member)))
  let without = 0
  let fewer = 0
  for (let partition = 0; partition < ring.partitionCount; partition++) {
    let count = 0
    for (let place = 0; place < readers.width; place++) {
      count += isUp[readers.indexAt(partition, place)]!
    }
    if (count === 0) without++
    if (count < quorum) fewer++
  }
  return { without, fewer }
}

/** One that is suspected is still asked. */
function isReachable({ liveness }: MemberStatus): boolean {
  return liveness === 'up' || liveness === 'suspect'
}

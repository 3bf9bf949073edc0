/**
 * How a cluster is, in one word and one line, from what one of its nodes sees. Pure.
 *
 *   green    all nodes are up, by one ring that does not change, and nothing is owed
 *   yellow   something is not as it should be; every key is served, at quorum too
 *   red      some keys have no quorum of replicas in reach, or no replica at all
 */
import type { RingTable } from '../cluster/index.ts'
import { formatWrites } from './cluster-hints.ts'
import { formatCount } from './render.ts'
import { shortIds } from './short-ids.ts'

export type HealthColour = 'green' | 'yellow' | 'red'

/** A member as the node that was asked sees it. */
export interface MemberHealth {
  readonly nodeId: string
  /** 'up', or anything else. */
  readonly liveness: string
  /** Of the ring that it goes by; undefined when it has not said. */
  readonly epoch: number | undefined
  /** Writes that others hold hints of for it, and partitions of which it may lack anything. */
  readonly owedWrites: number
  readonly isEstimate: boolean
  readonly owedPartitions: number
}

export interface ClusterHealth {
  readonly colour: HealthColour
  /** One line without the colour. */
  readonly summary: string
  /** What it means, a line each. */
  readonly findings: readonly string[]
  readonly partitionsWithoutReplica: number
  readonly partitionsWithoutQuorum: number
}

/** `isAllTold`: every member has said what it owes. */
export function clusterHealth(
  table: RingTable,
  members: readonly MemberHealth[],
  isAllTold: boolean,
): ClusterHealth {
  const away = members.filter(({ liveness }) => liveness !== 'up')
  const behind = members.filter(({ epoch }) => epoch !== undefined && epoch !== table.ring.epoch)
  const owedWrites = members.reduce((sum, member) => sum + member.owedWrites, 0)
  const owedPartitions = members.reduce((sum, member) => sum + member.owedPartitions, 0)
  const { without: partitionsWithoutReplica, fewer: partitionsWithoutQuorum } = countReach(
    table,
    members,
  )
  const isChanging = table.ring.phase !== 'stable'
  const isOwed = owedWrites + owedPartitions > 0
  const isWell = away.length + behind.length === 0 && !isChanging && !isOwed
  const colour = partitionsWithoutQuorum > 0 ? 'red' : isWell ? 'green' : 'yellow'
  const partitions = formatCount(table.ring.partitionCount)
  const findings: string[] = []
  if (partitionsWithoutReplica > 0) {
    findings.push(
      `the keys of ${formatCount(partitionsWithoutReplica)} of ${partitions} partitions cannot ` +
        'be read or written',
    )
  }
  if (partitionsWithoutQuorum > 0) {
    findings.push(
      `no quorum for ${formatCount(partitionsWithoutQuorum)} of ${partitions} partitions: ` +
        `only consistency one goes on there`,
    )
  } else if (away.length > 0) {
    findings.push('every key can still be read and written, at quorum too')
  }
  if (isChanging) findings.push('the ring is changing: see kvcli cluster ring')
  if (behind.length > 0) {
    const nameOf = shortIds(members.map(({ nodeId }) => nodeId))
    const names = behind.map(({ nodeId }) => nameOf(nodeId)).join(', ')
    findings.push(`not all nodes go by the same ring yet: ${names} ${isAre(behind.length)} behind`)
  }
  if (isOwed) findings.push(owedFinding(members))
  const isEstimate = members.some(member => member.isEstimate)
  const owed = owedOf(formatWrites(owedWrites, isEstimate), owedPartitions, isAllTold)
  return {
    colour,
    summary: `${upOf(members.length, away.length)}, ${owed}`,
    findings,
    partitionsWithoutReplica,
    partitionsWithoutQuorum,
  }
}

function upOf(all: number, away: number): string {
  if (all === 1) return away === 0 ? '1 node is up' : '1 node, and it is not up'
  const up = all - away
  return `${formatCount(up)} of ${formatCount(all)} nodes ${isAre(up)} up`
}

function owedOf(writes: string, partitions: number, isAllTold: boolean): string {
  if (writes === '0' && partitions === 0) {
    return isAllTold ? 'nothing is owed' : 'nothing is known to be owed'
  }
  const parts: string[] = []
  if (writes !== '0') parts.push(writes === '1' ? '1 write' : `${writes} writes`)
  if (partitions > 0) {
    parts.push(partitions === 1 ? '1 partition' : `${formatCount(partitions)} partitions`)
  }
  const isOne = parts.length === 1 && parts[0]!.startsWith('1 ')
  return `${parts.join(' and ')} ${isAre(isOne ? 1 : 2)} owed`
}

function owedFinding(members: readonly MemberHealth[]): string {
  const owed = members.filter(({ owedWrites, owedPartitions }) => owedWrites + owedPartitions > 0)
  return owed.every(({ liveness }) => liveness === 'up')
    ? 'what is owed is being sent: see kvcli cluster hints'
    : 'what is owed is kept until the node is back: see kvcli cluster hints'
}

function isAre(count: number): string {
  return count === 1 ? 'is' : 'are'
}

/** Partitions with no reader that is up, and those with fewer than a quorum of them. */
function countReach(
  { readers, quorum, ring }: RingTable,
  members: readonly MemberHealth[],
): { without: number; fewer: number } {
  const up = new Set(members.filter(isReachable).map(({ nodeId }) => nodeId))
  let without = 0
  let fewer = 0
  for (let partition = 0; partition < ring.partitionCount; partition++) {
    let count = 0
    for (let place = 0; place < readers.width; place++) {
      if (up.has(readers.memberAt(partition, place).nodeId)) count++
    }
    if (count === 0) without++
    if (count < quorum) fewer++
  }
  return { without, fewer }
}

/** One that is suspected is still asked. */
function isReachable({ liveness }: MemberHealth): boolean {
  return liveness === 'up' || liveness === 'suspect'
}

/** How a cluster is, in one line and in what it means, from its status. Pure. */
import { type ClusterStatus, type MemberStatus, WRITE_REFUSALS } from '../cluster/index.ts'
import { formatWrites } from './cluster-hints.ts'
import { formatCount, formatDuration } from './render.ts'
import { shortIds } from './short-ids.ts'

export interface ClusterHealth {
  /** One line without the colour. */
  readonly summary: string
  /** What it means, a line each. */
  readonly findings: readonly string[]
}

const REFUSALS: ReadonlyMap<number, string> = new Map([
  [WRITE_REFUSALS.space, 'its disk is full: make room there, and it goes on by itself'],
  [WRITE_REFUSALS.files, 'it may open no more files: raise its limit (ulimit -n)'],
  [WRITE_REFUSALS.failure, 'its disk keeps failing: see its log'],
  [
    WRITE_REFUSALS.clock,
    'no other member agrees yet with its clock: see that it reaches one, and set its clock',
  ],
])

/** `isAllTold`: every member has said what it owes. */
export function clusterHealth(
  status: ClusterStatus,
  partitionCount: number,
  isAllTold: boolean,
): ClusterHealth {
  const { members, partitionsWithoutReplica, partitionsWithoutQuorum } = status
  const away = members.filter(({ liveness }) => liveness !== 'up')
  const behind = members.filter(({ epoch }) => epoch !== undefined && epoch !== status.epoch)
  const owedWrites = members.reduce((sum, member) => sum + member.owedWrites, 0)
  const owedPartitions = members.reduce((sum, member) => sum + member.owedPartitions, 0)
  const partitions = formatCount(partitionCount)
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
  if (status.phase !== 'stable') findings.push('the ring is changing: see kvcli cluster ring')
  if (behind.length > 0) {
    const nameOf = shortIds(members.map(({ nodeId }) => nodeId))
    const names = behind.map(({ nodeId }) => nameOf(nodeId)).join(', ')
    findings.push(`not all nodes go by the same ring yet: ${names} ${isAre(behind.length)} behind`)
  }
  findings.push(...refusingFindings(members))
  if (owedWrites + owedPartitions > 0) findings.push(owedFinding(members))
  if (!isAllTold && away.length === 0) {
    findings.push('not all nodes have said what they owe: see kvcli cluster hints')
  }
  const isEstimate = members.some(member => member.isOwedEstimate)
  const owed = owedOf(formatWrites(owedWrites, isEstimate), owedPartitions, isAllTold)
  return {
    summary: `${upOf(members.length, away.length)}, ${owed}`,
    findings,
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

/** Who takes no writes: the others take them, so it would not show. */
function refusingFindings(members: readonly MemberStatus[]): string[] {
  const nameOf = shortIds(members.map(({ nodeId }) => nodeId))
  return members.flatMap(({ nodeId, liveness, states }) => {
    if (liveness !== 'up') return []
    return reasonsOf(states).map(reason => `${nameOf(nodeId)} takes no writes: ${reason}`)
  })
}

/** Why a node takes no writes, and what to do about it. */
function reasonsOf({ clockOffMs = 0, writesRefused = 0 }: MemberStatus['states']): string[] {
  const reasons: string[] = []
  if (clockOffMs > 0) {
    reasons.push(`its clock is ${formatDuration(clockOffMs)} off those of most: set it`)
  }
  if (writesRefused > 0) {
    reasons.push(REFUSALS.get(writesRefused) ?? 'see its log')
  }
  return reasons
}

function owedFinding(members: readonly MemberStatus[]): string {
  const owed = members.filter(({ owedWrites, owedPartitions }) => owedWrites + owedPartitions > 0)
  return owed.every(({ liveness }) => liveness === 'up')
    ? 'what is owed is being sent: see kvcli cluster hints'
    : 'what is owed is kept until the node is back: see kvcli cluster hints'
}

function isAre(count: number): string {
  return count === 1 ? 'is' : 'are'
}

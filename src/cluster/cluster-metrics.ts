/**
 * What a node's part in its cluster is to monitoring. Peers are labels by their id, which are as
 * many as the cluster has members.
 */
import { byLabel, counter, gauge, type MetricFamily, type MetricSample } from '../net/index.ts'
import type { ReadFigures } from './agreed-read.ts'
import type { ClusterWritesFigures } from './cluster-writes.ts'
import type { RingFigures } from './current-ring.ts'
import type { LinkFigures } from './peer-links.ts'
import type { RepairFigures } from './repair-exchange.ts'
import type { ReplicaFigures } from './replication.ts'

const PREFIX = 'duramen_cluster_'
const MS_PER_S = 1000
const LIVENESSES = ['up', 'suspect', 'down'] as const

export interface ClusterFigures {
  readonly members: readonly { readonly liveness: string }[]
  readonly reads: ReadFigures
  readonly writes: ClusterWritesFigures
  readonly links: LinkFigures
  readonly repair: RepairFigures
  /** How far this node's clock is from those of the others, in milliseconds. */
  readonly clockOffMs: number
}

export function ringMetrics(ring: RingFigures, partitionCount: number): MetricFamily[] {
  return [
    gauge(`${PREFIX}ring_epoch`, 'Of the ring that the node goes by.', ring.epoch),
    gauge(`${PREFIX}ring_changing`, '1 while the ring changes.', ring.phase === 'stable' ? 0 : 1),
    gauge(`${PREFIX}ring_members`, 'Nodes in the ring.', ring.members),
    gauge(`${PREFIX}partitions`, 'Parts of the hash space.', partitionCount),
    gauge(`${PREFIX}partitions_owned`, 'Those that the node answers for.', ring.partitionsOwned),
  ]
}

export function clusterMetrics(figures: ClusterFigures): MetricFamily[] {
  const { members, links, clockOffMs } = figures
  const byState = LIVENESSES.map(state => ({
    labels: { state },
    value: members.filter(({ liveness }) => liveness === state).length,
  }))
  return [
    gauge(`${PREFIX}members`, 'Members as this node sees them, by state.', byState),
    gauge(`${PREFIX}peers_linked`, 'Members that it has an open link to.', links.linked),
    gauge(`${PREFIX}link_backlog_bytes`, 'Bytes that wait for other nodes.', links.backlogBytes),
    gauge(`${PREFIX}clock_offset_seconds`, 'From the clocks of others.', clockOffMs / MS_PER_S),
    ...writeMetrics(figures.writes),
    ...readMetrics(figures.reads),
    ...repairMetrics(figures.repair),
  ]
}

function writeMetrics({ peers, ...writes }: ClusterWritesFigures): MetricFamily[] {
  const ofPeers = (value: (figures: ReplicaFigures) => number): MetricSample[] =>
    Object.entries(peers).map(([peer, figures]) => ({ labels: { peer }, value: value(figures) }))
  const { unreplicatedBytes, unreplicatedAgeMs } = writes
  return [
    gauge(
      `${PREFIX}unreplicated_bytes`,
      'Bytes that no other node may have: lost if this one never returns.',
      unreplicatedBytes,
    ),
    gauge(`${PREFIX}unreplicated_seconds`, 'Age of those.', unreplicatedAgeMs / MS_PER_S),
    gauge(
      `${PREFIX}owed_bytes`,
      'Writes not yet acknowledged.',
      ofPeers(peer => peer.pendingBytes),
    ),
    gauge(
      `${PREFIX}hints_pending`,
      'Writes with a hint, estimated.',
      ofPeers(peer => peer.hintCount),
    ),
    gauge(
      `${PREFIX}hints_pending_bytes`,
      'Bytes of hints.',
      ofPeers(peer => peer.hintBytes),
    ),
    gauge(
      `${PREFIX}dirty_partitions`,
      'Partitions that only a comparison can heal.',
      ofPeers(peer => peer.dirtyPartitions),
    ),
    counter(
      `${PREFIX}replicated_total`,
      'Writes acknowledged.',
      ofPeers(peer => peer.acked),
    ),
    counter(`${PREFIX}forwarded_writes_total`, 'Passed on to their owners.', writes.forwarded),
  ]
}

function readMetrics(reads: ReadFigures): MetricFamily[] {
  return [
    counter(`${PREFIX}agreed_reads_total`, 'Reads of several replicas.', reads.agreed),
    counter(`${PREFIX}forwarded_reads_total`, 'Passed on to a replica.', reads.forwarded),
    counter(`${PREFIX}read_mismatches_total`, 'Keys on which they differed.', reads.mismatched),
    counter(`${PREFIX}read_repairs_total`, 'Copies that reads repaired.', reads.repaired),
    counter(`${PREFIX}damaged_copies_total`, 'Copies that could not be read.', reads.damaged),
  ]
}

function repairMetrics({ bytes, ...work }: RepairFigures): MetricFamily[] {
  return [
    counter(`${PREFIX}repairs_total`, 'Work of anti-entropy, by kind.', byLabel('kind', work)),
    counter(`${PREFIX}repair_bytes_total`, 'Bytes of what it exchanged.', bytes),
  ]
}

/** What a running node knows of itself, for those who watch it: its status, health and figures. */
import type { Db } from '../engine/index.ts'
import {
  gauge,
  type HealthCheck,
  type MetricFamily,
  type RingOwnership,
  type SlowOperations,
  type SlowPage,
} from '../net/index.ts'
import type { ChangeWatches } from './change-watches.ts'
import { clusterMetrics, ringMetrics } from './cluster-metrics.ts'
import { type ClusterStatus, clusterStatus } from './cluster-status.ts'
import type { CurrentRing } from './current-ring.ts'
import { engineMetrics } from './engine-metrics.ts'
import type { HintReport } from './hint-reports.ts'
import type { NodeCluster } from './node-cluster.ts'
import type { NodeAbout, NodeStats } from './node-handler.ts'
import type { NodeLinks } from './node-links.ts'
import { findMember } from './ring.ts'
import type { NodeId } from './ring-member.ts'
import { ringOwnership } from './ring-ownership.ts'
import type { RingTable } from './ring-table.ts'

const MS_PER_S = 1000

export interface RunningAboutParts {
  readonly slow: () => SlowOperations
  readonly changes: ChangeWatches
  readonly db: Db
  readonly ring: CurrentRing
  readonly nodeId: NodeId
  readonly links: NodeLinks | undefined
  readonly cluster: NodeCluster | undefined
  /** The same that `kvcli stats` shows. */
  readonly stats: () => NodeStats
  readonly uptimeMs: () => number
}

export class RunningAbout implements NodeAbout {
  readonly changes: ChangeWatches
  readonly #parts: RunningAboutParts
  /** Why writes are refused until the next start, if they are. */
  #failure: string | undefined
  /** Of the last epoch that somebody asked for. */
  #ownership: { readonly table: RingTable; readonly of: RingOwnership } | undefined

  constructor(parts: RunningAboutParts) {
    this.#parts = parts
    this.changes = parts.changes
    parts.db.onEvent(event => {
      if (event.type === 'poisoned') this.#failure ??= event.error.message
    })
  }

  /** What took long, at whichever door. */
  slow(countMax: number): SlowPage {
    return this.#parts.slow().page(countMax)
  }

  status(hints: readonly HintReport[]): ClusterStatus {
    const { ring, stats } = this.#parts
    return clusterStatus(ring.table, stats(), hints)
  }

  health(): readonly HealthCheck[] {
    const { ring, nodeId } = this.#parts
    const isMember = findMember(ring.ring, nodeId) !== undefined
    return [
      { name: 'writes', isOk: this.#failure === undefined, why: this.#failure },
      { name: 'member', isOk: isMember, why: 'the node is not in the ring' },
    ]
  }

  ownership(): RingOwnership {
    const { table } = this.#parts.ring
    if (this.#ownership?.table !== table) this.#ownership = { table, of: ringOwnership(table) }
    return this.#ownership.of
  }

  metrics(): readonly MetricFamily[] {
    const { db, ring, uptimeMs } = this.#parts
    const figures = ring.figures()
    return [
      gauge('duramen_uptime_seconds', 'Since the node was started.', uptimeMs() / MS_PER_S),
      ...engineMetrics(db.stats()),
      ...ringMetrics(figures, ring.ring.partitionCount),
      ...this.#clusterMetrics(),
    ]
  }

  #clusterMetrics(): MetricFamily[] {
    const { links, cluster } = this.#parts
    if (links === undefined || cluster === undefined) return []
    const { work, membership } = cluster
    return clusterMetrics({
      members: membership.views(),
      reads: work.reads.figures,
      writes: work.writes.figures(),
      links: links.peers.figures(),
      repair: work.repair.exchange.figures,
      clockOffMs: work.clockOffMs,
    })
  }
}

/**
 * Scans and counts of a node with peers: those that its clients ask for, over all partitions, and
 * those of its own copies that the peers ask for. A node that has a copy of everything needs nobody
 * else.
 */
import type { Clock } from '../clock.ts'
import { type CountedRange, countAcross } from './cluster-count.ts'
import { ClusterScan, type OpenScans } from './cluster-scan.ts'
import type { CountTerms } from './count-entries.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { PeerScans } from './peer-scans.ts'
import type { Peers } from './peers.ts'
import type { ReplicaChoice } from './replica-choice.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { PartitionScan, ScanRequest } from './scan.ts'
import { ScanMemory } from './scan-memory.ts'

export interface ClusterScansOptions {
  readonly store: PartitionedStore
  readonly peers: Peers
  readonly sets: CurrentReplicaSets
  readonly choice: ReplicaChoice
  readonly clock: Clock
}

export interface ScanFigures {
  /** Open, over several replicas. */
  readonly across: number
  /** Open here for other nodes. */
  readonly forPeers: number
}

export class ClusterScans {
  /** Of all ordered scans of the node. */
  readonly memory: ScanMemory
  readonly #options: ClusterScansOptions
  readonly #open: OpenScans = { open: 0 }
  readonly #peerScans: PeerScans

  /** Answers the scans of the peers, too: made once a node, before its links are started. */
  constructor(options: ClusterScansOptions) {
    this.#options = options
    this.memory = new ScanMemory(options.clock)
    this.#peerScans = new PeerScans({ ...options, memory: this.memory })
  }

  /** True when the node's own copies are all there is to read. */
  get isLocal(): boolean {
    return this.#options.sets.current.hasAll
  }

  get figures(): ScanFigures {
    return { across: this.#open.open, forPeers: this.#peerScans.open }
  }

  open(request: ScanRequest, isUnordered: boolean): PartitionScan {
    const options = { ...this.#options, memory: this.memory }
    return new ClusterScan(options, request, isUnordered, this.#open)
  }

  count(range: CountedRange, terms: CountTerms): Promise<number> {
    return countAcross(this.#options, range, terms)
  }
}

/**
 * Scans and counts of a node with peers: those that its clients ask for, over all partitions, and
 * those of its own copies that the peers ask for. A node that has a copy of everything needs nobody
 * else.
 */
import type { Clock } from '../clock.ts'
import { type CountedRange, countAcross } from './cluster-count.ts'
import { ClusterScan, type OpenScans } from './cluster-scan.ts'
import { type CountTerms, countEntries } from './count-entries.ts'
import { LinkBreaks } from './link-breaks.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { PeerScans } from './peer-scans.ts'
import type { Peers } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import type { ReplicaChoice } from './replica-choice.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { PartitionScan, ScanRequest } from './scan.ts'
import { ScanMemory } from './scan-memory.ts'

export interface ClusterScansOptions {
  readonly store: PartitionedStore
  readonly peers: Peers
  readonly sets: CurrentReplicaSets
  readonly choice: ReplicaChoice
  readonly marks: PurgeMarks
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
  readonly #breaks: LinkBreaks

  /** Answers the scans of the peers, too: made once a node, before its links are started. */
  constructor(options: ClusterScansOptions) {
    this.#options = options
    this.memory = new ScanMemory(options.clock)
    this.#breaks = new LinkBreaks(options.peers)
    this.#peerScans = new PeerScans({ ...options, memory: this.memory })
  }

  /** True when the node's own copies are all there is to read, and none is known to lack any. */
  get isLocal(): boolean {
    const { sets, marks } = this.#options
    return sets.current.hasAll && marks.unsoundCount === 0
  }

  /** A scan of this node's own copies, while isLocal. It fails once they have lost something. */
  guarded(scan: PartitionScan): PartitionScan {
    const check = this.#options.marks.guard([])
    return {
      next: async (entriesMax, bytesMax) => {
        const page = await scan.next(entriesMax, bytesMax)
        check()
        return page
      },
      close: () => scan.close(),
    }
  }

  /** The same of a count. */
  async countLocally(range: CountedRange, terms: CountTerms): Promise<number> {
    const { store, marks } = this.#options
    const check = marks.guard([])
    const count = await countEntries(store, range, terms)
    check()
    return count
  }

  get figures(): ScanFigures {
    return { across: this.#open.open, forPeers: this.#peerScans.open }
  }

  open(request: ScanRequest, isUnordered: boolean): PartitionScan {
    const options = { ...this.#options, memory: this.memory, breaks: this.#breaks }
    return new ClusterScan(options, request, isUnordered, this.#open)
  }

  count(range: CountedRange, terms: CountTerms): Promise<number> {
    return countAcross(this.#options, range, terms)
  }
}

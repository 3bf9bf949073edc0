/**
 * The replicas that reads of a partition may use, in one epoch. Partitions with the same replicas
 * share one set, so that requests for many keys are grouped by whom they can ask.
 *
 * Invariant: a set is made once for its nodes, so sets are compared by identity.
 */
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'

export interface ReplicaSet {
  /** Ascending. */
  readonly nodes: readonly NodeId[]
  /** Replicas that must agree on a quorum read: more than half. */
  readonly quorum: number
  readonly hasSelf: boolean
}

export class ReplicaSets {
  readonly table: RingTable
  readonly #self: NodeId
  readonly #ofPartitions: (ReplicaSet | undefined)[] = []
  readonly #sets = new Map<string, ReplicaSet>()
  #hasAll: boolean | undefined

  constructor(table: RingTable, self: NodeId) {
    this.table = table
    this.#self = self
  }

  /** True when this node may read every partition in its own copy. */
  get hasAll(): boolean {
    const { readers } = this.table
    this.#hasAll ??= Array.from({ length: readers.partitionCount }, (_, at) => at).every(
      partition => this.of(partition).hasSelf,
    )
    return this.#hasAll
  }

  of(partition: number): ReplicaSet {
    this.#ofPartitions[partition] ??= this.#make(partition)
    return this.#ofPartitions[partition]
  }

  #make(partition: number): ReplicaSet {
    const { readers } = this.table
    const nodes: NodeId[] = []
    for (let place = 0; place < readers.width; place++) {
      nodes.push(readers.memberAt(partition, place).nodeId)
    }
    nodes.sort((a, b) => (a < b ? -1 : 1))
    const name = nodes.join()
    const quorum = Math.floor(nodes.length / 2) + 1
    const set = this.#sets.get(name) ?? { nodes, quorum, hasSelf: nodes.includes(this.#self) }
    this.#sets.set(name, set)
    return set
  }
}

/** The sets of the ring that is current whenever they are asked for. */
export class CurrentReplicaSets {
  readonly self: NodeId
  readonly #ring: () => RingTable
  #sets: ReplicaSets

  constructor(ring: () => RingTable, self: NodeId) {
    this.#ring = ring
    this.self = self
    this.#sets = new ReplicaSets(ring(), self)
  }

  get current(): ReplicaSets {
    const table = this.#ring()
    if (table !== this.#sets.table) this.#sets = new ReplicaSets(table, this.self)
    return this.#sets
  }

  get epoch(): number {
    return this.#ring().ring.epoch
  }
}

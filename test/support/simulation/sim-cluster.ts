/** The nodes of a simulated cluster: who they are, how they stand, and what their disks hold. */
import { utf8Encode } from '../../../src/bytes.ts'
import { type Node, type NodeOptions, Partitioner, RingTable } from '../../../src/cluster/index.ts'
import { encodeRing } from '../../../src/cluster/ring-format.ts'
import type { Hasher } from '../../../src/hash.ts'
import type { NodeAddress } from '../../../src/net/index.ts'
import type { Random } from '../../../src/random.ts'
import type { RingWatch } from './check-rings.ts'
import type { FaultProfile } from './fault-profile.ts'
import { formedRecords } from './formed-disk.ts'
import { Machine, type MachineWorld } from './machine.ts'
import { MachineClock } from './machine-clock.ts'
import { diskWith, type ReplicaState, readReplica } from './replica-state.ts'
import { type Plant, SimNode } from './sim-node.ts'

export const CLIENT_PORT = 7300
const PEER_PORT = 7301
const CLUSTER_SECRET = 'what all simulated nodes know'
/** Few, so that a scan over all of them and a table of owners cost little. */
const PARTITION_COUNT = 16
const REPLICATION_FACTOR = 3
const RESTART_MAX_MS = 5000

export interface SimClusterOptions {
  readonly world: MachineWorld
  readonly hasher: Hasher
  readonly nodeCount: number
  readonly seed: number
  readonly random: (purpose: string) => Random
  readonly profile: FaultProfile
  readonly rings: RingWatch
  /** The nodes join one another, instead of being members from the first moment. */
  readonly joins: boolean
  readonly plant: Plant | undefined
}

export class SimCluster {
  readonly nodes: readonly SimNode[]
  readonly #options: SimClusterOptions
  readonly #names = new Map<string, string>()
  readonly #partitioner = new Partitioner(PARTITION_COUNT)
  #table: RingTable | undefined

  constructor(options: SimClusterOptions) {
    this.#options = options
    this.nodes = Array.from({ length: options.nodeCount }, (_, index) => this.#node(index))
  }

  get replicaCount(): number {
    return Math.min(REPLICATION_FACTOR, this.nodes.length)
  }

  /** Where clients reach it. */
  get addresses(): NodeAddress[] {
    return this.nodes.map(({ name }) => ({ host: name, port: CLIENT_PORT }))
  }

  /** Every node serves, as a member of the whole ring. */
  get isServing(): boolean {
    return this.nodes.every(({ node }) => node?.ring.members.length === this.nodes.length)
  }

  /** All nodes go by the same ring, and nothing is under way. */
  get agreesOnRing(): boolean {
    this.watchRings()
    const [first] = this.nodes
    const ring = first?.node?.ring
    if (ring === undefined || ring.phase !== 'stable') return false
    return this.nodes.every(({ node }) => node?.ring.epoch === ring.epoch)
  }

  /** Starts all nodes, which are members of one cluster or become that. */
  async start(): Promise<void> {
    if (!this.#options.joins) await this.#insertFormedDisks()
    for (const node of this.nodes) node.start()
  }

  async #insertFormedDisks(): Promise<void> {
    const records = formedRecords(
      {
        partitionCount: PARTITION_COUNT,
        replicationFactor: REPLICATION_FACTOR,
        nodes: this.nodes.map(({ name }) => ({
          clientAddress: `${name}:${CLIENT_PORT}`,
          peerAddress: `${name}:${PEER_PORT}`,
        })),
      },
      this.#options.random('identities'),
    )
    for (const [index, node] of this.nodes.entries()) {
      node.machine.insertDisk(await diskWith(records[index]!, this.#options.hasher))
    }
  }

  /** Looks at the rings that nodes go by now. */
  watchRings(): void {
    for (const { name, node } of this.nodes) if (node !== undefined) this.#sawRing(name, node)
  }

  /** Names of the nodes that must hold the key. Requires that the nodes agree on the ring. */
  readonly ownersOf = (key: string): readonly string[] => {
    const ring = this.nodes[0]!.node!.ring
    if (this.#table?.ring !== ring) this.#table = new RingTable(ring)
    const partition = this.#partitioner.partitionOf(utf8Encode(key))
    const owners: string[] = []
    for (let rank = 0; rank < this.#table.readers.width; rank++) {
      const { nodeId } = this.#table.readers.memberAt(partition, rank)
      owners.push(this.#names.get(nodeId)!)
    }
    return owners
  }

  /** By node: what its disk holds now. */
  async readReplicas(): Promise<Map<string, ReplicaState>> {
    const replicas = new Map<string, ReplicaState>()
    for (const { name, machine } of this.nodes) {
      replicas.set(name, await readReplica(machine.disk, this.#options.hasher))
    }
    return replicas
  }

  /** For messages. */
  describe(): string {
    const states = this.nodes.map(({ name, node, startError, machine }) => {
      if (node !== undefined) {
        const { epoch, phase, members } = node.ring
        return `${name} serves at epoch ${epoch} (${phase}, ${members.length} members)`
      }
      const why = startError instanceof Error ? startError.message : 'no reason known'
      return `${name} does not serve (${machine.isRunning ? 'it starts' : 'down'}; ${why})`
    })
    return states.join('; ')
  }

  #node(index: number): SimNode {
    const { world, hasher, seed, random, profile, plant } = this.#options
    const name = nameOf(index)
    const draws = random(name)
    const { clockErrorMs, driftPpm } = profile
    const errorMs = (2 * draws.next() - 1) * clockErrorMs
    const clock = new MachineClock(world.scheduler, errorMs, (2 * draws.next() - 1) * driftPpm)
    return new SimNode(world, {
      machine: new Machine(name, world, random(`disk of ${name}`), clock, profile.disk),
      seed: seed * 64 + index,
      hasher,
      plant,
      options: this.#nodeOptions(name, index),
      restartMs: () => draws.next() ** 2 * RESTART_MAX_MS,
      onServing: node => this.#sawRing(name, node),
    })
  }

  #nodeOptions(name: string, index: number): Omit<NodeOptions, 'directory' | 'logger'> {
    const isFirst = !this.#options.joins || index === 0
    const join = isFirst ? [] : [`${nameOf(0)}:${PEER_PORT}`]
    const cluster = { secret: CLUSTER_SECRET, peerHost: name, peerPort: PEER_PORT, join }
    return { host: name, port: CLIENT_PORT, partitionCount: PARTITION_COUNT, cluster }
  }

  #sawRing(name: string, node: Node): void {
    const { ring } = node
    this.#names.set(Buffer.from(node.identity.nodeId).toString('hex'), name)
    const bytes = Buffer.from(encodeRing(ring)).toString('hex')
    this.#options.rings.saw(name, ring.clusterId, ring.epoch, bytes)
  }
}

function nameOf(index: number): string {
  return `127.0.0.${index + 1}`
}

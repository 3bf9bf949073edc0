/**
 * The nodes of a simulated cluster: who they are, where they listen, how they stand, and what their
 * disks hold. Nodes that are no members of the ring, because they were told that they cannot join
 * any more, are left alone.
 */
import { utf8Encode } from '../../../src/bytes.ts'
import {
  type Node,
  type NodeOptions,
  Partitioner,
  type Ring,
  RingTable,
} from '../../../src/cluster/index.ts'
import { encodeRing } from '../../../src/cluster/ring-format.ts'
import { BufferPool } from '../../../src/engine/buffer-pool.ts'
import type { Hasher } from '../../../src/hash.ts'
import type { NodeAddress } from '../../../src/net/index.ts'
import type { Random } from '../../../src/random.ts'
import type { RingWatch } from './check-rings.ts'
import { type ClusterShape, type Place, USUAL_PLACE } from './cluster-shape.ts'
import type { FaultProfile } from './fault-profile.ts'
import { formedRecords } from './formed-disk.ts'
import { Machine, type MachineWorld } from './machine.ts'
import { MachineClock } from './machine-clock.ts'
import { drawTuning } from './node-tuning.ts'
import { diskWith, type ReplicaState, readReplica } from './replica-state.ts'
import { type Plant, SimNode } from './sim-node.ts'

const CLIENT_PORT = 7300
const PEER_PORT = 7301
/** From one address of a node to the next. */
const PORT_STEP = 10
const CLUSTER_SECRET = 'what all simulated nodes know'
/** Few, so that a scan over all of them and a table of owners cost little. */
const PARTITION_COUNT = 16
const RESTART_MAX_MS = 5000
const SPARE_BYTES_MAX = 4 * 1024 * 1024

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
  readonly shape: ClusterShape
  readonly plant: Plant | undefined
}

export class SimCluster {
  readonly nodes: readonly SimNode[]
  readonly #options: SimClusterOptions
  /** One for all nodes: jobs run one at a time, and leave nothing in it that another may see. */
  readonly #buffers = new BufferPool(SPARE_BYTES_MAX)
  /** By node: how often it has moved. */
  readonly #moves = new Map<string, number>()
  readonly #partitioner = new Partitioner(PARTITION_COUNT)
  /** By node: the ring that it went by when it was looked at last. */
  readonly #seen = new Map<string, Ring>()
  #table: RingTable | undefined
  #hasFormed = false

  constructor(options: SimClusterOptions) {
    this.#options = options
    this.nodes = Array.from({ length: options.nodeCount }, (_, index) => this.#node(index))
  }

  /** Where clients reach its nodes now. */
  get addresses(): NodeAddress[] {
    return this.nodes.map(({ name }) => this.clientAddress(name))
  }

  clientAddress(name: string): NodeAddress {
    return { host: name, port: this.#port(name, CLIENT_PORT) }
  }

  /** The nodes of the latest ring that one of them goes by. */
  get members(): readonly SimNode[] {
    const hosts = new Set(this.#latestRing()?.members.map(({ peerAddress }) => hostOf(peerAddress)))
    return this.nodes.filter(({ name }) => hosts.has(name))
  }

  /** Every node serves, as a member of the whole ring. */
  get isWhole(): boolean {
    return this.isServing && this.members.length === this.nodes.length
  }

  /** From now on nodes may move: who waits to be taken in knows one address alone. */
  formed(): void {
    this.#hasFormed = true
  }

  /** Every member serves. */
  get isServing(): boolean {
    const { members } = this
    return members.length > 0 && members.every(({ node }) => node !== undefined)
  }

  /** All members go by the same ring, and nothing is under way. */
  get agreesOnRing(): boolean {
    this.watchRings()
    const ring = this.#latestRing()
    if (ring === undefined || ring.phase !== 'stable') return false
    return this.members.every(({ node }) => node?.ring.epoch === ring.epoch)
  }

  #latestRing(): Ring | undefined {
    let latest: Ring | undefined
    for (const { node } of this.nodes) {
      if (node !== undefined && node.ring.epoch > (latest?.epoch ?? 0)) latest = node.ring
    }
    return latest
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
        replicationFactor: this.#options.shape.replicationFactor,
        nodes: this.nodes.map(({ name }, index) => ({
          ...this.#place(index),
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

  readonly partitionOf = (key: string): number => this.#partitioner.partitionOf(utf8Encode(key))

  /** Names of the nodes that must hold the key. Requires that the nodes agree on the ring. */
  readonly ownersOf = (key: string): readonly string[] => {
    const ring = this.#latestRing()!
    if (this.#table?.ring !== ring) this.#table = new RingTable(ring)
    const partition = this.partitionOf(key)
    const owners: string[] = []
    for (let rank = 0; rank < this.#table.readers.width; rank++) {
      owners.push(hostOf(this.#table.readers.memberAt(partition, rank).peerAddress))
    }
    return owners
  }

  /** By member: what its disk holds now. */
  async readReplicas(): Promise<Map<string, ReplicaState>> {
    const replicas = new Map<string, ReplicaState>()
    for (const { name, machine } of this.members) {
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
      buffers: this.#buffers,
      plant,
      options: () => this.#nodeOptions(name, index),
      tuning: drawTuning(random(`sizes of ${name}`)),
      restartMs: () => {
        if (this.#hasFormed && draws.next() < profile.moveProbability) this.#move(name)
        return draws.next() ** 2 * RESTART_MAX_MS
      },
      onServing: node => this.#sawRing(name, node),
    })
  }

  #nodeOptions(name: string, index: number): Omit<NodeOptions, 'directory' | 'logger'> {
    const isFirst = !this.#options.joins || index === 0
    const hasMoved = this.#moves.size > 0
    const others = this.nodes.filter(node => node.name !== name)
    // Who was moved is told where the others are; else all but the first know the first alone.
    const contacts = hasMoved ? others.map(node => node.name) : isFirst ? [] : [nameOf(0)]
    const join = contacts.map(contact => `${contact}:${this.#port(contact, PEER_PORT)}`)
    const peerPort = this.#port(name, PEER_PORT)
    const init = this.#options.joins && join.length === 0
    const listens = { peerHost: name, peerPort }
    const cluster = { secret: CLUSTER_SECRET, ...listens, ...this.#place(index), init, join }
    const port = this.#port(name, CLIENT_PORT)
    const { replicationFactor } = this.#options.shape
    const shape = { partitionCount: PARTITION_COUNT, ...(init ? { replicationFactor } : {}) }
    return { host: name, port, ...shape, cluster }
  }

  #place(index: number): Place {
    return this.#options.shape.places[index] ?? USUAL_PLACE
  }

  /** From its next life on it is reached elsewhere. */
  #move(name: string): void {
    const { scheduler, trace } = this.#options.world
    const moves = (this.#moves.get(name) ?? 0) + 1
    this.#moves.set(name, moves)
    trace.add(scheduler.nowMs, name, 'moves', moves)
  }

  #port(name: string, first: number): number {
    return first + PORT_STEP * (this.#moves.get(name) ?? 0)
  }

  #sawRing(name: string, node: Node): void {
    const { ring } = node
    if (this.#seen.get(name) === ring) return
    this.#seen.set(name, ring)
    const bytes = Buffer.from(encodeRing(ring)).toString('hex')
    this.#options.rings.saw(name, ring.clusterId, ring.epoch, bytes)
  }
}

/** Of `host:port`. */
function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'))
}

function nameOf(index: number): string {
  return `127.0.0.${index + 1}`
}

/**
 * The ring that this node goes by: read at start, replaced by later epochs, kept under its node key
 * as ring-format.ts writes it.
 *
 * Invariants:
 *  1. A ring is fsynced before anything here says that it is current.
 *  2. The epoch only grows; an epoch is one ring: another one with the same number is refused.
 *  3. Cluster, partitions and virtual nodes never change, and who was removed stays removed.
 */
import { equalBytes } from '../bytes.ts'
import { CorruptionError, InvalidArgumentError, ProtocolError } from '../errors.ts'
import type { NodeIdentity } from './node-identity.ts'
import { NodeKey, nodeKey } from './partition.ts'
import { findMember, type Ring } from './ring.ts'
import { initRing, readdress } from './ring-change.ts'
import { decodeRingRecord, encodeRing } from './ring-format.ts'
import { type NewMember, type NodeId, nodeIdOf, type RingMember } from './ring-member.ts'
import { RingTable } from './ring-table.ts'
import type { Store } from './store.ts'

/** What became of a ring: it is current now, was already, or is older than the current one. */
export type RingVerdict = 'accepted' | 'known' | 'stale'

/** What a node says of its ring in its statistics. */
export interface RingFigures {
  readonly epoch: number
  readonly phase: Ring['phase']
  readonly members: number
  readonly replicationFactor: number
  /** Partitions that the node serves reads of. */
  readonly partitionsOwned: number
}

/** What is fixed when a cluster is made, as far as the operator says. */
export interface RingShape {
  readonly replicationFactor?: number
  readonly virtualNodes?: number
}

/** What of a member is fixed when it becomes one, as far as the operator says. */
export type MemberPlace = Pick<NewMember, 'rack' | 'weight'>

interface State {
  readonly table: RingTable
  readonly bytes: Uint8Array
  readonly owned: number
}

export class CurrentRing {
  readonly #store: Store
  readonly #nodeId: NodeId
  #state: State
  /** Settles, without failing, when the write under way has. */
  #writing: Promise<void> | undefined
  readonly #listeners = new Set<(ring: Ring) => void>()

  private constructor(store: Store, nodeId: NodeId, ring: Ring, bytes: Uint8Array) {
    this.#store = store
    this.#nodeId = nodeId
    this.#state = stateOf(ring, bytes, nodeId)
  }

  /**
   * The ring of the directory `path`. One that has none, because it is new or was made by a build
   * without rings, gets epoch 1 with its node as the only member, at `clientAddress` as far as that
   * is known by then, and of the shape. Rejects with KV_CORRUPTION when the record is damaged or
   * another cluster's, with InvalidArgumentError when it has another shape.
   */
  static async open(
    store: Store,
    path: string,
    identity: NodeIdentity,
    clientAddress: string,
    shape: RingShape = {},
    place: MemberPlace = {},
  ): Promise<CurrentRing> {
    const nodeId = nodeIdOf(identity.nodeId)
    const record = await store.read(nodeKey(NodeKey.ring))
    if (record !== undefined) {
      const ring = decodeRingRecord(record, path)
      checkIdentity(ring, identity, path)
      checkShape(ring, shape, path)
      checkPlace(findMember(ring, nodeId), place, path)
      return new CurrentRing(store, nodeId, ring, record)
    }
    const clusterId = nodeIdOf(identity.clusterId)
    const { partitionCount } = identity
    const member = { nodeId, clientAddress, peerAddress: '', ...place }
    const ring = initRing(member, { clusterId, partitionCount, ...shape })
    const bytes = encodeRing(ring)
    await writeRing(store, bytes)
    return new CurrentRing(store, nodeId, ring, bytes)
  }

  get table(): RingTable {
    return this.#state.table
  }

  get ring(): Ring {
    return this.#state.table.ring
  }

  /** The ring as encodeRing writes it. Not to be changed. */
  get bytes(): Uint8Array {
    return this.#state.bytes
  }

  /** Calls back after every change, with the ring that is current now; returns how to stop that. */
  onChange(listener: (ring: Ring) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Throws KV_PROTOCOL unless the ring can be this cluster's next, or is the current one. */
  check(ring: Ring): void {
    this.#judge(ring, encodeRing(ring))
  }

  figures(): RingFigures {
    const { epoch, phase, members, replicationFactor } = this.ring
    const partitionsOwned = this.#state.owned
    return { epoch, phase, members: members.length, replicationFactor, partitionsOwned }
  }

  /**
   * Makes a later ring the current one; resolves once it is durable and current. Rejects with
   * KV_PROTOCOL when it cannot be this cluster's next, and with the store's error when it could not
   * be written, in which case the current one stays.
   */
  async accept(ring: Ring): Promise<RingVerdict> {
    const bytes = encodeRing(ring)
    for (;;) {
      const verdict = this.#judge(ring, bytes)
      if (verdict !== 'accepted') return verdict
      if (this.#writing === undefined) break
      await this.#writing
    }
    const written = this.#write(ring, bytes)
    const settled = (): void => {
      this.#writing = undefined
    }
    this.#writing = written.then(settled, settled)
    await written
    return 'accepted'
  }

  /**
   * Tells where clients and other nodes reach this node, in a new epoch unless that is known. Only
   * a node without peers decides on an epoch alone; with peers it does nothing.
   */
  async moveTo(clientAddress: string, peerAddress = ''): Promise<void> {
    const { ring } = this
    const [member, ...others] = ring.members
    if (member?.nodeId !== this.#nodeId || others.length > 0) return
    if (member.clientAddress === clientAddress && member.peerAddress === peerAddress) return

    await this.accept(readdress(ring, this.#nodeId, { clientAddress, peerAddress }))
  }

  #judge(ring: Ring, bytes: Uint8Array): RingVerdict {
    const current = this.ring
    checkCluster(current, ring)
    if (ring.epoch < current.epoch) return 'stale'
    if (ring.epoch === current.epoch) {
      if (equalBytes(bytes, this.bytes)) return 'known'
      throw new ProtocolError(`there are two rings of epoch ${ring.epoch}: report it`)
    }
    const removed = new Set(ring.removedIds)
    const back = current.removedIds.find(id => !removed.has(id))
    if (back === undefined) return 'accepted'
    throw new ProtocolError(
      `the ring of epoch ${ring.epoch} forgets that ${back} has left for good`,
    )
  }

  async #write(ring: Ring, bytes: Uint8Array): Promise<void> {
    const next = stateOf(ring, bytes, this.#nodeId)
    await writeRing(this.#store, bytes)
    this.#state = next
    for (const listener of [...this.#listeners]) listener(ring)
  }
}

function stateOf(ring: Ring, bytes: Uint8Array, nodeId: NodeId): State {
  const table = new RingTable(ring)
  const index = ring.members.findIndex(member => member.nodeId === nodeId)
  return { table, bytes, owned: table.readers.partitionsOwned()[index] ?? 0 }
}

/** Resolves once the ring is fsynced. */
function writeRing(store: Store, bytes: Uint8Array): Promise<void> {
  const put = { key: nodeKey(NodeKey.ring), value: bytes, expiryMs: 0 }
  return store.write([{ type: 'put', ...put }], { durability: 'sync' })
}

function checkIdentity(ring: Ring, identity: NodeIdentity, path: string): void {
  const isOurs =
    ring.clusterId === nodeIdOf(identity.clusterId) &&
    ring.partitionCount === identity.partitionCount
  if (isOurs) return
  const place = { path: `${path}/ring record`, offset: 0 }
  throw new CorruptionError(place, 'the ring record is not of the cluster that the node belongs to')
}

function checkShape(ring: Ring, shape: RingShape, path: string): void {
  for (const name of ['replicationFactor', 'virtualNodes'] as const) {
    const wanted = shape[name]
    if (wanted === undefined || wanted === ring[name]) continue
    const what = name === 'virtualNodes' ? 'virtual nodes' : 'a replication factor'
    throw new InvalidArgumentError(
      `${path} belongs to a cluster with ${what} of ${ring[name]}, fixed when it was made: start ` +
        `it without that setting, or with ${ring[name]}`,
    )
  }
}

function checkPlace(own: RingMember | undefined, place: MemberPlace, path: string): void {
  for (const name of ['rack', 'weight'] as const) {
    const wanted = place[name]
    if (own === undefined || wanted === undefined || wanted === own[name]) continue
    const has = own[name] === '' ? 'no rack' : `${name} ${own[name]}`
    throw new InvalidArgumentError(
      `the node of ${path} has ${has}, fixed when it became a member: start it without that ` +
        'setting, or with what it has',
    )
  }
}

function checkCluster(current: Ring, ring: Ring): void {
  if (ring.clusterId !== current.clusterId) {
    throw new ProtocolError(
      `a ring of cluster ${ring.clusterId} has nothing to say to cluster ${current.clusterId}`,
    )
  }
  const isSame =
    ring.partitionCount === current.partitionCount && ring.virtualNodes === current.virtualNodes
  if (isSame) return
  throw new ProtocolError('a ring with other partitions or virtual nodes is not of this cluster')
}

/**
 * Small numbers for the other members, so that a duty or a hint names one in two bytes. Kept under
 * a node key; a number means the same node for ever.
 *
 *   peers := form u8 (1) | node id [16] * count            the number of a peer is its place
 *
 * Invariants:
 *  1. A number is durable before anything here tells it.
 *  2. The list only grows.
 */
import { CorruptionError, InvalidArgumentError, VersionMismatchError } from '../errors.ts'
import { NodeKey, nodeKey } from './partition.ts'
import { NODE_ID_SIZE, type NodeId, nodeIdBytes, nodeIdOf } from './ring-member.ts'
import type { Store } from './store.ts'

const PEERS_FORM = 1
/** Numbers fit 16 bits, and one is left over as an end of ranges. */
export const PEER_NUMBERS_MAX = 0xffff

export class PeerNumbers {
  readonly #store: Store
  /** By number. */
  #nodeIds: readonly NodeId[]
  #numbers: ReadonlyMap<NodeId, number>
  /** Assignments go one after another. Never rejects. */
  #assigning: Promise<void> = Promise.resolve()

  private constructor(store: Store, nodeIds: readonly NodeId[]) {
    this.#store = store
    this.#nodeIds = nodeIds
    this.#numbers = numbersOf(nodeIds)
  }

  /** `path` is the directory, for messages. Rejects when the record is damaged or newer. */
  static async open(store: Store, path: string): Promise<PeerNumbers> {
    const record = await store.read(nodeKey(NodeKey.peers))
    return new PeerNumbers(store, record === undefined ? [] : decodePeers(record, path))
  }

  get count(): number {
    return this.#nodeIds.length
  }

  /** Undefined before it is assigned. */
  numberOf(nodeId: NodeId): number | undefined {
    return this.#numbers.get(nodeId)
  }

  /** Undefined for a number that nobody has. */
  nodeAt(number: number): NodeId | undefined {
    return this.#nodeIds[number]
  }

  /** Resolves once each of these nodes has a number. */
  assign(nodeIds: readonly NodeId[]): Promise<void> {
    const assigned = this.#assigning.then(() => this.#assign(nodeIds))
    this.#assigning = assigned.catch(() => undefined)
    return assigned
  }

  async #assign(nodeIds: readonly NodeId[]): Promise<void> {
    const added = nodeIds.filter(nodeId => !this.#numbers.has(nodeId))
    if (added.length === 0) return
    const all = [...this.#nodeIds, ...added]
    if (all.length > PEER_NUMBERS_MAX) {
      throw new InvalidArgumentError(`a node has numbers for at most ${PEER_NUMBERS_MAX} peers`)
    }
    const put = { key: nodeKey(NodeKey.peers), value: encodePeers(all), expiryMs: 0 }
    await this.#store.write([{ type: 'put', ...put }], { durability: 'sync' })
    this.#nodeIds = all
    this.#numbers = numbersOf(all)
  }
}

function numbersOf(nodeIds: readonly NodeId[]): ReadonlyMap<NodeId, number> {
  return new Map(nodeIds.map((nodeId, number) => [nodeId, number]))
}

export function encodePeers(nodeIds: readonly NodeId[]): Uint8Array {
  const record = new Uint8Array(1 + NODE_ID_SIZE * nodeIds.length)
  record[0] = PEERS_FORM
  for (const [number, nodeId] of nodeIds.entries()) {
    record.set(nodeIdBytes(nodeId), 1 + NODE_ID_SIZE * number)
  }
  return record
}

export function decodePeers(record: Uint8Array, path: string): NodeId[] {
  const form = record[0] ?? 0
  if (form > PEERS_FORM) {
    throw new VersionMismatchError(
      `${path}: the record of peers has form ${form}, this build reads up to ${PEERS_FORM}`,
    )
  }
  if (form !== PEERS_FORM || (record.length - 1) % NODE_ID_SIZE !== 0) {
    throw new CorruptionError({ path: `${path}/peers record`, offset: 0 }, 'not a list of peers')
  }
  const nodeIds: NodeId[] = []
  for (let at = 1; at < record.length; at += NODE_ID_SIZE) {
    nodeIds.push(nodeIdOf(record.subarray(at, at + NODE_ID_SIZE)))
  }
  return nodeIds
}

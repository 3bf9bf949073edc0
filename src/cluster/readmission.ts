/**
 * Taking back the directory of a member that is an old copy, such as a restored image of a disk,
 * when what came after it is lost for good: members have refused it, for they know a later start,
 * or the operator knows what it is. (Of an image from the last life of the node nobody else can.)
 *
 * What it holds is merged by versions, and so are the hints and duties of that time. But it lacks
 * what it acknowledged since: as a replica of a quorum it would make reads go back. So all its
 * partitions count as damaged: it answers no quorum for one of them, and gives of it to nobody,
 * before it was compared with all other owners (damaged-partitions.ts). And it has no vote on the
 * ring until then (epoch-acceptor.ts).
 */
import { InvalidArgumentError } from '../errors.ts'
import { encodeDamaged } from './damaged-partitions.ts'
import { decodeIdentity } from './node-identity.ts'
import { NodeKey, nodeKey } from './partition.ts'
import { decodeRingRecord } from './ring-format.ts'
import { type NodeId, nodeIdOf } from './ring-member.ts'
import { RingTable } from './ring-table.ts'
import { readmittedStarts, supersededWhy } from './start-record.ts'
import type { Store } from './store.ts'

/** What was taken back. JSON-serialisable. */
export interface Readmission {
  readonly node: NodeId
  /** To be compared with the other members before this one answers for them. */
  readonly partitions: number
  /** Why members have refused it; empty when none has yet. */
  readonly why: string
}

/**
 * Lets the directory start again, as a member that is behind. Resolves once that is fsynced.
 * Rejects with InvalidArgumentError where there are no others to compare with. `path` is the
 * directory, `wallMs` the time.
 */
export async function readmit(store: Store, path: string, wallMs: number): Promise<Readmission> {
  const [identity, ring] = [
    await store.read(nodeKey(NodeKey.identity)),
    await store.read(nodeKey(NodeKey.ring)),
  ]
  if (identity === undefined || ring === undefined) {
    throw new InvalidArgumentError(`${path} is not the directory of a node: nothing to take back`)
  }
  const node = nodeIdOf(decodeIdentity(identity, path).nodeId)
  const table = new RingTable(decodeRingRecord(ring, path))
  if (table.ring.members.length < 2) {
    throw new InvalidArgumentError(
      `${path} is a cluster of one: nobody has anything that it may lack, so start it as it is`,
    )
  }
  const why = (await supersededWhy(store, path)) ?? ''
  const owned = sharedBy(node, table)
  const starts = await readmittedStarts(store, path, wallMs)
  await store.write(
    [
      { type: 'put', key: nodeKey(NodeKey.starts), value: starts, expiryMs: 0 },
      { type: 'put', key: nodeKey(NodeKey.damaged), value: encodeDamaged(owned), expiryMs: 0 },
    ],
    { durability: 'sync' },
  )
  return { node, partitions: owned.length, why }
}

/** What it owns together with others. */
function sharedBy(node: NodeId, table: RingTable): number[] {
  const { members, partitionCount } = table.ring
  const others = members.filter(({ nodeId }) => nodeId !== node)
  const all = Array.from({ length: partitionCount }, (_, partition) => partition)
  return all.filter(
    partition =>
      table.isOwner(partition, node) &&
      others.some(({ nodeId }) => table.isOwner(partition, nodeId)),
  )
}

/**
 * Disks of nodes that belong to one cluster already, as if they had formed it: each holds its
 * identity and the ring of all of them.
 */
import { encodeIdentity } from '../../../src/cluster/node-identity.ts'
import { NodeKey, nodeKey } from '../../../src/cluster/partition.ts'
import { createRing } from '../../../src/cluster/ring.ts'
import { encodeRing } from '../../../src/cluster/ring-format.ts'
import { nodeIdOf } from '../../../src/cluster/ring-member.ts'
import type { Random } from '../../../src/random.ts'
import { type Place, USUAL_PLACE } from './cluster-shape.ts'

const ID_SIZE = 16
const VIRTUAL_NODES = 16
const FORMED_MS = 1_767_225_600_000

export interface PlannedNode extends Partial<Place> {
  readonly clientAddress: string
  readonly peerAddress: string
}

export interface ClusterPlan {
  readonly partitionCount: number
  readonly replicationFactor: number
  readonly nodes: readonly PlannedNode[]
}

/** What the node of each index keeps of itself: keys and values of the engine. */
export function formedRecords(
  plan: ClusterPlan,
  random: Random,
): readonly (readonly { readonly key: Uint8Array; readonly value: Uint8Array }[])[] {
  const { partitionCount, replicationFactor } = plan
  const clusterId = random.bytes(ID_SIZE)
  const ids = plan.nodes.map(() => random.bytes(ID_SIZE))
  const members = plan.nodes.map((planned, index) => {
    const nodeId = nodeIdOf(ids[index]!)
    const tokens = { tokenSalt: 0, tokenId: nodeId }
    return { ...USUAL_PLACE, ...planned, ...tokens, nodeId, state: 'normal' as const }
  })
  const ring = createRing({
    epoch: 1,
    clusterId: nodeIdOf(clusterId),
    phase: 'stable',
    partitionCount,
    replicationFactor,
    virtualNodes: VIRTUAL_NODES,
    members,
    removedIds: [],
  })
  return ids.map(nodeId => {
    const identity = { nodeId, clusterId, partitionCount, createdMs: FORMED_MS }
    return [
      { key: nodeKey(NodeKey.identity), value: encodeIdentity(identity) },
      { key: nodeKey(NodeKey.ring), value: encodeRing(ring) },
    ]
  })
}

/** What has to move for one placement to become another: which partition, from whom to whom. */
import type { Placement } from './placement.ts'
import type { NodeId } from './ring-member.ts'

export interface PartitionMove {
  readonly partition: number
  /** Who owns it no longer; undefined when it gets one replica more. */
  readonly source: NodeId | undefined
  /** Who owns it from then on; undefined when it gets one replica less. */
  readonly target: NodeId | undefined
}

/**
 * The moves, by partition. Of the same epoch's two generations, or of the generations of two epochs
 * (with their last ones: what changed between them in all). Requires equal partition counts.
 */
export function partitionMoves(before: Placement, after: Placement): PartitionMove[] {
  const moves: PartitionMove[] = []
  for (let partition = 0; partition < before.partitionCount; partition++) {
    const old = ownerIds(before, partition)
    const current = ownerIds(after, partition)
    const sources = old.filter(id => !current.includes(id))
    const targets = current.filter(id => !old.includes(id))
    for (let index = 0; index < Math.max(sources.length, targets.length); index++) {
      moves.push({ partition, source: sources[index], target: targets[index] })
    }
  }
  return moves
}

/** The partition's preference list, first owner first. */
export function ownerIds(placement: Placement, partition: number): NodeId[] {
  const ids: NodeId[] = []
  for (let place = 0; place < placement.width; place++) {
    ids.push(placement.memberAt(partition, place).nodeId)
  }
  return ids
}

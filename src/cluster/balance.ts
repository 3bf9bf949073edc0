/** How evenly a placement spreads partitions over its members, by their weights. */
import type { Placement } from './placement.ts'

/** One member's part, in partitions; its replicas count one each. */
export interface Load {
  /** Place in the placement's `members`. */
  readonly index: number
  readonly owned: number
  /** What it would own if all were spread by weight. Never more than there are partitions. */
  readonly ideal: number
}

export function loads(placement: Placement): Load[] {
  const owned = placement.partitionsOwned()
  const ideals = idealLoads(placement)
  return placement.owners.map((index, at) => ({ index, owned: owned[index]!, ideal: ideals[at]! }))
}

/** The greatest load in relation to its ideal: 1 is perfect. */
export function worstLoad(all: readonly Load[]): number {
  return all.reduce((worst, { owned, ideal }) => Math.max(worst, owned / ideal), 0)
}

/**
 * A member owns a partition once at most, so one whose weight asks for more than all of them gets
 * all, and the rest is divided among the others.
 */
function idealLoads({ members, owners, partitionCount, width }: Placement): number[] {
  const weights = owners.map(index => members[index]!.weight)
  const ideals = weights.map(() => 0)
  const byWeight = [...weights.keys()].sort((a, b) => weights[b]! - weights[a]!)
  let restWeight = weights.reduce((sum, weight) => sum + weight, 0)
  let rest = partitionCount * width
  for (const at of byWeight) {
    const ideal = Math.min(partitionCount, (rest * weights[at]!) / restWeight)
    ideals[at] = ideal
    rest -= ideal
    restWeight -= weights[at]!
  }
  return ideals
}

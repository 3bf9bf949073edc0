/**
 * How a simulated cluster is laid out: how many nodes it has, how many of them hold a key, in which
 * racks they stand, and how much each is to carry. Most have three nodes and three copies. What is
 * drawn has a generator of its own each: what is drawn elsewhere stays as it was.
 */
import type { Random } from '../../../src/random.ts'

export interface Place {
  /** Empty: none. */
  readonly rack: string
  readonly weight: number
}

export interface ClusterShape {
  /** Copies of a key; may be more than there are nodes. */
  readonly replicationFactor: number
  /** By node, from the first on; a node beyond has no rack and weight 1. */
  readonly places: readonly Place[]
}

export const USUAL_FACTOR = 3
export const USUAL_PLACE: Place = { rack: '', weight: 1 }
export const USUAL_SHAPE: ClusterShape = { replicationFactor: USUAL_FACTOR, places: [] }

/** In one of so many simulations of several nodes the number of copies is another. */
const FACTOR_ONE_OF = 4
const FACTOR_MAX = 5
/** In one of so many of them nodes stand in racks: often unevenly many, as they are drawn. */
const RACKS_ONE_OF = 4
const RACKS_MAX = 3
/** In one of so many of them nodes carry more or less than others. */
const WEIGHTS_ONE_OF = 5
const WEIGHT_MAX = 4

/** How many of a hundred simulations have so many nodes: 3 is what most clusters have. */
const SHARES_OF_NODES: readonly (readonly [nodes: number, share: number])[] = [
  [3, 72],
  [5, 10],
  [2, 7],
  [4, 7],
  [1, 4],
]

export function drawNodeCount(random: Random): number {
  let rest = random.below(100)
  for (const [nodes, share] of SHARES_OF_NODES) {
    if (rest < share) return nodes
    rest -= share
  }
  return 3
}

export function drawShape(random: (purpose: string) => Random, nodeCount: number): ClusterShape {
  if (nodeCount === 1) return USUAL_SHAPE
  const factors = random('replication factor')
  const isOther = factors.below(FACTOR_ONE_OF) === 0
  const racks = random('racks')
  const rackCount = racks.below(RACKS_ONE_OF) === 0 ? 2 + racks.below(RACKS_MAX - 1) : 0
  const weights = random('weights')
  const isUneven = weights.below(WEIGHTS_ONE_OF) === 0
  return {
    replicationFactor: isOther ? 1 + factors.below(FACTOR_MAX) : USUAL_FACTOR,
    places: Array.from({ length: nodeCount }, () => ({
      rack: rackCount === 0 ? '' : `rack-${racks.below(rackCount)}`,
      weight: isUneven ? 1 + weights.below(WEIGHT_MAX) : 1,
    })),
  }
}

/** What is unusual in it, for counts. */
export function shapeTraits({ replicationFactor, places }: ClusterShape): string[] {
  const traits: string[] = []
  if (replicationFactor !== USUAL_FACTOR) traits.push(`replication factor ${replicationFactor}`)
  if (places.some(({ rack }) => rack !== '')) traits.push('racks')
  if (places.some(({ weight }) => weight !== 1)) traits.push('weights')
  return traits
}

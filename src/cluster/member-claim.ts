/**
 * What one node says of another one's life, and the number that decides whose word counts: the
 * incarnation, which only the node itself raises (Das et al., SWIM, 2002, section 4.2).
 *
 * An incarnation is the count of the node's starts and the count of accusations that it has refuted
 * since. The starts are fsynced before anybody hears of the node, so a node that starts again is
 * above everything that was said of its earlier lives, with nothing more to keep.
 */
import type { NodeId } from './ring-member.ts'

export type ClaimStatus = 'alive' | 'suspect' | 'down'

/** Immutable. */
export interface Claim {
  /** Of whom. */
  readonly node: NodeId
  readonly status: ClaimStatus
  /** 0 where the speaker has never heard of the node: such a claim tells nothing. */
  readonly incarnation: number
  /** Who found it so; the node itself where it is alive. */
  readonly accuser: NodeId
}

/** Refutations of one life before it reaches into the next: one a second for half a year. */
const REFUTATIONS_MAX = 2 ** 24
/** What no honest node comes to; more is refused, so that there is always room for a refutation. */
export const INCARNATION_MAX = 2 ** 52
/** Starts of a node, so that every incarnation of theirs is in bounds. */
export const GENERATION_MAX = INCARNATION_MAX / REFUTATIONS_MAX - 1

/** The first incarnation of a start. Requires 1 <= generation <= GENERATION_MAX. */
export function firstIncarnation(generation: number): number {
  return generation * REFUTATIONS_MAX
}

export function aliveClaim(node: NodeId, incarnation: number): Claim {
  return { node, status: 'alive', incarnation, accuser: node }
}

/** Numbers of proposals: unique to one attempt of one proposer, and in one order for everybody. */
import type { NodeId } from './ring-member.ts'

/** Immutable. */
export interface Ballot {
  /** From 1. */
  readonly round: number
  readonly node: NodeId
}

/** Below every ballot of a proposer. */
export const NO_BALLOT: Ballot = { round: 0, node: '0'.repeat(32) }

/** Negative, zero or positive as `a` is below, the same as, or above `b`. */
export function compareBallots(a: Ballot, b: Ballot): number {
  if (a.round !== b.round) return a.round - b.round
  if (a.node === b.node) return 0
  return a.node < b.node ? -1 : 1
}

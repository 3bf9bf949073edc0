/**
 * What a node believes of the others: an opinion of its own, that routes requests and never moves
 * ownership. Implemented by the membership protocol; tests bring fixed opinions.
 */
import type { NodeId } from './ring-member.ts'

/** `suspect`: it did not answer, and may yet refute that; it is still sent what it owns. */
export type Liveness = 'up' | 'suspect' | 'down'

export interface LivenessView {
  /** A node that is no member is `down`; the node itself is `up`. */
  liveness(node: NodeId): Liveness
  /** Calls back after every change; returns how to stop that. */
  onLiveness(listener: (node: NodeId, liveness: Liveness) => void): () => void
}

/**
 * What a node tells of itself to all others: where it is reached, the epoch of its ring, and a few
 * numbers that other parts of it publish. A profile is replaced as a whole by a later one of the
 * same node.
 */
import type { WriteRefusal } from '../engine/index.ts'
import type { NodeId } from './ring-member.ts'

/** What the numbers mean: append only, never renumber. A number that is unknown is passed on. */
export const AppState = {
  /** Milliseconds since the Unix epoch before which it owes nobody anything. */
  hintFloorMs: 1,
  /** Bytes of acknowledged writes that not all replicas have yet. */
  unreplicatedBytes: 2,
  /** Requests under way. */
  load: 3,
  /** Milliseconds by which its clock is off, so that it takes no writes; 0 while it is not. */
  clockOffMs: 4,
  /** Of clients, in the last second that was counted. */
  readsPerSecond: 5,
  writesPerSecond: 6,
  /** Microseconds that 99 in 100 of those took at most, the slower kind of both; 0 without any. */
  p99Us: 7,
  /** Why it takes no writes; see WRITE_REFUSALS. */
  writesRefused: 8,
  /** The generation of this life (peer-boots.ts), which is not that of the profile. */
  lifeGeneration: 9,
} as const

/** By their number in a profile; never renumber. 0 is that writes are taken. */
export const WRITE_REFUSALS: Readonly<Record<WriteRefusal | 'clock', number>> = {
  space: 1,
  files: 2,
  failure: 3,
  clock: 4,
}

/** One of AppState, or a number that a newer build knows: 0 to 255. */
export type AppStateKey = number

export const APP_STATES_MAX = 32

/** Immutable. */
export interface Profile {
  readonly node: NodeId
  /** How often the node was started. */
  readonly generation: number
  /** Counts the profiles of a generation, from 1. */
  readonly version: number
  /** Of the ring that it goes by. */
  readonly epoch: number
  /** `host:port`, or empty. */
  readonly clientAddress: string
  /** `host:port`, or empty. */
  readonly peerAddress: string
  /** Values are integers in [0, 2^53). */
  readonly states: ReadonlyMap<AppStateKey, number>
}

/** True when `a` was made after `b`, a profile of the same node. */
export function isLaterProfile(a: Profile, b: Profile | undefined): boolean {
  if (b === undefined) return true
  if (a.generation !== b.generation) return a.generation > b.generation
  return a.version > b.version
}

/**
 * What the writer (versioned-writer.ts) tells of a write for the sake of other replicas, and what
 * it is told to put into its batch; the other end of it is replicated-write.ts.
 */
import type { StorePut } from './store.ts'

/** What goes into the batch of a write for the sake of other replicas. */
export interface WriteExtra {
  readonly logData: Uint8Array | undefined
  readonly puts: readonly StorePut[]
}

/** Told of what is really written, so that other replicas get it; see replicated-write.ts. */
export interface WriteDuties {
  /** What was asked for, of several operations on a key the last: before anything is written. */
  asked(keys: readonly Uint8Array[], stored: readonly Uint8Array[]): void
  /** In the moment of the submission: what is written, be it what a key has already. */
  submitting(keys: readonly Uint8Array[], stored: readonly Uint8Array[]): WriteExtra
  /**
   * The store did not take it: told in the step in which that is known, whatever else the writer
   * waits for. One that the store refused at once is told before the end of the tick.
   */
  failed(): void
}

/** The same for a large write. */
export interface LargeDuties {
  /** What was left out, as it has lost against what is there. */
  lost(key: Uint8Array, stored: Uint8Array): void
  /** What is written, in the order of the operations in the batch. */
  add(key: Uint8Array): void
  readonly logData: Uint8Array | undefined
  /** The batch took its place in the log. */
  submitted(keys: readonly Uint8Array[], stored: readonly Uint8Array[]): void
  /** As WriteDuties.failed. */
  failed(): void
}

/**
 * A write of very many operations, as whoever prepares it over several turns of the event loop
 * sees it (versioned-writer.ts): made by the store, operation by operation, when it is asked for.
 */
import type { Durability } from '../key-value-store.ts'
import type { LargeDuties } from './write-duties.ts'

export interface LargeWrite {
  readonly count: number
  readonly durability: Durability | undefined
  readonly duties?: LargeDuties | undefined
  /** The engine key of operation `at`. */
  keyAt(at: number): Uint8Array
  /**
   * Fixes the version. Called once: no other write to the keys is submitted from here on. Undefined
   * to go on, else a promise to do so after, which may reject to give the write up.
   */
  begin(): Promise<void> | undefined
  /** Whether the version is known to be the latest of the key of operation `at`. After begin(). */
  isLatestAt(at: number): boolean
  /** The stored form of operation `at`. */
  storedAt(at: number): Uint8Array
  /** Undefined to go on, else a promise to do so after. May throw to give the write up. */
  pause(): Promise<void> | undefined
}

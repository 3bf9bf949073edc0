/**
 * What happens inside an open database, for whoever counts, logs or draws it: plain objects, told
 * apart by `type`. Sizes are in bytes, durations in milliseconds. Fields may be added, and types:
 * a listener passes over those it does not know.
 */
import type { CompactionKind, CompactionReason } from './compaction-plan.ts'
import type { PressureReason } from './write-pressure.ts'

/**
 * What holds writers back; see DbStats.stalls. `recovery` is the end of a recovery for which there
 * was no room on the disk.
 */
export type StallReason = PressureReason | 'recovery'

export type DbEvent =
  | OpenedEvent
  | FlushBeginEvent
  | FlushEndEvent
  | CompactionBeginEvent
  | CompactionEndEvent
  | StallBeginEvent
  | StallEndEvent
  | WalRotatedEvent
  | WalDeletedEvent
  | WalHoldBrokenEvent
  | TableDeletedEvent
  | BackgroundErrorEvent
  | PoisonedEvent

/** The database was recovered; what that deleted was told before. */
export interface OpenedEvent {
  readonly type: 'opened'
  readonly durationMs: number
  /** What the log held: segments, entries, and the bytes of a torn tail that was dropped. */
  readonly walSegments: number
  readonly entries: number
  readonly droppedBytes: number
}

/** A frozen memtable is being written to a table of level 0. */
export interface FlushBeginEvent {
  readonly type: 'flushBegin'
  readonly entries: number
  /** Of keys and values. */
  readonly bytesIn: number
}

export interface FlushEndEvent {
  readonly type: 'flushEnd'
  readonly entries: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly durationMs: number
  /** Why it failed, if it did; it will be tried again unless the database is poisoned or closed. */
  readonly error: Error | undefined
}

interface CompactionFields {
  /** `move` and `drop` touch no data. */
  readonly kind: CompactionKind
  readonly reason: CompactionReason
  readonly inputLevel: number
  readonly outputLevel: number
  /** Of both levels. */
  readonly tablesIn: number
  readonly bytesIn: number
}

export interface CompactionBeginEvent extends CompactionFields {
  readonly type: 'compactionBegin'
}

export interface CompactionEndEvent extends CompactionFields {
  readonly type: 'compactionEnd'
  readonly tablesOut: number
  readonly bytesOut: number
  readonly durationMs: number
  /** Why it failed, if it did. */
  readonly error: Error | undefined
}

/** From here on group commits are held back, until the stallEnd with the same reason. */
export interface StallBeginEvent {
  readonly type: 'stallBegin'
  readonly reason: StallReason
}

export interface StallEndEvent {
  readonly type: 'stallEnd'
  readonly reason: StallReason
  /** Between begin and end. */
  readonly durationMs: number
  /** How many group commits were held back, and for how long in all. */
  readonly commits: number
  readonly heldMs: number
}

/** The next segment of the log has begun, and with it the next memtable. */
export interface WalRotatedEvent {
  readonly type: 'walRotated'
  readonly fileNumber: number
  /** The segment that is complete, and its length. */
  readonly previousNumber: number
  readonly previousBytes: number
}

export interface WalDeletedEvent {
  readonly type: 'walDeleted'
  readonly fileNumber: number
}

/** The log was not kept for somebody who had asked for it: its reader must start over. */
export interface WalHoldBrokenEvent {
  readonly type: 'walHoldBroken'
  /** From where on it was held. */
  readonly sequence: number
  /** It took more than `heldWalSizeMax`, or it was not there when the database was opened. */
  readonly reason: 'size' | 'missing'
  /** What all holds together had kept. */
  readonly heldBytes: number
}

export interface TableDeletedEvent {
  readonly type: 'tableDeleted'
  readonly fileNumber: number
}

/**
 * Work in the background failed; reads and writes go on. What fails again for want of room or of
 * files is told less and less often, though it is tried each second.
 */
export interface BackgroundErrorEvent {
  readonly type: 'backgroundError'
  readonly what: 'flush' | 'compaction'
  readonly error: Error
  /** When it is tried again; undefined when it is not, because a table is damaged. */
  readonly retryMs: number | undefined
}

/** Writes are refused from now on; see KV_POISONED. */
export interface PoisonedEvent {
  readonly type: 'poisoned'
  readonly error: Error
}

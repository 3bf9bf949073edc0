/**
 * Deletes from the engine what lies before the mark of its partition, a partition at a time, after
 * the mark has moved, and once after a start. Never more than a turn's work without a pause.
 *
 * Invariant: what is deleted is still exactly the deletion that was read (VersionedWriter.purge).
 */
import { copyBytes, DecodeError } from '../bytes.ts'
import { KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { BackgroundBudget } from './background-budget.ts'
import { KeyBounds } from './partition.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import type { PurgeMarks } from './purge-marks.ts'
import { PartitionReader } from './scan.ts'
import type { StoreEntry } from './store.ts'
import { TimeSlice } from './time-slice.ts'
import { purgeTimeMs } from './versioned-value.ts'

/** Deletions of one batch. */
const BATCH = 256
const EVERYTHING = new KeyBounds({})

export interface PurgeSweepOptions {
  readonly store: PartitionedStore
  readonly marks: PurgeMarks
  readonly budget: BackgroundBudget
  readonly logger: Logger
}

export class PurgeSweep {
  readonly #options: PurgeSweepOptions
  readonly #waiting = new Set<number>()
  #isRunning = false
  #isClosed = false
  /** Tombstones and expired values that were deleted. */
  purged = 0

  constructor(options: PurgeSweepOptions) {
    this.#options = options
    options.marks.onAdvance(partitions => this.#add(partitions))
  }

  /** Looks once at all that an earlier process may have left. */
  start(): void {
    const { store, marks } = this.#options
    const all = Array.from({ length: store.partitioner.count }, (_, partition) => partition)
    this.#add(all.filter(partition => marks.markMs(partition) > 0))
  }

  close(): void {
    this.#isClosed = true
  }

  #add(partitions: readonly number[]): void {
    for (const partition of partitions) this.#waiting.add(partition)
    if (!this.#isRunning && !this.#isClosed) void this.#run()
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    try {
      for (const partition of this.#waiting) {
        if (this.#isClosed) break
        this.#waiting.delete(partition)
        await this.#options.budget.yieldToForeground()
        await this.#sweep(partition)
      }
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      // The mark stays: the next move, or the next start, looks at the partition again.
      this.#options.logger.warn('deletions could not be purged', { error: error.message })
    } finally {
      this.#isRunning = false
    }
  }

  async #sweep(partition: number): Promise<void> {
    const { store, marks } = this.#options
    const snapshot = store.store.snapshot()
    try {
      const slice = new TimeSlice(store.turns, this)
      await slice.begin()
      const markMs = marks.markMs(partition)
      const source = { store: store.store, snapshot, bounds: EVERYTHING, reverse: false }
      let found: StoredEntry[] = []
      const reader = new PartitionReader(source, partition, partition, slice, entry => {
        if (isPurgeable(entry, markMs)) found.push(copyEntry(entry))
        return found.length < BATCH ? 'next' : 'stop'
      })
      while (!reader.done && !this.#isClosed) {
        await reader.run(() => undefined)
        if (found.length > 0) this.purged += await store.purge(found)
        found = []
      }
    } finally {
      snapshot.release()
    }
  }
}

function isPurgeable({ valueBytes, valueStart, valueEnd }: StoreEntry, markMs: number): boolean {
  try {
    return purgeTimeMs(valueBytes, valueStart, valueEnd) < markMs
  } catch (error) {
    if (error instanceof DecodeError) return false
    throw error
  }
}

export function copyEntry(entry: StoreEntry): StoredEntry {
  const { keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd } = entry
  return {
    engineKey: copyBytes(keyBytes, keyStart, keyEnd),
    stored: copyBytes(valueBytes, valueStart, valueEnd),
  }
}

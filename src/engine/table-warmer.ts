/**
 * Reads tables that were just written into the block cache, as far as it has free room.
 *
 * After a flush or a compaction the keys that were asked for lie in new tables, of which no block
 * is in memory: each read then waits for a load of its own, 40 us through the thread pool where a
 * hit takes two, and a thousand clients at once wait for each other's. What was just written is in
 * the operating system's cache, so reading it in order, many blocks at a time, costs next to
 * nothing: about 1.3 us a kilobyte.
 *
 * Invariants:
 *  1. Nothing is evicted for it.
 *  2. One read is under way at a time, of 256 KiB at most, and after each one the event loop serves
 *     all others: it takes no more than a third of a millisecond of each round.
 *  3. A failure is no error of anybody: whoever needs the table meets it again and is told.
 */
import { yieldToEventLoop } from '../clock.ts'
import { toError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { TableCache } from './table-cache.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { TreeState } from './tree-state.ts'

/** Room that is left for what reads bring in: one read's worth. */
const ROOM_MIN = 512 * 1024

export interface TableWarmerParts {
  readonly state: TreeState
  readonly tables: TableCache
  readonly logger: Logger
}

export class TableWarmer {
  readonly #parts: TableWarmerParts
  /** Tables that were looked at. Those that are there at the start are not new. */
  readonly #seen = new WeakSet<TableMetadata>()
  #running: Promise<void> | undefined
  #closed = false

  constructor(parts: TableWarmerParts) {
    this.#parts = parts
    for (const { table } of parts.state.version.tables()) this.#seen.add(table)
  }

  /** Called when the tables may have changed. */
  look(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  /** Resolves when nothing is being read any more, nor ever will be. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  async #run(): Promise<void> {
    for (let table = this.#next(); table !== undefined; table = this.#next()) {
      this.#seen.add(table)
      try {
        await this.#warm(table)
      } catch (error) {
        const { logger } = this.#parts
        logger.debug('a new table was not read ahead of its readers', { error: toError(error) })
      }
    }
  }

  /** A table that was not looked at. */
  #next(): TableMetadata | undefined {
    if (this.#closed) return undefined
    for (const { table } of this.#parts.state.version.tables()) {
      if (!this.#seen.has(table)) return table
    }
    return undefined
  }

  async #warm(table: TableMetadata): Promise<void> {
    const { tables } = this.#parts
    if (tables.roomForBlocks < ROOM_MIN) return
    const reader = await tables.openTable(table)
    for (let ordinal = 0; ordinal < reader.blockCount; ordinal++) {
      if (reader.slots[ordinal]! >= 0) continue
      if (this.#closed || reader.closed || tables.roomForBlocks < ROOM_MIN) return
      await tables.loadBlock(reader, ordinal)
      await yieldToEventLoop()
    }
  }
}

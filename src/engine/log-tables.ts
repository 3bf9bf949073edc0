/**
 * Turns what a log holds into tables, on the calling thread: for repair, which takes from a damaged
 * log what it can. (Recovery does the same beside the replay, with jobs.)
 */
import { seededRandom } from '../random.ts'
import { runFlushJob } from './flush-job.ts'
import type { EntryKind } from './internal-key.ts'
import type { TableOptions } from './job.ts'
import { Memtable } from './memtable.ts'
import { MemtableMemory } from './memtable-memory.ts'
import { largerKey } from './range-fragment.ts'
import { insertReplayed } from './replay-memtables.ts'
import type { JobEnvironment } from './run-job.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { WalVisitor } from './wal-reader.ts'

/** Bytes of a memtable's arena before it becomes a table. */
const ARENA_SIZE = 16 * 1024 * 1024
/** Where entries land in a skiplist is chance; which does not matter here. */
const SEED = 1
const NO_READERS = new Float64Array(0)

export interface LogTablesParts {
  readonly directory: string
  readonly tableOptions: TableOptions
  readonly newFileNumber: () => number
  /** No key of anything older than the log is larger. */
  readonly largestKey: Uint8Array | undefined
}

export class LogTables implements WalVisitor {
  readonly #parts: LogTablesParts
  readonly #environment: JobEnvironment
  readonly #tables: TableMetadata[] = []
  #memtable: Memtable | undefined
  #largestKey: Uint8Array | undefined

  constructor(parts: LogTablesParts, environment: JobEnvironment) {
    this.#parts = parts
    this.#environment = environment
    this.#largestKey = parts.largestKey
  }

  beginFrame(_fileNumber: number, opCount: number, size: number): undefined {
    if (this.#memtable?.hasRoom(opCount, size) === true) return
    this.#flush()
    const arenaSize = Math.max(ARENA_SIZE, Memtable.arenaSizeFor(opCount, size))
    this.#memtable = new Memtable(new MemtableMemory(arenaSize), 0, seededRandom(SEED))
  }

  op(
    kind: EntryKind,
    sequence: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): boolean {
    const memtable = this.#memtable!
    insertReplayed(memtable, kind, sequence, key, keyStart, keyEnd, value, valueStart, valueEnd)
    return false
  }

  /** The tables, oldest first, durable. */
  finish(): readonly TableMetadata[] {
    this.#flush()
    return this.#tables
  }

  #flush(): void {
    const memtable = this.#memtable
    if (memtable === undefined || memtable.entryCount === 0) return
    memtable.freeze()
    this.#memtable = undefined
    const { directory, tableOptions, newFileNumber } = this.#parts
    const { tables } = runFlushJob(
      {
        kind: 'flush',
        arena: memtable.arena,
        order: 'sorted',
        largestKey: this.#largestKey,
        directory,
        firstFileNumber: newFileNumber(),
        fileNumberCount: 1,
        tableOptions,
        snapshots: NO_READERS,
        wallMs: 0,
        cancel: new Int32Array(1),
      },
      this.#environment,
    )
    this.#tables.push(...tables)
    this.#largestKey = largerKey(this.#largestKey, memtable.largestKey)
  }
}

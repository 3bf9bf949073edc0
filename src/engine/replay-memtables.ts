/**
 * What the log holds in memtables, for a disk on which there is no room to put it into tables: it
 * is read from there, and flushed once there is room (late-recovery.ts).
 *
 * Invariant: they are no more than `countMax`. The process that wrote the log had all of it in
 * memtables; one that is given much less memory than that one cannot open it so.
 */
import type { Clock } from '../clock.ts'
import { IoError } from '../errors.ts'
import { xxh32 } from '../hash.ts'
import type { Random } from '../random.ts'
import { EntryKind } from './internal-key.ts'
import { LoopTurns } from './loop-turns.ts'
import { Memtable } from './memtable.ts'
import { MemtableMemory } from './memtable-memory.ts'
import type { WalVisitor } from './wal-reader.ts'

export interface ReplayMemtablesOptions {
  readonly clock: Clock
  readonly random: Random
  /** Bytes of an arena, more where a frame asks for it. */
  readonly memtableSize: number
  readonly countMax: number
  /** Why the log cannot be put into tables, for the message. */
  readonly shortage: Error
}

/** Nobody reads yet. */
const NO_READERS = new Float64Array(0)

export class ReplayMemtables implements WalVisitor {
  readonly #options: ReplayMemtablesOptions
  readonly #turns: LoopTurns
  /** Oldest first; the last one is being filled. */
  readonly #memtables: Memtable[] = []
  #turn: Promise<void> | undefined

  constructor(options: ReplayMemtablesOptions) {
    this.#options = options
    this.#turns = new LoopTurns(options.clock)
  }

  beginFrame(_fileNumber: number, opCount: number, size: number): Promise<void> | undefined {
    if (this.#memtables.at(-1)?.hasRoom(opCount, size) !== true) this.#begin(opCount, size)
    return this.#turns.count()
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
    const memtable = this.#memtables.at(-1)!
    insertReplayed(memtable, kind, sequence, key, keyStart, keyEnd, value, valueStart, valueEnd)
    this.#turn = this.#turns.count()
    return this.#turn !== undefined
  }

  async resume(): Promise<void> {
    await this.#turn
  }

  /** The memtables, newest first, frozen. `logSize` bytes of log hold the same. */
  finish(logSize: number): readonly Memtable[] {
    const filled = this.#memtables.filter(memtable => memtable.entryCount > 0)
    for (const memtable of filled) memtable.freeze()
    // How it is spread over them nobody asks.
    if (filled[0] !== undefined) filled[0].walSize = logSize
    return filled.reverse()
  }

  #begin(opCount: number, size: number): void {
    const { memtableSize, countMax, random, shortage } = this.#options
    if (this.#memtables.length >= countMax) {
      throw new IoError(
        `${shortage.message}, so the log cannot be put into tables, and it does not fit into ` +
          `${Math.floor(countMax)} memtables of ${memtableSize} bytes: make room on the disk, or ` +
          'open it with the memoryBudget that it was written with',
        { cause: shortage },
      )
    }
    const arenaSize = Math.max(memtableSize, Memtable.arenaSizeFor(opCount, size))
    this.#memtables.push(new Memtable(new MemtableMemory(arenaSize), 0, random, true))
  }
}

/** Adds an op of the log. Requires room. */
export function insertReplayed(
  memtable: Memtable,
  kind: EntryKind,
  sequence: number,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
  value: Uint8Array,
  valueStart: number,
  valueEnd: number,
): void {
  if (kind === EntryKind.logData) return
  if (kind === EntryKind.deleteRange) {
    const readers = NO_READERS
    memtable.insertRange(key, keyStart, keyEnd, sequence, value, valueStart, valueEnd, readers)
    return
  }
  const hash = xxh32(key, keyStart, keyEnd, 0)
  memtable.insert(hash, key, keyStart, keyEnd, sequence, kind, value, valueStart, valueEnd)
}

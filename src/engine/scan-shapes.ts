/**
 * One instance of each class whose instances live no longer than a scan.
 *
 * V8 forgets the shape of a class when a full garbage collection finds no instance of it, and with
 * the shape the machine code that was compiled for it: after every such collection the next
 * hundreds of scans ran three times as long. Whoever holds these instances keeps the code.
 *
 * None of them refers to data: no memtable, block or table.
 */
import { EventLoopBudget } from '../event-loop-budget.ts'
import type { BlockSource } from './block-source.ts'
import { NO_SEQUENCE } from './internal-key.ts'
import { LevelCursor } from './level-cursor.ts'
import { MemtableArena } from './memtable-arena.ts'
import { mergeCursors } from './merging-cursor.ts'
import { ARENA_OVERHEAD } from './node-arena.ts'
import { RangePages } from './range-pages.ts'
import type { RangeChunk } from './range-read.ts'
import { RangeScan } from './range-scan.ts'
import { Skiplist } from './skiplist.ts'
import type { EngineSnapshot } from './snapshots.ts'
import { VisibleCursor } from './visible-cursor.ts'

/** `chunk` is what a range read without a bound makes. */
export function scanShapes(
  source: BlockSource,
  snapshot: EngineSnapshot,
  chunk: RangeChunk,
  wallMs: number,
): readonly object[] {
  const arena = new SharedArrayBuffer(ARENA_OVERHEAD)
  Skiplist.create(arena)
  const level = new LevelCursor([], source)
  const memtable = new MemtableArena(arena).cursor()
  const pages = new RangePages({
    range: { reverse: false, keysOnly: false },
    snapshot,
    read: () => chunk,
    budget: new EventLoopBudget(),
    item: key => key,
  })
  return [
    level,
    memtable,
    mergeCursors([memtable, level]),
    new VisibleCursor(level, NO_SEQUENCE, wallMs),
    new RangeScan(pages, 0),
    chunk,
  ]
}

/** What the fuzzer's server has behind it: a map in memory, or a node's handler over the engine. */

import { systemClock } from '../../src/clock.ts'
import { HybridLogicalClock } from '../../src/cluster/hybrid-logical-clock.ts'
import { NodeHandler } from '../../src/cluster/node-handler.ts'
import { PARTITION_COUNT_DEFAULT, Partitioner } from '../../src/cluster/partition.ts'
import { PartitionedStore } from '../../src/cluster/partitioned-store.ts'
import { open } from '../../src/engine/index.ts'
import type { RequestHandler } from '../../src/net/request-handler.ts'
import { MemoryHandler } from './memory-handler.ts'

export interface FuzzTarget {
  readonly handler: RequestHandler
  /** Scans that were opened and not closed. */
  openScans(): number
  close(): Promise<void>
}

export function memoryTarget(): FuzzTarget {
  const handler = new MemoryHandler({ later: true })
  return { handler, openScans: () => handler.openScans, close: async () => undefined }
}

/** Small, so that what the caches grow by is no excuse for a leak. */
const MEMORY_BUDGET = 8 << 20

/** What `kvd` has, in a directory on the disk. */
export async function engineTarget(directory: string): Promise<FuzzTarget> {
  const db = await open(directory, { memoryBudget: MEMORY_BUDGET })
  const clock = systemClock()
  const newWriter = () => new Uint8Array(8).fill(1)
  const persistMarks = async (): Promise<void> => undefined
  const versions = new HybridLogicalClock({
    clock,
    newWriter,
    marks: { markMs: 0, storedMs: 0 },
    persistMarks,
  })
  const partitioner = new Partitioner(PARTITION_COUNT_DEFAULT)
  const store = new PartitionedStore({ store: db, partitioner, versions, clock, path: directory })
  const ring = new Uint8Array(100)
  const stats = () => ({ engine: db.stats() })
  return {
    handler: new NodeHandler(store, stats, () => ring),
    openScans: () => db.stats().snapshots,
    async close() {
      await versions.close()
      await db.close()
    },
  }
}

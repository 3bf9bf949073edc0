/** Duramen itself, embedded, from dist/. */

import type { DbTuning } from '../../src/engine/index.ts'
import type { ScanOptions } from '../../src/key-value-store.ts'
import { loadEngine } from '../built.ts'
import type { Subject, SubjectOptions } from '../subject.ts'

const MIB = 1024 * 1024
const PAGE_ENTRIES = 1000

export async function openDuramen(options: SubjectOptions): Promise<Subject> {
  const { open } = await loadEngine()
  const { logSize } = options
  const memoryBudget = logSize === undefined ? options.memoryBudget : 16 * logSize
  // A log of this size builds up only when the memtable, which is larger, has room for it.
  const tuning: DbTuning = logSize === undefined ? {} : { memtableSize: 4 * logSize }
  const database = await open(options.directory, { memoryBudget, ...tuning })

  const synced = { durability: 'sync' } as const
  const written = { durability: 'interval' } as const
  const kept = { durability: 'none' } as const

  async function scan(scanOptions: ScanOptions) {
    const total = { entries: 0, bytes: 0 }
    const entries = database.entries(scanOptions)
    for (;;) {
      const page = await entries.nextBatch(PAGE_ENTRIES)
      if (page.length === 0) break
      for (const [key, value] of page) {
        total.entries++
        total.bytes += key.length + value.length
      }
      if (total.entries === scanOptions.limit) break
    }
    await entries.close()
    return total
  }

  return {
    settings:
      `memoryBudget ${memoryBudget / MIB} MiB; durable means durability 'sync', ` +
      `without sync means 'interval' (given to the operating system, as LevelDB does)`,
    putDurable: (key, value) => database.put(key, value, synced),
    putFast: (key, value) => database.put(key, value, written),
    putUnwritten: (key, value) => database.put(key, value, kept),
    deleteFast: key => database.delete(key, written),
    batch(keys, values, durable) {
      const operations = keys.map((key, position) => ({
        type: 'put' as const,
        key,
        value: values[position] as Buffer,
      }))
      return database.batch(operations, durable ? synced : written)
    },
    getSync: key => database.getSync(key),
    get: key => database.get(key),
    scanAll: () => scan({}),
    async scanEach() {
      const total = { entries: 0, bytes: 0 }
      for await (const [key, value] of database.entries()) {
        total.entries++
        total.bytes += key.length + value.length
      }
      return total
    },
    scanFrom: (gte, limit) => scan({ gte, limit }),
    close: () => database.close(),
  }
}

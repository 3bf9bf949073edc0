/** LevelDB in C++ behind Node-API: the embedded store that Node users know best. */
import { loadPeer } from '../peers.ts'
import type { ScanTotal, Subject, SubjectOptions } from '../subject.ts'

const MIB = 1024 * 1024
/** Entries a page of a long scan; larger pages were not faster. */
const PAGE_ENTRIES = 1000
const PAGE_BYTES = MIB

export async function openClassicLevel(options: SubjectOptions): Promise<Subject> {
  const { ClassicLevel } = loadPeer('classic-level')
  const writeBufferSize = options.logSize === undefined ? 32 * MIB : 2 * options.logSize
  const cacheSize = options.memoryBudget - 32 * MIB
  const database = new ClassicLevel(options.directory, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    compression: false,
    cacheSize,
    writeBufferSize,
  })
  await database.open()

  const synced = { sync: true }
  const unsynced = { sync: false }
  return {
    settings:
      `buffers, compression off, cacheSize ${cacheSize / MIB} MiB, ` +
      `writeBufferSize ${writeBufferSize / MIB} MiB, durable means {sync: true}`,
    putDurable: (key, value) => database.put(key, value, synced),
    putFast: (key, value) => database.put(key, value, unsynced),
    deleteFast: key => database.del(key, unsynced),
    batch(keys, values, durable) {
      const operations = keys.map((key, position) => ({
        type: 'put' as const,
        key,
        value: values[position] as Buffer,
      }))
      return database.batch(operations, durable ? synced : unsynced)
    },
    getSync: key => database.getSync(key),
    get: key => database.get(key),
    async scanAll() {
      const iterator = database.iterator({ highWaterMarkBytes: PAGE_BYTES })
      const total = { entries: 0, bytes: 0 }
      for (;;) {
        const page = await iterator.nextv(PAGE_ENTRIES)
        if (page.length === 0) break
        add(total, page)
      }
      await iterator.close()
      return total
    },
    async scanEach() {
      const total = { entries: 0, bytes: 0 }
      for await (const [key, value] of database.iterator({ highWaterMarkBytes: PAGE_BYTES })) {
        total.entries++
        total.bytes += key.length + value.length
      }
      return total
    },
    async scanFrom(key, limit) {
      const total = { entries: 0, bytes: 0 }
      add(total, await database.iterator({ gte: key, limit }).all())
      return total
    },
    close: () => database.close(),
  }
}

function add(
  total: { entries: number; bytes: number },
  page: readonly [Buffer, Buffer][],
): ScanTotal {
  for (const [key, value] of page) {
    total.entries++
    total.bytes += key.length + value.length
  }
  return total
}

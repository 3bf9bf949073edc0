/** LMDB in C behind Node-API: a memory-mapped B+ tree, the quickest reader Node users have. */
import { loadPeer } from '../peers.ts'
import type { Subject, SubjectOptions } from '../subject.ts'

/**
 * lmdb's default resolves a write once it is committed, before it is on disk. With overlappingSync
 * off a commit includes its sync, which is what "durable" means in this comparison; it was also
 * quicker here than awaiting `flushed` after each commit.
 */
export async function openLmdb(options: SubjectOptions): Promise<Subject> {
  const database = loadPeer('lmdb').open({
    path: options.directory,
    keyEncoding: 'binary',
    encoding: 'binary',
    compression: false,
    cache: false,
    overlappingSync: false,
  })
  return {
    settings:
      'binary keys and values, no compression, overlappingSync off: every commit is synced, ' +
      'concurrent puts share commits, so it has no row without sync; reads through getBinary',
    putDurable: (key, value) => database.put(key, value),
    batch: (keys, values) =>
      database.batch(() => {
        for (let position = 0; position < keys.length; position++) {
          void database.put(keys[position] as Buffer, values[position] as Buffer)
        }
      }),
    getSync: key => database.getBinary(key),
    scanAll: () => scan(database.getRange({})),
    scanEach: () => scan(database.getRange({})),
    scanFrom: (start, limit) => scan(database.getRange({ start, limit })),
    close: () => database.close(),
  }
}

function scan(entries: Iterable<{ key: Buffer; value: Buffer }>) {
  const total = { entries: 0, bytes: 0 }
  for (const { key, value } of entries) {
    total.entries++
    total.bytes += key.length + value.length
  }
  return Promise.resolve(total)
}

/**
 * The public calls of one embedded database, 200,000 entries in memtable and tables: durable puts,
 * puts without sync, batches, point reads and scans. Beside other stores: compare.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Bench } from 'tinybench'
import { open } from '../src/engine/index.ts'
import { seededRandom } from '../src/random.ts'

const COUNT = 200_000
const KEY_SIZE = 16
const BATCH_SIZE = 1000
const CALLERS = 1000
const READS = 1000
const SCAN_LENGTH = 100
const random = seededRandom(1)
const keys = Array.from({ length: COUNT }, () => random.bytes(KEY_SIZE))
const value = random.bytes(100)
const directory = mkdtempSync(join(tmpdir(), 'db-bench-'))
const db = await open(directory)

function someKey(): Uint8Array {
  return keys[random.below(COUNT)]!
}

function someKeys(count: number): Uint8Array[] {
  return Array.from({ length: count }, someKey)
}

function batch(count: number) {
  return someKeys(count).map(key => ({ type: 'put' as const, key, value }))
}

/** Name, entries a call, call. */
type Task = readonly [name: string, entries: number, call: () => unknown]

const TASKS: readonly Task[] = [
  ['put, durable, one caller', 1, () => db.put(someKey(), value)],
  [
    `put, durable, ${CALLERS} callers`,
    CALLERS,
    () => Promise.all(someKeys(CALLERS).map(key => db.put(key, value))),
  ],
  ['put, without sync', 1, () => db.put(someKey(), value, { durability: 'interval' })],
  [`batch of ${BATCH_SIZE}, durable`, BATCH_SIZE, () => db.batch(batch(BATCH_SIZE))],
  [
    `getSync`,
    READS,
    () => {
      for (let read = 0; read < READS; read++) db.getSync(someKey())
    },
  ],
  [
    'get, awaited one by one',
    READS,
    async () => {
      for (let read = 0; read < READS; read++) await db.get(someKey())
    },
  ],
  ['getMany', READS, () => db.getMany(someKeys(READS))],
  [
    `scan of ${SCAN_LENGTH}`,
    SCAN_LENGTH,
    async () => {
      for await (const _ of db.entries({ gte: someKey(), limit: SCAN_LENGTH }));
    },
  ],
]

try {
  for (let start = 0; start < COUNT; start += BATCH_SIZE) {
    const part = keys.slice(start, start + BATCH_SIZE)
    await db.batch(part.map(key => ({ type: 'put' as const, key, value })))
  }
  const bench = new Bench({ time: 1000, warmupIterations: 3 })
  for (const [name, , call] of TASKS) bench.add(name, async () => void (await call()))
  await bench.run()
  for (const [index, { name, result }] of bench.tasks.entries()) {
    const ms = 'latency' in result ? result.latency.mean : Number.NaN
    const us = (ms * 1000) / TASKS[index]![1]
    process.stdout.write(`${name}: ${us.toFixed(2)} us an entry\n`)
  }
} finally {
  await db.close()
  rmSync(directory, { recursive: true })
}

/**
 * Memtable: inserts that get their place in the order at once and later, in random and ascending
 * order, point reads through the index and the list.
 */
import { Bench } from 'tinybench'
import { EntryKind } from '../src/engine/internal-key.ts'
import { LookupResult } from '../src/engine/lookup-result.ts'
import { Memtable } from '../src/engine/memtable.ts'
import { MemtableArena } from '../src/engine/memtable-arena.ts'
import { MemtableMemory } from '../src/engine/memtable-memory.ts'
import { ReplayArena } from '../src/engine/replay-arena.ts'
import { xxh32 } from '../src/hash.ts'
import { seededRandom } from '../src/random.ts'

const COUNT = 200_000
const KEY_SIZE = 16
const value = new Uint8Array(100)
const random = seededRandom(1)
const randomKeys = random.bytes(COUNT * KEY_SIZE)
const ascendingKeys = new Uint8Array(COUNT * KEY_SIZE)
const view = new DataView(ascendingKeys.buffer)
for (let index = 0; index < COUNT; index++) view.setUint32(index * KEY_SIZE + 12, index)
const scratch = new MemtableMemory(64 << 20)

function fill(keys: Uint8Array, memory = scratch, defers = false): Memtable {
  const memtable = new Memtable(memory, 1, seededRandom(2), defers)
  for (let index = 0; index < COUNT; index++) {
    const start = index * KEY_SIZE
    const hash = xxh32(keys, start, start + KEY_SIZE, 0)
    memtable.insert(
      hash,
      keys,
      start,
      start + KEY_SIZE,
      index + 1,
      EntryKind.put,
      value,
      0,
      value.length,
    )
  }
  return memtable
}

const bench = new Bench({ time: 2000, iterations: 3, warmupIterations: 1 })
bench.add(`insert ${COUNT} random keys`, () => void fill(randomKeys))
bench.add(`insert ${COUNT} ascending keys`, () => void fill(ascendingKeys))
bench.add(`insert ${COUNT} random keys, in order later`, () => void fill(randomKeys, scratch, true))
bench.add(`the same, and put them in order for a scan`, () => {
  const memtable = fill(randomKeys, scratch, true)
  while (!memtable.prepareScan());
})
bench.add(`the same, and sort them for a flush`, () => {
  const memtable = fill(randomKeys, scratch, true)
  new MemtableArena(memtable.arena, memtable.order)
})
for (const size of [16, 100, 384, 1000]) {
  const list = new ReplayArena(new SharedArrayBuffer(COUNT * (KEY_SIZE + size + 64)))
  bench.add(`append ${COUNT} keys with ${size} bytes of value`, () => {
    const arena = new ReplayArena(list.arena)
    for (let index = 0; index < COUNT; index++) {
      const start = index * KEY_SIZE
      const from = index % 1024
      const put = EntryKind.put
      arena.add(put, index + 1, randomKeys, start, start + KEY_SIZE, randomKeys, from, from + size)
    }
  })
}
const filled = fill(randomKeys, new MemtableMemory(64 << 20))
const result = new LookupResult()
bench.add(`get ${COUNT} random keys by index`, () => {
  for (let index = 0; index < COUNT; index++) {
    const start = ((index * 7919) % COUNT) * KEY_SIZE
    const hash = xxh32(randomKeys, start, start + KEY_SIZE, 0)
    filled.get(hash, randomKeys, start, start + KEY_SIZE, COUNT, result)
  }
})
const cursor = filled.cursor()
bench.add(`seek ${COUNT} random keys by list`, () => {
  for (let index = 0; index < COUNT; index++) {
    const start = ((index * 7919) % COUNT) * KEY_SIZE
    cursor.seek(randomKeys, start, start + KEY_SIZE, COUNT)
  }
})
await bench.run()
for (const task of bench.tasks) {
  const { result: measured } = task
  const ms = 'latency' in measured ? measured.latency.mean : Number.NaN
  process.stdout.write(`${task.name}: ${((ms * 1e6) / COUNT).toFixed(0)} ns each\n`)
}

/** Data blocks (16-byte keys, 100-byte values): building, finding, seeking, walking, checking. */
import { Bench } from 'tinybench'
import { BlockReader, findInBlock } from '../src/engine/block.ts'
import { BlockBuilder } from '../src/engine/block-builder.ts'
import { BLOCK_TRAILER_SIZE, openSealedBlock, sealBlock } from '../src/engine/block-codec.ts'
import { checkBlock } from '../src/engine/block-format.ts'
import { EntryKind } from '../src/engine/internal-key.ts'
import { LookupResult } from '../src/engine/lookup-result.ts'
import { TableCursor } from '../src/engine/table-cursor.ts'
import { loadHasher, xxh32 } from '../src/hash.ts'
import { seededRandom } from '../src/random.ts'

const KEY_SIZE = 16
const SIZE_MAX = 4096 - BLOCK_TRAILER_SIZE
const random = seededRandom(1)
const value = new Uint8Array(100)
const keys = new Uint8Array(64 * KEY_SIZE)
const view = new DataView(keys.buffer)
for (let index = 0; index < 64; index++) {
  keys.set(random.bytes(KEY_SIZE), index * KEY_SIZE)
  view.setUint32(index * KEY_SIZE, 0x1234_0000 + index * 400)
}
const hashes = Uint32Array.from({ length: 64 }, (_, index) =>
  xxh32(keys, index * KEY_SIZE, (index + 1) * KEY_SIZE, 0),
)
const builder = new BlockBuilder(SIZE_MAX)

function build(): number {
  let count = 0
  for (; count < 64; count++) {
    const start = count * KEY_SIZE
    const sequence = 1000 + ((count * 7919) % 100_000)
    const fits = builder.tryAdd(
      hashes[count]! & 0xff,
      keys,
      start,
      start + KEY_SIZE,
      sequence,
      EntryKind.put,
      value,
      0,
      100,
    )
    if (!fits) break
  }
  builder.finish()
  return count
}

const count = build()
const stored = new Uint8Array(4096)
stored.set(builder.bytes.subarray(0, builder.size))
const end = builder.size
const hasher = await loadHasher()
sealBlock(stored, 0, end, 1, 1, 0, hasher)
const result = new LookupResult()
const reader = new BlockReader()
reader.open(stored, 0, end)
const file = { path: '', fileNumber: 1 }
/** Holds what the reader shows; never asked for a block. */
const holder = new TableCursor({
  lookupView: undefined as never,
  open: never,
  fetch: never,
  fetches: 0,
})

function never(): never {
  throw new Error('this benchmark needs no source')
}

const bench = new Bench({ time: 700, warmupIterations: 2000 })
bench.add('build', () => void build())
bench.add('find', () => {
  for (let index = 0; index < count; index++) {
    const start = index * KEY_SIZE
    findInBlock(stored, 0, end, hashes[index]!, keys, start, start + KEY_SIZE, 2 ** 50, result)
  }
})
bench.add('seek', () => {
  for (let index = 0; index < count; index++) {
    reader.seek(keys, index * KEY_SIZE, (index + 1) * KEY_SIZE, 2 ** 50)
  }
})
bench.add('show', () => {
  for (let index = 0; index < count; index++) reader.show(index, holder)
})
bench.add('check layout', () => void checkBlock(stored, 0, end))
bench.add('check checksum', () => {
  openSealedBlock(stored, 0, end + BLOCK_TRAILER_SIZE, file, 0, hasher)
})
await bench.run()
process.stdout.write(`${count} entries in ${end} bytes: ${(end / count).toFixed(1)} bytes each\n`)
for (const task of bench.tasks) {
  const ms = 'latency' in task.result ? task.result.latency.mean : Number.NaN
  const perBlock = (ms * 1e6).toFixed(0)
  const perEntry = ((ms * 1e6) / count).toFixed(1)
  process.stdout.write(`${task.name}: ${perBlock} ns a block, ${perEntry} ns an entry\n`)
}

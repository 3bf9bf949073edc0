/**
 * The write-ahead log alone: building a frame, handing it to the operating system, and syncing it,
 * for frames of 1, 100 and 1,000 puts of 16 and 100 bytes. The bound of every durable write.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Bench } from 'tinybench'
import { nodeFileSystem } from '../src/engine/node-file-system.ts'
import { prepareSegment, WalWriter } from '../src/engine/wal-writer.ts'
import { createWalFrameBuilder } from '../src/engine/write-group.ts'
import { loadHasher } from '../src/hash.ts'
import { seededRandom } from '../src/random.ts'

const KEY_COUNT = 1000
const FRAME_COUNTS = [1, 100, 1000]
const random = seededRandom(1)
const keys = Array.from({ length: KEY_COUNT }, () => random.bytes(16))
const value = random.bytes(100)
const directory = mkdtempSync(join(tmpdir(), 'wal-bench-'))
const builder = createWalFrameBuilder(await loadHasher())
const segment = await prepareSegment(nodeFileSystem(), directory, 1)
const wal = await WalWriter.begin(segment, {
  databaseId: random.bytes(16),
  firstSequence: 1,
  previous: 0,
})
let nextSequence = 1

function fill(count: number): void {
  builder.begin()
  for (let put = 0; put < count; put++) {
    builder.beginBatch(1)
    builder.addPut(keys[put]!, value)
  }
}

async function append(count: number): Promise<void> {
  fill(count)
  await wal.append(builder, nextSequence)
  nextSequence += count
}

try {
  const bench = new Bench({ time: 500, warmupIterations: 3, throws: true })
  for (const count of FRAME_COUNTS) {
    bench.add(`build a frame of ${count}`, () => fill(count))
    bench.add(`append a frame of ${count}`, async () => void (await append(count)))
    bench.add(`append and sync a frame of ${count}`, async () => {
      await append(count)
      await wal.sync()
    })
  }
  await bench.run()
  for (const { name, result } of bench.tasks) {
    const ms = 'latency' in result ? result.latency.mean : Number.NaN
    process.stdout.write(`${name}: ${(ms * 1000).toFixed(1)} us\n`)
  }
} finally {
  wal.close()
  rmSync(directory, { recursive: true })
}

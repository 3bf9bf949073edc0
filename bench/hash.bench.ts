/** XXH32 in JavaScript and in WebAssembly, by length: where the second begins to pay (hash.ts). */
import { Bench } from 'tinybench'
import { loadHasher, xxh32 } from '../src/hash.ts'
import { seededRandom } from '../src/random.ts'

const LENGTHS = [16, 64, 128, 256, 512, 4096]
/** Hashes a call, so that the clock is not what is measured. */
const CALLS = 1000
const hasher = await loadHasher()
const bytes = seededRandom(1).bytes(LENGTHS.at(-1)!)
let sum = 0

const bench = new Bench({ time: 500, warmupIterations: 3 })
for (const length of LENGTHS) {
  bench.add(`${length} bytes, JavaScript`, () => {
    for (let call = 0; call < CALLS; call++) sum ^= xxh32(bytes, 0, length, call)
  })
  bench.add(`${length} bytes, as the engine does it`, () => {
    for (let call = 0; call < CALLS; call++) sum ^= hasher.hash32(bytes, 0, length, call)
  })
}
await bench.run()
for (const { name, result } of bench.tasks) {
  const ms = 'latency' in result ? result.latency.mean : Number.NaN
  process.stdout.write(`${name}: ${((ms * 1e6) / CALLS).toFixed(0)} ns\n`)
}
process.stdout.write(`(checksum ${sum >>> 0})\n`)

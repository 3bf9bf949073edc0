/** Bloom filter: building, and probes of keys that are there and that are not. */
import { Bench } from 'tinybench'
import { BloomFilter, buildBloomFilter } from '../src/engine/bloom-filter.ts'
import { seededRandom } from '../src/random.ts'

const COUNT = 250_000
const BITS_PER_KEY = 10
const random = seededRandom(1)
const members = Uint32Array.from({ length: COUNT }, () => random.below(2 ** 32))
const strangers = Uint32Array.from({ length: COUNT }, () => random.below(2 ** 32))
const encoded = buildBloomFilter([members], COUNT, BITS_PER_KEY)
const filter = BloomFilter.decode(encoded, 0, encoded.length)

function countPassed(hashes: Uint32Array): number {
  let passed = 0
  for (const hash of hashes) if (filter.mayContain(hash)) passed++
  return passed
}

const bench = new Bench({ time: 1000, warmupIterations: 3 })
bench.add('build', () => void buildBloomFilter([members], COUNT, BITS_PER_KEY))
bench.add('probe, present', () => void countPassed(members))
bench.add('probe, absent', () => void countPassed(strangers))
await bench.run()
for (const { name, result } of bench.tasks) {
  const ms = 'latency' in result ? result.latency.mean : Number.NaN
  process.stdout.write(`${name}: ${((ms * 1e6) / COUNT).toFixed(1)} ns a key\n`)
}
const share = (countPassed(strangers) / COUNT) * 100
process.stdout.write(
  `false positives: ${share.toFixed(2)} % with ${(encoded.length * 8) / COUNT} bits a key\n`,
)

/** Reads a whole store in every way there is and compares each answer with the oracle. */
import type { KeyValueStore, ScanOptions } from '../../src/key-value-store.ts'
import type { Random } from '../../src/random.ts'
import { text } from './crash-oracle.ts'
import type { RecordOracle, ScanOrder } from './record-oracle.ts'

const PAGE_COUNT = 1000
const SAMPLE_COUNT = 2000
/** A scan of millions on a machine that does much else. */
const PAGE_TIMEOUT_MS = 60_000

export interface StoreCheckOptions {
  readonly store: KeyValueStore
  readonly oracle: RecordOracle
  readonly random: Random
  /** Keys from which point reads are drawn. */
  readonly keys: readonly string[]
  readonly onProgress?: (what: string, count: number) => void
}

const SCANS: readonly (readonly [string, ScanOptions, ScanOrder])[] = [
  ['scan', { order: 'ordered' }, 'ascending'],
  ['reverse scan', { order: 'ordered', reverse: true }, 'descending'],
  ['unordered scan', { order: 'unordered' }, 'any'],
]

/** Returns how many records are alive. Throws ViolationError. */
export async function checkStore(options: StoreCheckOptions): Promise<number> {
  let liveCount = 0
  for (const scan of SCANS) liveCount = await checkScan(options, scan)
  await checkReads(options)
  return liveCount
}

async function checkScan(
  { store, oracle, onProgress }: StoreCheckOptions,
  [what, scanOptions, order]: (typeof SCANS)[number],
): Promise<number> {
  const check = oracle.check(what, Date.now())
  const scan = store.entries({ ...scanOptions, timeoutMs: PAGE_TIMEOUT_MS })
  try {
    for (;;) {
      const page = await scan.nextBatch(PAGE_COUNT)
      if (page.length === 0) break
      for (const [key, value] of page) check.entry(text(key), text(value), order)
      onProgress?.(what, check.liveCount)
    }
  } finally {
    await scan.close()
  }
  check.endOfScan(Date.now())
  return check.liveCount
}

/** Point reads, of keys that are there, that are gone, and that never were. */
async function checkReads({ store, oracle, random, keys }: StoreCheckOptions): Promise<void> {
  const check = oracle.check('getMany', Date.now())
  const sample = Array.from({ length: SAMPLE_COUNT }, (_, index) => {
    const isForeign = index % 10 === 0 || keys.length === 0
    return isForeign ? `no such key ${random.below(1_000_000)}` : keys[random.below(keys.length)]!
  })
  const wanted = sample.map(key => Buffer.from(key, 'latin1'))
  const values = await store.getMany(wanted, { timeoutMs: PAGE_TIMEOUT_MS })
  const nowMs = Date.now()
  for (const [index, key] of sample.entries()) {
    const value = values[index]
    check.read(key, value === undefined ? undefined : text(value), nowMs)
  }
  check.end()
}

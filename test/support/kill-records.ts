/** Where the records of a kill loop come from: a file, or a generator that never ends. */
import { readRecords } from '../../bench/import/records.ts'
import type { Random } from '../../src/random.ts'
import type { LoadRecord } from './kill-load.ts'

/** One value in so many is long. */
const LONG_SHARE = 200
const LONG_SIZE_MAX = 20_000
const SHORT_SIZE_MAX = 400

/**
 * Without a file: records in no order, of many sizes. A file has been opened, and a JSON object
 * parsed, when this returns: that takes longer than any load before a kill.
 */
export function loadRecords(path: string | undefined, random: Random): Iterator<LoadRecord> {
  const records = path === undefined ? generateRecords(random) : readRecords(path)
  const first = records.next()
  return first.done === true ? records : startingWith(first.value, records)
}

function* startingWith(first: LoadRecord, rest: Iterable<LoadRecord>): Generator<LoadRecord> {
  yield first
  yield* rest
}

function* generateRecords(random: Random): Generator<LoadRecord> {
  for (let index = 0; ; index++) {
    const place = random.below(2 ** 32).toString(36)
    const sizeMax = random.below(LONG_SHARE) === 0 ? LONG_SIZE_MAX : SHORT_SIZE_MAX
    const filling = String.fromCharCode(0x61 + random.below(26)).repeat(random.below(sizeMax))
    yield { key: `${place}/${index}`, value: `${index} ${filling}` }
  }
}

/**
 * Compares a store, record for record, with what was loaded into it. Each check throws at the first
 * difference and returns how many records it has seen.
 */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { KeyValueStore } from '../../src/key-value-store.ts'
import { text } from './crash-oracle.ts'

/** Keys and values as latin1 text: a character a byte, so that text order is key order. */
export type Records = ReadonlyMap<string, string>

const PAGE_COUNT = 1000
const READS_IN_FLIGHT = 8
const CALL_TIMEOUT_MS = 60_000

export class DifferenceError extends Error {
  override readonly name = 'DifferenceError'
}

function shown(value: string | undefined): string {
  return value === undefined ? 'nothing' : JSON.stringify(value.slice(0, 80))
}

function compare(what: string, key: string, found: string | undefined, records: Records): void {
  const expected = records.get(key)
  if (found === expected) return
  throw new DifferenceError(
    `${what}: ${shown(key)} has ${shown(found)}, and was loaded as ${shown(expected)}`,
  )
}

function compareCount(what: string, found: number, records: Records): number {
  if (found === records.size) return found
  throw new DifferenceError(`${what}: ${found} records, and ${records.size} were loaded`)
}

/** Reads every key back. */
export async function checkReads(
  store: KeyValueStore,
  records: Records,
  onProgress: (count: number) => void,
): Promise<number> {
  const keys = [...records.keys()]
  let next = 0
  let count = 0
  const reader = async (): Promise<void> => {
    for (;;) {
      const page = keys.slice(next, next + PAGE_COUNT)
      next += page.length
      if (page.length === 0) return
      const wanted = page.map(key => Buffer.from(key, 'latin1'))
      const values = await store.getMany(wanted, { timeoutMs: CALL_TIMEOUT_MS })
      for (const [index, key] of page.entries()) {
        const value = values[index]
        compare('read', key, value === undefined ? undefined : text(value), records)
      }
      count += page.length
      onProgress(count)
    }
  }
  await Promise.all(Array.from({ length: READS_IN_FLIGHT }, reader))
  return compareCount('read', count, records)
}

/** Scans everything, in order. */
export async function checkScan(
  store: KeyValueStore,
  records: Records,
  reverse: boolean,
  onProgress: (count: number) => void,
): Promise<number> {
  const what = reverse ? 'reverse scan' : 'scan'
  const scan = store.entries({ reverse, timeoutMs: CALL_TIMEOUT_MS })
  let count = 0
  let last: string | undefined
  try {
    for (;;) {
      const page = await scan.nextBatch(PAGE_COUNT)
      if (page.length === 0) break
      for (const [keyBytes, value] of page) {
        const key = text(keyBytes)
        if (last !== undefined && (reverse ? key >= last : key <= last)) {
          throw new DifferenceError(`${what}: ${shown(key)} comes after ${shown(last)}`)
        }
        last = key
        compare(what, key, text(value), records)
        count++
      }
      onProgress(count)
    }
  } finally {
    await scan.close()
  }
  return compareCount(what, count, records)
}

/** Reads a file of JSON lines that was exported: every record, once, in key order. */
export async function checkExport(path: string, records: Records): Promise<number> {
  let count = 0
  let last: string | undefined
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const record = JSON.parse(line) as { key: string; value: string }
    const key = text(record.key)
    if (last !== undefined && key <= last) {
      throw new DifferenceError(`export: ${shown(key)} comes after ${shown(last)}`)
    }
    last = key
    compare('export', key, text(record.value), records)
    count++
  }
  return compareCount('export', count, records)
}

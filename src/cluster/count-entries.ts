/** Counts the live entries of a range in this node's own copy, by reading it. */
import { AbortedError, TimeoutError } from '../errors.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import type { ScanRequest } from './scan.ts'
import { UnorderedScan } from './unordered-scan.ts'

/** Entries and bytes that are read between two looks at the request. */
const ENTRIES = 256
const BYTES = 256 * 1024

export interface CountTerms {
  /** Monotonic milliseconds after which nobody waits for it. */
  readonly deadlineMs: number
  /** True once nobody does. */
  readonly cancelled?: boolean
}

type CountedRange = Omit<ScanRequest, 'reverse' | 'keysOnly' | 'cursor'>

/** Rejects with TimeoutError at the deadline, and with AbortedError when it was cancelled. */
export async function countEntries(
  store: PartitionedStore,
  range: CountedRange,
  terms: CountTerms,
): Promise<number> {
  const request = { ...range, reverse: false, keysOnly: true, cursor: undefined }
  const scan = new UnorderedScan(store, request)
  const { deadlineMs } = terms
  try {
    let count = 0
    for (;;) {
      const page = await scan.next(ENTRIES, BYTES)
      count += page.keys.length
      if (page.done) return count
      if (terms.cancelled === true) throw new AbortedError('nobody waits for the count')
      if (store.clock.monotonicMs() < deadlineMs) continue
      const message = `counting took too long; ${count} keys were counted by then`
      throw new TimeoutError(message, { outcome: 'rejected' })
    }
  } finally {
    scan.close()
  }
}

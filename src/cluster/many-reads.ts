/**
 * Many keys read at one moment, with a bound on what their values hold at once. Nobody knows how
 * large a value is before it is read: a single one is read first, then as many at once as would fit
 * if they were like the largest so far.
 */
import { attempt } from '../attempt.ts'
import type { Snapshot } from '../key-value-store.ts'
import type { Store } from './store.ts'
import type { TimeSlice } from './time-slice.ts'

/**
 * Reads that are under way at the same time, and so the values that may be held beyond `bytesMax`
 * when small values made it expect more of them. Node's thread pool has four threads: twice as many
 * keep it busy.
 */
const READS_AT_ONCE_MAX = 8

export interface ManyReadsOptions {
  readonly store: Store
  readonly engineKeys: readonly Uint8Array[]
  readonly snapshot: Snapshot
  readonly slice: TimeSlice
  /** Once the values come to so many bytes, the rest is not read. */
  readonly bytesMax: number
  /** What a stored form means; may throw for one that is damaged. */
  readonly live: (engineKey: Uint8Array, stored: Uint8Array | undefined) => Uint8Array | undefined
}

/** One result a key, for the first of them, at least one. Rejects as the store does. */
export async function readMany(options: ManyReadsOptions): Promise<(Uint8Array | undefined)[]> {
  const { store, engineKeys, snapshot, slice, bytesMax, live } = options
  const values: (Uint8Array | undefined)[] = []
  let bytes = 0
  let sizeMax = 1
  let atOnce = 1
  while (values.length < engineKeys.length) {
    if (slice.isOver) await slice.pause()
    const part = engineKeys.slice(values.length, values.length + atOnce)
    const reads = part.map(engineKey => attempt(() => store.read(engineKey, snapshot)))
    const found = reads.some(read => read instanceof Promise) ? await Promise.all(reads) : reads
    for (const [index, stored] of (found as (Uint8Array | undefined)[]).entries()) {
      const value = live(part[index]!, stored)
      values.push(value)
      bytes += value?.length ?? 0
      sizeMax = Math.max(sizeMax, stored?.length ?? 0)
      if (bytes >= bytesMax) return values
    }
    const fitting = Math.ceil((bytesMax - bytes) / sizeMax)
    atOnce = Math.min(2 * atOnce, READS_AT_ONCE_MAX, fitting)
  }
  return values
}

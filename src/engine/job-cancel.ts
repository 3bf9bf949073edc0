/** How a job on another thread learns that it should stop early. */
import { AbortedError } from '../errors.ts'

/** Entries between two looks at the shared word. */
const POLL_INTERVAL = 256

/** Throws AbortedError once word 0 of `cancel` is set. Call it for every entry. */
export function checkCancelled(cancel: Int32Array, entryCount: number): void {
  if (entryCount % POLL_INTERVAL === 0 && Atomics.load(cancel, 0) !== 0) {
    throw new AbortedError('the job was cancelled')
  }
}

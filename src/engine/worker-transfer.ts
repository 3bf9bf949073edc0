/** What may move to another thread. */
import { markAsUntransferable } from 'node:worker_threads'

/** Keeps a buffer that several arrays share from being transferred, which would empty them all. */
export function forbidTransfer(buffer: ArrayBuffer): void {
  markAsUntransferable(buffer)
}

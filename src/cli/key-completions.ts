/** The keys that the REPL completes a prefix to, from a small scan with a deadline. */
import { equalBytes } from '../bytes.ts'
import { KvError } from '../errors.ts'
import type { Scan } from '../key-value-store.ts'
import { prefixRange } from '../prefix-range.ts'
import type { Session } from './session.ts'

/** Enough to choose from, few enough to show. */
export const KEYS_MAX = 30
/** Somebody waits with a finger on the Tab key. */
const DEADLINE_MS = 400

/**
 * The first keys with the prefix, and the last one too when there are more: what is common to the
 * first and the last is common to all, so a completion never says too much.
 */
export async function keysForCompletion(
  session: Session,
  prefix: Uint8Array,
): Promise<readonly Uint8Array[]> {
  if (!session.connected) return []
  const range = { ...prefixRange(prefix), timeoutMs: DEADLINE_MS }
  try {
    const store = await session.client()
    const forward = store.keys({ ...range, limit: KEYS_MAX })
    const backward = store.keys({ ...range, limit: 1, reverse: true })
    const [first, [last]] = await Promise.all([takeAll(forward), takeAll(backward)])
    const end = first.at(-1)
    if (first.length < KEYS_MAX || last === undefined || end === undefined) return first
    return equalBytes(end, last) ? first : [...first, last]
  } catch (error) {
    // A server that does not answer in time has nothing to offer.
    if (error instanceof KvError) return []
    throw error
  }
}

async function takeAll(scan: Scan<Uint8Array>): Promise<Uint8Array[]> {
  const keys: Uint8Array[] = []
  try {
    for (;;) {
      const batch = await scan.nextBatch(KEYS_MAX)
      if (batch.length === 0) return keys
      keys.push(...batch)
    }
  } finally {
    await scan.close()
  }
}

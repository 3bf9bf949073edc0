/** How much memory is reachable, so that growth means a leak and not a lazy collector. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** What one more collection finds is then put down to what runs meanwhile. */
const SETTLED_BYTES = 64 << 10
const COLLECTIONS_MAX = 20

let collector: (() => void) | undefined

function collect(): void {
  if (collector === undefined) {
    setFlagsFromString('--expose-gc')
    collector = runInNewContext('gc') as () => void
  }
  collector()
}

/** Collects all that nobody can reach. */
export function collectGarbage(): void {
  // The second finds what finalizers of the first let go.
  collect()
  collect()
}

/**
 * Bytes of the heap and of buffers outside of it that full collections leave. One is not enough: it
 * may only end the marking that was under way, and so spare what died meanwhile; the buffers that
 * it frees are booked off by the next; and what a weak reference gave out lives until its turn
 * ends. So there are as many as make a difference.
 */
export async function liveMemory(): Promise<number> {
  collectGarbage()
  let bytes = usedBytes()
  for (let count = 2; count < COLLECTIONS_MAX; count++) {
    await nextTurn()
    collect()
    const before = bytes
    bytes = usedBytes()
    if (bytes > before - SETTLED_BYTES) break
  }
  return bytes
}

function usedBytes(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

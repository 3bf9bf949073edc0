/** How much memory is reachable, so that growth means a leak and not a lazy collector. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Collects all that nobody can reach. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  // The second finds what finalizers of the first let go.
  collect()
  collect()
}

/** Bytes of the heap and of buffers outside of it that a full collection leaves. */
export function liveMemory(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

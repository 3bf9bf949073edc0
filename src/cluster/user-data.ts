/** Whether a node holds anything that users wrote, be it deleted by now. */
import { keyAfter } from '../bytes.ts'
import { KEY_SIZE_MAX } from '../key-value-store.ts'
import { enginePartition, isNodeKey, NodeKey, nodeKey } from './partition.ts'
import type { Store } from './store.ts'

const KEYS_AT_ONCE = 64
const BYTES_AT_ONCE = 64 * 1024

/**
 * True when it holds some, or something that had been asked for when this was. `prepared` resolves
 * once all is over that was asked for and may not be submitted yet; undefined: there is nothing.
 */
export async function holdsUserData(
  store: Store,
  partitionCount: number,
  prepared: () => Promise<void> | undefined,
): Promise<boolean> {
  // Before the barrier: what is over by then comes before it, or is seen by it.
  const preparing = prepared()
  if (await holdsSubmitted(store, partitionCount)) return true
  if (preparing === undefined) return false
  await preparing
  return await holdsSubmitted(store, partitionCount)
}

async function holdsSubmitted(store: Store, partitionCount: number): Promise<boolean> {
  // Comes behind all that was submitted before, and makes it visible.
  const barrier = { key: nodeKey(NodeKey.barrier), value: new Uint8Array(0), expiryMs: 0 }
  await store.write([{ type: 'put', ...barrier }])
  let from: Uint8Array | undefined
  for (;;) {
    const range = { reverse: false, keysOnly: true, countMax: KEYS_AT_ONCE }
    const chunk = await store.readRange({ ...range, gte: from, bytesMax: BYTES_AT_ONCE })
    if (chunk.keys.some(key => !isNodeKey(key) && enginePartition(key) < partitionCount)) {
      return true
    }
    const last = chunk.keys.at(-1)
    // What lies above the partitions is the node's own.
    if (chunk.done || last === undefined || last.length > 2) return false
    from = keyAfter(last, KEY_SIZE_MAX)
  }
}

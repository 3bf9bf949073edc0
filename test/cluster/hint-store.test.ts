// Goal: what a hint or a mark stands for is durable when that is said, and neither is taken away
// while something relies on it.
// Method: a store that shows writes late; marks that a comparison takes away while a write goes
// without a hint for their sake.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hintKey } from '../../src/cluster/hint-format.ts'
import { HintStore } from '../../src/cluster/hint-store.ts'
import type { StoreOperation, StoreWriteOptions } from '../../src/cluster/store.ts'
import { FakeEngine } from '../support/fake-engine.ts'

const PEER = 3

function keyOf(partition: number, name: number): Uint8Array {
  return Uint8Array.of(0, partition, name >> 8, name & 0xff)
}

test('a mark stays when a write relied on it while it was compared', async () => {
  const store = new FakeEngine({ wallMs: () => 0 })
  const hints = await HintStore.open({ store, bytesMax: 0 })
  const marked = async () => (await HintStore.open({ store })).dirtyPartitions(PEER)
  const write = async (partition: number): Promise<void> => {
    const put = hints.put(PEER, keyOf(partition, 1))
    if (put !== undefined) await store.write([put])
  }
  await write(1)
  await write(2)
  await hints.confirmMarks()
  assert.deepEqual(await marked(), [1, 2])
  assert.deepEqual(await hints.beginCompare(PEER), [1, 2])
  await write(1)
  for (const partition of [1, 2]) await hints.unmark(PEER, partition)
  assert.deepEqual(await marked(), [1])
  assert.deepEqual(await hints.beginCompare(PEER), [1])
  await hints.unmark(PEER, 1)
  assert.deepEqual(await marked(), [])
  // One that came in the batch of a write, and was not confirmed yet, is the same.
  await hints.beginCompare(PEER)
  await write(1)
  await hints.unmark(PEER, 1)
  assert.deepEqual(await marked(), [1])
})

test('marks that could not be confirmed are confirmed later', async () => {
  const store = new FakeEngine({ wallMs: () => 0 })
  const hints = await HintStore.open({ store, bytesMax: 0 })
  hints.put(PEER, keyOf(1, 1))
  store.failNextWrite = new Error('full')
  await assert.rejects(hints.confirmMarks(), /full/)
  assert.deepEqual(hints.dirtyPartitions(PEER), [1])
  await hints.confirmMarks()
  assert.deepEqual((await HintStore.open({ store })).dirtyPartitions(PEER), [1])
})

test('the last of many hints is synced, also when a mark takes its place', async () => {
  const store = new FakeEngine({ wallMs: () => 0 })
  const durabilities: (string | undefined)[] = []
  const write = store.write.bind(store)
  store.write = (operations: readonly StoreOperation[], options?: StoreWriteOptions) => {
    durabilities.push(options?.durability)
    return write(operations)
  }
  const keys = Array.from({ length: 600 }, (_, name) => keyOf(name < 512 ? 1 : 2, name))
  const hints = await HintStore.open({ store, bytesMax: 512 * hintKey(PEER, keys[0]!).length })
  await hints.mark(PEER, [2])
  await hints.add(PEER, keys)
  assert.deepEqual(durabilities, ['sync', 'none', 'sync'])
})

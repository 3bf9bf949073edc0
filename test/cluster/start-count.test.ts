// Goal: starts are counted one by one, durably before anybody hears of them, and damage is told.
// Method: a memory store that keeps what was asked of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NodeKey, nodeKey } from '../../src/cluster/partition.ts'
import { countStart } from '../../src/cluster/start-count.ts'
import { CorruptionError, VersionMismatchError } from '../../src/errors.ts'
import { FakeEngine } from '../support/fake-engine.ts'

test('starts are counted, and damage is told', async () => {
  const engine = new FakeEngine({ wallMs: () => 0 })
  for (let start = 1; start <= 3; start++) assert.equal(await countStart(engine, '/data'), start)
  const key = nodeKey(NodeKey.starts)
  const record = await engine.read(key)
  assert.deepEqual(record, Uint8Array.of(1, 0, 0, 0, 0, 0, 3))
  async function put(...bytes: number[]): Promise<void> {
    await engine.write([{ type: 'put', key, value: Uint8Array.from(bytes), expiryMs: 0 }])
  }
  await put(2, 0, 0, 0, 0, 0, 3)
  await assert.rejects(countStart(engine, '/data'), VersionMismatchError)
  for (const bytes of [[], [1], [0, 0, 0, 0, 0, 0, 3], [1, 0, 0, 0, 0, 0, 0, 3]]) {
    await put(...bytes)
    await assert.rejects(countStart(engine, '/data'), CorruptionError)
  }
})

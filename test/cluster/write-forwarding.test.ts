// Goal: a write that was passed on, and whose link broke before the answer, may have taken effect:
// the client is never told that it is nowhere.
// Method: a node that owns nothing of the key passes it on; the owners hang, then links break.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { KvError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { WriteCluster } from '../support/write-cluster.ts'

test('a write whose link broke after it was passed on is in doubt', async () => {
  const cluster = await WriteCluster.start({ random: seededRandom(5), nodes: 4 })
  const key = utf8Encode('key')
  const owners = cluster.owners(key)
  const other = cluster.members.find(member => !owners.includes(member))!
  for (const owner of owners) cluster.network.pause(owner.id)
  const put = { type: 'put', key, value: key, ttlMs: 0 } as const
  const writing = cluster.write(other, [put]).then(
    () => 'done',
    (error: unknown) => (error instanceof KvError ? error.outcome : String(error)),
  )
  await cluster.pass(50)
  for (const owner of owners) cluster.network.cut(other.id, owner.id)
  assert.equal(await cluster.settle(writing), 'unknown')
  await cluster.stopAll()
})

// Goal: a write that was passed on, and whose link broke before the answer, may have taken effect:
// the client is never told that it is nowhere.
// One that the node versions itself is taken although its clock is not quite that of the owners.
// Method: a node that owns nothing of the key passes it on; the owners hang, then links break.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { storedTimeMs, storedVersion } from '../../src/cluster/versioned-value.ts'
import { KvError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { WriteCluster, type WriteMember } from '../support/write-cluster.ts'

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

test('a node whose clock is somewhat fast has what it passes on taken by the owners', async () => {
  const cluster = await WriteCluster.start({
    random: seededRandom(6),
    nodes: 4,
    replicationFactor: 2,
  })
  const key = utf8Encode('key')
  const owners = cluster.owners(key)
  const fast = cluster.members.find(member => !owners.includes(member))!
  const put = (name: string, value: string) =>
    ({ type: 'put', key: utf8Encode(name), value: utf8Encode(value), ttlMs: 60_000 }) as const
  const valueAt = async ({ running }: WriteMember, name: string) => {
    const value = await running!.store.get(utf8Encode(name))
    return value && utf8Decode(value)
  }
  const heard: string[] = []
  const hear = (version: Uint8Array) => heard.push(Buffer.from(version).toString('hex'))
  const versionAt = async (owner: WriteMember) =>
    Buffer.from(storedVersion(Buffer.from((await cluster.formAt(owner, key))!, 'hex')))
  for (const aheadMs of [499, 700, 950]) {
    cluster.clockAheadMs = member => (member === fast ? aheadMs : 0)
    for (let round = 0; round < 5; round++) {
      const value = `${aheadMs} ${round}`
      const writing = cluster.write(fast, [put('key', value)], 'all', undefined, hear)
      await cluster.settle(writing)
      for (const owner of owners) {
        assert.equal(await valueAt(owner, 'key'), value)
        assert.equal((await versionAt(owner)).toString('hex'), heard.at(-1))
      }
    }
  }
  assert.ok(heard.length > 15, 'some were versioned anew')
  const [stored] = await Promise.all(owners.map(owner => cluster.formAt(owner, key)))
  const timeMs = storedTimeMs(Buffer.from(stored!, 'hex'))
  assert.ok(timeMs < cluster.clock.wallMs() + 510, 'no further ahead than an owner takes it')
  const names = Array.from({ length: 40 }, (_, index) => `wide ${index}`)
  const wide = names.map(name => put(name, 'wide'))
  await cluster.settle(cluster.write(fast, wide, 'all'))
  for (const name of names) {
    for (const owner of cluster.owners(utf8Encode(name))) {
      assert.equal(await valueAt(owner, name), 'wide')
    }
  }
  // What a client has versioned is not for this node to change.
  const version = encodeVersion(Math.floor(cluster.clock.wallMs()) + 800, 0, new Uint8Array(8))
  const writing = cluster.write(fast, [put('key', 'a client')], 'all', version)
  await assert.rejects(cluster.settle(writing), { code: 'KV_CLOCK_SKEW', outcome: 'rejected' })
  await cluster.stopAll()
})

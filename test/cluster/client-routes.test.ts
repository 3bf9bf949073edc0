// Goal: what a client makes of an encoded ring is what the nodes make of it: the same partition of
// a key, the same replicas in the same order; and nothing that a ring can hold breaks a client.
// Method: random rings in every phase, each key compared with the ring's own table; then addresses
// that cannot be dialled; then a real server and the SDK that `open` gives.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { decodeRoutes } from '../../src/cluster/client-routes.ts'
import { startNode } from '../../src/cluster/node.ts'
import { Partitioner } from '../../src/cluster/partition.ts'
import { createRing, type Ring } from '../../src/cluster/ring.ts'
import { beginJoin, beginLeave, moveReads } from '../../src/cluster/ring-change.ts'
import { encodeRing } from '../../src/cluster/ring-format.ts'
import { RingTable } from '../../src/cluster/ring-table.ts'
import { open } from '../../src/index.ts'
import { seededRandom } from '../../src/random.ts'
import { randomMember, ringOf, saltFor } from '../support/random-ring.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const random = seededRandom(11)

function randomRings(): Ring[] {
  const members = Array.from({ length: 1 + random.below(7) }, () => ({}))
  const rules = { partitionCount: 64, replicationFactor: 1 + random.below(4), virtualNodes: 16 }
  const ring = ringOf(random, { ...rules, members })
  const member = randomMember(random)
  const joining = beginJoin(ring, member, saltFor(ring, member))
  const rings = [ring, joining, moveReads(joining)]
  if (ring.members.length <= ring.replicationFactor) return rings
  const leaving = beginLeave(ring, ring.members[0]!.nodeId)
  return [...rings, leaving, moveReads(leaving)]
}

test('routes are the readers of the ring, in every phase', () => {
  for (const ring of Array.from({ length: 20 }, randomRings).flat()) {
    const routes = decodeRoutes(encodeRing(ring), 'a')
    const { readers } = new RingTable(ring)
    const partitioner = new Partitioner(ring.partitionCount)
    assert.equal(routes.epoch, ring.epoch)
    assert.equal(routes.clusterId, ring.clusterId)
    assert.equal(routes.width, readers.width)
    for (let number = 0; number < 50; number++) {
      const key = random.bytes(1 + random.below(20))
      const partition = routes.partitionOf(key)
      assert.equal(partition, partitioner.partitionOf(key))
      for (let place = 0; place < routes.width; place++) {
        const { nodeId, clientAddress } = readers.memberAt(partition, place)
        const member = routes.members[routes.memberAt(partition, place)]!
        assert.equal(member.nodeId, nodeId)
        assert.equal(`${member.address?.host}:${member.address?.port}`, clientAddress)
      }
    }
  }
})

test('an address that nobody can dial is none', () => {
  const [ring] = randomRings()
  const addressOf = (clientAddress: string): unknown => {
    const members = ring!.members.map(member => ({ ...member, clientAddress }))
    return decodeRoutes(encodeRing(createRing({ ...ring!, members })), 'a').members[0]!.address
  }
  assert.deepEqual(addressOf('[::1]:7700'), { host: '::1', port: 7700 })
  assert.deepEqual(addressOf('node-1.local:1'), { host: 'node-1.local', port: 1 })
  for (const text of ['', 'a:0', 'a:65536', '::1:7700', '[a:1', 'a]:1']) {
    assert.equal(addressOf(text), undefined, text)
  }
})

test('what is no ring is refused', () => {
  for (const bytes of [new Uint8Array(0), utf8Encode('\u0001 no ring'), new Uint8Array(64)]) {
    assert.throws(() => decodeRoutes(bytes, 'a:1'), /a:1/)
  }
})

test('the SDK of the package follows the ring of a server', async t => {
  const directory = temporaryDirectory({ after: remove => t.after(async () => remove()) })
  const node = await startNode({ directory, port: 0 })
  const connections: string[] = []
  const db = await open(`kv://localhost:${node.address.port}`, {
    onConnection: ({ type, address }) => connections.push(`${type} ${address.host}`),
  })
  await db.put('k', 'v')
  await db.ping()
  assert.deepEqual(await db.get('k'), utf8Encode('v'))
  // The ring names the server by its number; the connection that leads there is used all the same.
  assert.deepEqual(connections, ['connected localhost'])
  await db.close()
  await node.close()
})

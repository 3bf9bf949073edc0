// Goal: nodes that belong to one cluster find each other over real sockets, also after a restart at
// another address; a copy of a node's directory stops the older process; and what belongs to a
// cluster does not start alone. And none of them takes something for over by a clock that was set.
// Method: directories with the identities and the ring of three nodes, real nodes on them.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { cpSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Clock, delay, systemClock } from '../../src/clock.ts'
import { type Node, type NodeOptions, startNode } from '../../src/cluster/index.ts'
import { open } from '../../src/engine/index.ts'
import { connect } from '../../src/net/index.ts'
import { seededRandom } from '../../src/random.ts'
import { inlineDatabaseFiles } from '../support/inline-database-files.ts'
import { formedRecords } from '../support/simulation/formed-disk.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const SECRET = 'what all nodes know of each other'
const LIMIT_MS = 20_000
const POLL_MS = 5

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  assert.ok(typeof address === 'object' && address !== null)
  return address.port
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + LIMIT_MS
  while (!condition()) {
    assert.ok(performance.now() < endMs, `not in time: ${what}`)
    await delay(systemClock(), POLL_MS)
  }
}

function linkedTo(node: Node): number {
  const { links } = node.stats() as { links?: { linked: number } }
  return links?.linked ?? -1
}

function lackedBy(node: Node): number {
  const { cluster } = node.stats() as { cluster?: { repair: { damage: { partitions: number } } } }
  return cluster?.repair.damage.partitions ?? -1
}

/** The generations of the lives that members are in, as far as they have told. */
function livesSeenBy(node: Node): number[] {
  const { members } = node.stats() as { members: { states: { lifeGeneration?: number } }[] }
  return members.flatMap(({ states }) => states.lifeGeneration ?? [])
}

/** A directory that goes once the nodes are closed that were started, whatever came of the test. */
function nodesIn(t: TestContext): { root: string; begin: typeof startNode } {
  const started: Node[] = []
  const root = temporaryDirectory({
    after: remove =>
      t.after(async () => {
        await Promise.all(started.map(node => node.close({ graceMs: 0 })))
        remove()
      }),
  })
  const begin: typeof startNode = async (...given) => {
    const node = await startNode(...given)
    started.push(node)
    return node
  }
  return { root, begin }
}

test('nodes of one cluster find each other, and a copy of one stops it', async t => {
  const { root, begin } = nodesIn(t)
  const ports = [await freePort(), await freePort(), await freePort()]
  const records = formedRecords(
    {
      partitionCount: 16,
      replicationFactor: 3,
      nodes: ports.map(port => ({ clientAddress: '', peerAddress: `127.0.0.1:${port}` })),
    },
    seededRandom(1),
  )
  for (const [index, entries] of records.entries()) {
    const db = await open(join(root, `${index}`))
    await db.batch(entries.map(({ key, value }) => ({ type: 'put', key, value })))
    await db.close()
  }
  const machine = systemClock()
  let aheadMs = 0
  /** That of the first node, which will be set. */
  const clock: Clock = { ...machine, wallMs: () => machine.wallMs() + aheadMs }
  const start = (index: number, options: Partial<NodeOptions['cluster']> = {}): Promise<Node> => {
    const cluster = { secret: SECRET, peerPort: ports[index]!, ...options }
    const environment = index === 0 ? { clock } : {}
    return begin({ directory: join(root, `${index}`), port: 0, cluster }, environment)
  }

  await assert.rejects(begin({ directory: join(root, '0'), port: 0 }), (error: Error) => {
    assert.match(error.message, /belongs to a cluster of 3 nodes: give it the cluster's secret/)
    return true
  })
  await assert.rejects(start(0, { secret: 'too short' }), /at least 16/)
  await assert.rejects(start(0, { peerHost: '0.0.0.0' }), /refusing to listen on 0\.0\.0\.0/)

  // Together: one alone waits for others before it lets clients in.
  const nodes = await Promise.all([start(0), start(1), start(2)])
  await until(() => nodes.every(node => linkedTo(node) === 2), 'all are linked')
  assert.equal(nodes[1]!.peerAddress, `127.0.0.1:${ports[1]}`)
  await until(() => livesSeenBy(nodes[0]!).length === 3, 'each tells which life it is')
  assert.deepEqual(livesSeenBy(nodes[0]!), [1, 1, 1])

  const { host, port } = nodes[0]!.address
  const client = await connect(`kv://${host}:${port}`)
  await client.put('k', 'v', { ttlMs: 600_000, consistency: 'all' })
  aheadMs = 3_600_000
  assert.ok(
    await client.has('k', { consistency: 'one' }),
    'by a clock that was set nothing is over',
  )
  assert.ok(await client.get('k', { consistency: 'quorum' }))
  assert.equal(await client.count(), 1)
  aheadMs = 0
  await client.close()

  await nodes[1]!.close()
  await until(() => linkedTo(nodes[0]!) === 1, 'the end of a node is noticed')
  // Where the ring says that it is, it is no more; it tells the others where it is now.
  nodes[1] = await start(1, { peerPort: 0 })
  await until(() => nodes.every(node => linkedTo(node) === 2), 'all are linked again')

  // As from a snapshot of the disk: the lock of the running process is no part of it.
  const filter = (path: string): boolean => !path.endsWith('LOCK')
  cpSync(join(root, '2'), join(root, 'copy'), { recursive: true, filter })
  let stoppedBy: Error | undefined
  void nodes[2]!.stopped.then(error => {
    stoppedBy = error
  })
  const copy = await begin({
    directory: join(root, 'copy'),
    port: 0,
    cluster: { secret: SECRET, peerPort: 0 },
  })
  await until(() => stoppedBy !== undefined, 'the older process of the node has stopped')
  assert.match(stoppedBy!.message, /another process is the same node/)
  nodes[2] = copy
  // It has moved, as has another one: they find each other by the third.
  await until(() => nodes.every(node => linkedTo(node) === 2), 'its later life is linked')

  // The directory that was the node's until then is an old copy now, however often it is started.
  for (let attempt = 0; attempt < 3; attempt++) {
    await assert.rejects(start(2), { name: 'LockedError', message: stoppedBy!.message })
  }
  await copy.close({ graceMs: 0 })
  const files = inlineDatabaseFiles()
  const { node, why, partitions } = await files.readmit(join(root, '2'))
  assert.deepEqual(
    [node, why],
    [Buffer.from(copy.identity.nodeId).toString('hex'), stoppedBy!.message],
  )
  assert.equal(partitions, 16)
  assert.equal((await files.readmit(join(root, '2'))).why, '', 'or on the word of an operator')
  nodes[2] = await start(2)
  await until(() => lackedBy(nodes[2]!) === 0, 'it was compared with all others')
  await assert.rejects(
    begin({ directory: join(root, 'copy'), port: 0, cluster: { secret: SECRET, peerPort: 0 } }),
    { name: 'LockedError' },
    'what went on meanwhile is an old copy now',
  )
})

test('a node with a secret and no peers tells where it is, and is a cluster of one', async t => {
  const { root: directory, begin } = nodesIn(t)
  const cluster = { secret: SECRET, peerPort: 0, init: true }
  const node = await begin({ directory, port: 0, cluster })
  const [member] = node.ring.members
  assert.match(member!.peerAddress, /^127\.0\.0\.1:\d+$/)
  assert.equal(node.peerAddress, member!.peerAddress)
  assert.equal(linkedTo(node), 0)
  await node.close()
  await assert.rejects(inlineDatabaseFiles().readmit(directory), /is a cluster of one/)
  // And is what it was when it is started without one.
  const plain = await begin({ directory, port: 0 })
  assert.equal(plain.peerAddress, undefined)
  assert.equal('links' in plain.stats(), false)
  await plain.close()
})

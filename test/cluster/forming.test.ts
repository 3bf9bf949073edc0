// Goal: nodes form a cluster over real sockets with two options, form it again after any restart,
// wherever they have moved, and say clearly why they cannot.
// Method: real nodes on real directories, one story each.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { type AddressInfo, connect as connectSocket, createServer } from 'node:net'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { freePort } from '../../bench/server/server-process.ts'
import { delay, systemClock } from '../../src/clock.ts'
import {
  type ClusterOptions,
  type Node,
  type NodeOptions,
  startNode,
} from '../../src/cluster/index.ts'
import { RingTable } from '../../src/cluster/ring-table.ts'
import { AuthenticationError, InvalidArgumentError } from '../../src/errors.ts'
import { jsonLogger } from '../../src/logger.ts'
import { connect } from '../../src/net/index.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const SECRET = 'what all nodes of this test know'
const LIMIT_MS = 30_000
const POLL_MS = 5
/** Little is written; touching the memory of the usual one takes longer than all the rest. */
const MEMORY_BUDGET = 8 * 1024 * 1024
const clock = systemClock()

interface Figures {
  readonly nodeId: string
  readonly liveness: string
  readonly epoch: number | undefined
  readonly peerAddress: string | undefined
}

class Nodes {
  readonly running: Node[] = []
  readonly lines: string[] = []
  readonly #root: string

  constructor(t: TestContext) {
    this.#root = temporaryDirectory({
      after: remove => {
        t.after(async () => {
          await Promise.all(this.running.map(node => node.close({ graceMs: 0 })))
          remove()
        })
      },
    })
  }

  async start(
    name: string,
    cluster: Partial<ClusterOptions> = {},
    options: Partial<NodeOptions> = {},
  ): Promise<Node> {
    const node = await startNode({
      directory: join(this.#root, name),
      port: 0,
      memoryBudget: MEMORY_BUDGET,
      ...options,
      logger: jsonLogger(
        line => this.lines.push(line),
        () => 0,
        'debug',
      ),
      cluster: { secret: SECRET, peerPort: 0, ...cluster },
    })
    this.running.push(node)
    return node
  }

  /** Whether there is a directory of that node. */
  hasMade(name: string): boolean {
    return existsSync(join(this.#root, name))
  }

  async stop(node: Node): Promise<void> {
    this.running.splice(this.running.indexOf(node), 1)
    await node.close({ graceMs: 0 })
  }

  async stopAll(): Promise<void> {
    for (const node of [...this.running]) await this.stop(node)
  }

  /** All go by the same ring of so many, which knows where they are, and see each other. */
  async settled(count: number): Promise<void> {
    await until(
      () => {
        const rings = this.running.map(({ ring }) => ring)
        return this.running.every(({ ring, peerAddress, identity }, index) => {
          const id = Buffer.from(identity.nodeId).toString('hex')
          const own = ring.members.find(({ nodeId }) => nodeId === id)
          const { members } = this.running[index]!.stats() as { members: Figures[] }
          return (
            ring.members.length === count &&
            ring.phase === 'stable' &&
            ring.epoch === rings[0]!.epoch &&
            own?.peerAddress === peerAddress &&
            own?.clientAddress !== '' &&
            members.filter(({ liveness }) => liveness === 'up').length === this.running.length
          )
        })
      },
      `a cluster of ${count}\n${this.lines.slice(-40).join('')}`,
    )
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + LIMIT_MS
  while (!condition()) {
    assert.ok(performance.now() < endMs, `not in time: ${what}`)
    await delay(clock, POLL_MS)
  }
}

describe('forming a cluster', () => {
  test('nodes that are told to join do, all at the same time, and form it again', async t => {
    const nodes = new Nodes(t)
    const options = { partitionCount: 16, replicationFactor: 2, virtualNodes: 8 }
    const first = await nodes.start('a', { init: true }, options)
    const seeds = [first.peerAddress!]
    await Promise.all(['b', 'c'].map(name => nodes.start(name, { join: seeds })))
    await nodes.settled(3)
    const { ring } = first
    assert.equal(ring.replicationFactor, 2)
    assert.equal(ring.virtualNodes, 8)
    assert.equal(nodes.running[1]!.identity.partitionCount, 16)
    const ids = nodes.running.map(({ identity }) => Buffer.from(identity.nodeId).toString('hex'))

    // All move: nobody is where the ring says, and one address is enough to find each other.
    await nodes.stopAll()
    const c = await nodes.start('c', { init: true })
    await nodes.start('a', { join: ['127.0.0.1:1', c.peerAddress!] })
    await nodes.start('b', { join: [c.peerAddress!] })
    await nodes.settled(3)
    const again = nodes.running.map(({ identity }) => Buffer.from(identity.nodeId).toString('hex'))
    assert.deepEqual(new Set(again), new Set(ids))

    // A majority goes on alone, and the third finds it where the ring says.
    await nodes.stop(nodes.running.find(({ identity }) => identity === c.identity)!)
    await until(
      () => nodes.running.every(node => countUp(node) === 2),
      'the end of a node is noticed',
    )
    await nodes.start('c')
    await nodes.settled(3)
  })

  test('a node that waits for the cluster to be there says so, and joins when it is', async t => {
    const nodes = new Nodes(t)
    const first = await nodes.start('a', { init: true })
    const address = first.peerAddress!
    const peerPort = Number(address.split(':').at(-1))
    await nodes.stop(first)
    const second = nodes.start('b', { join: [address] })
    await until(() => nodes.lines.some(line => /goes on asking/.test(line)), 'it says so')
    await nodes.start('a', { peerPort })
    await second
    await nodes.settled(2)
  })

  test('a node that is to join what is no node ends, and says which port is meant', async t => {
    const nodes = new Nodes(t)
    // As the port for clients does: the first frame is answered with an error.
    const other = createServer(socket =>
      socket.end(Buffer.from('0c000000ff00000000000000ffffffff', 'hex')),
    )
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    t.after(() => other.close())
    const { port } = other.address() as AddressInfo
    await assert.rejects(
      nodes.start('a', { join: [`127.0.0.1:${port}`] }),
      error =>
        error instanceof InvalidArgumentError && /takes the port for nodes/.test(error.message),
    )
  })

  test('a start that waits can be given up', async t => {
    const nodes = new Nodes(t)
    const stop = new AbortController()
    const start = nodes.start('a', { join: ['127.0.0.1:1'], signal: stop.signal })
    await until(() => nodes.lines.some(line => /goes on asking/.test(line)), 'it says so')
    stop.abort(new Error('no more'))
    await assert.rejects(start, /no more/)
    // Nothing of the directory is taken: it may be a cluster of its own yet.
    await nodes.start('a', { init: true })
  })

  test('who knows another secret is refused, and told so', async t => {
    const nodes = new Nodes(t)
    const first = await nodes.start('a', { init: true })
    const join = [first.peerAddress!]
    await assert.rejects(
      nodes.start('b', { join, secret: 'what nobody else here knows' }),
      error => error instanceof AuthenticationError && /cluster secret/.test(error.message),
    )
    assert.equal(nodes.hasMade('b'), false)
  })

  test('an empty directory takes no part without orders: a lost one founds no second cluster', async t => {
    const nodes = new Nodes(t)
    await assert.rejects(nodes.start('a'), error => {
      assert.ok(error instanceof InvalidArgumentError)
      assert.match(
        error.message,
        /a is empty, .*begins a new cluster \(kvd serve --init\) or joins.*restore/,
      )
      return true
    })
    assert.equal(nodes.hasMade('a'), false, 'and leaves nothing behind')
    const both = { init: true, join: ['127.0.0.1:1'] }
    await assert.rejects(nodes.start('a', both), /choose one of them/)
    // Its order is for the first start alone, and it says so to whoever keeps it.
    const first = await nodes.start('a', { init: true })
    await nodes.stop(first)
    const isVain = (line: string): boolean => /init does nothing: start it without/.test(line)
    assert.equal(nodes.lines.some(isVain), false)
    const again = await nodes.start('a', { init: true })
    assert.ok(nodes.lines.some(isVain))
    assert.equal(again.ring.clusterId, first.ring.clusterId)
    await nodes.stop(again)
    await nodes.start('a')
  })

  test('who has a cluster of its own joins no other', async t => {
    const nodes = new Nodes(t)
    const first = await nodes.start('a', { init: true })
    await nodes.stop(await nodes.start('b', { init: true }))
    await assert.rejects(
      nodes.start('b', { join: [first.peerAddress!] }),
      /clusters are never merged/,
    )
  })

  test('a cluster that users have written to takes nobody in', async t => {
    const nodes = new Nodes(t)
    const first = await nodes.start('a', { init: true }, { partitionCount: 16 })
    const { epoch } = first.ring
    const client = await connect(`kv://127.0.0.1:${first.address.port}`)
    await client.put('key', 'value')
    await client.delete('key')
    await client.close()
    await assert.rejects(
      nodes.start('b', { join: [first.peerAddress!] }),
      error => error instanceof InvalidArgumentError && /holds data of users/.test(error.message),
    )
    assert.equal(first.ring.epoch, epoch)
  })

  test('what was fixed when the cluster was made is not asked for again', async t => {
    const nodes = new Nodes(t)
    const first = await nodes.start('a', { init: true }, { partitionCount: 16 })
    const join = [first.peerAddress!]
    await assert.rejects(nodes.start('b', { join }, { partitionCount: 32 }), /has 16 partitions/)
    await nodes.stop(first)
    await assert.rejects(nodes.start('a', {}, { replicationFactor: 2 }), /replication factor of 3/)
  })

  test('nodes have the racks and weights that they are given, for ever', async t => {
    const nodes = new Nodes(t)
    const options = { partitionCount: 64, replicationFactor: 2, virtualNodes: 16 }
    const first = await nodes.start('a', { init: true, rack: 'east', weight: 2 }, options)
    const join = [first.peerAddress!]
    await nodes.start('b', { rack: 'east', join })
    await nodes.start('c', { rack: 'west', weight: 2, join })
    await nodes.settled(3)
    const { members } = first.ring
    const places = members.map(({ rack, weight }) => `${rack} ${weight}`).sort()
    assert.deepEqual(places, ['east 1', 'east 2', 'west 2'])
    const table = new RingTable(first.ring)
    for (let partition = 0; partition < 64; partition++) {
      const racks = new Set([0, 1].map(slot => table.ownerAfter(partition, slot)!.rack))
      assert.equal(racks.size, 2, 'every partition is in both')
    }
    await nodes.stopAll()
    await assert.rejects(nodes.start('a', { rack: 'west' }), /has rack east, fixed when it/)
    await assert.rejects(nodes.start('a', { weight: 1 }), /has weight 2, fixed when it/)
    await assert.rejects(nodes.start('a', { rack: 'a b' }), InvalidArgumentError)
    await nodes.start('a', { rack: 'east' })
  })
})

describe('a member that is gone', () => {
  test('in the midst of its join blocks nobody once that is taken back, and never returns', async t => {
    const nodes = new Nodes(t)
    const first = await nodes.start('a', { init: true }, { partitionCount: 16 })
    const seeds = [first.peerAddress!]
    const second = await nodes.start('b', { join: seeds })
    await nodes.settled(2)
    // The third is cut off as it is taken in: only who was dialled back is, so it was there before.
    // Whichever of the two takes it in, it must not be told.
    const isStable = () => [first, second].every(({ ring }) => ring.phase === 'stable')
    const road = await openRoad(t, isStable)
    const stop = new AbortController()
    const third = nodes.start('c', {
      join: seeds,
      peerPort: road.target,
      peerAddress: road.address,
      signal: stop.signal,
    })
    const failed = assert.rejects(third, /enough/)
    await until(() => first.ring.phase === 'readOld', 'the join is under way')
    stop.abort(new Error('enough'))
    await failed
    const client = await connect(`kv://127.0.0.1:${second.address.port}`)
    await client.admin({ command: 'abort' })
    await assert.rejects(client.admin({ command: 'abort' }), /nothing is under way/)
    await client.close()
    await nodes.settled(2)
    assert.equal(first.ring.removedIds.length, 1)
    await assert.rejects(nodes.start('c', { join: seeds }), /removed|left this cluster for good/)
    await nodes.start('d', { join: seeds })
    await nodes.settled(3)
  })

  test('is not looked for in another cluster', async t => {
    const nodes = new Nodes(t)
    const first = await nodes.start('a', { init: true }, { partitionCount: 16 })
    const second = await nodes.start('b', { join: [first.peerAddress!] })
    await nodes.settled(2)
    await nodes.stop(second)
    const other = await nodes.start('z', { init: true }, { partitionCount: 16 })
    // The ring knows where the first is; the address that was given is one of somebody else.
    const again = await nodes.start('b', { join: [other.peerAddress!] })
    await nodes.stop(other)
    assert.equal(again.ring.clusterId, first.ring.clusterId)
    await nodes.settled(2)
  })
})

/** An address that leads to the port `target` of this host, for as long as it is open. */
async function openRoad(t: TestContext, isOpen: () => boolean) {
  const target = await freePort()
  const server = createServer(near => {
    const far = connectSocket(target, '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', bytes => (isOpen() ? to.write(bytes) : from.destroy()))
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return { target, address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
}

function countUp(node: Node): number {
  const { members } = node.stats() as { members: Figures[] }
  return members.filter(({ liveness }) => liveness === 'up').length
}

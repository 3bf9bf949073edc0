// Goal: with a map of the ring every call goes to a replica of its key, and goes on with another
// when that one dies, hangs or is slow; the map only helps: when it is old, wrong or missing, calls
// are served all the same. A client of one server does none of it.
// Method: a simulated cluster of servers that are killed, hung, slowed and moved under load.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { Client } from '../../src/net/client.ts'
import type { ClientOptions } from '../../src/net/client-options.ts'
import { Status } from '../../src/net/opcode.ts'
import { seededRandom } from '../../src/random.ts'
import { watch } from '../support/client-harness.ts'
import { FakeConnector } from '../support/fake-wire.ts'
import { decodeFakeRing, ServedCluster } from '../support/served-cluster.ts'
import { SimClock } from '../support/sim-clock.ts'

const VALUE = utf8Encode('v')

interface Scene {
  readonly clock: SimClock
  readonly cluster: ServedCluster
  readonly client: Client
}

/** A client that was told of the first server, and has had time to learn of the others. */
async function start(
  { nodes = 3, width = nodes }: { nodes?: number; width?: number } = {},
  options: Partial<ClientOptions> = {},
): Promise<Scene> {
  const clock = new SimClock()
  const cluster = new ServedCluster(clock, nodes, width)
  const client = new Client({
    url: 'kv://host0:7700',
    clock,
    connector: cluster,
    random: seededRandom(7),
    decodeRoutes: decodeFakeRing,
    ...options,
  })
  await clock.advanceAsync(50)
  return { clock, cluster, client }
}

/** A key whose partition is `partition` of any ring that has so many. */
function keyOf(partition: number, number = 0): string {
  return `k${number}${String.fromCharCode(partition)}`
}

interface Result {
  readonly ok: number
  readonly failed: string[]
  readonly latencies: number[]
}

/** Reads and writes in turn, one a millisecond, `event` happening in the middle; waits for all. */
async function load(scene: Scene, count: number, event?: () => void): Promise<Result> {
  const { client, clock } = scene
  const result = { ok: 0, failed: [] as string[], latencies: [] as number[] }
  const calls: Promise<void>[] = []
  for (let number = 0; number < count; number++) {
    if (number === count >> 1) event?.()
    const key = keyOf(number % 7, number)
    const startMs = clock.monotonicMs()
    const call: Promise<unknown> = number % 2 === 0 ? client.get(key) : client.put(key, VALUE)
    calls.push(
      call.then(
        () => {
          result.ok++
          result.latencies.push(clock.monotonicMs() - startMs)
        },
        error => void result.failed.push(String(error)),
      ),
    )
    await clock.advanceAsync(1, 1)
  }
  await clock.advanceAsync(6000)
  await Promise.all(calls)
  return result
}

function slowest(result: Result): number {
  return Math.max(...result.latencies)
}

describe('with a map of the ring', () => {
  test('a call goes to a replica of its key, and all replicas have their part', async () => {
    const scene = await start({ nodes: 5, width: 2 })
    const { cluster } = scene
    assert.deepEqual((await load(scene, 500)).failed, [])
    for (const { node, request } of cluster.asked) {
      assert.ok(request.type === 'get' || request.type === 'put')
      const partition = request.key.at(-1)! % 5
      const replicas = [`n${partition}`, `n${(partition + 1) % 5}`]
      assert.ok(replicas.includes(node), `${node} is none of ${replicas.join()}`)
    }
    for (const count of cluster.counts()) assert.ok(count > 40, `${count} calls`)
  })

  test('a killed node fails no call, though nobody says where to go', async () => {
    const scene = await start({ nodes: 5, width: 3 })
    const result = await load(scene, 1000, () => scene.cluster.servers[2]!.kill())
    assert.deepEqual(result.failed, [])
    assert.ok(slowest(result) < 30, `${slowest(result)} ms`)
  })

  test('each attempt of a write has the same version, and each write its own', async () => {
    const scene = await start()
    for (const server of scene.cluster.servers) server.latencyMs = 20
    const { failed } = await load(scene, 300, () => scene.cluster.servers[1]!.kill())
    assert.deepEqual(failed, [])
    const versions = new Map<string, Set<string>>()
    let attempts = 0
    for (const { request, version } of scene.cluster.asked) {
      if (request.type !== 'put') continue
      attempts++
      const key = utf8Decode(request.key)
      versions.set(key, (versions.get(key) ?? new Set()).add(version ?? 'none'))
    }
    assert.ok(attempts > versions.size, 'some writes were sent twice')
    assert.ok([...versions.values()].every(({ size }) => size === 1))
    assert.equal(new Set([...versions.values()].map(set => [...set][0])).size, versions.size)
  })

  test('a node that hangs costs one attempt, then nothing, and gets calls again later', async () => {
    const scene = await start()
    const [, hung] = scene.cluster.servers
    for (const server of scene.cluster.servers) server.latencyMs = 20
    const result = await load(scene, 2000, () => {
      hung!.state = 'hung'
    })
    assert.deepEqual(result.failed, [])
    assert.ok(slowest(result) < 1100, `${slowest(result)} ms`)
    const slow = result.latencies.filter(latencyMs => latencyMs > 300)
    assert.ok(slow.length > 2 && slow.length < 40, `${slow.length} calls waited for an attempt`)
    scene.cluster.counts()
    const during = await load(scene, 500)
    assert.ok(slowest(during) < 70, `${slowest(during)} ms`)
    assert.equal(scene.cluster.counts()[1], 0, 'its breaker is open')
    hung!.state = 'up'
    await scene.clock.advanceAsync(6000)
    await load(scene, 500)
    assert.ok(scene.cluster.counts()[1]! > 50, 'it takes part again')
  })

  test('a slow node has few calls, and at most one read in twenty is hedged', async () => {
    const scene = await start()
    await load(scene, 400)
    scene.cluster.servers[0]!.latencyMs = 100
    scene.cluster.counts()
    const result = await load(scene, 2000)
    assert.deepEqual(result.failed, [])
    const counts = scene.cluster.counts()
    assert.ok(counts[0]! < 400, `${counts.join()}`)
    const hedged = counts.reduce((sum, count) => sum + count) - 2000
    assert.ok(hedged > 0 && hedged <= 1000 * 0.05 + 50, `${hedged} hedges`)
    const reads = result.latencies.filter(latencyMs => latencyMs > 40).length
    assert.ok(reads < 300, `${reads} calls waited`)
  })

  test('where all servers are slow, calls are not repeated without end', async () => {
    const scene = await start({ nodes: 3, width: 3 }, { timeoutMs: 60_000 })
    for (const server of scene.cluster.servers) server.latencyMs = 1300
    const result = await load(scene, 400)
    assert.deepEqual(result.failed, [])
    const asked = scene.cluster.asked.length
    // Fifty at once, ten a second and a tenth of the successes; hedges for one read in twenty.
    assert.ok(asked > 420 && asked < 400 + 50 + 50 + 40 + 20, `${asked} requests`)
  })

  test('getMany is divided among replicas and put together again', async () => {
    const { client, clock, cluster } = await start({ nodes: 6, width: 2 })
    const keys = Array.from({ length: 60 }, (_, number) => keyOf(number % 6, number))
    const values = watch(client.getMany(keys))
    await clock.advanceAsync(20)
    assert.deepEqual(values, { state: 'resolved', value: keys.map(key => utf8Encode(key)) })
    assert.ok(cluster.asked.length >= 3 && cluster.asked.length <= 6, `${cluster.asked.length}`)
    for (const { node, request } of cluster.asked) {
      assert.ok(request.type === 'getMany')
      for (const key of request.keys) {
        const partition = key.at(-1)! % 6
        assert.ok([`n${partition}`, `n${(partition + 1) % 6}`].includes(node))
      }
    }
  })

  test('a batch goes whole to a replica of all its keys, where there is one', async () => {
    const { client, clock, cluster } = await start({ nodes: 6, width: 3 })
    const puts = (...partitions: number[]) =>
      partitions.map(partition => ({ type: 'put', key: keyOf(partition), value: 'v' }) as const)
    for (let turn = 0; turn < 10; turn++) {
      // Replicas 2, 3, 4 and 3, 4, 5 and 4, 5, 0.
      void client.batch(puts(2, 3, 4))
      await clock.advanceAsync(5)
    }
    assert.deepEqual(cluster.counts(), [0, 0, 0, 0, 10, 0])
    const apart = watch(client.batch(puts(0, 3)))
    await clock.advanceAsync(5)
    assert.equal(apart.state, 'resolved')
    assert.equal(cluster.asked.length, 1, 'it is one request all the same')
  })
})

describe('the map', () => {
  test('of a later epoch replaces the old one, pushed or asked for; an older one does not', async () => {
    const scene = await start({ nodes: 5, width: 1 })
    const { cluster, clock, client } = scene
    const onlyTwo = { n0: cluster.ring.members['n0']!, n1: cluster.ring.members['n1']! }
    cluster.change({ members: onlyTwo })
    await clock.advanceAsync(10)
    cluster.counts()
    await load(scene, 100)
    assert.deepEqual(cluster.counts().slice(2), [0, 0, 0])
    // A server that slept through the change tells the old map.
    for (const server of cluster.servers) server.ring = { ...cluster.ring, epoch: 1, width: 2 }
    await clock.advanceAsync(60_000)
    assert.equal(watch(client.get(keyOf(3))).state, 'pending')
    await load(scene, 100)
    assert.deepEqual(cluster.counts().slice(2), [0, 0, 0])
    for (const server of cluster.servers) server.ring = undefined
    cluster.ring = { ...cluster.ring, epoch: 9, members: { n3: 'host3:7703', n0: 'host0:7700' } }
    await clock.advanceAsync(40_000)
    await load(scene, 100)
    const counts = cluster.counts()
    assert.equal(counts[1], 0)
    assert.ok(counts[3]! > 20, 'asked for within half a minute and a bit')
  })

  test('is not decoded anew by who connects again and hears the same', async () => {
    let decoded = 0
    const decodeRoutes: typeof decodeFakeRing = bytes => {
      decoded++
      return decodeFakeRing(bytes)
    }
    const scene = await start({}, { decodeRoutes })
    const { cluster, clock } = scene
    const server = cluster.servers[1]!
    server.kill()
    await clock.advanceAsync(3000)
    const [before, dials] = [decoded, cluster.dials]
    server.state = 'up'
    await clock.advanceAsync(5000)
    assert.ok(cluster.dials > dials && server.wires.size > 0, 'it was connected again')
    assert.equal(decoded, before)
    cluster.change({ width: 2 })
    await clock.advanceAsync(10)
    assert.ok(decoded > before, 'another one is')
    assert.deepEqual((await load(scene, 50)).failed, [])
  })

  test('that is wrong costs hops only: any server answers for any key', async () => {
    const scene = await start({ nodes: 3, width: 1 })
    const nowhere = { n0: 'host0:7700', n1: 'elsewhere:1', n2: 'elsewhere:2' }
    scene.cluster.change({ members: nowhere })
    await scene.clock.advanceAsync(10)
    for (const server of scene.cluster.servers.slice(1)) server.kill()
    const result = await load(scene, 200)
    assert.deepEqual(result.failed, [])
    assert.ok(slowest(result) < 30)
  })

  test('is not needed to begin, nor from servers that have none', async () => {
    const text = {
      url: 'kv://host1:7701',
      decodeRoutes: () => Promise.reject(new Error('no ring')),
    }
    const other = await start({}, text)
    assert.deepEqual((await load(other, 20)).failed, [])
  })

  test('follows nodes that all get other addresses, one after the other', async () => {
    const scene = await start()
    const { cluster, clock } = scene
    for (const [index, server] of cluster.servers.entries()) {
      server.kill()
      await load(scene, 50)
      server.address = `moved${index}:1`
      server.state = 'up'
      const members = { ...cluster.ring.members, [server.nodeId]: server.address }
      cluster.change({ members })
      await clock.advanceAsync(3000)
    }
    const result = await load(scene, 200)
    assert.deepEqual(result.failed, [])
    cluster.counts()
    await load(scene, 200)
    for (const count of cluster.counts()) assert.ok(count > 20, `${count} calls`)
    // Nothing is left at the old addresses, the seed included; it survives a second round.
    cluster.servers[1]!.kill()
    assert.deepEqual((await load(scene, 100)).failed, [])
  })

  test('keeps nodes that are away, however long, without help of the first server', async () => {
    const scene = await start()
    const { cluster, clock, client } = scene
    for (const server of cluster.servers) server.kill()
    const lost = watch(client.get('k'))
    await clock.advanceAsync(600_000)
    assert.equal(lost.error?.code, 'KV_UNAVAILABLE')
    assert.ok(cluster.dials < 2000, `${cluster.dials} dials: no faster than the pauses allow`)
    const [gone, ...back] = cluster.servers
    assert.equal(gone!.state, 'down')
    for (const server of back) server.state = 'up'
    await clock.advanceAsync(3000)
    assert.deepEqual((await load(scene, 100)).failed, [])
  })
})

describe('a server that was begun anew as a cluster of its own', () => {
  const ALL = 'kv://host0:7700,host1:7701,host2:7702'

  for (const telling of [true, false]) {
    const name = telling ? '' : ', by its ring alone'
    test(`is not what the client goes by, however long the others are away${name}`, async () => {
      const scene = await start()
      const { cluster, clock, client } = scene
      const [stray, ...others] = cluster.servers
      for (const server of cluster.servers) server.kill()
      await clock.advanceAsync(10)
      stray!.beginAnew('other')
      if (!telling) stray!.clusterId = ''
      await clock.advanceAsync(5000)
      cluster.counts()
      const lost = watch(client.put('k', VALUE, { timeoutMs: 1000 }))
      await clock.advanceAsync(60_000)
      if (telling) {
        assert.equal(lost.error?.code, 'KV_UNAVAILABLE')
        assert.match(lost.error!.message, /host0:7700 belongs to cluster other, this client to c:/)
        assert.equal(cluster.counts()[0], 0)
      }
      for (const server of others) server.state = 'up'
      await clock.advanceAsync(5000)
      cluster.counts()
      assert.deepEqual((await load(scene, 60)).failed, [])
      const counts = cluster.counts()
      if (telling) assert.equal(counts[0], 0)
      assert.ok(counts[1]! > 5 && counts[2]! > 5, `the old map holds: ${counts.join()}`)
    })
  }

  test('makes a new client of all refuse to believe any, until it is stopped', async () => {
    const clock = new SimClock()
    const cluster = new ServedCluster(clock, 3, 3)
    const stray = cluster.servers[2]!
    stray.beginAnew('other')
    const given = { url: ALL, clock, connector: cluster, random: seededRandom(7) }
    const client = new Client({ ...given, decodeRoutes: decodeFakeRing })
    const ready = watch(client.ready())
    const early = watch(client.get('k'))
    await clock.advanceAsync(50)
    const expected = /different clusters \(host0:7700 to c, host1:7701 to c, host2:7702 to other\)/
    const later = watch(client.put('k', VALUE))
    await clock.advanceAsync(0)
    for (const { error } of [ready, early, later]) {
      assert.equal(error?.code, 'KV_INVALID_ARGUMENT')
      assert.match(error!.message, expected)
    }
    assert.deepEqual(cluster.counts(), [0, 0, 0])
    stray.kill()
    await clock.advanceAsync(10_000)
    const scene = { clock, cluster, client }
    assert.deepEqual((await load(scene, 60)).failed, [])
    // The ring has its address by now, so it is known to be the one that lost what it had.
    stray.state = 'up'
    await clock.advanceAsync(10_000)
    assert.deepEqual((await load(scene, 60)).failed, [])
    assert.equal(cluster.counts()[2], 0)
  })

  test('is found out by servers that come back, when the client met it alone', async () => {
    const clock = new SimClock()
    const cluster = new ServedCluster(clock, 3, 3)
    const [good, late, stray] = cluster.servers
    stray!.beginAnew('other')
    good!.state = 'down'
    late!.state = 'hung'
    const given = { url: ALL, clock, connector: cluster, random: seededRandom(7) }
    const client = new Client({ ...given, decodeRoutes: decodeFakeRing })
    const ready = watch(client.ready())
    await clock.advanceAsync(490)
    assert.equal(ready.state, 'pending', 'a server that answers late may contradict')
    await clock.advanceAsync(50)
    assert.equal(client.status, 'connected')
    good!.state = 'up'
    await clock.advanceAsync(10_000)
    cluster.counts()
    const refused = watch(client.put('k', VALUE))
    await clock.advanceAsync(10)
    assert.match(String(refused.error), /host0:7700 to c, what this client has used to other/)
    assert.deepEqual(cluster.counts(), [0, 0, 0])
  })
})

describe('a client of one server', () => {
  test('asks nothing of the map for any call', async () => {
    let asked = 0
    const scene = await start(
      { nodes: 1 },
      {
        decodeRoutes: bytes => {
          const routes = decodeFakeRing(bytes)
          return { ...routes, partitionOf: () => asked++, memberAt: () => asked++ }
        },
      },
    )
    assert.deepEqual((await load(scene, 50)).failed, [])
    assert.equal(asked, 0)
  })

  test('waits for a slow answer as long as the deadline allows', async () => {
    const scene = await start({ nodes: 1 })
    scene.cluster.servers[0]!.latencyMs = 3000
    const get = watch(scene.client.get('k'))
    await scene.clock.advanceAsync(3100)
    assert.equal(get.state, 'resolved')
    assert.equal(scene.cluster.asked.length, 1)
  })
})

describe('a wrong password', () => {
  test('fails calls at once, those that wait too, until it is right', async () => {
    const clock = new SimClock()
    const connector = new FakeConnector()
    const client = new Client({ url: 'kv://a:1', lazy: true, clock, connector })
    const waiting = watch(client.get('k'))
    connector.last.open()
    connector.last.replyError(connector.last.take('hello'), Status.authentication, 'rejected')
    await clock.advanceAsync(0)
    assert.equal(waiting.error?.code, 'KV_AUTHENTICATION')
    const next = watch(client.put('k', VALUE))
    await clock.advanceAsync(0)
    assert.equal(next.error?.code, 'KV_AUTHENTICATION')
    await clock.advanceAsync(3000)
    connector.last.accept()
    const served = watch(client.get('k'))
    await clock.advanceAsync(0)
    connector.last.reply(connector.last.take('get'), { type: 'absent' })
    await clock.advanceAsync(0)
    assert.equal(served.state, 'resolved')
  })
})

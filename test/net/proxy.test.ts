// Goal: a proxy sends on what its clients say, unchanged and to a replica; a write gets one
// version, whichever way it goes, and is told as unknown when it may have happened; what is
// cancelled here is cancelled there.
// Method: the handler of a proxy alone, in front of a simulated cluster of servers that hang, die
// and refuse, on a clock that the test moves.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { KvError } from '../../src/errors.ts'
import type { ClientOptions } from '../../src/net/client-options.ts'
import { ProxyHandler, ProxyLanes } from '../../src/net/proxy/index.ts'
import type { RequestContext } from '../../src/net/request-handler.ts'
import { seededRandom } from '../../src/random.ts'
import { EVERYBODY } from '../support/caller.ts'
import { decodeFakeRing, ServedCluster } from '../support/served-cluster.ts'
import { SimClock } from '../support/sim-clock.ts'

const VALUE = utf8Encode('v')
const VERSION = Uint8Array.from({ length: 16 }, (_, at) => at)
const BUDGET_MS = 5000

interface Scene {
  readonly clock: SimClock
  readonly cluster: ServedCluster
  readonly lanes: ProxyLanes
  readonly handler: ProxyHandler
  readonly context: (more?: Partial<RequestContext>) => RequestContext
}

async function start(limits: ClientOptions = {}): Promise<Scene> {
  const clock = new SimClock()
  const cluster = new ServedCluster(clock, 3, 2)
  const lanes = new ProxyLanes({
    client: {
      nodes: [{ host: 'host0', port: 7700 }],
      connector: cluster,
      random: seededRandom(7),
      ...limits,
    },
    clock,
    decodeRoutes: decodeFakeRing,
    onRing: () => undefined,
  })
  const opened = lanes.open(1000)
  await clock.advanceAsync(50)
  assert.equal(await opened, 'c')
  const handler = new ProxyHandler({
    ...{ lanes, clock },
    ring: () => lanes.ring,
    ownership: () => undefined,
    adminNeeds: () => ({ permission: 'admin' }),
  })
  const client = {}
  const context = (more: Partial<RequestContext> = {}): RequestContext => ({
    deadlineMs: clock.monotonicMs() + BUDGET_MS,
    consistency: 'one',
    durability: undefined,
    version: undefined,
    caller: EVERYBODY,
    client,
    ...more,
  })
  return { clock, cluster, lanes, handler, context }
}

/** The error of a call that takes up to `ms`. */
async function failure({ clock }: Scene, call: Promise<unknown>, ms: number): Promise<KvError> {
  const failed = call.then(
    () => assert.fail('it went well'),
    (error: unknown) => error,
  )
  await clock.advanceAsync(ms)
  const error = await failed
  assert.ok(error instanceof KvError, String(error))
  return error
}

/** A key whose first replica is this server, and whose second is the next. */
function keyOf(server: number): Uint8Array {
  return Uint8Array.of(0x6b, server)
}

describe('a write through a proxy', () => {
  test('goes on with the version that its client gave it, to a replica', async () => {
    const scene = await start()
    const { handler, cluster, clock, context } = scene
    const put = { type: 'put', key: keyOf(1), value: VALUE, ttlMs: 70 } as const
    const done = handler.put(put, context({ version: VERSION }))
    await clock.advanceAsync(10)
    await done
    const [asked] = cluster.asked
    assert.equal(asked?.version, Buffer.from(VERSION).toString('hex'))
    assert.ok(['n1', 'n2'].includes(asked.node))
    assert.ok(asked.request.type === 'put' && asked.request.ttlMs === 70)
  })

  test('without a version gets one, the same in every attempt', async () => {
    const scene = await start()
    const { handler, cluster, clock, context } = scene
    const first = cluster.servers[1]!
    first.state = 'hung'
    const done = handler.put({ type: 'put', key: keyOf(1), value: VALUE, ttlMs: 0 }, context())
    await clock.advanceAsync(3000)
    await done
    const versions = new Set(cluster.asked.map(({ version }) => version))
    assert.ok(cluster.asked.length >= 2, 'it was sent again')
    assert.equal(versions.size, 1)
    assert.match([...versions][0] ?? '', /^[0-9a-f]{32}$/)
  })

  test('that may have happened is unknown, and never a new write', async () => {
    const scene = await start()
    const { handler, cluster, context } = scene
    for (const server of cluster.servers) server.state = 'hung'
    const put = handler.put({ type: 'put', key: keyOf(0), value: VALUE, ttlMs: 0 }, context())
    const error = await failure(scene, put, BUDGET_MS + 10)
    assert.deepEqual([error.code, error.outcome], ['KV_TIMEOUT', 'unknown'])
    assert.equal(new Set(cluster.asked.map(({ version }) => version)).size, 1)
  })

  test('that reached no node is rejected', async () => {
    const scene = await start()
    const { handler, cluster, context, clock } = scene
    for (const server of cluster.servers) server.kill()
    await clock.advanceAsync(10)
    const put = handler.put({ type: 'put', key: keyOf(0), value: VALUE, ttlMs: 0 }, context())
    const error = await failure(scene, put, BUDGET_MS + 10)
    assert.deepEqual([error.code, error.outcome], ['KV_UNAVAILABLE', 'rejected'])
    assert.deepEqual(
      handler.health().map(({ isOk }) => isOk),
      [true, false],
    )
  })

  test('that expires at an instant expires then, by the time of the cluster', async () => {
    const scene = await start()
    const { handler, cluster, clock, context, lanes } = scene
    const expiryMs = lanes.timeMs + 60_000
    const put = { type: 'put', key: keyOf(1), value: VALUE, ttlMs: 0, expiryMs } as const
    const done = Promise.all([handler.put(put, context()), handler.batch([put], context())])
    await clock.advanceAsync(10)
    await done
    for (const { request } of cluster.asked) {
      const operation = request.type === 'batch' ? request.operations[0] : request
      assert.ok(operation?.type === 'put' && operation.ttlMs === 60_000)
    }
  })
})

describe('a read through a proxy', () => {
  test('asks for nothing older than its client wants, and of all nodes that hold the keys', async () => {
    const scene = await start()
    const { handler, cluster, clock, context } = scene
    const one = handler.get(keyOf(2), context({ version: VERSION }))
    await clock.advanceAsync(10)
    assert.ok(['n2', 'n0'].includes(utf8Decode((await one)!)))
    assert.equal(cluster.asked[0]?.version, Buffer.from(VERSION).toString('hex'))
    cluster.counts()
    const keys = [0, 1, 2, 0, 1, 2].map(keyOf)
    const many = handler.getMany(keys, context(), 1e6)
    await clock.advanceAsync(10)
    assert.deepEqual(await many, keys)
    assert.ok(cluster.counts().filter(count => count > 0).length >= 2)
  })

  test('answers the first keys when all are too much', async () => {
    const scene = await start()
    const { handler, clock, context } = scene
    const keys = [0, 1, 2].map(keyOf)
    const many = handler.getMany(keys, context(), 1)
    await clock.advanceAsync(10)
    const found = await many
    assert.ok(found.length >= 1)
    assert.deepEqual(found, keys.slice(0, found.length))
  })

  test('of a hung node is answered by another replica', async () => {
    const scene = await start()
    const { handler, cluster, clock, context } = scene
    cluster.servers[0]!.state = 'hung'
    const got = handler.get(keyOf(0), context())
    await clock.advanceAsync(2000)
    assert.equal(utf8Decode((await got)!), 'n1')
  })

  test('that counts is cancelled on the node when nobody waits', async () => {
    const scene = await start()
    const { handler, cluster, context } = scene
    for (const server of cluster.servers) server.latencyMs = 60_000
    const waiting = { ...context(), cancelled: false }
    const scan = { reverse: false, order: 'ordered', keysOnly: true, cursor: undefined } as const
    const counted = handler.count(scan, waiting)
    waiting.cancelled = true
    assert.equal((await failure(scene, counted, 1000)).code, 'KV_ABORTED')
    assert.deepEqual(
      cluster.asked.map(({ request }) => request.type),
      ['count', 'cancel'],
    )
  })
})

test('what is too much is refused at once', async () => {
  const scene = await start({ inFlightMax: 5, queueCountMax: 10 })
  const { handler, cluster, clock, context } = scene
  for (const server of cluster.servers) server.state = 'hung'
  const codes: string[] = []
  const calls = Array.from({ length: 200 }, (_, at) => {
    return handler.get(keyOf(at % 3), context()).catch((error: unknown) => {
      codes.push(error instanceof KvError ? error.code : String(error))
    })
  })
  await clock.advanceAsync(1)
  assert.ok(codes.length >= 170, `${codes.length} refused`)
  assert.deepEqual([...new Set(codes)], ['KV_OVERLOADED'])
  await clock.advanceAsync(BUDGET_MS)
  await Promise.all(calls)
})

test('a proxy that finds no cluster says why', async () => {
  const clock = new SimClock()
  const cluster = new ServedCluster(clock, 1, 1)
  cluster.servers[0]!.kill()
  const lanes = new ProxyLanes({
    client: { nodes: [{ host: 'host0', port: 7700 }], connector: cluster },
    clock,
    decodeRoutes: decodeFakeRing,
    onRing: () => undefined,
  })
  const opened = lanes.open(1000)
  opened.catch(() => undefined)
  await clock.advanceAsync(1100)
  await assert.rejects(opened, /no node of the cluster can be reached: .*ECONNREFUSED/)
  const closed = lanes.close()
  await clock.advanceAsync(10)
  await closed
})

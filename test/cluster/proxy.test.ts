// Goal: what stands behind a proxy shows through every door: values, versions, expiry, scans and
// refusals are those of the cluster, whichever proxy is asked; a client stays with the proxies; a
// node or a proxy that ends takes next to nothing with it; who stops says so first.
// Method: three real nodes with two copies of each key, two proxies before them, in one process;
// written through one proxy, read through the other and from a node.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Clock, delay, systemClock } from '../../src/clock.ts'
import {
  type ClusterStatus,
  decodeRingMessage,
  decodeRoutes,
  type Node,
  type RunningProxy,
  startNode,
  startProxy,
} from '../../src/cluster/index.ts'
import { KvError } from '../../src/errors.ts'
import { type Client, connect } from '../../src/net/index.ts'
import { metricsProblems } from '../support/metrics-check.ts'
import { RespClient } from '../support/resp-client.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const SECRET = 'a secret of at least sixteen bytes'
const FORM_MS_MAX = 30_000
const KEYS = 30
const CALLERS = 40
/** Calls before an event, and after it: enough for one in a thousand to be a number. */
const CALLS = 1000
/** What no machine is too slow for; a call that hangs is one that failed. */
const CALL_MS_MAX = 20_000
/** Never passes by itself: the test says when a proxy that leaves has been seen to. */
const DRAIN_DELAY_MS = 3_600_000

const clock = systemClock()
/** Ends the delay before a proxy drains. */
let drain = (): void => assert.fail('no proxy is leaving')
const doorClock: Clock = {
  ...clock,
  setTimer(delayMs, callback) {
    if (delayMs !== DRAIN_DELAY_MS) return clock.setTimer(delayMs, callback)
    drain = callback
    return () => undefined
  },
}
const nodes: Node[] = []
const proxies: RunningProxy[] = []

async function startMember(directory: string, name: string): Promise<Node> {
  const seed = nodes[0]?.peerAddress
  const node = await startNode({
    directory: join(directory, name),
    port: 0,
    partitionCount: 64,
    replicationFactor: 2,
    cluster: {
      secret: SECRET,
      peerPort: 0,
      ...(seed === undefined ? { init: true } : { join: [seed] }),
    },
  })
  nodes.push(node)
  return node
}

async function startDoors(): Promise<RunningProxy> {
  const options = {
    nodes: nodes.map(({ address }) => address),
    port: 0,
    resp: { port: 0 },
    http: { port: 0 },
    drainDelayMs: DRAIN_DELAY_MS,
  }
  const running = await startProxy(options, { clock: doorClock })
  proxies.push(running)
  return running
}

function urlOf(...servers: { readonly address: { host: string; port: number } }[]): string {
  return `kv://${servers.map(({ address }) => `${address.host}:${address.port}`).join(',')}`
}

function httpOf({ httpAddress }: RunningProxy): string {
  return `http://127.0.0.1:${httpAddress!.port}`
}

async function withClient<T>(url: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect(url, { decodeRoutes })
  try {
    return await use(client)
  } finally {
    await client.close()
  }
}

/** Once this is done all replicas of the keys have the same: who reads all of them heals them. */
async function healed(keys: readonly string[]): Promise<void> {
  await withClient(urlOf(proxies[0]!), client => client.getMany(keys, { consistency: 'all' }))
}

interface LoadResult {
  calls: number
  readonly failed: string[]
}

/** Reads and writes of many callers at once, with `event` in their midst. */
async function load(client: Client, event: () => Promise<unknown>): Promise<LoadResult> {
  const result: LoadResult = { calls: 0, failed: [] }
  let isOver = false
  const caller = async (number: number): Promise<void> => {
    for (let turn = 0; !isOver; turn++) {
      result.calls++
      const key = `load:${number}:${turn % 50}`
      try {
        if (turn % 2 === 0) await client.put(key, 'x', { timeoutMs: CALL_MS_MAX })
        else await client.get(key, { timeoutMs: CALL_MS_MAX })
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        result.failed.push(error.message)
      }
    }
  }
  const callers = Array.from({ length: CALLERS }, (_, number) => caller(number))
  const begun = async (calls: number): Promise<void> => {
    while (result.calls < calls) await delay(clock, 5)
  }
  try {
    await begun(CALLS)
    await event()
    await begun(result.calls + CALLS)
  } finally {
    isOver = true
  }
  await Promise.all(callers)
  return result
}

function checkResult({ calls, failed }: LoadResult): void {
  assert.ok(failed.length <= calls / 1000, `${failed.length} of ${calls}: ${failed[0]}`)
}

describe('a cluster behind proxies', () => {
  let removeDirectory = (): void => undefined

  before(async () => {
    const directory = temporaryDirectory({
      after: remove => {
        removeDirectory = remove
      },
    })
    for (const name of ['one', 'two', 'three']) await startMember(directory, name)
    const endMs = clock.monotonicMs() + FORM_MS_MAX
    while (nodes.some(({ ring }) => ring.members.length < 3 || ring.phase !== 'stable')) {
      assert.ok(clock.monotonicMs() < endMs, 'the cluster was formed')
      await delay(clock, 20)
    }
    await startDoors()
    await startDoors()
  })

  after(async () => {
    await Promise.all(proxies.map(running => running.close({ graceMs: 0 })))
    await Promise.all(nodes.map(node => node.close({ graceMs: 0 })))
    removeDirectory()
  })

  test('a client of the SDK does what it does at a node', async () => {
    const [one, two] = proxies as [RunningProxy, RunningProxy]
    const keys = Array.from({ length: KEYS }, (_, at) => `sdk:${String(at).padStart(3, '0')}`)
    await withClient(urlOf(one), async writer => {
      await writer.batch(keys.map(key => ({ type: 'put', key, value: `of ${key}` })))
      await writer.put('sdk:gone', 'x', { ttlMs: 1 })
      await writer.delete(keys[0]!, { consistency: 'all' })
      await delay(clock, 5)
    })
    await withClient(urlOf(two), async reader => {
      const options = { consistency: 'all' } as const
      assert.equal(await reader.get('sdk:gone', options), undefined)
      const values = await reader.getMany(keys, options)
      assert.deepEqual(
        values.map(value => value && Buffer.from(value).toString()),
        keys.map((key, at) => (at === 0 ? undefined : `of ${key}`)),
      )
      for (const order of ['ordered', 'unordered'] as const) {
        const seen = new Set<string>()
        const scan = reader.keys({ gte: 'sdk:', lt: 'sdk;', order, pageEntries: 7 })
        for await (const key of scan) seen.add(Buffer.from(key).toString())
        assert.deepEqual(seen, new Set(keys.slice(1)))
      }
      assert.equal(await reader.count({ gte: 'sdk:', lt: 'sdk;' }), KEYS - 1)
      const status = (await reader.admin({ command: 'status' })) as unknown as ClusterStatus
      assert.equal(status.members.length, 3)
      await assert.rejects(reader.admin({ command: 'sing' }), /knows no command 'sing'/)
      const stats = await reader.stats()
      assert.equal((stats['proxy'] as { nodes: unknown[] }).nodes.length, 3)
    })
  })

  test('a client stays with the proxies, whose map leads nowhere else', async () => {
    const addresses = new Set<number>()
    const client = await connect(urlOf(...proxies), {
      decodeRoutes,
      onConnection: event => void addresses.add(event.address.port),
    })
    const ring = decodeRingMessage(await client.ringMap(), 'a proxy')
    assert.deepEqual(
      ring.members.map(({ clientAddress }) => clientAddress),
      ['', '', ''],
    )
    await client.put('stays', 'x')
    assert.equal(proxies[0]!.clusterId, ring.clusterId)
    await client.close()
    assert.deepEqual(addresses, new Set(proxies.map(({ address }) => address.port)))
  })

  test('a version goes through unchanged, and the later of two writes stays', async () => {
    const [one, two] = proxies as [RunningProxy, RunningProxy]
    const version = new Uint8Array(16).fill(7)
    new DataView(version.buffer).setUint16(0, Math.floor(clock.wallMs() / 2 ** 32))
    new DataView(version.buffer).setUint32(2, Math.floor(clock.wallMs()) % 2 ** 32)
    const older = Uint8Array.from(version)
    older[15] = 6
    const written = await connect(urlOf(one), { writeVersion: () => version })
    await written.put('versioned', 'newer', { consistency: 'all' })
    await written.close()
    const late = await connect(urlOf(two), { writeVersion: () => older })
    await late.put('versioned', 'older', { consistency: 'all' })
    await late.close()
    const answer = await fetch(`${httpOf(two)}/v1/kv/versioned?consistency=all`)
    assert.equal(await answer.text(), 'newer')
    assert.equal(answer.headers.get('etag'), `"${Buffer.from(version).toString('hex')}"`)
  })

  test('a session reads its own writes, whichever proxy answers', async () => {
    const client = await connect(urlOf(...proxies), { session: true })
    for (let at = 0; at < 10; at++) {
      await client.put('session', String(at))
      assert.equal(Buffer.from((await client.get('session'))!).toString(), String(at))
    }
    await client.close()
  })

  test('HTTP: values, tags, expiry, pages, and what a cluster refuses', async () => {
    const [one, two] = proxies.map(httpOf) as [string, string]
    for (let at = 0; at < 4; at++) {
      const put = await fetch(`${one}/v1/kv/h${at}?ttl=1h`, { method: 'PUT', body: `${at}` })
      const answer = await fetch(`${two}/v1/kv/h${at}?consistency=all`)
      assert.equal(await answer.text(), `${at}`)
      assert.ok(Number(answer.headers.get('duramen-expires-ms')) > clock.wallMs())
      const tag = answer.headers.get('etag') ?? ''
      assert.equal(put.headers.get('etag'), tag)
      const same = await fetch(`${one}/v1/kv/h${at}`, { headers: { 'if-none-match': tag } })
      assert.equal(same.status, 304)
    }
    const headers = { 'if-none-match': '*' }
    const refused = await fetch(`${one}/v1/kv/h1`, { method: 'PUT', body: 'x', headers })
    assert.equal(refused.status, 501)
    const lines = (await (await fetch(`${two}/v1/kv?prefix=h`)).text()).trim().split('\n')
    assert.equal(lines.length, 4)
    const status = (await (await fetch(`${two}/v1/cluster`)).json()) as ClusterStatus
    assert.equal(status.members.length, 3)
    assert.equal(await (await fetch(`${two}/livez`)).text(), 'ok\n')
    const ready = await (await fetch(`${two}/readyz?verbose`)).text()
    assert.match(ready, /^\[\+\] stays ok\n\[\+\] accepts ok\n\[\+\] nodes ok\n/)
    const metrics = await (await fetch(`${two}/metrics`)).text()
    assert.deepEqual(metricsProblems(metrics), [])
    assert.equal(metrics.match(/^duramen_proxy_node_reachable\{node="[^"]+"\} 1$/gm)?.length, 3)
  })

  test('Redis: the commands of a cluster, in their order, and what it refuses', async () => {
    const clients = await Promise.all(
      proxies.map(({ respAddress }) => RespClient.connect(respAddress!.port)),
    )
    const [writer, reader] = clients as [RespClient, RespClient]
    const keys = Array.from({ length: KEYS }, (_, at) => `redis:${at}`)
    const beganMs = clock.monotonicMs()
    for (const [at, key] of keys.entries()) {
      assert.equal(await writer.ask('set', key, at, 'ex', 100), '+OK\r\n')
    }
    // Both replicas have it in a moment; until then either may answer.
    await healed(keys)
    const [, leftS] = /^:(\d+)\r\n$/.exec(await reader.ask('ttl', keys[3]!)) ?? []
    const passedS = (clock.monotonicMs() - beganMs) / 1000
    assert.ok(Number(leftS) <= 100 && Number(leftS) >= Math.floor(100 - passedS), `${leftS}`)
    assert.equal(await writer.ask('mset', ...keys.flatMap(key => [key, 'x'])), '+OK\r\n')
    await healed(keys)
    const all = `*${KEYS}\r\n${'$1\r\nx\r\n'.repeat(KEYS)}`
    assert.equal(await reader.ask('mget', ...keys), all)
    const scanned = await reader.ask('scan', '0', 'match', 'redis:*', 'count', '1000')
    assert.ok(scanned.startsWith(`*2\r\n$1\r\n0\r\n*${KEYS}\r\n`), scanned.slice(0, 40))
    assert.match(await reader.ask('incr', 'n'), /^-ERR 'incr' reads a key and writes/)
    assert.match(await reader.ask('set', keys[1]!, 'y', 'nx'), /^-ERR 'set' reads a key/)
    assert.match(await reader.ask('multi'), /^-ERR transactions are not offered/)
    assert.equal(await writer.ask('del', ...keys, 'none'), `:${KEYS}\r\n`)
    for (const client of clients) client.end()
  })

  test('a proxy that stops says so first, and serves meanwhile; its clients go to another', async () => {
    const leaving = await startDoors()
    const url = httpOf(leaving)
    await withClient(urlOf(leaving, proxies[1]!), async client => {
      const result = await load(client, async () => {
        const closed = leaving.close({ graceMs: CALL_MS_MAX })
        try {
          assert.equal((await fetch(`${url}/readyz`)).status, 503)
          const put = await fetch(`${url}/v1/kv/still`, { method: 'PUT', body: 'x' })
          assert.equal(put.status, 204)
        } finally {
          drain()
        }
        await closed
      })
      checkResult(result)
    })
    await assert.rejects(fetch(`${url}/livez`))
  })

  test('a node that ends takes less than one call in a thousand with it', async () => {
    await withClient(urlOf(...proxies.slice(0, 2)), async client => {
      checkResult(await load(client, () => nodes[2]!.close({ graceMs: 0 })))
    })
    assert.equal((await fetch(`${httpOf(proxies[0]!)}/readyz`)).status, 200)
  })
})

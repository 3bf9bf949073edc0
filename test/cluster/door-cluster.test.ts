// Goal: on a cluster of several nodes a Redis or HTTP client may ask any of them: what can be had
// without an update is right, wherever the keys are; what cannot is refused and changes nothing.
// Method: two real nodes with one copy of each key, so that each owns about half of them; written
// through one, read through the other.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { delay, systemClock } from '../../src/clock.ts'
import { type ClusterStatus, type Node, startNode } from '../../src/cluster/index.ts'
import { metricsProblems } from '../support/metrics-check.ts'
import { RespClient } from '../support/resp-client.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const SECRET = 'a secret of at least sixteen bytes'
const KEYS = 60
const FORM_MS_MAX = 30_000
const FAR_MS = 4_000_000_000_123

/** Leaves no keys behind. */
async function checkHttp(writer: Node, reader: Node): Promise<void> {
  const [from, to] = [writer, reader].map(node => `http://127.0.0.1:${node.httpAddress!.port}`)
  for (let at = 0; at < 20; at++) {
    const terms = at % 2 === 0 ? '' : '?consistency=all'
    const put = await fetch(`${from}/v1/kv/h${at}${terms}`, { method: 'PUT', body: `${at}` })
    const answer = await fetch(`${to}/v1/kv/h${at}?consistency=all`)
    assert.equal(await answer.text(), `${at}`)
    const tag = answer.headers.get('etag') ?? ''
    assert.match(tag, /^"[0-9a-f]{32}"$/)
    assert.equal(put.headers.get('etag'), tag)
    const same = await fetch(`${from}/v1/kv/h${at}`, { headers: { 'if-none-match': tag } })
    assert.equal(same.status, 304)
  }
  const headers = { 'if-none-match': '*' }
  const refused = await fetch(`${from}/v1/kv/h1`, { method: 'PUT', body: 'x', headers })
  assert.equal(refused.status, 501)
  const lines = (await (await fetch(`${to}/v1/kv?prefix=h`)).text()).trim().split('\n')
  assert.equal(lines.length, 20)
  const status = await statusOf(to!)
  assert.deepEqual([status.health, status.members.length], ['green', 2])
  assert.equal(status.members.find(({ isAsked }) => isAsked)?.nodeId, nodeIdOf(reader))
  const ready = await (await fetch(`${to}/readyz?verbose`)).text()
  assert.match(ready, /^\[\+\] stays ok\n\[\+\] writes ok\n\[\+\] member ok\n/)
  const metrics = await (await fetch(`${to}/metrics`)).text()
  assert.deepEqual(metricsProblems(metrics), [])
  assert.match(metrics, /^duramen_cluster_members\{state="up"\} 2$/m)
  assert.match(metrics, /^duramen_engine_tables\{level="0"\} \d+$/m)
  assert.match(metrics, /^duramen_requests_total\{door="http",operation="get"\} 20$/m)
  const keys = lines.map(line => ({ type: 'del', key: (JSON.parse(line) as { key: string }).key }))
  const body = JSON.stringify(keys)
  const options = { method: 'POST', headers: { 'content-type': 'application/json' }, body }
  assert.equal((await fetch(`${from}/v1/batch`, options)).status, 200)
}

async function statusOf(door: string): Promise<ClusterStatus> {
  return (await (await fetch(`${door}/v1/cluster`)).json()) as ClusterStatus
}

/** In its own eyes: what members say of themselves comes once a second, the epoch with it. */
async function isGreen({ httpAddress }: Node): Promise<boolean> {
  return (await statusOf(`http://127.0.0.1:${httpAddress!.port}`)).health === 'green'
}

function nodeIdOf({ identity }: Node): string {
  return Buffer.from(identity.nodeId).toString('hex')
}

test('two nodes, written through one, read through the other', async t => {
  const running: Node[] = []
  const root = temporaryDirectory({
    after: remove => {
      t.after(async () => {
        await Promise.all(running.map(node => node.close({ graceMs: 0 })))
        remove()
      })
    },
  })
  const start = async (name: string, join_?: string): Promise<Node> => {
    const node = await startNode({
      directory: join(root, name),
      port: 0,
      partitionCount: 64,
      replicationFactor: 1,
      resp: { port: 0 },
      http: { port: 0 },
      cluster: {
        secret: SECRET,
        peerPort: 0,
        ...(join_ === undefined ? { init: true } : { join: [join_] }),
      },
    })
    running.push(node)
    return node
  }
  const first = await start('one')
  const second = await start('two', first.peerAddress)
  const clock = systemClock()
  const endMs = clock.monotonicMs() + FORM_MS_MAX
  const isFormed = () =>
    running.every(({ ring }) => ring.members.length === 2 && ring.phase === 'stable')
  while (!(isFormed() && (await isGreen(second)))) {
    assert.ok(clock.monotonicMs() < endMs, 'the cluster was formed')
    await delay(clock, 20)
  }
  await checkHttp(first, second)
  const clients = await Promise.all(
    [first, second].map(node => RespClient.connect(node.respAddress!.port)),
  )
  const [writer, reader] = clients as [RespClient, RespClient]
  assert.equal(await writer.ask('set', 'counter', 1), '+OK\r\n')
  const keys = Array.from({ length: KEYS }, (_, at) => `key:${at}`)
  for (const [at, key] of keys.entries()) {
    assert.equal(await writer.ask('set', key, at, 'pxat', FAR_MS + at), '+OK\r\n')
  }
  for (const [at, key] of keys.entries()) {
    assert.equal(await reader.ask('get', key), `$${String(at).length}\r\n${at}\r\n`)
    assert.equal(await reader.ask('pexpiretime', key), `:${FAR_MS + at}\r\n`)
  }
  assert.equal(await writer.ask('mset', ...keys.flatMap(key => [key, 'x'])), '+OK\r\n')
  assert.equal(await reader.ask('mget', ...keys), `*${KEYS}\r\n${'$1\r\nx\r\n'.repeat(KEYS)}`)
  assert.equal(await reader.ask('exists', ...keys, 'none'), `:${KEYS}\r\n`)
  assert.equal(await reader.ask('ttl', keys[7]!), ':-1\r\n')
  assert.equal(await reader.ask('dbsize'), `:${KEYS + 1}\r\n`)
  const scanned = await reader.ask('scan', '0', 'match', 'key:*', 'count', '1000')
  assert.ok(scanned.startsWith(`*2\r\n$1\r\n0\r\n*${KEYS}\r\n`), scanned.slice(0, 40))
  for (const client of clients) {
    assert.match(await client.ask('incr', 'counter'), /^-ERR 'incr' reads a key and writes/)
    assert.match(await client.ask('set', 'key:1', 'y', 'nx'), /^-ERR 'set' reads a key/)
    assert.match(await client.ask('multi'), /^-ERR transactions are not offered/)
    assert.equal(await client.ask('get', 'counter'), '$1\r\n1\r\n')
  }
  assert.equal(await reader.ask('del', ...keys.slice(0, 10), 'none'), ':10\r\n')
  assert.equal(await writer.ask('exists', ...keys), `:${KEYS - 10}\r\n`)
  assert.equal(await writer.ask('flushall'), '+OK\r\n')
  assert.equal(await reader.ask('dbsize'), ':0\r\n')
  for (const client of clients) client.end()
})

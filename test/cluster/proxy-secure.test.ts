// Goal: TLS and users hold on both sides of a proxy: its clients log in to it with what it knows of
// them, it logs in to the nodes; who does not fit, on either side, is told what does not.
// Method: two real nodes with certificates and a password, proxies with users before them, on real
// sockets in one process; certificates of two authorities made on the spot.
import assert from 'node:assert/strict'
import { request } from 'node:https'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { delay, systemClock } from '../../src/clock.ts'
import {
  decodeRoutes,
  type Node,
  type NodeOptions,
  type ProxyOptions,
  type RunningProxy,
  startNode,
  startProxy,
} from '../../src/cluster/index.ts'
import { KvError } from '../../src/errors.ts'
import { Client } from '../../src/net/client.ts'
import { hashPassword, parseUsers, TlsIdentity, Users } from '../../src/net/index.ts'
import { Authority } from '../support/certificates.ts'
import { commandOf } from '../support/resp-client.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const OURS = new Authority('our authority')
const OTHERS = new Authority('another authority')
const SECRET = 'a secret of at least sixteen bytes'
/** As cheap as a hash may be: what it costs is not what is tested. */
const COST = { N: 1024, r: 1, p: 1 }
const FORM_MS_MAX = 30_000
/** For a proxy that no node will ever let in: a certificate may come, so it goes on trying. */
const CONTACT_MS = 1500
const NODES_OWNER = { user: 'nodes', password: 'of the nodes' }

const clock = systemClock()

async function usersOf(names: readonly string[]): Promise<Users> {
  const users = await Promise.all(
    names.map(async (name, at) => ({
      name,
      password: await hashPassword(`of ${name}`, new Uint8Array(16).fill(at), COST),
      grants: [{ actions: ['read', 'write'], prefix: `${name}:` }],
    })),
  )
  return new Users(parseUsers(JSON.stringify({ format: 1, users }), 'users.json'))
}

/** What a Redis client hears, over TLS, of so many commands. */
function redis(port: number, ...commands: readonly (readonly string[])[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: '127.0.0.1', ca: OURS.cert })
    let text = ''
    socket.on('error', reject)
    socket.on('data', data => {
      text += String(data)
      // None of these replies has a line more than bulk strings, which have two.
      const lines = text.split('\r\n').filter(line => !/^\$\d/.test(line))
      if (lines.length <= commands.length) return
      socket.destroy()
      resolve(lines.slice(0, -1))
    })
    for (const command of commands) socket.write(commandOf(...command))
  })
}

interface Answer {
  readonly status: number
  readonly text: string
}

function http(port: number, auth: string, method: string, key: string, body = ''): Promise<Answer> {
  const options = { port, host: '127.0.0.1', ca: OURS.cert, auth, method, path: `/v1/kv/${key}` }
  return new Promise((resolve, reject) => {
    const asking = request({ ...options, agent: false }, answer => {
      let text = ''
      answer.on('data', data => {
        text += String(data)
      })
      answer.once('end', () => resolve({ status: answer.statusCode!, text }))
    })
    asking.on('error', reject)
    asking.end(body)
  })
}

describe('a proxy with users before nodes with certificates', () => {
  const identity = new TlsIdentity({ ...OURS.issue(), ca: OURS.cert })
  const closing: { close(options: { graceMs: number }): Promise<void> }[] = []
  const nodes: Node[] = []
  let remove = (): void => undefined
  let root = ''
  let users: Users
  let running: RunningProxy

  async function member(name: string, cluster: NonNullable<NodeOptions['cluster']>): Promise<Node> {
    const node = await startNode({
      ...{ directory: join(root, name), port: 0, partitionCount: 16, replicationFactor: 1 },
      ...{ cluster, tls: { identity }, credentials: NODES_OWNER },
    })
    closing.unshift(node)
    return node
  }

  async function proxy(more: Partial<ProxyOptions> = {}): Promise<RunningProxy> {
    const started = await startProxy({
      ...{ nodes: [nodes[0]!.address], port: 0, resp: { port: 0 }, http: { port: 0 } },
      ...{ tls: { identity }, users, nodeTls: { ca: OURS.cert }, nodeCredentials: NODES_OWNER },
      ...{ contactMs: CONTACT_MS, ...more },
    })
    closing.unshift(started)
    return started
  }

  function clientOf(user: string, password: string, ca = OURS.cert): Client {
    const nodes = [running.address]
    return new Client({ nodes, tls: { ca }, user, password, decodeRoutes, connectTimeoutMs: 5000 })
  }

  before(async () => {
    root = temporaryDirectory({
      after: now => {
        remove = now
      },
    })
    nodes.push(await member('a', { secret: SECRET, peerPort: 0, init: true }))
    const join = [nodes[0]!.peerAddress!]
    nodes.push(await member('b', { secret: SECRET, peerPort: 0, join }))
    const endMs = clock.monotonicMs() + FORM_MS_MAX
    while (nodes.some(({ ring }) => ring.members.length < 2 || ring.phase !== 'stable')) {
      assert.ok(clock.monotonicMs() < endMs, 'the cluster forms')
      await delay(clock, 20)
    }
    users = await usersOf(['ada', 'bob'])
    running = await proxy({ contactMs: FORM_MS_MAX })
  })
  after(async () => {
    for (const each of closing) await each.close({ graceMs: 0 })
    remove()
  })

  test('lets each user do at each door what it was granted, wherever the key is', async () => {
    const [redisPort, httpPort] = [running.respAddress!.port, running.httpAddress!.port]
    const client = clientOf('ada', 'of ada')
    await client.ready()
    for (let at = 0; at < 12; at++) {
      const key = `ada:${at}`
      await client.put(key, `${at}`)
      assert.deepEqual(await http(httpPort, 'ada:of ada', 'GET', key), {
        status: 200,
        text: `${at}`,
      })
      assert.equal((await http(httpPort, 'ada:of ada', 'PUT', key, 'by http')).status, 204)
      const login = ['auth', 'ada', 'of ada']
      const heard = await redis(redisPort, login, ['get', key], ['set', key, 'by redis'])
      assert.deepEqual(heard, ['+OK', 'by http', '+OK'])
      assert.equal(Buffer.from((await client.get(key))!).toString(), 'by redis')
    }
    await assert.rejects(client.get('bob:1'), { code: 'KV_PERMISSION' })
    assert.equal((await http(httpPort, 'ada:of ada', 'PUT', 'bob:1', 'x')).status, 403)
    const [, refused] = await redis(redisPort, ['auth', 'ada', 'of ada'], ['set', 'bob:1', 'x'])
    assert.match(refused!, /^-NOPERM /)
    await client.close()
  })

  test('refuses wrong credentials at each door, those of the nodes too', async () => {
    const [redisPort, httpPort] = [running.respAddress!.port, running.httpAddress!.port]
    const { user, password } = NODES_OWNER
    for (const [name, wrong] of [
      ['ada', 'of bob'],
      ['eve', 'of eve'],
      [user, password],
    ] as const) {
      const client = clientOf(name, wrong)
      await assert.rejects(client.ready(), { code: 'KV_AUTHENTICATION' })
      await client.close()
      assert.equal((await http(httpPort, `${name}:${wrong}`, 'GET', 'ada:1')).status, 401)
      const heard = await redis(redisPort, ['auth', name, wrong], ['get', 'ada:1'])
      assert.match(heard[0]!, /^-WRONGPASS /)
      assert.match(heard[1]!, /^-NOAUTH /)
    }
    const stranger = clientOf('ada', 'of ada', OTHERS.cert)
    await assert.rejects(stranger.ready(), /an authority that is not known here/)
    await stranger.close()
  })

  const misfits: readonly [string, Partial<ProxyOptions>, string, RegExp][] = [
    [
      'a wrong password',
      { nodeCredentials: { user: 'nodes', password: 'of others' } },
      'KV_AUTHENTICATION',
      /--nodes-user, --nodes-password-file/,
    ],
    ['no password', { nodeCredentials: {} }, 'KV_AUTHENTICATION', /--nodes-user/],
    ['no TLS', { nodeTls: false }, 'KV_UNAVAILABLE', /speaks TLS.*kvd proxy: --nodes-tls/],
    [
      'another authority',
      { nodeTls: { ca: OTHERS.cert } },
      'KV_UNAVAILABLE',
      /an authority that is not known here.*kvd proxy: --tls-ca/,
    ],
  ]
  for (const [name, options, code, why] of misfits) {
    test(`does not start with ${name} for the nodes, and says why`, async () => {
      await assert.rejects(proxy(options), error => {
        assert.ok(error instanceof KvError, String(error))
        assert.equal(error.code, code, error.message)
        assert.match(error.message, why)
        return true
      })
    })
  }
})

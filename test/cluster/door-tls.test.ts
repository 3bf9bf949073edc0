// Goal: with a certificate every door and the links of nodes speak TLS and nothing else; who does
// not fit is told why, on either side; a new certificate is shown without a restart.
// Method: real nodes on real sockets, with certificates of two authorities made on the spot.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { type Node, type NodeOptions, startNode } from '../../src/cluster/index.ts'
import type { Logger } from '../../src/logger.ts'
import { Client } from '../../src/net/client.ts'
import { type ClientTls, TlsIdentity } from '../../src/net/index.ts'
import { Authority } from '../support/certificates.ts'
import { RespClient } from '../support/resp-client.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const OURS = new Authority('our authority')
const OTHERS = new Authority('another authority')
/** Some ten seconds of them. */
const LOOKS_MAX = 2000
/** What does not fit is told at once, by a machine that has time for it. */
const ANSWER_MS_MAX = 20_000
const SECRET = 'a secret of at least sixteen bytes'

async function errorOf(node: Node, tls: ClientTls | boolean): Promise<string> {
  const [timeoutMs, connectTimeoutMs] = [ANSWER_MS_MAX, ANSWER_MS_MAX]
  const client = new Client({ nodes: [node.address], tls, timeoutMs, connectTimeoutMs })
  try {
    await client.ready()
    await client.get('a')
    return ''
  } catch (error) {
    return String(error)
  } finally {
    await client.close()
  }
}

describe('a node with a certificate', () => {
  const identity = new TlsIdentity({ ...OURS.issue(), ca: OURS.cert })
  const lines: string[] = []
  const log: Logger['info'] = (message, fields) => {
    lines.push(JSON.stringify({ message, ...fields }))
  }
  const logger: Logger = { debug: log, info: log, warn: log, error: log }
  const nodes: Node[] = []
  let remove = (): void => undefined
  let root = ''
  let node: Node
  let strict: Node

  async function start(name: string, more: Partial<NodeOptions>): Promise<Node> {
    const started = await startNode({
      ...{ directory: join(root, name), port: 0, partitionCount: 16, logger },
      ...{ resp: { port: 0 }, http: { port: 0 }, tls: { identity } },
      ...more,
    })
    nodes.push(started)
    return started
  }

  /** Waits for it: the two sides of a connection end each in their own time. */
  async function lineWith(text: string): Promise<string> {
    for (let looks = 0; looks < LOOKS_MAX; looks++) {
      const found = lines.findLast(line => line.includes(text))
      if (found !== undefined) return found
      await turn(5)
    }
    return assert.fail(`no line of the log has: ${text}`)
  }

  before(async () => {
    root = temporaryDirectory({
      after: now => {
        remove = now
      },
    })
    node = await start('a', { cluster: { secret: SECRET, peerPort: 0, init: true } })
    strict = await start('strict', { tls: { identity, clientAuth: 'require' } })
  })
  after(async () => {
    await Promise.all(nodes.map(each => each.close({ graceMs: 0 })))
    remove()
  })

  test('speaks TLS at every door', async () => {
    assert.equal(await errorOf(node, { ca: OURS.cert }), '')
    assert.equal(await errorOf(strict, { ca: OURS.cert, ...OURS.issue() }), '')
    assert.equal(await overTls(node.respAddress!.port, 'PING\r\n'), '+PONG\r\n')
    assert.equal(await statusOf(node.httpAddress!.port), 200)
  })

  test('and tells either side what does not fit', async () => {
    assert.match(await errorOf(node, false), /this port speaks TLS: use kvs:/)
    assert.match(await errorOf(node, true), /an authority that is not known here/)
    assert.match(await errorOf(node, { ca: OTHERS.cert }), /an authority that is not known here/)
    const otherName = { ca: OURS.cert, serverName: 'db.example' }
    assert.match(await errorOf(node, otherName), /must name the host that is connected to/)
    assert.match(await errorOf(strict, { ca: OURS.cert }), /asks for a certificate of this client/)
    const stranger = { ca: OURS.cert, ...OTHERS.issue() }
    assert.match(await errorOf(strict, stranger), /may not take the certificate .*valid until/)
    const expired = { ca: OURS.cert, ...OURS.issue({ validDays: [-3, -2] }) }
    assert.match(await errorOf(strict, expired), /may not take the certificate .*valid until/)
    const redis = await RespClient.connect(node.respAddress!.port)
    assert.match(await redis.untilClosed(Buffer.from('PING\r\n')), /^-ERR .*use rediss:/)
    const http = await fetch(`http://127.0.0.1:${node.httpAddress!.port}/livez`)
    assert.equal(http.status, 400)
    assert.match(await http.text(), /use https:/)
    for (const why of ['not of the authority that is believed here (', 'has expired (CERT_HAS_']) {
      const line = await lineWith(why)
      assert.match(line, /"client":"127\.0\.0\.1:\d+"/)
    }
    const audited = lines.filter(line => line.includes('handshake-refused'))
    for (const door of ['binary', 'redis', 'http']) {
      assert.ok(
        audited.some(line => line.includes(`"door":"${door}"`)),
        `${door}: ${audited}`,
      )
    }
    assert.ok(audited.some(line => line.includes('it does not speak TLS')))
  })

  test('makes nothing of who goes away before it has said anything', async () => {
    const socket = connect(node.address.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
    await lineWith('a handshake was left')
    assert.ok(!lines.some(line => line.includes('refused') && line.includes('went away')))
  })

  test('shows a new one without a restart, and refuses one that does not fit', async () => {
    const before = await serialOf(node.address.port)
    const files = { ...OURS.issue(), ca: OURS.cert }
    assert.throws(() => identity.replace({ ...files, key: OURS.issue().key }), /cannot be used/)
    assert.equal(await serialOf(node.address.port), before)
    const open = new Client({ nodes: [node.address], tls: { ca: OURS.cert } })
    await open.get('a')
    identity.replace({ ...OURS.issue({ validDays: [-3, -2] }), ca: OURS.cert })
    assert.match(await errorOf(node, { ca: OURS.cert }), /has expired/)
    await lineWith('the certificate of this node has expired')
    await open.get('a')
    await open.close()
    identity.replace({
      ...OURS.issue({ names: ['db.example'], validDays: [-1, 9] }),
      ca: OURS.cert,
    })
    await lineWith('the certificate of this node ends soon')
    assert.match(await lineWith('does not name the host at which other nodes'), /127\.0\.0\.1/)
    identity.replace(files)
    assert.notEqual(await serialOf(node.httpAddress!.port), before)
    assert.equal(await errorOf(node, { ca: OURS.cert }), '')
  })

  test('is joined over TLS, by who has a certificate of the authority', async () => {
    const seed = node.peerAddress!
    const cluster = { secret: SECRET, peerPort: 0, join: [seed] }
    const joined = await start('b', { cluster })
    assert.equal(joined.ring.members.length, 2)
    assert.notEqual(await serialOf(Number(seed.split(':')[1])), '')
    const stranger = new TlsIdentity({ ...OTHERS.issue(), ca: OURS.cert })
    const left = new AbortController()
    const options = { cluster: { ...cluster, signal: left.signal }, tls: { identity: stranger } }
    const refused = start('c', options)
    await Promise.race([lineWith('"door":"nodes"'), refused])
    left.abort(new Error('enough'))
    await assert.rejects(refused, /enough/)
    const plain = start('c', { cluster, tls: undefined })
    await assert.rejects(plain, /the nodes of this cluster speak TLS with each other/)
    const misnamed = new TlsIdentity({ ...OURS.issue({ names: ['db.example'] }), ca: OURS.cert })
    const until = new AbortController()
    const outside = start('e', {
      cluster: { ...cluster, signal: until.signal },
      tls: { identity: misnamed },
    })
    await lineWith('cannot reach this node at')
    until.abort(new Error('enough'))
    await assert.rejects(outside, /enough/)
    assert.equal(node.ring.members.length, 2)
    const client = new Client({ nodes: [joined.address], tls: { ca: OURS.cert } })
    await client.put('both', '1', { consistency: 'all' })
    await client.close()
  })

  test('may be reached from elsewhere only with a password', async () => {
    await assert.rejects(start('d', { host: '0.0.0.0' }), /without a password/)
    const credentials = { password: 'x' }
    const bare = { host: '0.0.0.0', credentials, tls: undefined }
    await assert.rejects(start('d', bare), /nothing is encrypted/)
    const open = await start('d', { ...bare, tls: { identity } })
    assert.equal(open.address.host, '0.0.0.0')
  })
})

function overTls(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: '127.0.0.1', ca: OURS.cert })
    socket.on('error', reject)
    socket.once('data', data => {
      socket.destroy()
      resolve(String(data))
    })
    socket.write(text)
  })
}

function serialOf(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    // Who asks for a certificate says so after its own was seen.
    const socket = connectTls({ port, host: '127.0.0.1', ca: OURS.cert, ...OURS.issue() }, () => {
      const { serialNumber } = socket.getPeerCertificate()
      socket.destroy()
      resolve(serialNumber)
    })
    socket.on('error', reject)
  })
}

function statusOf(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', path: '/livez', ca: OURS.cert, agent: false }
    get(options, answer => {
      answer.resume()
      resolve(answer.statusCode)
    }).on('error', reject)
  })
}

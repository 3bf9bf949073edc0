// Goal: whether a request is answered in the direct lane or by node:http cannot be told from its
// answer; connections of the lane are watched as those of node:http are.
// Method: the same requests to two equal servers, to one of them with an empty line before, which
// node:http passes over and the lane hands on; and conversations that a client might have.
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { delay, systemClock } from '../../src/clock.ts'
import { wholeRequest } from '../../src/net/http/direct-request.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { rawRequest, talk } from '../support/http-client.ts'
import { startHttp } from '../support/http-target.ts'
import { MemoryHandler } from '../support/memory-handler.ts'
import { printSeed } from '../support/seed.ts'

const REQUESTS = 150
const LARGE = 1_000_000

function pick<T>(random: Random, list: readonly T[]): T {
  return list[random.below(list.length)]!
}

const METHODS = ['GET', 'GET', 'GET', 'PUT', 'PUT', 'DELETE', 'HEAD', 'POST', 'get']
const PATHS = [
  ...['/v1/kv/a', '/v1/kv/a', '/v1/kv/b', '/v1/kv/b%2F%ff', '/v1/kv/none', '/v1/kv/%zz', '/v1/kv/'],
  ...['/v1/kv/a?consistency=all', '/v1/kv/b?x=1', '/v1/kv/a?ttl=1s', '/v1/kv/a#b', '/livez'],
  ...['/v1/kv/large', `/v1/kv/${'k'.repeat(5000)}`],
]
const FIELDS = [
  ...['Accept: */*', 'user-agent: x', 'Connection: keep-alive', 'connection: Keep-Alive', 'X:y'],
  ...['Connection: close', 'If-None-Match: "00"', 'If-None-Match: *', 'if-match: "01"', 'Empty: '],
  ...[
    'Host: localhost',
    'Origin: http://evil.example',
    'Sec-Fetch-Site: cross-site',
    'Padded:  x ',
  ],
  ...['Expect: 100-continue', 'Expect: x', 'Upgrade: h2c', 'Tab:\tx', 'Authorization: Basic xx'],
  ...[
    'No colon',
    ' folded: x',
    'Odd{name}: x',
    'Bell: \x07',
    'High: \xe9',
    'Line: a\nb',
    'TE: trailers',
  ],
  ...['Content-Length: 0', 'Content-Length: +3', 'Transfer-Encoding: chunked', 'Via: 1.1 x'],
]

/** One whole request, as far as its sender knows. */
function requestOf(random: Random): Buffer {
  const method = pick(random, METHODS)
  const fields = Array.from({ length: random.below(3) }, () => pick(random, FIELDS))
  const body = method === 'PUT' || method === 'POST' ? 'v'.repeat(random.below(3) * 50) : ''
  if (method === 'PUT' || random.below(8) === 0) fields.push(`Content-Length: ${body.length}`)
  const text = rawRequest(`${method} ${pick(random, PATHS)}`, fields, body)
  return Buffer.from(random.below(20) === 0 ? text.replace('HTTP/1.1', 'HTTP/1.0') : text, 'latin1')
}

/** One that is for the lane, as a quarter of them are. */
function laneRequestOf(random: Random): Buffer {
  let bytes = requestOf(random)
  for (let draws = 1; draws < 200 && wholeRequest(bytes) === undefined; draws++) {
    bytes = requestOf(random)
  }
  return bytes
}

async function startTwin(t: TestContext): Promise<number> {
  const handler = new MemoryHandler()
  const get = handler.get.bind(handler)
  const version = (value: Uint8Array): Uint8Array => Uint8Array.of(value.length & 1)
  Object.assign(handler, {
    entry: (...args: Parameters<typeof get>) => {
      const value = get(...args) as Uint8Array | undefined
      return value && { value, expiryMs: 0, version: version(value) }
    },
  })
  const { port, url } = await startHttp(t, { handler })
  await fetch(`${url}/v1/kv/large`, { method: 'PUT', body: 'x'.repeat(LARGE) })
  return port
}

/** All that can be told apart, but for when it was. */
async function answerTo(port: number, bytes: Buffer, isHead: boolean): Promise<unknown> {
  // Behind what waits for more, nothing more comes.
  const over = delay(systemClock(), 5000).then(() => 'no answer')
  const talked = talk(port, bytes, { count: 1, isHead })
  const answered = await Promise.race([talked, over])
  if (typeof answered === 'string') return answered
  return answered.answers.map(({ status, headers, body }) => {
    const isDated = Date.parse(headers['date'] ?? '') > 0
    return { status, headers: { ...headers, date: isDated }, names: Object.keys(headers), body }
  })
}

describe('the direct lane', () => {
  test('answers as node:http does', async t => {
    const random = seededRandom(printSeed(t))
    const [port, otherPort] = [await startTwin(t), await startTwin(t)]
    let direct = 0
    for (let count = 0; count < REQUESTS; count++) {
      const bytes = count % 3 === 0 ? laneRequestOf(random) : requestOf(random)
      if (wholeRequest(bytes) !== undefined) direct++
      const isHead = bytes.toString('latin1').startsWith('HEAD')
      const [mine, other] = await Promise.all([
        answerTo(port, bytes, isHead),
        answerTo(otherPort, Buffer.concat([Buffer.from('\r\n'), bytes]), isHead),
      ])
      assert.deepEqual(mine, other, bytes.toString('latin1'))
    }
    assert.ok(direct > REQUESTS / 5, `${direct} of ${REQUESTS} went through the lane`)
  })

  test('keeps the order of what a client asks, however it asks', async t => {
    const answers: ((value: Uint8Array | undefined) => void)[] = []
    const handler = new MemoryHandler()
    handler.get = () => new Promise(resolve => answers.push(resolve))
    const { port, server } = await startHttp(t, { handler })
    const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true })
    let got = ''
    socket.on('data', chunk => {
      got += chunk.toString('latin1')
    })
    const ended = new Promise(resolve => socket.once('end', resolve))
    socket.write(rawRequest('GET /v1/kv/a'))
    while (answers.length < 1) await delay(systemClock(), 1)
    // The second and the third come while the first is under way, then no more.
    socket.write(rawRequest('GET /v1/kv/b').repeat(2))
    await delay(systemClock(), 20)
    answers[0]!(Buffer.from('first'))
    while (answers.length < 2) await delay(systemClock(), 1)
    answers[1]!(undefined)
    while (answers.length < 3) await delay(systemClock(), 1)
    answers[2]!(Buffer.from('third'))
    while (!got.includes('third')) await delay(systemClock(), 1)
    const found = [...got.matchAll(/first|HTTP_NO_SUCH_KEY|third/g)].map(([word]) => word)
    assert.deepEqual(found, ['first', 'HTTP_NO_SUCH_KEY', 'third'])
    socket.end()
    await ended
    assert.equal(server.stats().inFlight, 0)
  })

  test('answers a client that has said that it says no more', async t => {
    const { port } = await startHttp(t, { handler: new MemoryHandler({ later: true }) })
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
    let got = ''
    socket.on('data', chunk => {
      got += chunk.toString('latin1')
    })
    socket.end(rawRequest('GET /v1/kv/none'))
    await new Promise(resolve => socket.once('end', resolve))
    assert.match(got, /^HTTP\/1\.1 404 /)
  })

  test('closes connections that say nothing, and none that waits for its answer', async t => {
    const handler = new MemoryHandler()
    let answer: (value: undefined) => void = () => undefined
    handler.get = () =>
      new Promise(resolve => {
        answer = resolve
      })
    // The one that waits must have been read by then, however busy this process is.
    const limits = { handshakeTimeoutMs: 500, idleTimeoutMs: 100 }
    const { port, server } = await startHttp(t, { handler, limits })
    const silent = talk(port, '')
    const waiting = talk(port, rawRequest('GET /v1/kv/a'))
    const { answers } = await silent
    assert.deepEqual(
      answers.map(({ status }) => status),
      [408],
    )
    answer(undefined)
    assert.equal((await waiting).answers[0]?.status, 404)
    while (server.stats().connections > 0) await delay(systemClock(), 5)
  })

  test('holds a large value only as long as the client takes to read it', async t => {
    const port = await startTwin(t)
    const { answers } = await talk(port, rawRequest('GET /v1/kv/large'), { count: 1 })
    assert.equal(answers[0]?.body.length, LARGE)
  })
})

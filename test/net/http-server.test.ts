// Goal: the HTTP door does what HTTP.md says: keys, conditions, scans, batches, health, metrics;
// and not what it must not: serve strangers, hold what nobody takes, end a cut stream as a whole.
// Method: a server over the engine, or over a handler in memory that fails where it is told to, and
// requests as curl and browsers send them, or as bytes.
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import { delay, systemClock } from '../../src/clock.ts'
import {
  InvalidArgumentError,
  OverloadedError,
  PermissionError,
  UnavailableError,
} from '../../src/errors.ts'
import { metricsText } from '../../src/net/http/metrics-text.ts'
import { LatencyHistogram } from '../../src/net/latency-histogram.ts'
import { counter, gauge, type MetricFamily } from '../../src/net/metrics.ts'
import { seededRandom } from '../../src/random.ts'
import { EVERYBODY } from '../support/caller.ts'
import { rawRequest, talk } from '../support/http-client.ts'
import { httpServer, startHttp } from '../support/http-target.ts'
import { MemoryHandler } from '../support/memory-handler.ts'
import { metricSamples, metricsProblems } from '../support/metrics-check.ts'
import { printSeed } from '../support/seed.ts'

interface ErrorBody {
  readonly code: string
  readonly message: string
  readonly action: string
  readonly outcome?: string
}

async function errorOf(answer: Response): Promise<ErrorBody & { readonly status: number }> {
  return { status: answer.status, ...((await answer.json()) as ErrorBody) }
}

const NDJSON = { 'content-type': 'application/x-ndjson' }

describe('keys', () => {
  test('of any bytes hold any bytes', async t => {
    const { url } = await startHttp(t)
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 30; round++) {
      const key = random.bytes(1 + random.below(40))
      const value = random.bytes(random.below(3) === 0 ? 0 : random.below(10_000))
      const path = [...key].map(byte => `%${byte.toString(16).padStart(2, '0')}`).join('')
      const put = await fetch(`${url}/v1/kv/${path}`, { method: 'PUT', body: value })
      assert.equal(put.status, 204)
      const got = await fetch(`${url}/v1/kv/${path}`)
      assert.equal(got.status, 200)
      assert.deepEqual(new Uint8Array(await got.arrayBuffer()), value)
      const head = await fetch(`${url}/v1/kv/${path}`, { method: 'HEAD' })
      assert.equal(head.headers.get('content-length'), String(value.length))
      assert.equal((await fetch(`${url}/v1/kv/${path}`, { method: 'DELETE' })).status, 204)
      assert.equal((await errorOf(await fetch(`${url}/v1/kv/${path}`))).code, 'HTTP_NO_SUCH_KEY')
    }
  })

  test('have the version as their tag, and conditions go by it', async t => {
    const { url } = await startHttp(t)
    const key = `${url}/v1/kv/tagged`
    const put = (body: string, headers: Record<string, string> = {}): Promise<Response> =>
      fetch(key, { method: 'PUT', body, headers })
    const tag = async (): Promise<string> => (await fetch(key)).headers.get('etag') ?? ''
    assert.equal((await put('x', { 'if-match': '"00"' })).status, 412)
    const created = await put('1', { 'if-none-match': '*' })
    assert.equal(created.status, 204)
    const first = await tag()
    assert.equal(created.headers.get('etag'), first)
    assert.match(first, /^"[0-9a-f]{32}"$/)
    assert.equal((await put('2', { 'if-none-match': '*' })).status, 412)
    const same = await fetch(key, { headers: { 'if-none-match': `"00", W/${first}` } })
    assert.equal(same.status, 304)
    assert.equal(await same.text(), '')
    assert.equal((await put('2', { 'if-match': `"00", ${first}` })).status, 204)
    const refused = await put('3', { 'if-match': first })
    assert.equal(refused.headers.get('etag'), await tag())
    assert.equal((await errorOf(refused)).code, 'HTTP_PRECONDITION_FAILED')
    assert.equal((await fetch(key, { headers: { 'if-none-match': first } })).status, 200)
    const remove = (ifMatch: string): Promise<Response> =>
      fetch(key, { method: 'DELETE', headers: { 'if-match': ifMatch } })
    assert.equal((await remove(first)).status, 412)
    assert.equal((await remove(await tag())).status, 204)
    assert.equal((await remove('*')).status, 412)
  })

  test('a chain of writes goes by the tags in their answers alone', async t => {
    const { url } = await startHttp(t)
    const key = `${url}/v1/kv/chain`
    const put = async (body: string, headers: Record<string, string> = {}): Promise<string> => {
      const answer = await fetch(key, { method: 'PUT', body, headers })
      assert.equal(answer.status, 204)
      return answer.headers.get('etag') ?? ''
    }
    let tag = await put('0')
    for (let at = 1; at < 10; at++) {
      const before = tag
      tag = await put(String(at), { 'if-match': tag })
      assert.ok(tag > before, `${tag} is later than ${before}`)
    }
    const got = await fetch(key)
    assert.deepEqual([await got.text(), got.headers.get('etag')], ['9', tag])
    const removed = await fetch(key, { method: 'DELETE', headers: { 'if-match': tag } })
    assert.deepEqual([removed.status, removed.headers.get('etag')], [204, null])
  })

  test('are written whole: a part is refused, and changes nothing', async t => {
    const { url } = await startHttp(t)
    await fetch(`${url}/v1/kv/a`, { method: 'PUT', body: 'the whole' })
    const headers = { 'content-range': 'bytes 4-8/9' }
    const answer = await fetch(`${url}/v1/kv/a`, { method: 'PUT', body: 'whole', headers })
    const { status, message } = await errorOf(answer)
    assert.equal(status, 400)
    assert.match(message, /without Content-Range/)
    assert.equal(await (await fetch(`${url}/v1/kv/a`)).text(), 'the whole')
  })

  test('one of many conditional writers wins', async t => {
    const { url } = await startHttp(t)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) => {
        const headers = { 'if-none-match': '*' }
        return fetch(`${url}/v1/kv/once`, { method: 'PUT', body: String(at), headers })
      }),
    )
    assert.equal(answers.filter(({ status }) => status === 204).length, 1)
    assert.equal(answers.filter(({ status }) => status === 412).length, 19)
  })

  test('where others write too, conditions of writes are not offered', async t => {
    const { url } = await startHttp(t, { handler: new MemoryHandler() })
    const headers = { 'if-none-match': '*' }
    const answer = await fetch(`${url}/v1/kv/a`, { method: 'PUT', body: 'x', headers })
    const { status, code } = await errorOf(answer)
    assert.deepEqual([status, code], [501, 'HTTP_CONDITION_NOT_OFFERED'])
    const checkKeys = (): void => {
      throw new PermissionError('not this one')
    }
    const guarded = await startHttp(t, {
      handler: Object.assign(new MemoryHandler(), { checkKeys }),
    })
    const path = `${guarded.url}/v1/kv/a`
    const refused = await errorOf(await fetch(path, { method: 'PUT', body: 'x', headers }))
    assert.deepEqual([refused.status, refused.code], [403, 'KV_PERMISSION'])
  })

  test('expire after their ttl, and terms are passed on', async t => {
    const { url } = await startHttp(t)
    await fetch(`${url}/v1/kv/t?ttl=1h`, { method: 'PUT', body: 'x' })
    const expiresMs = Number((await fetch(`${url}/v1/kv/t`)).headers.get('duramen-expires-ms'))
    assert.ok(expiresMs > 0)
    const handler = new MemoryHandler()
    const memory = await startHttp(t, { handler })
    const terms = 'consistency=quorum&durability=none&timeout=2s'
    await fetch(`${memory.url}/v1/kv/t?${terms}`, { method: 'PUT', body: 'x' })
    assert.equal(handler.lastContext?.consistency, 'quorum')
    assert.equal(handler.lastContext?.durability, 'none')
  })

  for (const [query, told] of [
    ['ttl=5', /no unit: write 5s/],
    ['ttl=soon', /no duration such as/],
    ['ttl=0s', /no duration from 1ms to 36600d/],
    ['ttl=36601d', /no duration from 1ms to 36600d/],
    ['tll=5s', /do you mean ttl/],
    ['ttl=5s&ttl=6s', /two ttl/],
    ['consistency=most', /not one of one, quorum, all/],
    ['ttl=%zz', /no percent-encoded byte/],
  ] as const) {
    test(`?${query} is refused, and says why`, async t => {
      const { url } = await startHttp(t, { handler: new MemoryHandler() })
      const error = await errorOf(await fetch(`${url}/v1/kv/a?${query}`, { method: 'PUT' }))
      assert.equal(error.status, 400)
      assert.match(error.message, told)
    })
  }
})

describe('requests that cannot be served', () => {
  test('are told why, with the right status', async t => {
    const limits = { valueSizeMax: 1000 }
    const { url, port } = await startHttp(t, { handler: new MemoryHandler(), limits })
    const post = await fetch(`${url}/v1/kv/a`, { method: 'POST' })
    assert.equal(post.headers.get('allow'), 'GET, HEAD, PUT, DELETE')
    assert.equal((await errorOf(post)).code, 'HTTP_METHOD_NOT_ALLOWED')
    assert.equal((await errorOf(await fetch(`${url}/v2`))).code, 'HTTP_NO_SUCH_PATH')
    const put = await fetch(`${url}/v1/kv/a`, { method: 'PUT', body: Buffer.alloc(1001) })
    assert.equal((await errorOf(put)).code, 'HTTP_BODY_TOO_LARGE')
    const long = await fetch(`${url}/v1/kv/${'a'.repeat(50_000)}`)
    assert.equal((await errorOf(long)).code, 'HTTP_URI_TOO_LONG')
    const statusOf = async (bytes: string): Promise<number> =>
      (await talk(port, bytes, { count: 1 })).answers[0]?.status ?? 0
    assert.equal(await statusOf('nonsense\r\n\r\n'), 400)
    assert.equal(await statusOf('GET /livez HTTP/1.1\r\n\r\n'), 400)
    assert.equal(await statusOf(rawRequest('GET /livez', ['Host: b'])), 400)
    assert.equal(await statusOf(rawRequest('GET /livez', [`A: ${'a'.repeat(70_000)}`])), 431)
    assert.equal(await statusOf(rawRequest('PUT /v1/kv/a', ['Expect: tea'])), 417)
    const both = ['Content-Length: 3', 'Transfer-Encoding: chunked']
    assert.equal(await statusOf(rawRequest('PUT /v1/kv/a', both, 'abc')), 400)
    const chunked = ['Transfer-Encoding: chunked']
    const body = `${(1001).toString(16)}\r\n${'a'.repeat(1001)}\r\n0\r\n\r\n`
    assert.equal(await statusOf(rawRequest('PUT /v1/kv/a', chunked, body)), 413)
    const large = ['Content-Length: 1001', 'Expect: 100-continue']
    assert.equal(await statusOf(rawRequest('PUT /v1/kv/a', large)), 413)
    const absolute = 'GET http://localhost/livez'
    assert.equal(await statusOf(rawRequest(absolute)), 200)
  })

  test('an answer that is due goes out before the one to bytes that are no request', async t => {
    const handler = new MemoryHandler({ later: true })
    const { port } = await startHttp(t, { handler })
    const bytes = `${rawRequest('GET /v1/kv/none')}nonsense\r\n\r\n`
    const { answers } = await talk(port, bytes)
    assert.deepEqual(
      answers.map(({ status }) => status),
      [404, 400],
    )
  })

  test('errors of the store have their status, and a bug tells nothing of itself', async t => {
    const handler = new MemoryHandler()
    const logged: string[] = []
    const ignore = (): void => undefined
    const error = (message: string): void => void logged.push(message)
    const logger = { debug: ignore, info: ignore, warn: ignore, error }
    const { url } = await startHttp(t, { handler, logger })
    const failures: [Error, number][] = [
      [new OverloadedError('too much', 2500), 503],
      [new UnavailableError('away', { outcome: 'unknown' }), 503],
      [new InvalidArgumentError('wrong'), 400],
      [new TypeError('secret'), 500],
    ]
    for (const [failure, status] of failures) {
      handler.put = () => Promise.reject(failure)
      const answer = await fetch(`${url}/v1/kv/a`, { method: 'PUT', body: 'x' })
      assert.equal(answer.status, status)
      if (status === 503) assert.match(answer.headers.get('retry-after') ?? '', /^[13]$/)
      const { message, outcome } = await errorOf(answer)
      assert.equal(message.includes('secret'), false)
      assert.equal(
        outcome,
        failure instanceof UnavailableError || status === 500 ? 'unknown' : undefined,
      )
    }
    assert.equal(logged.length, 1)
  })

  test('what has no answer by its deadline fails with 504', async t => {
    const handler = new MemoryHandler()
    handler.get = () => new Promise(() => undefined)
    const { url } = await startHttp(t, { handler })
    const error = await errorOf(await fetch(`${url}/v1/kv/a?timeout=10ms`))
    assert.deepEqual([error.status, error.code, error.outcome], [504, 'KV_TIMEOUT', undefined])
  })
})

describe('strangers', () => {
  test('need the password, in every way that it can be said', async t => {
    const credentials = { user: 'ann', password: 'heart wood' }
    const { url } = await startHttp(t, { handler: new MemoryHandler(), credentials })
    const get = (authorization?: string): Promise<Response> =>
      fetch(`${url}/v1/kv/a`, authorization === undefined ? {} : { headers: { authorization } })
    const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`
    for (const wrong of [undefined, basic('ann:no'), basic('bob:heart wood'), 'Bearer x', 'x']) {
      const answer = await get(wrong)
      assert.equal(answer.status, 401)
      assert.match(answer.headers.get('www-authenticate') ?? '', /^Basic realm/)
      await answer.body?.cancel()
    }
    for (let again = 0; again < 2; again++) {
      assert.equal((await errorOf(await get(basic('ann:heart wood')))).code, 'HTTP_NO_SUCH_KEY')
    }
    assert.equal((await get(basic('ann:heart wooe'))).status, 401)
    assert.equal((await fetch(`${url}/livez`)).status, 200)
    assert.equal((await fetch(`${url}/metrics`)).status, 401)
  })

  test('pages from elsewhere are not served', async t => {
    const { port } = await startHttp(t, { handler: new MemoryHandler() })
    const statusOf = async (line: string, host: string, ...fields: string[]): Promise<number> => {
      const bytes = [`${line} HTTP/1.1`, `Host: ${host}`, ...fields, '', ''].join('\r\n')
      return (await talk(port, bytes, { count: 1 })).answers[0]!.status
    }
    assert.equal(await statusOf('GET /v1/kv/a', 'evil.example:7780'), 403)
    for (const host of ['127.0.0.1:7780', '[::1]:7780', 'localhost', 'node1', 'a.localhost']) {
      assert.equal(await statusOf('GET /v1/kv/a', host), 404, host)
    }
    const put = (...fields: string[]): Promise<number> =>
      statusOf('DELETE /v1/kv/a', 'localhost:1', ...fields)
    assert.equal(await put('Origin: https://evil.example'), 403)
    assert.equal(await put('Origin: http://localhost:1'), 204)
    assert.equal(await put('Origin: https://evil.example', 'Sec-Fetch-Site: same-origin'), 204)
    assert.equal(await put('Sec-Fetch-Site: cross-site'), 403)
    const post = ['Content-Type: text/plain', 'Content-Length: 0']
    assert.equal(await statusOf('POST /v1/batch', 'localhost', ...post), 415)
    assert.equal(await statusOf('OPTIONS /v1/kv/a', 'localhost'), 405)
  })
})

describe('scans', () => {
  test('give what is in the range, and their lines can be posted as a batch', async t => {
    const { url } = await startHttp(t)
    const other = await startHttp(t)
    const random = seededRandom(printSeed(t))
    const entries = new Map<string, Uint8Array>()
    for (let at = 0; at < 200; at++) {
      const key = Buffer.concat([
        Buffer.from(`k${random.below(10)}`),
        random.bytes(random.below(6)),
      ])
      entries.set(key.toString('latin1'), random.bytes(random.below(50)))
    }
    entries.set('k5 large', Buffer.from('wörter €𝄞 "\\\n'.repeat(20_000)))
    entries.set('k5 large bytes', random.bytes(200_000))
    const lines = [...entries].map(([key, value]) => {
      const key64 = Buffer.from(key, 'latin1').toString('base64')
      return JSON.stringify({ key64, value64: Buffer.from(value).toString('base64') })
    })
    const options = { method: 'POST', headers: NDJSON, body: lines.join('\n') }
    assert.deepEqual(await (await fetch(`${url}/v1/batch`, options)).json(), {
      operations: entries.size,
    })
    const scan = async (query: string): Promise<string> => {
      const answer = await fetch(`${url}/v1/kv?${query}`)
      assert.equal(answer.status, 200)
      return await answer.text()
    }
    const all = await scan('')
    const copy = { method: 'POST', headers: NDJSON, body: all }
    assert.equal((await fetch(`${other.url}/v1/batch`, copy)).status, 200)
    assert.equal(await (await fetch(`${other.url}/v1/kv`)).text(), all)
    const keys = [...entries.keys()].sort((a, b) =>
      Buffer.compare(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1')),
    )
    const keysOf = (text: string): string[] =>
      text
        .split('\n')
        .slice(0, -1)
        .map(line => {
          const { key, key64 } = JSON.parse(line) as { key?: string; key64?: string }
          return (key64 === undefined ? Buffer.from(key!) : Buffer.from(key64, 'base64')).toString(
            'latin1',
          )
        })
    assert.deepEqual(keysOf(all), keys)
    const expected = (keep: (key: string) => boolean): string[] => keys.filter(keep)
    assert.deepEqual(
      keysOf(await scan('prefix=k3')),
      expected(key => key.startsWith('k3')),
    )
    assert.deepEqual(
      keysOf(await scan('prefix=k3&gt=k2&lt=k5&keys_only')),
      expected(key => key.startsWith('k3')),
    )
    assert.deepEqual(
      keysOf(await scan('gte=k2&lte=k4')),
      expected(key => key >= 'k2' && key <= 'k4'),
    )
    const reversed = keysOf(await scan('reverse=true&limit=7&keys_only=1'))
    assert.deepEqual(reversed, [...keys].reverse().slice(0, 7))
    assert.match((await scan('limit=1&keys_only')).trim(), /^\{"key(64)?":"[^"]*"\}$/)
  })

  test('that fail before anything came have a status, later an error line and no last chunk', async t => {
    const handler = new MemoryHandler()
    for (let at = 0; at < 3000; at++) {
      await handler.put(
        { type: 'put', key: Buffer.from(`k${at}`), value: Buffer.alloc(50, 'v'), ttlMs: 0 },
        {
          deadlineMs: 0,
          consistency: 'one',
          durability: undefined,
          version: undefined,
          caller: EVERYBODY,
        },
      )
    }
    const { url, port } = await startHttp(t, { handler })
    const open = handler.openScan.bind(handler)
    let failAt = 0
    handler.openScan = async (scan, context) => {
      const session = await open(scan, context)
      let pages = 0
      return {
        next: async (entries, bytes) => {
          if (pages++ === failAt) throw new UnavailableError('a replica went away')
          return await session.next(entries, bytes)
        },
        close: () => session.close(),
      }
    }
    assert.equal((await errorOf(await fetch(`${url}/v1/kv`))).code, 'KV_UNAVAILABLE')
    failAt = 1
    const { rest } = await talk(port, rawRequest('GET /v1/kv'))
    const text = rest.toString('latin1')
    assert.match(text, /^HTTP\/1\.1 200 OK/)
    const cut = text.lastIndexOf('{"error":')
    assert.match(text.slice(cut), /^\{"error":\{"code":"KV_UNAVAILABLE".*\}\n\r\n$/s)
    await assert.rejects(async () => await (await fetch(`${url}/v1/kv`)).text())
    assert.equal(handler.openScans, 0)
  })

  test('wait for a client that reads slowly, and end with it', async t => {
    const handler = new MemoryHandler()
    const value = Buffer.alloc(50_000, 'v')
    let produced = 0
    let closed = 0
    handler.openScan = () => ({
      next: () => {
        produced++
        return {
          keys: [Buffer.from(`k${produced}`)],
          values: [value],
          cursor: undefined,
          done: false,
        }
      },
      close: () => void closed++,
    })
    const { port, server } = await startHttp(t, { handler })
    const socket = connect({ port, host: '127.0.0.1' })
    socket.pause()
    socket.write(rawRequest('GET /v1/kv'))
    let before = -1
    while (produced === 0 || produced !== before) {
      before = produced
      await delay(systemClock(), 100)
    }
    assert.ok(produced * value.length < 32 << 20, `${produced} pages for nobody`)
    socket.destroy()
    while (server.stats().connections > 0 || closed === 0) await delay(systemClock(), 5)
    assert.equal(server.stats().inFlight, 0)
  })
})

describe('batches', () => {
  test('happen all or not at all, as lines or as an array', async t => {
    const { url } = await startHttp(t)
    const post = (body: string, type = 'application/json'): Promise<Response> =>
      fetch(`${url}/v1/batch`, { method: 'POST', headers: { 'content-type': type }, body })
    const array = '[{"key":"a","value":"1"},{"type":"put","key64":"/w==","value":"2","ttl":"1h"}]'
    assert.deepEqual(await (await post(array)).json(), { operations: 2 })
    const lines = '{"type":"del","key":"a"}\r\n\n{"key":"b","value":"3"}'
    assert.equal((await post(lines, 'application/x-ndjson; charset=utf-8')).status, 200)
    const text = '{"key":"b","value":"3"}\n{"key64":"/w==","value":"2"}\n'
    assert.equal(await (await fetch(`${url}/v1/kv`)).text(), text)
    for (const [body, told] of [
      ['[{"key":"c","value":"1"},{"key":"","value":"1"}]', /operation 2: a key has 1 to/],
      ['[{"key":"c","value":"1"},{"key":"d"}]', /operation 2 has one of value and value64/],
      ['[{"key":"c","value":"1"},{"type":"get","key":"d"}]', /type 'get'/],
      ['[{"key":"c","value":"1","expires":1}]', /has 'expires'/],
      ['[{"key":"c","value":"1","ttl":5}]', /ttl is text/],
      ['[{"key":"c","value64":"?"}]', /no base64/],
      ['[{"key":"\\ud800","value":""}]', /not UTF-8/],
      ['{"key":"c","value":"1"}', /no array/],
      ['[', /no JSON/],
    ] as const) {
      const error = await errorOf(await post(body))
      assert.equal(error.status, 400)
      assert.match(error.message, told)
    }
    assert.equal(await (await fetch(`${url}/v1/kv`)).text(), text)
    const long = `[${' '.repeat(70_000)}]`
    assert.equal((await errorOf(await post(long))).code, 'HTTP_BODY_TOO_LARGE')
  })
})

describe('a server', () => {
  test('that is full says so, and refuses more than a connection may have waiting', async t => {
    const handler = new MemoryHandler()
    const answers: ((value: undefined) => void)[] = []
    handler.get = () => new Promise(resolve => answers.push(resolve))
    const limits = { connectionsMax: 2, connectionInFlightMax: 3 }
    const { port, server } = await startHttp(t, { handler, limits })
    const piped = talk(port, rawRequest('GET /v1/kv/a').repeat(4), { count: 4 })
    const other = talk(port, rawRequest('GET /v1/kv/a'), { count: 1 })
    while (answers.length < 4) await delay(systemClock(), 2)
    const refused = await talk(port, rawRequest('GET /livez'))
    assert.equal(refused.answers[0]?.status, 503)
    assert.equal(refused.answers[0]?.headers['connection'], 'close')
    for (const answer of answers) answer(undefined)
    const { answers: got } = await piped
    assert.deepEqual(
      got.map(({ status }) => status),
      [404, 404, 404, 429],
    )
    assert.equal((await other).answers[0]?.status, 404)
    assert.equal(server.stats().connectionsRefused, 1)
  })

  test('answers what is under way when it stops, and tells the client to go', async t => {
    const handler = new MemoryHandler()
    let answer: (value: undefined) => void = () => undefined
    handler.get = () =>
      new Promise(resolve => {
        answer = resolve
      })
    const { port, server } = await startHttp(t, { handler })
    const asked = talk(port, rawRequest('GET /v1/kv/a'), { count: 1 })
    while (server.stats().inFlight === 0) await delay(systemClock(), 2)
    const closed = server.close({ graceMs: 10_000 })
    answer(undefined)
    assert.equal((await asked).answers[0]?.headers['connection'], 'close')
    await closed
    assert.equal(server.stats().connections, 0)
  })

  test('listens on no address that others reach without a word and a password', async () => {
    for (const options of [{}, { credentials: { password: 'x' } }]) {
      const server = httpServer(new MemoryHandler(), options)
      await assert.rejects(server.listen({ host: '0.0.0.0', port: 0 }), InvalidArgumentError)
      await server.close()
    }
  })

  test('is ready while all checks say so', async t => {
    const handler = new MemoryHandler()
    const checks = [{ name: 'writes', isOk: true, why: 'the disk is gone' }]
    const { url } = await startHttp(t, {
      handler: Object.assign(handler, { health: () => checks }),
    })
    assert.equal(await (await fetch(`${url}/livez`)).text(), 'ok\n')
    const ready = await fetch(`${url}/readyz?verbose`)
    assert.equal(await ready.text(), '[+] stays ok\n[+] writes ok\nreadyz check passed\n')
    checks[0]!.isOk = false
    const failing = await fetch(`${url}/readyz`)
    assert.equal(failing.status, 503)
    assert.match(await failing.text(), /^\[-\] writes failed: the disk is gone$/m)
    assert.equal((await fetch(`${url}/livez`)).status, 200)
  })
})

describe('metrics', () => {
  test('are what Prometheus takes, line by line', async t => {
    const histogram = new LatencyHistogram()
    const random = seededRandom(printSeed(t))
    for (let at = 0; at < 1000; at++) histogram.record(2 ** (random.below(200) / 10 - 5))
    const families: MetricFamily[] = [
      counter('duramen_a_total', 'With a \\ and\na line.', [
        { labels: { why: 'a "b" \\ \n c' }, value: 1e21 },
        { labels: { why: 'other' }, value: 0.5 },
      ]),
      { type: 'histogram', name: 'duramen_d_seconds', help: 'Some.', samples: [{ histogram }] },
      counter('duramen_a_total', 'With a \\ and\na line.', [
        { labels: { why: 'third' }, value: 2 },
      ]),
      gauge('duramen_none', 'Without samples.', []),
    ]
    const text = metricsText(families)
    assert.deepEqual(metricsProblems(text), [])
    const samples = metricSamples(text)
    assert.equal(samples.filter(({ name }) => name === 'duramen_a_total').length, 3)
    assert.equal(samples.find(({ name }) => name === 'duramen_d_seconds_count')?.value, 1000)
  })

  test('count requests by operation and status', async t => {
    const { url } = await startHttp(t)
    await fetch(`${url}/v1/kv/a`)
    await fetch(`${url}/v1/kv/a`, { method: 'PUT', body: 'x' })
    const answer = await fetch(`${url}/metrics`)
    assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
    const text = await answer.text()
    assert.deepEqual(metricsProblems(text), [])
    assert.match(text, /^duramen_http_responses_total\{operation="get",status="404"\} 1$/m)
    assert.match(text, /^duramen_http_responses_total\{operation="put",status="204"\} 1$/m)
  })

  for (const [what, text] of [
    ['a sample before its TYPE', 'a 1\n# TYPE a gauge\n'],
    ['no HELP', '# TYPE a gauge\na 1\n'],
    ['a counter without _total', '# HELP a h\n# TYPE a counter\na 1\n'],
    ['the same sample twice', '# HELP a h\n# TYPE a gauge\na 1\na 1\n'],
    ['a label that is not escaped', '# HELP a h\n# TYPE a gauge\na{b="""} 1\n'],
    ['milliseconds', '# HELP a_ms h\n# TYPE a_ms gauge\na_ms 1\n'],
    ['no last line feed', '# HELP a h\n# TYPE a gauge\na 1'],
    [
      'a family in two places',
      '# HELP a h\n# TYPE a gauge\na 1\n# HELP b h\n# TYPE b gauge\nb 1\n# HELP a h\n',
    ],
    ['no +Inf', '# HELP a h\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n'],
    [
      'falling buckets',
      '# HELP a h\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_count 1\n',
    ],
  ] as const) {
    test(`the check finds ${what}`, () => {
      assert.notDeepEqual(metricsProblems(text), [])
    })
  }
})

/**
 * Hostile clients of the HTTP door against a live server, with good ones beside them.
 *
 * What is checked: no request of a good client fails or gets a wrong answer; the server meets no
 * bug; in the end it holds nothing of the hostile ones.
 */
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { delay, systemClock } from '../../src/clock.ts'
import type { Logger } from '../../src/logger.ts'
import type { HttpServer } from '../../src/net/http/index.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import type { FuzzTarget } from './fuzz-target.ts'
import { converse } from './hostile-conversation.ts'
import { httpServer } from './http-target.ts'

const HOSTILE_AT_ONCE = 8
const GOOD_CLIENTS = 3
const SETTLE_MS_MAX = 10_000
const SETTLE_POLL_MS = 20

export interface HttpFuzzReport {
  readonly seed: number
  readonly conversations: number
  readonly goodRequests: number
  readonly requests: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
}

/** Rejects when one of the checks fails. */
export async function fuzzHttp(
  seed: number,
  conversations: number,
  target: FuzzTarget,
): Promise<HttpFuzzReport> {
  const bugs: string[] = []
  const ignore = (): void => undefined
  const error = (message: string, fields: unknown): void => {
    bugs.push(`${message} ${inspect(fields)}`)
  }
  const logger: Logger = { debug: ignore, info: ignore, warn: ignore, error }
  const server = httpServer(target.handler, { logger })
  const { port } = await server.listen({ port: 0 })
  const progress = { over: false, goodRequests: 0 }
  try {
    const good = Array.from({ length: GOOD_CLIENTS }, (_, at) => {
      return beGood(port, `good:${at}`, progress)
    })
    let begun = 0
    const hostile = async (): Promise<void> => {
      while (begun < conversations) {
        const own = seededRandom(seed + ++begun)
        await converse(port, hostileBytes(own), own)
      }
    }
    await Promise.all(Array.from({ length: HOSTILE_AT_ONCE }, hostile))
    progress.over = true
    await Promise.all(good)
    await settle(server, target)
    assert.deepEqual(bugs, [])
    const { requests, errors } = server.stats()
    return { seed, conversations, goodRequests: progress.goodRequests, requests, errors }
  } finally {
    progress.over = true
    await server.close({ graceMs: 0 })
    await target.close()
  }
}

async function settle(server: HttpServer, target: FuzzTarget): Promise<void> {
  const clock = systemClock()
  const endMs = clock.monotonicMs() + SETTLE_MS_MAX
  for (;;) {
    // Connections of good clients stay open; they hold nothing.
    const { inFlight, inFlightBytes, receiveBytes } = server.stats()
    const held = { inFlight, inFlightBytes, receiveBytes, scans: target.openScans() }
    if (Object.values(held).every(value => value === 0)) return
    if (clock.monotonicMs() > endMs) assert.fail(`held in the end: ${JSON.stringify(held)}`)
    await delay(clock, SETTLE_POLL_MS)
  }
}

async function beGood(
  port: number,
  name: string,
  progress: { readonly over: boolean; goodRequests: number },
): Promise<void> {
  const url = `http://127.0.0.1:${port}/v1/kv`
  for (let count = 0; !progress.over; count++) {
    const value = `${name} ${count}`
    const put = await fetch(`${url}/${name}`, { method: 'PUT', body: value })
    assert.equal(put.status, 204)
    assert.equal(await (await fetch(`${url}/${name}`)).text(), value)
    const lines = await (await fetch(`${url}?prefix=${name}`)).text()
    assert.equal(lines, `${JSON.stringify({ key: name, value })}\n`)
    progress.goodRequests += 3
  }
}

function pick<T>(random: Random, list: readonly T[]): T {
  return list[random.below(list.length)]!
}

const METHODS = ['GET', 'GET', 'PUT', 'PUT', 'HEAD', 'POST', 'DELETE', 'OPTIONS', 'CONNECT', 'X']
const PATHS = [
  ...['/v1/kv/a', '/v1/kv/b%2F%ff', '/v1/kv/%zz', '/v1/kv/%', '/v1/kv/', '/v1/kv', '/v1/batch'],
  ...['/metrics', '/readyz?verbose', '/v1/cluster', '*', 'http://x/v1/kv/a', '/v1/kv?limit=3'],
  ...['/v1/kv?prefix=%00&reverse', '/v1/kv?limit=-1', '/v1/kv?gt=%', `/v1/kv/${'k'.repeat(5000)}`],
  ...['/v1/kv/a?ttl=1s', '/v1/kv/a?ttl=1', '/v1/kv/a?&&=&x', '//', '/../..', '/v1/kv/a#b'],
]
const FIELDS = [
  ...['Host: localhost', 'Host: localhost', 'Host: localhost', 'Host: evil.example', 'Host:'],
  ...['Content-Length: 3', 'Content-Length: 99999999999', 'Content-Length: -1'],
  ...['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked, identity', 'Expect: 100-continue'],
  ...['Content-Type: application/json', 'Content-Type: application/x-ndjson', 'If-Match: "a", *'],
  ...['If-None-Match: *', 'If-None-Match: "', 'Connection: close', 'Connection: upgrade'],
  ...[
    'Upgrade: h2c',
    'Authorization: Basic ====',
    'Origin: null',
    ' folded: x',
    'No colon',
    'A:\0',
  ],
]
const BODIES = [
  '',
  'abc',
  '[]',
  '[{"key":"a","value":"1"}]',
  '{"key":1}\n',
  '[',
  '3\r\nabc\r\n0\r\n\r\n',
]

/** Mostly what a server must look at: with a host, and a body as long as it says. */
function requestOf(random: Random): string {
  const isProper = random.below(3) > 0
  const body = pick(random, BODIES)
  const fields = isProper
    ? ['Host: localhost', `Content-Length: ${body.length}`]
    : Array.from({ length: random.below(5) }, () => pick(random, FIELDS))
  if (isProper && random.below(2) === 0) fields.push(pick(random, FIELDS))
  const version = isProper ? 'HTTP/1.1' : pick(random, ['HTTP/1.1', 'HTTP/1.0', 'HTTP/2', 'X'])
  const line = `${pick(random, METHODS)} ${pick(random, PATHS)} ${version}`
  return [line, ...fields, '', body].join('\r\n')
}

function hostileBytes(random: Random): Uint8Array {
  const requests = (count: number): Buffer => {
    return Buffer.from(Array.from({ length: count }, () => requestOf(random)).join(''), 'latin1')
  }
  switch (random.below(6)) {
    case 0:
      return random.bytes(1 + random.below(2000))
    case 1: {
      const bytes = requests(1 + random.below(10))
      for (let flips = 1 + random.below(5); flips > 0; flips--) {
        bytes[random.below(bytes.length)] = random.below(256)
      }
      return bytes
    }
    case 2: {
      const bytes = requests(1 + random.below(10))
      return bytes.subarray(0, random.below(bytes.length))
    }
    case 3: {
      const field = `A: ${'a'.repeat(random.below(80_000))}`
      return Buffer.from(`GET /livez HTTP/1.1\r\nHost: x\r\n${field}\r\n\r\n`)
    }
    case 4: {
      const size = pick(random, [9_000_000, 8_000_000, 100_000])
      const head = `PUT /v1/kv/large HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`
      return Buffer.concat([Buffer.from(head), random.bytes(random.below(100_000))])
    }
    default:
      return requests(1 + random.below(40))
  }
}

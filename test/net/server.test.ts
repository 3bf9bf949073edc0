// Goal: over real sockets, a client that is slow, silent, stuck, gone, foreign or too many is dealt
// with as limits.ts says, while a good client beside it notices nothing.
// Method: a server on the loopback interface; clients by hand; a clock that the test moves where
// time limits are meant.
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { after, describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { type Clock, endOfTick, systemClock, yieldToEventLoop } from '../../src/clock.ts'
import { InvalidArgumentError, LockedError } from '../../src/errors.ts'
import type { Logger } from '../../src/logger.ts'
import { connect } from '../../src/net/client.ts'
import type { ServerLimits } from '../../src/net/limits.ts'
import { Feature, Opcode, Status } from '../../src/net/opcode.ts'
import type {
  HandlerOperation,
  RequestContext,
  RequestHandler,
} from '../../src/net/request-handler.ts'
import { Server } from '../../src/net/server.ts'
import { seededRandom } from '../../src/random.ts'
import { EVERYBODY } from '../support/caller.ts'
import { MemoryHandler } from '../support/memory-handler.ts'
import { RawClient } from '../support/raw-client.ts'
import { frameOf, HELLO, Later, type Reply } from '../support/session-harness.ts'
import { SimClock } from '../support/sim-clock.ts'

const key = utf8Encode('k')
const GET = { type: 'get', key } as const
const PUT = { type: 'put', key, value: utf8Encode('v'), ttlMs: 0 } as const
const PING = { type: 'ping', payload: key } as const

interface Started {
  readonly server: Server
  readonly port: number
  readonly handler: MemoryHandler
  readonly notices: string[]
}

const servers: Server[] = []
after(() => Promise.all(servers.map(server => server.close({ graceMs: 0 }))))

async function start(
  options: {
    clock?: Clock
    limits?: Partial<ServerLimits>
    handler?: Partial<RequestHandler>
  } = {},
): Promise<Started> {
  const memory = new MemoryHandler()
  const notices: string[] = []
  const logger: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: (message, fields) => notices.push(`${message}: ${String(fields?.['why'])}`),
    error: (message, fields) => notices.push(`${message}: ${String(fields?.['error'])}`),
  }
  const handler = Object.assign(memory, options.handler)
  const { clock = systemClock(), limits = {} } = options
  const server = new Server({ handler, clock, random: seededRandom(1), logger, limits })
  servers.push(server)
  const { port } = await server.listen({ port: 0 })
  return { server, port, handler: memory, notices }
}

function statusOf(reply: Reply | undefined): number | string {
  if (reply === undefined) return 'no reply'
  return reply.response.type === 'error' ? reply.response.status : reply.response.type
}

/** Lets sockets of this process exchange what they have. */
async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await yieldToEventLoop()
}

/** Waits until a condition holds; the test's own time limit ends it otherwise. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await yieldToEventLoop()
}

async function assertServes(client: RawClient): Promise<void> {
  client.send(PING)
  assert.equal(statusOf((await client.take(1))[0]), 'pong')
}

describe('serving', () => {
  test('answers, and counts what it did', async () => {
    const { server, port } = await start()
    const client = await RawClient.open(port)
    client.send(PUT)
    client.send(GET)
    client.send({ type: 'get', key: new Uint8Array(0) })
    const replies = await client.take(3)
    assert.deepEqual(replies.map(statusOf), ['done', 'value', Status.invalidArgument])
    const stats = server.stats()
    assert.equal(stats.connections, 1)
    assert.deepEqual(
      [stats.requests['hello'], stats.requests['put'], stats.requests['get']],
      [1, 1, 2],
    )
    assert.deepEqual(stats.errors, { KV_INVALID_ARGUMENT: 1 })
    assert.equal(stats.bytesSent, client.bytesReceived)
    const { count } = stats.latency
    assert.ok(count >= 3)
    client.send({ type: 'admin', json: '{"command":"a wait"}' })
    client.send(PING)
    await client.take(2)
    assert.equal(server.stats().requests['admin'], 1)
    assert.equal(server.stats().latency.count, count + 1, 'who waits as told says nothing')
    client.destroy()
    await until(() => server.stats().connections === 0)
  })

  test('RING_MAP has the ring of the handler as it is, in time and later', async () => {
    for (const later of [false, true]) {
      const handler = new MemoryHandler({ later })
      const { port } = await start({ handler })
      const client = await RawClient.open(port)
      client.send({ type: 'ringMap' })
      const [reply] = await client.take(1)
      assert.deepEqual(reply?.response, { type: 'ring', ring: handler.ringKept })
      assert.equal(reply.opcode, Opcode.ringMap)
      client.destroy()
    }
  })

  test('a new ring is told to those who can hear it', async () => {
    const { server, port } = await start()
    const [hearing, old, silent] = await Promise.all([1, 2, 3].map(() => RawClient.connect(port)))
    hearing!.write(frameOf({ ...HELLO, features: Feature.ringPush }, 1))
    old!.write(frameOf(HELLO, 1))
    await Promise.all([hearing!.take(1), old!.take(1)])
    const ring = Uint8Array.of(1, 2, 3)
    server.pushRing(ring)
    const [pushed] = await hearing!.take(1)
    assert.deepEqual(pushed, { opcode: Opcode.ringMap, id: 0, response: { type: 'ring', ring } })
    await assertServes(old!)
    assert.equal(silent!.bytesReceived, 0)
    for (const client of [hearing, old, silent]) client!.destroy()
  })

  test('STATS has the handler and the server', async () => {
    const { port } = await start()
    const client = await RawClient.open(port)
    client.send({ type: 'stats' })
    const [reply] = await client.take(1)
    assert.ok(reply?.response.type === 'stats')
    const stats = JSON.parse(reply.response.json) as { keys: number; net: { connections: number } }
    assert.equal(stats.keys, 0)
    assert.equal(stats.net.connections, 1)
    client.destroy()
  })

  test('replies that a handler gives in one tick leave in one write', async () => {
    const answers: Later<void>[] = []
    const { port } = await start({
      handler: {
        put() {
          const answer = new Later<void>()
          answers.push(answer)
          return answer.promise
        },
      },
    })
    const client = await RawClient.open(port)
    for (let count = 0; count < 100; count++) client.send(PUT)
    await until(() => answers.length === 100)
    const before = client.chunkCount
    for (const answer of answers) answer.resolve()
    assert.equal((await client.take(100)).length, 100)
    assert.equal(client.chunkCount - before, 1)
    client.destroy()
  })

  test('what the handler does once it has answered comes before the replies leave', async () => {
    const answer = new Later<void>()
    const { server, port } = await start({ handler: { put: () => answer.promise } })
    const client = await RawClient.open(port)
    client.send(PUT)
    await until(() => server.stats().inFlight === 1)
    const { bytesSent } = server.stats()
    answer.resolve()
    // As a group commit begins the next one: when those who were answered had their say.
    await answer.promise
    await endOfTick()
    assert.equal(server.stats().inFlight, 0, 'it was answered')
    assert.equal(server.stats().bytesSent, bytesSent, 'and the reply waits')
    assert.deepEqual((await client.take(1)).map(statusOf), ['done'])
    client.destroy()
  })

  test('a reply that is given as the replies before it have just left, leaves too', async () => {
    let answers: Later<void>[] = []
    const put = (): Promise<void> => {
      const answer = new Later<void>()
      answers.push(answer)
      return answer.promise
    }
    const { port } = await start({ handler: { put } })
    const clients = [await RawClient.open(port), await RawClient.open(port)]
    // Some of these moments are between the last look for replies and its end.
    for (const ticks of [1, 2, 3]) {
      for (let microtasks = 0; microtasks < 12; microtasks++) {
        for (const client of clients) client.send(PUT)
        await until(() => answers.length === 2)
        answers[0]!.resolve()
        for (let tick = 0; tick < ticks; tick++) await endOfTick()
        for (let count = 0; count < microtasks; count++) await undefined
        answers[1]!.resolve()
        await settle()
        const counts = clients.map(client => client.replyCount)
        assert.deepEqual(counts, [1, 1], `after ${ticks} ticks and ${microtasks} microtasks`)
        for (const client of clients) await client.take(1)
        answers = []
      }
    }
    for (const client of clients) client.destroy()
  })

  test('replies to many connections leave in slices, with turns for others between', async () => {
    const system = systemClock()
    let looks = 0
    const clock = { ...system, monotonicMs: () => system.monotonicMs() + looks++ / 10 }
    const answer = new Later<void>()
    const { server, port } = await start({ clock, handler: { put: () => answer.promise } })
    const clients = await Promise.all(Array.from({ length: 200 }, () => RawClient.open(port)))
    for (const client of clients) client.send(PUT)
    await until(() => server.stats().inFlight === clients.length)
    let sent = server.stats().bytesSent
    const end = sent + clients.length * 12
    answer.resolve()
    let turns = 0
    for (; sent < end; turns++) {
      await yieldToEventLoop()
      const { bytesSent } = server.stats()
      assert.ok(bytesSent - sent <= 64 * 12, `${(bytesSent - sent) / 12} replies in one turn`)
      sent = bytesSent
    }
    assert.ok(turns >= 4, `${turns} turns`)
    for (const client of clients) {
      assert.equal((await client.take(1)).length, 1)
      client.destroy()
    }
  })

  test('a client that half-closes gets what it is owed', async () => {
    const answer = new Later<void>()
    const { port } = await start({ handler: { put: () => answer.promise } })
    const client = await RawClient.connect(port, true)
    client.write(Buffer.concat([frameOf(HELLO, 1), frameOf(PUT, 2)]))
    client.socket.end()
    await client.take(1)
    await settle()
    answer.resolve()
    assert.deepEqual((await client.takeAll()).map(statusOf), ['done'])
  })

  test('a client that vanishes cancels what it asked for and frees its scans', async () => {
    let context: RequestContext | undefined
    const { server, port, handler } = await start({
      handler: {
        put(_put, given) {
          context = given
          return new Promise(() => undefined)
        },
      },
    })
    for (let index = 0; index < 50; index++) {
      void handler.batch([{ ...PUT, key: Uint8Array.of(index) }], NO_CONTEXT)
    }
    const client = await RawClient.open(port)
    const scan = { reverse: false, order: 'ordered', keysOnly: true, cursor: undefined } as const
    client.send({ type: 'scanOpen', scan, scanId: 1, limit: 0, entriesMax: 3, bytesMax: 1000 })
    await client.take(1)
    client.send(PUT)
    await until(() => context !== undefined)
    assert.equal(handler.openScans, 1)
    client.socket.resetAndDestroy()
    await until(() => server.stats().connections === 0)
    assert.equal(context?.cancelled, true)
    assert.equal(handler.openScans, 0)
    assert.equal(server.stats().inFlight, 0)
  })
})

const NO_CONTEXT: RequestContext = {
  deadlineMs: 0,
  consistency: 'one',
  durability: undefined,
  version: undefined,
  caller: EVERYBODY,
}

describe('clients that are not good', () => {
  test('another protocol is named in the log, and the connection closed', async () => {
    const { server, port, notices } = await start()
    const good = await RawClient.open(port)
    const client = await RawClient.connect(port)
    client.write(utf8Encode('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'))
    assert.deepEqual((await client.takeAll()).map(statusOf), [Status.protocol])
    assert.match(notices[0] ?? '', /HTTP/)
    assert.equal(server.stats().connectionsFailed, 1)
    await assertServes(good)
    good.destroy()
  })

  test('a flood of them does not flood the log', async () => {
    const clock = new SimClock()
    const { port, notices } = await start({ clock })
    for (let count = 0; count < 40; count++) {
      const client = await RawClient.connect(port)
      client.write(utf8Encode('GET / HTTP/1.1\r\n\r\n'))
      await client.takeAll()
    }
    assert.equal(notices.length, 10)
    await clock.advanceAsync(250)
    assert.equal(notices.length, 11)
  })

  test('one connection too many is told so', async () => {
    const { port } = await start({ limits: { connectionsMax: 2 } })
    const first = await RawClient.open(port)
    const second = await RawClient.open(port)
    const third = await RawClient.connect(port)
    assert.deepEqual((await third.takeAll()).map(statusOf), [Status.overloaded])
    second.destroy()
    await until(() => second.closed)
    await settle()
    const fourth = await RawClient.open(port)
    await assertServes(first)
    await assertServes(fourth)
    first.destroy()
    fourth.destroy()
  })

  test('those who hold the memory for incomplete frames and do not move make room', async () => {
    const clock = new SimClock()
    const limits = { receiveBytesMax: 20 << 20, stallUnderPressureMs: 1000 }
    const { server, port, notices } = await start({ clock, limits })
    const good = await RawClient.open(port)
    const stuck = await RawClient.open(port)
    const frame = frameOf({ ...PUT, value: new Uint8Array(8 << 20) }, 2)
    const half = await RawClient.open(port)
    stuck.write(frame.subarray(0, frame.length - 1))
    half.write(frame.subarray(0, frame.length - 1))
    await until(() => server.stats().receiveBytes > 15 << 20)
    await settle()
    await clock.advanceAsync(500)
    assert.equal(notices.length, 0)
    await clock.advanceAsync(1000)
    await until(() => stuck.closed || half.closed)
    assert.match(notices.join(), /memory for incomplete frames is short/)
    // One was enough.
    assert.equal(server.stats().connections, 2)
    assert.ok(server.stats().receiveBytes < 10 << 20)
    await assertServes(good)
    for (const client of [good, stuck, half]) client.destroy()
  })

  test('no HELLO in time', async () => {
    const clock = new SimClock()
    const { port, notices } = await start({ clock, limits: { handshakeTimeoutMs: 1000 } })
    const silent = await RawClient.connect(port)
    const partial = await RawClient.connect(port)
    partial.write(frameOf(HELLO, 1).subarray(0, 10))
    await settle()
    await clock.advanceAsync(900)
    assert.ok(!silent.closed && !partial.closed)
    await clock.advanceAsync(500)
    await until(() => silent.closed && partial.closed)
    assert.equal(notices.length, 2)
    assert.match(notices.join(), /nothing/)
  })

  test('a frame that trickles in', async () => {
    const clock = new SimClock()
    const { port, notices } = await start({ clock, limits: { frameTimeoutMs: 2000 } })
    const good = await RawClient.open(port)
    const slow = await RawClient.open(port)
    const frame = frameOf(PUT, 2)
    for (let index = 0; index < 5; index++) {
      slow.write(frame.subarray(index, index + 1))
      await settle()
      await clock.advanceAsync(600)
    }
    await until(() => slow.closed)
    assert.match(notices[0] ?? '', /did not arrive completely/)
    await assertServes(good)
    good.destroy()
  })

  test('silence is closed, but not while an answer is owed', async () => {
    const clock = new SimClock()
    const answer = new Later<void>()
    const { port } = await start({
      clock,
      limits: { idleTimeoutMs: 3000 },
      handler: { put: () => answer.promise },
    })
    const idle = await RawClient.open(port)
    const pinging = await RawClient.open(port)
    const owed = await RawClient.open(port)
    owed.send(PUT, { budgetMs: 60_000 })
    await settle()
    await clock.advanceAsync(2000)
    await assertServes(pinging)
    await clock.advanceAsync(1500)
    await until(() => idle.closed)
    await assertServes(pinging)
    assert.equal(owed.closed, false)
    answer.resolve()
    assert.deepEqual((await owed.take(1)).map(statusOf), ['done'])
    pinging.destroy()
    owed.destroy()
  })

  test('a reader who does not read is held back, then closed; memory stays bounded', async () => {
    const clock = new SimClock()
    const value = new Uint8Array(1 << 20)
    let begun = 0
    const { server, port, notices } = await start({
      clock,
      limits: { outputStallMs: 5000, outputPauseBytes: 1 << 20 },
      handler: {
        get() {
          begun++
          return value
        },
      },
    })
    const good = await RawClient.open(port)
    const stuck = await RawClient.open(port)
    stuck.socket.pause()
    for (let count = 0; count < 500; count++) stuck.send(GET)
    await settle(100)
    assert.ok(begun < 100, `${begun} of 500 were begun`)
    await assertServes(good)
    assert.equal(server.stats().connections, 2)
    for (let step = 0; step < 8; step++) {
      await clock.advanceAsync(1000)
      await assertServes(good)
    }
    assert.match(notices.join(), /took none of its replies/)
    assert.equal(server.stats().connections, 1)
    stuck.destroy()
    good.destroy()
  })

  test('a reader who reads late gets everything', async () => {
    const value = new Uint8Array(1 << 20).fill(7)
    const { port } = await start({ handler: { get: () => value } })
    const client = await RawClient.open(port)
    client.socket.pause()
    for (let count = 0; count < 60; count++) client.send(GET)
    await settle(50)
    client.socket.resume()
    const replies = await client.take(60)
    assert.equal(replies.length, 60)
    assert.ok(replies.every(reply => statusOf(reply) === 'value'))
    client.destroy()
  })

  test('one who pipelines without end does not delay another by all of it', async () => {
    // Every look at the clock takes a tenth of a millisecond, so that slices end soon.
    const system = systemClock()
    let looks = 0
    const clock = { ...system, monotonicMs: () => system.monotonicMs() + looks++ / 10 }
    let begun = 0
    const { port } = await start({
      clock,
      handler: {
        get() {
          begun++
          return undefined
        },
      },
    })
    const good = await RawClient.open(port)
    const flood = await RawClient.open(port)
    const count = 20_000
    flood.write(Buffer.concat(Array.from({ length: count }, (_, index) => frameOf(GET, index + 1))))
    await until(() => begun > 0)
    const before = begun
    await assertServes(good)
    assert.ok(begun - before < count / 10, `${begun - before} requests came before a ping`)
    // Fills the buffer that all are read into, while the other's input waits for its turns.
    good.send({ ...PUT, value: new Uint8Array(60_000).fill(0xee) })
    assert.deepEqual((await good.take(1)).map(statusOf), ['done'])
    const replies = await flood.take(count)
    assert.deepEqual(
      replies.map(({ id }) => id),
      Array.from({ length: count }, (_, index) => index + 1),
    )
    good.destroy()
    flood.destroy()
  })

  test('a BATCH of the maximum is taken in while others are served, and handed over whole', async () => {
    // Every look at the clock takes a tenth of a millisecond, so that turns end soon.
    const system = systemClock()
    let looks = 0
    const clock = { ...system, monotonicMs: () => system.monotonicMs() + looks++ / 10 }
    const count = 65_536
    let handed: readonly HandlerOperation[] | undefined
    const { server, port } = await start({
      clock,
      handler: {
        batch(operations) {
          handed = operations
        },
      },
    })
    const good = await RawClient.open(port)
    const large = await RawClient.open(port)
    const operations = Array.from({ length: count }, (_, index) => ({
      type: 'put' as const,
      key: utf8Encode(`key ${index}`),
      value: utf8Encode(`value ${index}`),
      ttlMs: 0,
    }))
    large.send({ type: 'batch', operations })
    await until(() => server.stats().requests['batch'] === 1)
    let served = 0
    while (handed === undefined) {
      await assertServes(good)
      served++
    }
    assert.ok(served >= 10, `${served} requests were answered meanwhile`)
    assert.deepEqual((await large.take(1)).map(statusOf), ['done'])
    assert.equal(handed.length, count)
    assert.deepEqual(handed[count - 1], operations[count - 1])
    assert.deepEqual(handed[0], operations[0])
    assert.deepEqual([server.stats().inFlightBytes, server.stats().receiveBytes], [0, 0])
    for (const client of [good, large]) client.destroy()
  })

  test('of a large BATCH that breaks off in its middle nothing is handed over', async () => {
    let handed = 0
    const { server, port } = await start({ handler: { batch: () => void handed++ } })
    const client = await RawClient.open(port)
    const put = { type: 'put' as const, key, value: new Uint8Array(100), ttlMs: 0 }
    const frame = frameOf({ type: 'batch', operations: Array.from({ length: 999 }, () => put) }, 7)
    frame[frame.length - 107] = 99
    client.write(frame)
    const replies = await client.takeAll()
    assert.deepEqual(replies.map(statusOf), [Status.protocol])
    assert.equal(replies[0]?.id, 7)
    assert.equal(handed, 0)
    assert.equal(server.stats().connectionsFailed, 1)
  })

  test('one who goes while his large BATCH is taken in has it given up', async () => {
    const system = systemClock()
    let looks = 0
    const clock = { ...system, monotonicMs: () => system.monotonicMs() + looks++ / 10 }
    let handed = 0
    const { server, port } = await start({ clock, handler: { batch: () => void handed++ } })
    const client = await RawClient.open(port)
    const operations = Array.from({ length: 65_536 }, () => ({ type: 'del' as const, key }))
    client.send({ type: 'batch', operations })
    await until(() => server.stats().inFlight === 1)
    client.socket.resetAndDestroy()
    await until(() => server.stats().connections === 0)
    await settle(500)
    assert.equal(handed, 0)
    assert.equal(server.stats().inFlightBytes, 0)
  })

  test('more in flight than allowed is simply not read, and all is answered in the end', async () => {
    const answers: Later<void>[] = []
    const { port } = await start({
      limits: { connectionInFlightMax: 10 },
      handler: {
        put() {
          const answer = new Later<void>()
          answers.push(answer)
          return answer.promise
        },
      },
    })
    const client = await RawClient.open(port)
    for (let count = 0; count < 95; count++) client.send(PUT)
    let answered = 0
    while (answered < 95) {
      await until(() => answers.length === Math.min(95, answered + 10))
      await settle(3)
      assert.ok(answers.length <= answered + 10)
      for (; answered < answers.length; answered++) answers[answered]!.resolve()
      await settle(3)
    }
    assert.equal((await client.take(95)).length, 95)
    client.destroy()
  })
})

describe('closing', () => {
  test('says GOAWAY, answers what is under way, and waits for silence', async () => {
    const clock = new SimClock()
    const answer = new Later<void>()
    const { server, port } = await start({ clock, handler: { put: () => answer.promise } })
    const busy = await RawClient.open(port)
    const idle = await RawClient.open(port)
    busy.send(PUT, { budgetMs: 60_000 })
    await settle()
    const closing = server.close({ graceMs: 10_000 })
    assert.equal(closing, server.close(), 'closing twice is closing once')
    assert.deepEqual((await idle.take(1)).map(statusOf), ['goaway'])
    assert.deepEqual((await busy.take(1)).map(statusOf), ['goaway'])
    await clock.advanceAsync(1000)
    await until(() => idle.closed)
    assert.equal(busy.closed, false)
    busy.send(PING)
    assert.deepEqual((await busy.take(1)).map(statusOf), ['pong'], 'late requests are served')
    answer.resolve()
    assert.deepEqual((await busy.take(1)).map(statusOf), ['done'])
    busy.socket.end()
    await closing
    await assert.rejects(RawClient.connect(port))
    assert.equal(server.address, undefined)
  })

  test('cuts those who stay when the grace is over', async () => {
    const clock = new SimClock()
    const { server, port } = await start({
      clock,
      handler: { put: () => new Later<void>().promise },
    })
    const client = await RawClient.open(port)
    client.send(PUT, { budgetMs: 60_000 })
    await settle()
    let closed = false
    const closing = server.close({ graceMs: 2000 }).then(() => {
      closed = true
    })
    await clock.advanceAsync(1900)
    assert.equal(closed, false)
    await clock.advanceAsync(200)
    await closing
    await until(() => client.closed)
  })

  test('before listening is harmless, and after it nothing listens again', async () => {
    const options = { handler: new MemoryHandler(), clock: systemClock(), random: seededRandom(1) }
    const server = new Server(options)
    await server.close()
    await assert.rejects(server.listen({ port: 0 }), { code: 'KV_CLOSED' })
  })
})

describe('listening', () => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.com', '127.0.0.1.example.com']) {
    test(`on ${host} is refused unless allowed`, async () => {
      const options = {
        handler: new MemoryHandler(),
        clock: systemClock(),
        random: seededRandom(1),
      }
      const server = new Server(options)
      await assert.rejects(server.listen({ host, port: 0 }), (error: unknown) => {
        assert.ok(error instanceof InvalidArgumentError)
        assert.match(error.message, /allowInsecureRemote and a password \(/)
        return true
      })
    })
  }

  test('on all addresses is refused without a password, even when it is allowed', async () => {
    const handler = new MemoryHandler()
    const options = { handler, clock: systemClock(), random: seededRandom(1) }
    const server = new Server({ ...options, allowInsecureRemote: true })
    await assert.rejects(server.listen({ host: '0.0.0.0', port: 0 }), /without a password/)
    const other = new Server({ ...options, credentials: { password: 'secret' } })
    await assert.rejects(other.listen({ host: '0.0.0.0', port: 0 }), /allowInsecureRemote when/)
  })

  test('on all addresses works with a password when it is allowed', async () => {
    const handler = new MemoryHandler()
    const credentials = { user: 'me', password: 'p@ss word' }
    const options = { handler, clock: systemClock(), random: seededRandom(1), credentials }
    await using server = new Server({ ...options, allowInsecureRemote: true })
    const { host, port } = await server.listen({ host: '0.0.0.0', port: 0 })
    assert.equal(host, '0.0.0.0')
    const client = await connect(`kv://me:p%40ss%20word@127.0.0.1:${port}`)
    await client.put('k', 'v')
    await client.close()
    const same = await connect(`kv://127.0.0.1:${port}`, credentials)
    assert.equal(String(Buffer.from((await same.get('k')) ?? [])), 'v')
    await same.close()
    for (const url of [`kv://127.0.0.1:${port}`, `kv://me:wrong@127.0.0.1:${port}`]) {
      await assert.rejects(connect(url), { code: 'KV_AUTHENTICATION' })
      const lazy = await connect(url, { lazy: true, timeoutMs: 20_000 })
      await assert.rejects(lazy.put('k', 'w'), { code: 'KV_AUTHENTICATION', outcome: 'rejected' })
      await lazy.close()
    }
  })

  test('on a taken port says so', async () => {
    const other = createServer()
    await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve))
    const address = other.address()
    assert.ok(typeof address === 'object' && address !== null)
    const options = { handler: new MemoryHandler(), clock: systemClock(), random: seededRandom(1) }
    await assert.rejects(new Server(options).listen({ port: address.port }), LockedError)
    other.close()
  })

  test('twice, or on no port, is refused', async () => {
    const { server } = await start()
    await assert.rejects(server.listen({ port: 0 }), InvalidArgumentError)
    const options = { handler: new MemoryHandler(), clock: systemClock(), random: seededRandom(1) }
    for (const port of [-1, 65_536, 1.5]) {
      await assert.rejects(new Server(options).listen({ port }), InvalidArgumentError)
    }
  })
})

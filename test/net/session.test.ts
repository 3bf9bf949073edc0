// Goal: the rules of PROTOCOL.md hold on the server's side: handshake, one reply a request, limits,
// deadlines, and that no input escapes as an exception or touches another request.
// Method: a session without a socket, under a clock and a handler that the test holds.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import { InvalidArgumentError, UnavailableError } from '../../src/errors.ts'
import type { Logger } from '../../src/logger.ts'
import { encodeCredentials } from '../../src/net/credentials.ts'
import { Opcode, Status } from '../../src/net/opcode.ts'
import type { RequestContext } from '../../src/net/request-handler.ts'
import {
  frameOf,
  HELLO,
  Later,
  type Reply,
  SessionHarness,
  SMALL_LIMITS,
} from '../support/session-harness.ts'

const key = utf8Encode('k')
const GET = { type: 'get', key } as const
const PUT = { type: 'put', key, value: utf8Encode('v'), ttlMs: 0 } as const

function statusOf(reply: Reply | undefined): number | string {
  if (reply === undefined) return 'no reply'
  return reply.response.type === 'error' ? reply.response.status : reply.response.type
}

function messageOf(reply: Reply | undefined): string {
  assert.ok(reply?.response.type === 'error', 'an error was expected')
  return reply.response.message
}

function opened(...options: ConstructorParameters<typeof SessionHarness>): SessionHarness {
  const harness = new SessionHarness(...options)
  harness.hello()
  return harness
}

describe('handshake', () => {
  test('HELLO is answered with version, limits and the wall clock', () => {
    const harness = new SessionHarness()
    harness.send(frameOf(HELLO, 9))
    const [reply] = harness.replies()
    assert.equal(reply?.id, 9)
    assert.ok(reply.response.type === 'hello')
    assert.equal(reply.response.version, 1)
    assert.equal(reply.response.nodeId, 'n1')
    assert.equal(reply.response.inFlightMax, 2048)
    assert.equal(reply.response.wallMs, harness.clock.wallMs())
    assert.equal(harness.session.clientName, 'test')
  })

  test('requests behind HELLO are served without waiting', () => {
    const harness = new SessionHarness()
    harness.send(Buffer.concat([frameOf(HELLO, 1), frameOf(PUT, 2), frameOf(GET, 3)]))
    assert.deepEqual(harness.replies().map(statusOf), ['hello', 'done', 'value'])
  })

  for (const [min, max] of [
    [0, 0],
    [2, 9],
  ] as const) {
    test(`versions ${min} to ${max} are refused with the range that is understood`, () => {
      const harness = new SessionHarness()
      harness.send(frameOf({ ...HELLO, versionMin: min, versionMax: max }, 4))
      const [reply] = harness.replies()
      assert.equal(statusOf(reply), Status.versionMismatch)
      assert.match(messageOf(reply), new RegExp(`${min} to ${max}.*1 to 1`))
      assert.ok(reply?.response.type === 'error')
      assert.deepEqual([...reply.response.detail], [1, 0, 1, 0])
      assert.ok(harness.session.ending)
    })
  }

  test('a wider range than ours gets our newest', () => {
    const harness = new SessionHarness()
    harness.send(frameOf({ ...HELLO, versionMin: 0, versionMax: 99 }, 4))
    const [reply] = harness.replies()
    assert.ok(reply?.response.type === 'hello' && reply.response.version === 1)
  })

  test('credentials are refused', () => {
    const harness = new SessionHarness()
    harness.send(frameOf({ ...HELLO, credentials: utf8Encode('me:secret') }, 4))
    assert.equal(statusOf(harness.replies()[0]), Status.authentication)
    assert.ok(harness.session.ending)
  })

  describe('where a password is asked for', () => {
    const credentials = { user: 'me', password: 'secret' }

    test('those who know it are served', () => {
      const harness = new SessionHarness({ credentials })
      const hello = { ...HELLO, credentials: encodeCredentials(credentials) }
      harness.send(Buffer.concat([frameOf(hello, 1), frameOf(GET, 2)]))
      assert.deepEqual(
        harness.replies().map(({ response }) => response.type),
        ['hello', 'absent'],
      )
    })

    for (const [name, bytes] of [
      ['none', new Uint8Array(0)],
      ['a wrong one', encodeCredentials({ user: 'me', password: 'Secret' })],
      ['another user', encodeCredentials({ password: 'secret' })],
    ] as const) {
      test(`${name} is refused, and so is what came behind it`, () => {
        const harness = new SessionHarness({ credentials })
        const hello = { ...HELLO, credentials: bytes }
        harness.send(Buffer.concat([frameOf(hello, 1), frameOf(PUT, 2)]))
        const [refused, ...others] = harness.replies()
        assert.equal(statusOf(refused), Status.authentication)
        assert.deepEqual(others, [])
        assert.ok(harness.session.ending)
        assert.equal(harness.memory.size, 0)
        assert.doesNotMatch(JSON.stringify(refused), /secret/i)
      })
    }
  })

  for (const [what, bytes, clue] of [
    ['a request', frameOf(GET, 1), /first request.*must be HELLO/],
    ['HTTP', utf8Encode('GET / HTTP/1.1\r\n\r\n'), /HTTP/],
    ['RESP', utf8Encode('*1\r\n$4\r\nPING\r\n'), /Redis/],
    ['TLS', Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3), /TLS/],
    ['a wrong magic', frameOf(HELLO, 1).fill(0, 16, 20), /magic/],
    ['an oversized HELLO', Uint8Array.of(1, 0x10, 0, 0, 1), /outside/],
  ] as const) {
    test(`${what} instead of HELLO ends the connection with a clue`, () => {
      const harness = new SessionHarness()
      harness.send(bytes)
      assert.equal(statusOf(harness.replies()[0]), Status.protocol)
      assert.ok(harness.session.ending)
      assert.match(harness.session.failure ?? '', clue)
      harness.request(GET)
      assert.deepEqual(harness.replies(), [])
    })
  }
})

describe('requests', () => {
  test('a handler sees what the request says', () => {
    const contexts: RequestContext[] = []
    const harness = opened({
      handler: {
        put(_put, context) {
          contexts.push({ ...context })
        },
      },
    })
    harness.clock.advance(100)
    const version = Uint8Array.from({ length: 16 }, (_, index) => index)
    const options = { budgetMs: 700, consistency: 'all', durability: 'none', version } as const
    harness.requestWith(options, PUT)
    harness.request(PUT)
    assert.deepEqual(harness.replies().map(statusOf), ['done', 'done'])
    const [first, second] = contexts
    assert.equal(first?.deadlineMs, 800)
    assert.deepEqual([first.consistency, first.durability], ['all', 'none'])
    assert.deepEqual(first.version, version)
    assert.equal(second?.deadlineMs, 5100)
    assert.deepEqual([second.consistency, second.durability], ['one', undefined])
    assert.equal(second.version, undefined)
  })

  test('replies come in the order in which the handler answers', async () => {
    const later = new Map<string, Later<Uint8Array | undefined>>()
    const harness = opened({
      handler: {
        get(name) {
          const answer = new Later<Uint8Array | undefined>()
          later.set(utf8Decode(name), answer)
          return answer.promise
        },
      },
    })
    const [a, b] = harness.request(
      { type: 'get', key: utf8Encode('a') },
      { type: 'get', key: utf8Encode('b') },
    )
    assert.equal(harness.admission.inFlight, 2)
    later.get('b')?.resolve(utf8Encode('B'))
    later.get('a')?.resolve(undefined)
    const replies = await harness.settled()
    assert.deepEqual(
      replies.map(reply => [reply.id, statusOf(reply)]),
      [
        [b, 'value'],
        [a, 'absent'],
      ],
    )
    assert.equal(harness.admission.inFlight, 0)
    assert.equal(harness.admission.inFlightBytes, 0)
  })

  test('what a handler throws fails one request', async () => {
    const logged: unknown[] = []
    const logger = { error: (...all: unknown[]) => logged.push(all) } as unknown as Logger
    const harness = opened({
      logger,
      handler: {
        get() {
          throw new UnavailableError('no replica', { outcome: 'rejected' })
        },
        put: () => Promise.reject(new TypeError('oops')),
        delete() {
          throw new RangeError('bug')
        },
      },
    })
    harness.request(GET, PUT, { type: 'delete', key }, { type: 'ping', payload: key })
    const replies = await harness.settled()
    assert.deepEqual(replies.map(statusOf), [
      Status.unavailable,
      Status.internal,
      'pong',
      Status.internal,
    ])
    assert.equal(logged.length, 2)
    assert.equal(harness.session.ending, false)
  })

  test('an unknown opcode leaves the connection open', () => {
    const harness = opened()
    const frame = frameOf(GET, 2)
    frame[4] = Opcode.watch
    harness.send(frame)
    harness.request({ type: 'ping', payload: key })
    assert.deepEqual(harness.replies().map(statusOf), [Status.versionMismatch, 'pong'])
  })

  for (const [what, offset] of [
    ['consistency', 6],
    ['durability', 7],
  ] as const) {
    test(`an unknown ${what} code leaves the connection open`, () => {
      const harness = opened()
      const frame = frameOf(PUT, 2)
      frame[offset] = 4
      harness.send(frame)
      harness.request(GET)
      assert.deepEqual(harness.replies().map(statusOf), [Status.invalidArgument, 'absent'])
    })
  }

  test('a malformed body is answered and ends the connection', () => {
    const harness = opened()
    const frame = frameOf({ type: 'getMany', keys: [key] }, 7)
    frame[16] = 200
    harness.send(Buffer.concat([frame, frameOf(GET, 8)]))
    const replies = harness.replies()
    assert.deepEqual(replies.map(statusOf), [Status.protocol])
    assert.equal(replies[0]?.id, 7)
    assert.ok(harness.session.ending)
  })

  test('a second HELLO ends the connection', () => {
    const harness = opened()
    harness.request(HELLO)
    assert.deepEqual(harness.replies().map(statusOf), [Status.protocol])
    assert.ok(harness.session.ending)
  })

  test('keys, values, counts and times to live are checked', () => {
    const harness = opened({
      limits: { ...SMALL_LIMITS, getManyKeysMax: 2, batchOperationsMax: 2 },
    })
    const none = new Uint8Array(0)
    const zeroTtl = frameOf({ ...PUT, ttlMs: 1 }, 99)
    zeroTtl.fill(0, 16, 24)
    harness.request(
      { type: 'get', key: none },
      { type: 'get', key: new Uint8Array(65_534) },
      { type: 'put', key: none, value: none, ttlMs: 0 },
      { type: 'put', key, value: new Uint8Array(10_001), ttlMs: 0 },
      { type: 'delete', key: none },
      { type: 'getMany', keys: [key, none] },
      { type: 'getMany', keys: [key, key, key] },
      { type: 'batch', operations: [PUT, { type: 'del', key: none }] },
      { type: 'batch', operations: [PUT, PUT, PUT] },
    )
    harness.send(zeroTtl)
    const replies = harness.replies()
    assert.equal(replies.length, 10)
    for (const reply of replies) assert.equal(statusOf(reply), Status.invalidArgument)
    assert.equal(harness.memory.size, 0)
    harness.request(
      { type: 'getMany', keys: [] },
      { type: 'batch', operations: [] },
      { type: 'put', key: new Uint8Array(65_533), value: none, ttlMs: 0 },
    )
    assert.deepEqual(harness.replies().map(statusOf), ['values', 'done', 'done'])
  })

  test('GET_MANY answers as much as fits in a frame', () => {
    const harness = opened({ limits: SMALL_LIMITS })
    const value = new Uint8Array(10_000)
    const keys = Array.from({ length: 30 }, (_, index) => Uint8Array.of(index))
    for (const name of keys) harness.request({ type: 'put', key: name, value, ttlMs: 0 })
    harness.replies()
    harness.request({ type: 'getMany', keys })
    const [reply] = harness.replies()
    assert.ok(reply?.response.type === 'values')
    assert.ok(reply.response.values.length >= 1 && reply.response.values.length < 30)
    assert.ok(reply.response.values.every(stored => stored?.length === 10_000))
  })

  test('a stored value that no frame can hold fails its request only', () => {
    const harness = opened({
      limits: SMALL_LIMITS,
      handler: { get: () => new Uint8Array(200_000) },
    })
    harness.request(GET, PUT)
    assert.deepEqual(harness.replies().map(statusOf), [Status.invalidArgument, 'done'])
  })
})

describe('deadlines', () => {
  test('a request without an answer is answered at its deadline; the late answer is dropped', async () => {
    const answer = new Later<void>()
    let context: RequestContext | undefined
    const harness = opened({
      handler: {
        put(_put, given) {
          context = given
          return answer.promise
        },
      },
    })
    const [id] = harness.requestWith({ budgetMs: 300 }, PUT)
    harness.clock.advance(299)
    harness.session.sweep(harness.clock.monotonicMs())
    assert.deepEqual(harness.replies(), [])
    assert.equal(context?.cancelled, false)
    harness.clock.advance(1)
    harness.session.sweep(harness.clock.monotonicMs())
    const [reply] = harness.replies()
    assert.equal(reply?.id, id)
    assert.equal(statusOf(reply), Status.timeout)
    assert.ok(reply?.response.type === 'error' && reply.response.outcome === 'unknown')
    assert.equal(context?.cancelled, true)
    answer.resolve()
    assert.deepEqual(await harness.settled(), [])
    assert.equal(harness.admission.inFlight, 0)
  })

  test('a request that waited in the socket for too long is not begun', () => {
    const answers: Later<void>[] = []
    const harness = opened({
      limits: { connectionInFlightMax: 1 },
      handler: {
        put() {
          const answer = new Later<void>()
          answers.push(answer)
          return answer.promise
        },
      },
    })
    harness.requestWith({ budgetMs: 50 }, PUT, PUT)
    assert.equal(answers.length, 1)
    harness.clock.advance(60)
    harness.session.sweep(harness.clock.monotonicMs())
    harness.session.process(harness.clock.monotonicMs())
    const replies = harness.replies()
    assert.deepEqual(replies.map(statusOf), [Status.timeout, Status.timeout])
    const outcomes = replies.map(reply =>
      reply.response.type === 'error' ? reply.response.outcome : '',
    )
    assert.deepEqual(outcomes, ['unknown', 'rejected'])
    assert.equal(answers.length, 1, 'the second was never begun')
  })
})

describe('a frame in the making', () => {
  test('is as old as its own first byte, not as that of the frames before it', () => {
    const harness = opened()
    const [first, second] = [frameOf(PUT, 2), frameOf(PUT, 3)]
    harness.send(first.subarray(0, 7))
    const beganMs = harness.session.frameBeganMs
    assert.equal(beganMs, harness.clock.monotonicMs())
    harness.clock.advance(100)
    harness.send(first.subarray(7, 9))
    assert.equal(harness.session.frameBeganMs, beganMs)
    harness.send(Buffer.concat([first.subarray(9), second.subarray(0, 2)]))
    assert.equal(harness.session.frameBeganMs, harness.clock.monotonicMs())
    harness.send(second.subarray(2))
    assert.equal(harness.session.frameBeganMs, undefined)
  })
})

describe('limits', () => {
  test('at the in-flight limit nothing more is begun until something is answered', async () => {
    const answers: Later<void>[] = []
    const harness = opened({
      limits: { connectionInFlightMax: 3 },
      handler: {
        put() {
          const answer = new Later<void>()
          answers.push(answer)
          return answer.promise
        },
      },
    })
    harness.request(PUT, PUT, PUT, PUT, PUT)
    assert.equal(answers.length, 3)
    assert.ok(harness.session.blocked && harness.session.hasInput)
    answers[1]!.resolve()
    await harness.settled()
    harness.session.process(harness.clock.monotonicMs())
    assert.equal(answers.length, 4)
    answers[0]!.resolve()
    answers[2]!.resolve()
    await harness.settled()
    harness.session.process(harness.clock.monotonicMs())
    assert.equal(answers.length, 5)
    assert.equal(harness.session.hasInput, false)
  })

  test('at the limit of the node requests are refused before the handler sees them', async () => {
    const answers: Later<void>[] = []
    let begun = 0
    const harness = opened({
      limits: { inFlightMax: 2, overloadRetryAfterMs: 33 },
      handler: {
        put() {
          begun++
          const answer = new Later<void>()
          answers.push(answer)
          return answer.promise
        },
      },
    })
    harness.request(PUT, PUT, PUT)
    const [reply] = harness.replies()
    assert.equal(statusOf(reply), Status.overloaded)
    assert.ok(reply?.response.type === 'error' && reply.response.retryAfterMs === 33)
    assert.equal(begun, 2)
    for (const answer of answers) answer.resolve()
    await harness.settled()
    harness.request(PUT)
    assert.equal(begun, 3)
  })

  test('a reader who does not read is not served further, and then gets no data', async () => {
    const answers: Later<Uint8Array | undefined>[] = []
    const harness = opened({
      limits: SMALL_LIMITS,
      handler: {
        get() {
          const answer = new Later<Uint8Array | undefined>()
          answers.push(answer)
          return answer.promise
        },
      },
    })
    harness.stuck = true
    harness.request(...Array.from({ length: 40 }, () => GET))
    assert.equal(answers.length, 40)
    for (const answer of answers) answer.resolve(new Uint8Array(9000))
    const statuses = (await harness.settled()).map(statusOf)
    const shed = statuses.filter(status => status === Status.overloaded).length
    assert.ok(shed > 10 && shed < 40, `${shed} of 40 were refused`)
    assert.ok(harness.backlogBytes < 220_000)
    harness.request(GET)
    assert.equal(answers.length, 40, 'nothing is begun while he does not read')
    harness.drain()
    harness.session.process(harness.clock.monotonicMs())
    assert.equal(answers.length, 41)
  })

  test('a frame for which there is no memory is skipped and refused', () => {
    const harness = opened({ limits: { ...SMALL_LIMITS, receiveBytesMax: 210_000 } })
    // Of thirty clients none has room for it in its fair part.
    for (let count = 0; count < 29; count++) harness.admission.share().join()
    assert.ok(harness.admission.share().reserve(205_000))
    const value = new Uint8Array(9000)
    const frame = frameOf({ type: 'put', key, value, ttlMs: 0 }, 5)
    harness.send(frame.subarray(0, 3000))
    harness.send(frame.subarray(3000, 8000))
    harness.send(Buffer.concat([frame.subarray(8000), frameOf(GET, 6)]))
    const replies = harness.replies()
    assert.deepEqual(
      replies.map(reply => [reply.id, statusOf(reply)]),
      [
        [5, Status.overloaded],
        [6, 'absent'],
      ],
    )
  })

  test('a frame that is too long ends the connection', () => {
    const harness = opened({ limits: SMALL_LIMITS })
    harness.send(Uint8Array.of(0x41, 0x0d, 0x03, 0, 5))
    const [reply] = harness.replies()
    assert.equal(statusOf(reply), Status.protocol)
    assert.equal(reply?.id, 0)
    assert.ok(harness.session.ending)
  })
})

test('a long run of requests is cut, and goes on where it was left', async () => {
  let begun = 0
  const harness = opened({
    handler: {
      get() {
        begun++
        harness.clock.advance(0.125)
        return undefined
      },
    },
  })
  const ids = harness.request(...Array.from({ length: 100 }, () => GET))
  assert.ok(begun < 20, `${begun} of 100 were begun in one run`)
  assert.ok(harness.session.hasInput && !harness.session.blocked)
  while (harness.session.hasInput) {
    const before = begun
    harness.session.process(harness.clock.monotonicMs())
    assert.ok(begun > before && begun < before + 20)
  }
  assert.deepEqual(
    (await harness.settled()).map(reply => reply.id),
    ids,
  )
})

describe('cancel', () => {
  test('gives up a waiting request', async () => {
    let context: RequestContext | undefined
    const answer = new Later<number>()
    const harness = opened({
      handler: {
        count(_scan, given) {
          context = given
          return answer.promise
        },
      },
    })
    const scan = {
      reverse: false,
      order: 'ordered',
      keysOnly: true,
      cursor: undefined,
    } as const
    const [count] = harness.request({ type: 'count', scan })
    harness.request({ type: 'cancel', requestId: count! })
    const replies = harness.replies()
    assert.deepEqual(
      replies.map(reply => [reply.id, statusOf(reply)]),
      [
        [count, Status.aborted],
        [count! + 1, 'done'],
      ],
    )
    assert.equal(context?.cancelled, true)
    answer.reject(new InvalidArgumentError('late'))
    assert.deepEqual(await harness.settled(), [])
  })

  test('of nothing is harmless', () => {
    const harness = opened()
    harness.request({ type: 'cancel', requestId: 77 })
    assert.deepEqual(harness.replies().map(statusOf), ['done'])
  })
})

test('a session that is disposed cancels what waits and holds nothing', () => {
  let context: RequestContext | undefined
  const harness = opened({
    handler: {
      put(_put, given) {
        context = given
        return new Promise(() => undefined)
      },
    },
  })
  harness.request(PUT)
  harness.send(frameOf(PUT, 9).subarray(0, 9))
  harness.session.dispose()
  assert.equal(context?.cancelled, true)
  assert.equal(harness.admission.inFlight, 0)
  assert.equal(harness.admission.receiveBytes, 0)
})

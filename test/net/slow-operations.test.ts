// Goal: what took long at any door is found in one log, with whose it was and the beginning of its
// key, and nothing else of it; what was quick is not there.
// Method: sessions of the binary protocol and of Redis without sockets, under a clock moved by
// hand, whose input is overwritten once it was read; the HTTP door with a handler that takes long.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { delay, systemClock, yieldToEventLoop } from '../../src/clock.ts'
import { silentLogger } from '../../src/logger.ts'
import { HttpServer } from '../../src/net/http/index.ts'
import { Server } from '../../src/net/server.ts'
import { type SlowOperation, SlowOperations } from '../../src/net/slow-operations.ts'
import { seededRandom } from '../../src/random.ts'
import { MemoryHandler } from '../support/memory-handler.ts'
import { RespHarness } from '../support/resp-harness.ts'
import { Later, SessionHarness } from '../support/session-harness.ts'
import { SimClock } from '../support/sim-clock.ts'

const LONG_KEY = `user:${'x'.repeat(100)}`

/** Door, operation, key and milliseconds of each, the newest first. */
function shown(slow: SlowOperations): (string | number)[][] {
  return slow.page(100).operations.map(({ door, operation, key = '', tookMs }) => {
    return [door, operation, Buffer.from(key, 'base64').toString(), tookMs]
  })
}

describe('what takes long', () => {
  test('over the binary protocol is known by its key', async () => {
    const waiting: Later<undefined>[] = []
    const later = (): Promise<undefined> => {
      const answer = new Later<undefined>()
      waiting.push(answer)
      return answer.promise
    }
    const handler = { put: later, get: later, admin: () => later().then(() => ({})) }
    const harness = new SessionHarness({ handler })
    harness.hello()
    const key = utf8Encode(LONG_KEY)
    const value = utf8Encode('secret')
    harness.request({ type: 'put', key, value, ttlMs: 5 }, { type: 'get', key: utf8Encode('k') })
    harness.request({ type: 'put', key: utf8Encode('p'), value, ttlMs: 0 })
    harness.request({ type: 'admin', json: '{"command":"changes"}' })
    assert.equal(waiting.length, 4)
    harness.clock.advance(99)
    waiting[1]!.resolve(undefined)
    await yieldToEventLoop()
    assert.deepEqual(shown(harness.slow), [])
    harness.clock.advance(1)
    for (const answer of waiting) answer.resolve(undefined)
    await yieldToEventLoop()
    // ADMIN waits where it was asked to, and GET was quick.
    assert.deepEqual(shown(harness.slow), [
      ['binary', 'put', 'p', 100],
      ['binary', 'put', LONG_KEY.slice(0, 64), 100],
    ])
    assert.ok(!JSON.stringify(harness.slow.page(9)).includes(Buffer.from(value).toString('base64')))
  })

  test('over the protocol of Redis is known by its key, passwords are not', async () => {
    const waiting: Later<void>[] = []
    const handler = Object.assign(new MemoryHandler(), {
      put: () => {
        const answer = new Later<void>()
        waiting.push(answer)
        return answer.promise
      },
    })
    const harness = new RespHarness({ handler })
    harness.send('SET user:1 secret')
    harness.clock.advance(250)
    for (const answer of waiting) answer.resolve()
    await yieldToEventLoop()
    assert.deepEqual(shown(harness.slow), [['redis', 'set', 'user:1', 250]])
  })

  test('over HTTP is known by its key', async t => {
    const clock = systemClock()
    const handler = Object.assign(new MemoryHandler(), {
      get: () => delay(clock, 5).then(() => undefined),
    })
    const limits = { slowOperationMs: 2 }
    const common = { handler, clock, logger: silentLogger, limits }
    const binary = new Server({ ...common, random: seededRandom(1) })
    const http = new HttpServer({ ...common, sharesWith: binary, nodeId: 'n1' })
    t.after(() => http.close({ graceMs: 0 }))
    const { port } = await http.listen({ port: 0 })
    await (await fetch(`http://127.0.0.1:${port}/v1/kv/user%3A1`)).text()
    const { operations } = binary.shared.slow.page(10)
    const [{ door, operation, key, tookMs }] = operations as [SlowOperation]
    assert.deepEqual(
      [door, operation, key],
      ['http', 'get', Buffer.from('user:1').toString('base64')],
    )
    assert.ok(tookMs >= 5)
  })
})

test('the last 256 are kept, the newest first, and all are counted', () => {
  const clock = new SimClock()
  const slow = new SlowOperations(clock, 100)
  const report = { door: 'binary', operation: 'get', address: 'a', user: 'u' }
  for (let tookMs = 1; tookMs <= 300; tookMs++) slow.add({ ...report, tookMs })
  const { fromMs, total, operations } = slow.page(1000)
  assert.deepEqual([fromMs, total, operations.length], [100, 300, 256])
  assert.deepEqual([operations[0]?.tookMs, operations.at(-1)?.tookMs], [300, 45])
  assert.deepEqual(operations[0], { sequence: 300, atMs: clock.wallMs(), tookMs: 300, ...report })
  assert.deepEqual(
    slow.page(2).operations.map(({ sequence }) => sequence),
    [300, 299],
  )
  assert.deepEqual(slow.page(0).operations, [])
})

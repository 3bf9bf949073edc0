// Goal: the client keeps its promises: nothing hangs, writes are never repeated blindly, failures
// say truly what is known, and the connection comes back for ever.
// Method: a scripted server behind a wire without sockets, under a clock that the test moves.
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, test } from 'node:test'
import { ByteWriter, utf8Encode } from '../../src/bytes.ts'
import type { UnavailableError } from '../../src/errors.ts'
import { connect } from '../../src/net/client.ts'
import { Status } from '../../src/net/opcode.ts'
import { versionCounter, versionTimeMs } from '../../src/write-version.ts'
import { ClientHarness, type Outcome, watch } from '../support/client-harness.ts'
import { FakeConnector, type FakeWire, HELLO_REPLY } from '../support/fake-wire.ts'
import { SimClock } from '../support/sim-clock.ts'

const VALUE = utf8Encode('v')

function assertFailed(outcome: Outcome, code: string, known?: 'rejected' | 'unknown'): void {
  assert.equal(outcome.state, 'rejected', `it is ${outcome.state}`)
  assert.equal(outcome.error?.code, code, outcome.error?.message)
  if (known !== undefined) assert.equal(outcome.error.outcome, known)
}

describe('connecting', () => {
  function dialling(nodes = 1) {
    const connector = new FakeConnector()
    const clock = new SimClock()
    const url = nodes === 1 ? 'kv://a:1' : 'kv://a:1,b:2'
    const outcome = watch(connect(url, { connector, clock, connectTimeoutMs: 1000 }))
    return { connector, clock, outcome }
  }

  test('resolves when the server has answered HELLO', async () => {
    const { connector, clock, outcome } = dialling()
    connector.last.open()
    await clock.advanceAsync(10)
    assert.equal(outcome.state, 'pending')
    const hello = connector.last.take('hello')
    assert.ok(hello.request.type === 'hello' && hello.request.clientName === 'duramen-js')
    connector.last.reply(hello, { type: 'hello', ...HELLO_REPLY })
    await clock.advanceAsync(0)
    assert.equal(outcome.state, 'resolved')
  })

  test('rejects at once when nobody listens, naming the reason', async () => {
    const { connector, clock, outcome } = dialling()
    connector.last.close(new Error('connect ECONNREFUSED a:1'))
    await clock.advanceAsync(0)
    assertFailed(outcome, 'KV_UNAVAILABLE', 'rejected')
    assert.match(outcome.error?.message ?? '', /a:1: connect ECONNREFUSED/)
    await clock.advanceAsync(60_000)
    assert.equal(connector.wires.length, 1, 'a client that nobody has does not go on')
  })

  test('rejects when the server does not answer in time', async () => {
    const { connector, clock, outcome } = dialling()
    connector.last.open()
    await clock.advanceAsync(1001)
    assertFailed(outcome, 'KV_UNAVAILABLE')
    assert.ok(connector.last.closed)
  })

  test('rejects with what the server says', async () => {
    const { connector, clock, outcome } = dialling()
    connector.last.open()
    connector.last.replyError(connector.last.take('hello'), Status.versionMismatch, 'rejected')
    await clock.advanceAsync(0)
    assertFailed(outcome, 'KV_VERSION_MISMATCH')
    assert.match(outcome.error?.message ?? '', /a:1: scripted/)
  })

  test('rejects a server of another protocol by name', async () => {
    const { connector, clock, outcome } = dialling()
    connector.last.open()
    connector.last.push(utf8Encode("-ERR unknown command 'x'\r\n"))
    await clock.advanceAsync(0)
    assertFailed(outcome, 'KV_PROTOCOL')
    assert.match(outcome.error?.message ?? '', /Redis/)
  })

  test('with several servers waits for the first to answer, and fails when all did', async () => {
    const first = dialling(2)
    first.connector.wires[0]?.close(new Error('down'))
    await first.clock.advanceAsync(0)
    assert.equal(first.outcome.state, 'pending')
    first.connector.wires[1]?.accept()
    await first.clock.advanceAsync(0)
    assert.equal(first.outcome.state, 'resolved')
    const second = dialling(2)
    for (const wire of [...second.connector.wires]) wire.close(new Error('down'))
    await second.clock.advanceAsync(0)
    assertFailed(second.outcome, 'KV_UNAVAILABLE')
    assert.match(second.outcome.error?.message ?? '', /a:1.*b:2/)
  })

  test('lazily resolves at once, and calls wait for the connection', async () => {
    const harness = new ClientHarness({ lazy: true })
    await harness.client.ready()
    const get = watch(harness.client.get('k'))
    harness.wire.accept()
    await harness.settle()
    harness.wire.reply(harness.wire.take('get'), { type: 'absent' })
    await harness.settle()
    assert.deepEqual(get, { state: 'resolved', value: undefined })
  })
})

describe('calls', () => {
  test('of one tick leave in one write, and are answered in any order', async () => {
    const { client, wire, settle } = ClientHarness.connected()
    const before = wire.writeCount
    const calls = ['a', 'b', 'c'].map(key => watch(client.get(key)))
    const put = watch(client.put('d', VALUE, { ttlMs: 1.2, durability: 'none' }))
    await settle()
    assert.equal(wire.writeCount - before, 1)
    const gets = ['a', 'b', 'c'].map(() => wire.take('get'))
    const sent = wire.take('put')
    assert.ok(sent.request.type === 'put' && sent.request.ttlMs === 2)
    assert.equal(sent.options.durability, 'none')
    assert.equal(sent.options.budgetMs, 5000)
    wire.reply(sent, { type: 'done' })
    for (const get of gets.toReversed()) {
      assert.ok(get.request.type === 'get')
      wire.reply(get, { type: 'value', value: get.request.key })
    }
    await settle()
    assert.equal(put.state, 'resolved')
    assert.deepEqual(
      calls.map(call => call.value),
      ['a', 'b', 'c'].map(utf8Encode),
    )
  })

  test('with wrong arguments reject, and send nothing', async () => {
    const { client, wire, settle } = ClientHarness.connected()
    const before = wire.writeCount
    const notBytes = 5 as unknown as string
    const untyped = client as unknown as Record<'getSync' | 'deleteRange', () => Promise<void>>
    const onlyEmbedded = { code: 'KV_INVALID_ARGUMENT', message: /^a remote client has no getSync/ }
    assert.throws(() => untyped.getSync(), onlyEmbedded)
    const outcomes = [
      untyped.deleteRange(),
      client.get(''),
      client.get(new Uint8Array(65_534)),
      client.get(notBytes),
      client.put('k', notBytes),
      client.put('k', VALUE, { ttlMs: 0 }),
      client.put('k', VALUE, { ttlMs: 2 ** 51 }),
      client.put('k', VALUE, { timeoutMs: -1 }),
      client.delete(''),
      client.batch([{ type: 'put', key: '', value: '' }]),
      client.batch([{ type: 'merge' as 'del', key: 'k' }]),
      client.getMany(['a', '']),
      client.count({ gt: 'a', gte: 'a' }),
      client.get('k', {
        snapshot: { release: () => undefined, [Symbol.dispose]: () => undefined },
      }),
    ].map(watch)
    await settle()
    for (const outcome of outcomes) assertFailed(outcome, 'KV_INVALID_ARGUMENT', 'rejected')
    assert.equal(wire.writeCount, before)
  })

  test('with a misspelt option reject, for it would be none', async () => {
    const { client, wire, settle } = ClientHarness.connected()
    const before = wire.writeCount
    const misspelt = { ttl: 1, timeout: 1, undefinedIsNone: undefined } as object
    const outcomes = [
      client.get('k', misspelt),
      client.getMany(['k'], misspelt),
      client.put('k', VALUE, misspelt),
      client.delete('k', { ttlMs: 1 } as object),
      client.batch([{ type: 'put', key: 'k', value: VALUE, expiryMs: 5 } as never]),
      client.batch([], misspelt),
      client.count({ prefix: 'a' } as object),
      client.ping(misspelt),
    ].map(watch)
    assert.throws(() => client.keys({ prefix: 'a' } as object), /'prefix', which is none of/)
    assert.throws(() => new ClientHarness({ timeout: 1 } as object), /'timeout', which is none of/)
    await settle()
    for (const outcome of outcomes) assertFailed(outcome, 'KV_INVALID_ARGUMENT', 'rejected')
    assert.equal(wire.writeCount, before)
  })

  test('has says whether there is a value', async () => {
    const { client, wire, settle } = ClientHarness.connected()
    const outcomes = [client.has('a'), client.has('b')].map(watch)
    await settle()
    wire.reply(wire.take('get'), { type: 'value', value: new Uint8Array(0) })
    wire.reply(wire.take('get'), { type: 'absent' })
    await settle()
    assert.deepEqual(
      outcomes.map(({ value }) => value),
      [true, false],
    )
  })

  test('that no frame of the server can hold reject, and the connection stays', async () => {
    const { client, wire, settle } = ClientHarness.connected()
    const put = watch(client.put('k', new Uint8Array(2 << 20)))
    const get = watch(client.get('k'))
    await settle()
    assertFailed(put, 'KV_INVALID_ARGUMENT', 'rejected')
    wire.reply(wire.take('get'), { type: 'absent' })
    await settle()
    assert.equal(get.state, 'resolved')
  })

  test('getMany asks again for what did not fit into a reply', async () => {
    const { client, wire, settle } = ClientHarness.connected()
    const many = watch(client.getMany(['a', 'b', 'c']))
    await settle()
    wire.reply(wire.take('getMany'), { type: 'values', values: [VALUE] })
    await settle()
    const second = wire.take('getMany')
    assert.ok(second.request.type === 'getMany')
    assert.equal(second.request.keys.length, 2)
    wire.reply(second, { type: 'values', values: [undefined, VALUE] })
    await settle()
    assert.deepEqual(many.value, [VALUE, undefined, VALUE])
  })

  test('beyond the connection’s limit wait their turn in the queue', async () => {
    const harness = ClientHarness.connected()
    const { client, wire } = harness
    const calls = Array.from({ length: 200 }, (_, index) => watch(client.get(`k${index}`)))
    await harness.settle()
    let answered = 0
    while (answered < 200) {
      const batch = wire.requests.splice(0)
      assert.ok(batch.length > 0 && batch.length <= 64, `${batch.length} in flight`)
      for (const get of batch) {
        assert.ok(get.request.type === 'get')
        assert.deepEqual(get.request.key, utf8Encode(`k${answered++}`), 'first come, first served')
        wire.reply(get, { type: 'absent' })
      }
      await harness.settle()
    }
    assert.ok(calls.every(call => call.state === 'resolved'))
  })

  test('wait while the server does not read', async () => {
    const harness = ClientHarness.connected()
    const { client, wire } = harness
    wire.backlogBytes = 5 << 20
    void client.get('a').catch(() => undefined)
    await harness.settle()
    assert.equal(wire.requests.length, 1)
    void client.get('b').catch(() => undefined)
    await harness.settle()
    assert.equal(wire.requests.length, 1)
    wire.drained()
    await harness.settle()
    assert.equal(wire.requests.length, 2)
    await harness.advance(6000)
  })
})

describe('deadlines', () => {
  test('a call without an answer fails in time, and says what is known', async () => {
    const harness = ClientHarness.connected()
    const get = watch(harness.client.get('k'))
    const put = watch(harness.client.put('k', VALUE, { timeoutMs: 300 }))
    await harness.advance(299)
    assert.equal(put.state, 'pending')
    await harness.advance(3)
    assertFailed(put, 'KV_TIMEOUT', 'unknown')
    await harness.advance(4600)
    assert.equal(get.state, 'pending')
    await harness.advance(100)
    assertFailed(get, 'KV_TIMEOUT', 'rejected')
  })

  test('a reply after the deadline is dropped, and does not reach the next call', async () => {
    const harness = ClientHarness.connected()
    const { client, wire } = harness
    const late = watch(client.get('a', { timeoutMs: 10 }))
    await harness.settle()
    const request = wire.take('get')
    await harness.advance(20)
    assertFailed(late, 'KV_TIMEOUT')
    const next = watch(client.get('b'))
    await harness.settle()
    wire.reply(request, { type: 'value', value: VALUE })
    await harness.settle()
    assert.equal(next.state, 'pending')
    wire.reply(wire.take('get'), { type: 'absent' })
    await harness.settle()
    assert.deepEqual(next, { state: 'resolved', value: undefined })
  })

  test('a call that never found a connection was rejected, and says why there was none', async () => {
    const harness = new ClientHarness({ lazy: true, reconnectDelayMinMs: 10_000 })
    harness.wire.close(new Error('connect ECONNREFUSED'))
    const put = watch(harness.client.put('k', VALUE))
    await harness.advance(5010)
    assertFailed(put, 'KV_UNAVAILABLE', 'rejected')
    assert.match(put.error?.message ?? '', /found no server in time.*ECONNREFUSED/)
  })

  test('a shorter deadline set later is kept all the same', async () => {
    const harness = ClientHarness.connected()
    const long = watch(harness.client.get('a', { timeoutMs: 60_000 }))
    await harness.advance(10)
    const short = watch(harness.client.get('b', { timeoutMs: 50 }))
    await harness.advance(52)
    assertFailed(short, 'KV_TIMEOUT')
    assert.equal(long.state, 'pending')
  })

  test('many calls share few timers', async () => {
    const harness = ClientHarness.connected()
    const timers = harness.clock.timerCount
    for (let count = 0; count < 1000; count++) void harness.client.get('k').catch(() => undefined)
    await harness.settle()
    assert.ok(harness.clock.timerCount <= timers + 1)
    await harness.advance(6000)
  })
})

describe('abortion', () => {
  test('before the call, in the queue, and on the way', async () => {
    const harness = new ClientHarness({ lazy: true })
    const { client } = harness
    const reason = new Error('enough')
    const before = watch(client.put('k', VALUE, { signal: AbortSignal.abort(reason) }))
    const inQueue = new AbortController()
    const queued = watch(client.put('k', VALUE, { signal: inQueue.signal }))
    inQueue.abort(reason)
    harness.wire.accept()
    await harness.settle()
    assertFailed(before, 'KV_ABORTED', 'rejected')
    assertFailed(queued, 'KV_ABORTED', 'rejected')
    assert.equal(queued.error?.cause, reason)
    assert.equal(harness.wire.requests.length, 0)
    const onTheWay = new AbortController()
    const sent = watch(client.put('k', VALUE, { signal: onTheWay.signal }))
    await harness.settle()
    onTheWay.abort(reason)
    await harness.settle()
    assertFailed(sent, 'KV_ABORTED', 'unknown')
  })

  test('of a count tells the server', async () => {
    const harness = ClientHarness.connected()
    const controller = new AbortController()
    const count = watch(harness.client.count({}, { signal: controller.signal }))
    await harness.settle()
    const request = harness.wire.take('count')
    controller.abort()
    await harness.settle()
    assertFailed(count, 'KV_ABORTED')
    const cancel = harness.wire.take('cancel')
    assert.ok(cancel.request.type === 'cancel')
    assert.equal(cancel.request.requestId, request.id)
    harness.wire.reply(cancel, { type: 'done' })
  })

  test('of calls that share a signal costs it one listener, which goes with the last', async () => {
    const harness = ClientHarness.connected()
    const controller = new AbortController()
    const { signal } = controller
    const calls = Array.from({ length: 50 }, () => watch(harness.client.get('k', { signal })))
    await harness.settle()
    assert.equal(getEventListeners(signal, 'abort').length, 1)
    for (let count = 0; count < 30; count++) {
      harness.wire.reply(harness.wire.take('get'), { type: 'absent' })
    }
    await harness.settle()
    controller.abort()
    await harness.settle()
    const states = calls.map(({ state }) => state)
    assert.equal(states.filter(state => state === 'resolved').length, 30)
    for (const call of calls.filter(({ state }) => state !== 'resolved')) {
      assertFailed(call, 'KV_ABORTED')
    }
    assert.equal(getEventListeners(signal, 'abort').length, 0)
  })

  test('after the answer changes nothing', async () => {
    const harness = ClientHarness.connected()
    const controller = new AbortController()
    const get = watch(harness.client.get('k', { signal: controller.signal }))
    await harness.settle()
    harness.wire.reply(harness.wire.take('get'), { type: 'absent' })
    await harness.settle()
    controller.abort()
    await harness.settle()
    assert.equal(get.state, 'resolved')
  })
})

describe('retries', () => {
  const version = Uint8Array.from({ length: 16 }, (_, index) => index)

  /** Breaks the connection with requests on the way, and lets the client have a new one. */
  async function breakAndReconnect(harness: ClientHarness): Promise<void> {
    harness.wire.requests.length = 0
    harness.wire.close(new Error('reset'))
    await harness.advance(60)
    harness.wire.accept()
    await harness.advance(60)
  }

  test('a read is repeated on the next connection', async () => {
    const harness = ClientHarness.connected()
    const get = watch(harness.client.get('k'))
    const many = watch(harness.client.getMany(['k']))
    await harness.settle()
    await breakAndReconnect(harness)
    harness.wire.reply(harness.wire.take('get'), { type: 'value', value: VALUE })
    harness.wire.reply(harness.wire.take('getMany'), { type: 'values', values: [VALUE] })
    await harness.settle()
    assert.deepEqual(get.value, VALUE)
    assert.deepEqual(many.value, [VALUE])
  })

  test('a write that the server versions is not repeated when it may have arrived', async () => {
    const harness = ClientHarness.connected({ versions: 'server' })
    const writes = [
      harness.client.put('k', VALUE),
      harness.client.delete('k'),
      harness.client.batch([{ type: 'del', key: 'k' }]),
    ].map(watch)
    await harness.settle()
    await breakAndReconnect(harness)
    for (const write of writes) assertFailed(write, 'KV_UNAVAILABLE', 'unknown')
    assert.equal(harness.wire.requests.length, 0)
  })

  test('a write that surely did not leave is sent on the next connection', async () => {
    const harness = ClientHarness.connected()
    const put = watch(harness.client.put('k', VALUE))
    // The connection breaks in the same tick, before the write was handed to it.
    harness.wire.close(new Error('reset'))
    await harness.advance(60)
    harness.wire.accept()
    await harness.settle()
    harness.wire.reply(harness.wire.take('put'), { type: 'done' })
    await harness.settle()
    assert.equal(put.state, 'resolved')
  })

  test('a write with a version is repeated with the same version', async () => {
    const harness = ClientHarness.connected({ writeVersion: () => version })
    const put = watch(harness.client.put('k', VALUE))
    await harness.settle()
    assert.deepEqual(harness.wire.requests[0]?.options.version, version)
    await breakAndReconnect(harness)
    const again = harness.wire.take('put')
    assert.deepEqual(again.options.version, version)
    harness.wire.reply(again, { type: 'done' })
    await harness.settle()
    assert.equal(put.state, 'resolved')
  })

  test('every write has a version of its own, by the time of the server', async () => {
    const harness = new ClientHarness()
    const writes = [
      harness.client.put('k', VALUE),
      harness.client.delete('k'),
      harness.client.batch([{ type: 'del', key: 'k' }]),
    ].map(watch)
    harness.wire.accept({ wallMs: 1_000_000 })
    await harness.settle()
    const sent = harness.wire.requests.map(({ options }) => Buffer.from(options.version ?? []))
    assert.deepEqual(
      sent.map(version => [versionTimeMs(version), versionCounter(version)]),
      [0, 1, 2].map(counter => [1_000_000, counter]),
    )
    const writers = new Set(sent.map(version => version.subarray(8).toString('hex')))
    assert.equal(writers.size, 1)
    for (const request of harness.wire.requests.splice(0)) {
      harness.wire.reply(request, { type: 'done' })
    }
    await harness.settle()
    for (const write of writes) assert.equal(write.state, 'resolved')
  })

  test('a write that may have arrived is repeated with its version', async () => {
    const harness = ClientHarness.connected()
    const put = watch(harness.client.put('k', VALUE))
    await harness.settle()
    const first = harness.wire.requests[0]!.options.version
    await breakAndReconnect(harness)
    const again = harness.wire.take('put')
    assert.deepEqual(again.options.version, first)
    harness.wire.reply(again, { type: 'done' })
    await harness.settle()
    assert.equal(put.state, 'resolved')
  })

  test('that find no server any more leave the write in doubt', async () => {
    const harness = ClientHarness.connected({ reconnectDelayMinMs: 60_000 })
    const put = watch(harness.client.put('k', VALUE))
    await harness.settle()
    harness.wire.close(new Error('reset'))
    await harness.advance(5010)
    assertFailed(put, 'KV_UNAVAILABLE', 'unknown')
  })

  test('that the closing of the client ends leave the write in doubt', async () => {
    const harness = ClientHarness.connected({ reconnectDelayMinMs: 60_000 })
    const put = watch(harness.client.put('k', VALUE))
    await harness.settle()
    harness.wire.close(new Error('reset'))
    await harness.client.close()
    assertFailed(put, 'KV_UNAVAILABLE', 'unknown')
  })

  describe('a version that is too far from the time of the server', () => {
    const clockSkew = (
      harness: ClientHarness,
      serverMs: number,
      { wire } = { wire: harness.wire },
    ): Uint8Array => {
      const detail = new ByteWriter(8).uint64(serverMs).written
      const error = { status: Status.clockSkew, outcome: 'rejected', retryAfterMs: 0 } as const
      const request = wire.take('put')
      wire.reply(request, { type: 'error', ...error, message: 'far off', detail })
      return request.options.version!
    }

    test('is replaced once by one of that time, also when it goes back', async () => {
      const harness = new ClientHarness()
      harness.wire.accept({ wallMs: 10_000_000 })
      const put = watch(harness.client.put('k', VALUE))
      await harness.settle()
      clockSkew(harness, 5_000_000)
      await harness.advance(60)
      const again = harness.wire.take('put')
      const timeMs = versionTimeMs(again.options.version ?? new Uint8Array(16))
      assert.ok(timeMs >= 5_000_000 && timeMs < 5_000_100, `${timeMs}`)
      harness.wire.reply(again, { type: 'done' })
      await harness.settle()
      assert.equal(put.state, 'resolved')
    })

    test('is replaced also where another node is asked at once, and known to the session', async () => {
      const nodes = ['a', 'b'].map(host => ({ host, port: 1 }))
      const harness = ClientHarness.connected({ nodes, session: true })
      await harness.settle()
      const put = watch(harness.client.put('k', VALUE))
      await harness.settle()
      const asked = () => harness.connector.wires.find(({ requests }) => requests.length > 0)!
      const first = asked()
      const refused = clockSkew(harness, 5_000_000, { wire: first })
      await harness.settle()
      const second = asked()
      const again = second.take('put')
      assert.notEqual(second, first)
      assert.notDeepEqual(again.options.version, refused)
      second.reply(again, { type: 'done' })
      await harness.settle()
      assert.equal(put.state, 'resolved')
      void harness.client.get('k')
      await harness.settle()
      assert.deepEqual(asked().take('get').options.version, again.options.version)
    })

    test('is told when the next one is refused as well', async () => {
      const harness = ClientHarness.connected()
      const put = watch(harness.client.put('k', VALUE))
      await harness.settle()
      clockSkew(harness, 5_000_000)
      await harness.advance(60)
      clockSkew(harness, 9_000_000)
      await harness.settle()
      assertFailed(put, 'KV_CLOCK_SKEW', 'rejected')
    })

    test('is not replaced when the write may have happened under it', async () => {
      const harness = ClientHarness.connected()
      const put = watch(harness.client.put('k', VALUE))
      await harness.settle()
      await breakAndReconnect(harness)
      clockSkew(harness, 5_000_000)
      await harness.settle()
      assertFailed(put, 'KV_UNAVAILABLE', 'unknown')
      assert.equal(harness.wire.requests.length, 0)
    })
  })

  test('the time in a reply sets the clock for the next write', async () => {
    const harness = ClientHarness.connected()
    for (const serverMs of [7_000_000, undefined]) {
      const put = watch(harness.client.put('k', VALUE))
      await harness.settle()
      const request = harness.wire.take('put')
      if (serverMs === undefined) {
        assert.ok(versionTimeMs(request.options.version!) >= 7_000_000)
        harness.wire.reply(request, { type: 'done' })
      } else {
        harness.wire.reply(request, { type: 'done', wallMs: serverMs })
      }
      await harness.settle()
      assert.equal(put.state, 'resolved')
    }
  })

  test('overloaded waits as long as the server asked, then tries again', async () => {
    const harness = ClientHarness.connected()
    const put = watch(harness.client.put('k', VALUE))
    await harness.settle()
    harness.wire.replyError(harness.wire.take('put'), Status.overloaded, 'rejected', 200)
    await harness.advance(199)
    assert.equal(harness.wire.requests.length, 0)
    await harness.advance(2)
    harness.wire.reply(harness.wire.take('put'), { type: 'done' })
    await harness.settle()
    assert.equal(put.state, 'resolved')
  })

  test('overloaded for longer than there is time fails with it', async () => {
    const harness = ClientHarness.connected()
    const put = watch(harness.client.put('k', VALUE, { timeoutMs: 100 }))
    await harness.settle()
    harness.wire.replyError(harness.wire.take('put'), Status.overloaded, 'rejected', 200)
    await harness.settle()
    assertFailed(put, 'KV_OVERLOADED', 'rejected')
  })

  for (const [outcome, repeated] of [
    ['rejected', true],
    ['unknown', false],
  ] as const) {
    test(`unavailable with outcome ${outcome} is ${repeated ? '' : 'not '}repeated for a write`, async () => {
      const harness = ClientHarness.connected({ versions: 'server' })
      const put = watch(harness.client.put('k', VALUE))
      await harness.settle()
      harness.wire.replyError(harness.wire.take('put'), Status.unavailable, outcome)
      await harness.advance(100)
      assert.equal(harness.wire.requests.length, repeated ? 1 : 0)
      if (!repeated) assertFailed(put, 'KV_UNAVAILABLE', 'unknown')
      await harness.advance(6000)
    })
  }

  for (const [servers, url] of [
    ['the only server', 'kv://a:1'],
    ['a second server', 'kv://a:1,b:1'],
  ] as const) {
    test(`${servers} is believed that too few replicas are there, at once`, async () => {
      const harness = ClientHarness.connected({ url })
      const { wires } = harness.connector
      const get = watch(harness.client.get('k', { consistency: 'quorum' }))
      const asked = new Set<FakeWire>()
      for (const _ of wires) {
        assert.equal(get.state, 'pending')
        await harness.settle()
        const wire = wires.find(({ requests }) => requests.length > 0)!
        wire.replyError(wire.take('get'), Status.unavailable, 'rejected')
        asked.add(wire)
      }
      await harness.settle()
      assertFailed(get, 'KV_UNAVAILABLE', 'rejected')
      assert.equal((get.error as UnavailableError).isAnswer, true)
      assert.equal(asked.size, wires.length)
    })
  }

  test('other errors are not repeated', async () => {
    const harness = ClientHarness.connected()
    for (const [status, code] of [
      [Status.invalidArgument, 'KV_INVALID_ARGUMENT'],
      [Status.corruption, 'KV_CORRUPTION'],
      [Status.poisoned, 'KV_POISONED'],
      [Status.timeout, 'KV_TIMEOUT'],
      [Status.internal, 'KV_INTERNAL'],
    ] as const) {
      const get = watch(harness.client.get('k'))
      await harness.settle()
      harness.wire.replyError(harness.wire.take('get'), status, 'rejected')
      await harness.advance(1000)
      assertFailed(get, code)
      assert.equal(harness.wire.requests.length, 0)
    }
  })

  test('a refusal after a doubtful attempt leaves the write in doubt', async () => {
    const harness = ClientHarness.connected({ writeVersion: () => version })
    const put = watch(harness.client.put('k', VALUE))
    await harness.settle()
    await breakAndReconnect(harness)
    harness.wire.replyError(harness.wire.take('put'), Status.invalidArgument, 'rejected')
    await harness.settle()
    assertFailed(put, 'KV_UNAVAILABLE', 'unknown')
    assert.match(put.error?.message ?? '', /may have been carried out/)
  })

  test('stop when the budget is used up', async () => {
    const harness = ClientHarness.connected()
    const gets = Array.from({ length: 6000 }, () => watch(harness.client.get('k')))
    await harness.settle()
    while (harness.wire.requests.length > 0) {
      for (const request of harness.wire.requests.splice(0)) {
        harness.wire.replyError(request, Status.unavailable, 'rejected')
      }
      await harness.settle()
    }
    const failed = gets.filter(get => get.state === 'rejected')
    assert.ok(failed.length > 1000 && failed.length < 4000, `${failed.length} failed at once`)
    for (const get of failed) assertFailed(get, 'KV_UNAVAILABLE', 'rejected')
    await harness.advance(6000)
  })
})

describe('the queue', () => {
  test('is bounded while disconnected: full means unavailable, at once', async () => {
    const harness = new ClientHarness({ lazy: true, queueCountMax: 3 })
    harness.wire.close(new Error('connect ECONNREFUSED'))
    const calls = Array.from({ length: 4 }, () => watch(harness.client.put('k', VALUE)))
    await harness.settle()
    assertFailed(calls[3]!, 'KV_UNAVAILABLE', 'rejected')
    assert.match(calls[3]?.error?.message ?? '', /ECONNREFUSED/)
    assert.ok(calls.slice(0, 3).every(call => call.state === 'pending'))
    await harness.advance(6000)
    for (const call of calls.slice(0, 3)) assertFailed(call, 'KV_UNAVAILABLE', 'rejected')
    const room = watch(harness.client.put('k', VALUE))
    await harness.settle()
    assert.equal(room.state, 'pending', 'those that failed made room')
    await harness.advance(6000)
  })

  test('is bounded in bytes', async () => {
    const harness = new ClientHarness({ lazy: true, queueBytesMax: 10_000 })
    const first = watch(harness.client.put('k', new Uint8Array(6000)))
    const second = watch(harness.client.put('k', new Uint8Array(6000)))
    await harness.settle()
    assert.equal(first.state, 'pending')
    assertFailed(second, 'KV_UNAVAILABLE')
    await harness.advance(6000)
  })

  test('is bounded while connected: full means overloaded', async () => {
    const harness = ClientHarness.connected({ queueCountMax: 5 })
    const calls = Array.from({ length: 80 }, () => watch(harness.client.get('k')))
    await harness.settle()
    const failed = calls.filter(call => call.state === 'rejected')
    assert.ok(failed.length > 0)
    for (const call of failed) assertFailed(call, 'KV_OVERLOADED', 'rejected')
    await harness.advance(6000)
  })
})

describe('the connection', () => {
  test('is made again for ever, after growing pauses, and told of', async () => {
    const harness = ClientHarness.connected({ reconnectDelayMaxMs: 1000 })
    assert.equal(harness.client.status, 'connected')
    await harness.advance(5000)
    harness.wire.close(new Error('reset'))
    assert.equal(harness.client.status, 'disconnected')
    const times: number[] = []
    for (let attempt = 0; attempt < 30; attempt++) {
      const dials = harness.connector.wires.length
      while (harness.connector.wires.length === dials) await harness.advance(1)
      times.push(harness.clock.monotonicMs())
      harness.wire.close(new Error('connect ECONNREFUSED'))
    }
    const pauses = times.map((time, index) => time - (times[index - 1] ?? 5000))
    assert.ok(pauses[0]! <= 26 && pauses.every(pause => pause <= 1001))
    assert.ok(pauses.slice(10).every(pause => pause >= 500))
    while (harness.wire.closed) await harness.advance(10)
    harness.wire.accept()
    assert.equal(harness.client.status, 'connected')
    assert.deepEqual(
      harness.events.map(event => event.type),
      ['connected', ...Array.from({ length: 31 }, () => 'disconnected'), 'connected'],
    )
  })

  test('that breaks as soon as it is made is not made in a hot loop', async () => {
    const harness = ClientHarness.connected()
    for (let round = 0; round < 20; round++) {
      harness.wire.close()
      while (harness.wire.closed) await harness.advance(5)
      harness.wire.accept()
    }
    assert.ok(harness.clock.monotonicMs() > 10_000, `${harness.clock.monotonicMs()} ms`)
  })

  test('is pinged when silent, and given up when the server stays silent', async () => {
    const harness = ClientHarness.connected({ versions: 'server' })
    const { wire } = harness
    await harness.advance(5001)
    const ping = wire.take('ping')
    wire.reply(ping, { type: 'pong', payload: new Uint8Array(0) })
    const put = watch(harness.client.put('k', VALUE, { timeoutMs: 60_000 }))
    await harness.advance(14_000)
    assert.equal(wire.closed, false)
    await harness.advance(7000)
    assert.equal(wire.closed, true)
    assertFailed(put, 'KV_UNAVAILABLE', 'unknown')
    assert.match(put.error?.message ?? '', /silent/)
  })

  test('that the server leaves in good order finishes what it owes, then moves', async () => {
    const harness = ClientHarness.connected()
    const first = harness.wire
    const owed = watch(harness.client.get('a'))
    await harness.settle()
    first.goAway()
    assert.equal(harness.client.status, 'disconnected')
    const moved = watch(harness.client.put('b', VALUE))
    await harness.advance(30)
    assert.equal(first.requests.length, 1, 'nothing new goes to a server that leaves')
    assert.notEqual(harness.wire, first)
    harness.wire.accept()
    await harness.settle()
    harness.wire.reply(harness.wire.take('put'), { type: 'done' })
    first.reply(first.take('get'), { type: 'absent' })
    await harness.settle()
    assert.equal(owed.state, 'resolved')
    assert.equal(moved.state, 'resolved')
    assert.ok(first.ended)
  })

  test('that brings a malformed reply is dropped; reads are repeated', async () => {
    const harness = ClientHarness.connected({ versions: 'server' })
    const get = watch(harness.client.get('k'))
    const put = watch(harness.client.put('k', VALUE))
    await harness.settle()
    harness.wire.push(Uint8Array.of(1, 0, 0, 0, 9))
    await harness.advance(60)
    assertFailed(put, 'KV_UNAVAILABLE', 'unknown')
    harness.wire.accept()
    await harness.advance(60)
    harness.wire.reply(harness.wire.take('get'), { type: 'absent' })
    await harness.settle()
    assert.equal(get.state, 'resolved')
  })

  test('whose reply has a broken body fails that call and is dropped', async () => {
    const harness = ClientHarness.connected()
    const many = watch(harness.client.getMany(['k']))
    await harness.settle()
    const request = harness.wire.take('getMany')
    const id = request.id
    const head = Uint8Array.of(12, 0, 0, 0, 1, 4, 0, 0, id, id >> 8, id >> 16, id >> 24, 9, 0, 0, 0)
    harness.wire.push(head)
    await harness.settle()
    assertFailed(many, 'KV_UNAVAILABLE')
    assert.ok(harness.wire.closed)
  })

  test('to several servers: calls spread, and move when one is gone', async () => {
    const harness = ClientHarness.connected({ url: 'kv://a:1,b:2' })
    const [a, b] = harness.connector.wires
    const calls = Array.from({ length: 10 }, () => watch(harness.client.get('k')))
    await harness.settle()
    assert.equal(a?.requests.length, 5)
    assert.equal(b?.requests.length, 5)
    a.close(new Error('reset'))
    assert.equal(harness.client.status, 'connected')
    await harness.advance(60)
    assert.equal(b.requests.length, 10)
    for (const request of b.requests.splice(0)) b.reply(request, { type: 'absent' })
    await harness.settle()
    assert.ok(calls.every(call => call.state === 'resolved'))
  })

  test('a callback that throws is contained', () => {
    const errors: unknown[] = []
    const ignore = (): void => undefined
    const logger = { debug: ignore, info: ignore, warn: ignore, error: () => errors.push(1) }
    const harness = new ClientHarness({
      logger,
      onConnection() {
        throw new Error('mine')
      },
    })
    harness.wire.accept()
    assert.equal(harness.client.status, 'connected')
    assert.equal(errors.length, 1)
  })
})

describe('closing', () => {
  test('lets calls on the way finish, fails those that were never sent, and disconnects', async () => {
    const harness = ClientHarness.connected()
    const put = watch(harness.client.put('k', VALUE))
    await harness.settle()
    const closing = harness.client.close()
    const closed = watch(closing)
    assert.equal(harness.client.close(), closing)
    const after = watch(harness.client.get('k'))
    await harness.settle()
    assertFailed(after, 'KV_CLOSED', 'rejected')
    assert.equal(closed.state, 'pending')
    harness.wire.reply(harness.wire.take('put'), { type: 'done' })
    await harness.settle()
    assert.equal(put.state, 'resolved')
    assert.equal(closed.state, 'resolved')
    assert.ok(harness.wire.ended)
    assert.throws(() => harness.client.entries(), { code: 'KV_CLOSED' })
    await harness.advance(60_000)
    assert.equal(harness.connector.wires.length, 1)
    assert.equal(harness.clock.timerCount, 0)
  })

  test('while disconnected fails what waits, at once', async () => {
    const harness = new ClientHarness({ lazy: true })
    harness.wire.close(new Error('connect ECONNREFUSED'))
    const put = watch(harness.client.put('k', VALUE))
    await harness.client.close()
    assertFailed(put, 'KV_CLOSED', 'rejected')
    assert.equal(harness.clock.timerCount, 0)
  })

  test('does not wait for ever for an answer', async () => {
    const harness = ClientHarness.connected()
    const put = watch(harness.client.put('k', VALUE))
    await harness.settle()
    const closed = watch(harness.client.close())
    await harness.advance(5010)
    assertFailed(put, 'KV_TIMEOUT', 'unknown')
    assert.equal(closed.state, 'resolved')
  })

  test('by who has not greeted is told from a server that is not there', async () => {
    for (const [open, isStranger] of [
      [true, true],
      [false, false],
    ] as const) {
      const harness = new ClientHarness()
      const ready = watch(harness.client.ready())
      if (open) harness.wire.open()
      harness.wire.close(open ? undefined : new Error('connect ECONNREFUSED'))
      await harness.settle()
      assertFailed(ready, 'KV_UNAVAILABLE')
      assert.equal((ready.error as UnavailableError).isStranger, isStranger)
      await harness.client.close()
    }
  })

  test('while connecting fails whoever waits for the connection', async () => {
    const harness = new ClientHarness()
    const ready = watch(harness.client.ready())
    await harness.client.close()
    await harness.settle()
    assertFailed(ready, 'KV_CLOSED')
  })
})

// Goal: a client with a session asks for nothing older than its own acknowledged writes.
// Method: a client over a fake wire, whose requests are decoded; then the book of versions alone.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { InvalidArgumentError } from '../../src/errors.ts'
import { SESSION_KEYS_MAX, SessionVersions } from '../../src/net/session-versions.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { ClientHarness } from '../support/client-harness.ts'

const WRITER = new Uint8Array(8).fill(1)

function version(timeMs: number): Uint8Array {
  return encodeVersion(timeMs, 0, WRITER)
}

describe('a session', () => {
  test('reads carry the version of the latest acknowledged write to their key', async () => {
    const harness = ClientHarness.connected({ session: true })
    const { client, wire } = harness
    await harness.settle()
    const before = client.get('a')
    await harness.settle()
    const [first] = wire.requests.splice(0)
    assert.equal(first?.options.version, undefined)
    wire.reply(first!, { type: 'absent' })
    assert.equal(await before, undefined)

    const writing = client.batch([
      { type: 'put', key: 'a', value: '1' },
      { type: 'del', key: 'b' },
    ])
    const unacknowledged = client.put('c', '1')
    await harness.settle()
    const [batch, put] = wire.requests.splice(0)
    wire.reply(batch!, { type: 'done' })
    await writing
    const reads = [client.get('a'), client.get('b'), client.get('c'), client.get('d')]
    await harness.settle()
    const gets = wire.requests.splice(0)
    assert.deepEqual(
      gets.map(request => request.options.version),
      [batch!.options.version, batch!.options.version, undefined, undefined],
    )
    for (const request of gets) wire.reply(request, { type: 'absent' })
    wire.reply(put!, { type: 'done' })
    await Promise.all([...reads, unacknowledged])

    const many = client.getMany(['d', 'a', 'e', 'c'])
    await harness.settle()
    for (const request of wire.requests.splice(0)) {
      if (request.request.type === 'get') {
        assert.ok(request.options.version !== undefined)
        wire.reply(request, { type: 'value', value: request.request.key })
      } else {
        assert.ok(request.request.type === 'getMany')
        wire.reply(request, { type: 'values', values: [...request.request.keys] })
      }
    }
    const texts = (await many).map(value => Buffer.from(value!).toString())
    assert.deepEqual(texts, ['d', 'a', 'e', 'c'])
    await client.close()
  })

  test('keeps the greatest version of a key, and of so many keys only the latest', () => {
    const session = new SessionVersions()
    const put = (key: string, timeMs: number): void => {
      const request = { type: 'put', key: utf8Encode(key), value: WRITER, ttlMs: 0 } as const
      session.wrote(request, version(timeMs))
    }
    put('a', 2)
    put('a', 1)
    assert.deepEqual(session.least(utf8Encode('a')), version(2))
    put('a', 3)
    assert.deepEqual(session.least(utf8Encode('a')), version(3))
    for (let index = 0; index < SESSION_KEYS_MAX; index++) put(`k${index}`, index)
    assert.equal(session.size, SESSION_KEYS_MAX)
    assert.equal(session.least(utf8Encode('a')), undefined)
  })

  test('is refused without versions of the client', () => {
    assert.throws(
      () => new ClientHarness({ session: true, versions: 'server' }),
      InvalidArgumentError,
    )
  })
})

// Goal: the client refuses a mistake of its caller with KV_INVALID_ARGUMENT before anything is
// sent, and takes nothing for a range or for options that has none in it.
// Method: junk in each place of each call, on a client whose server would show what is sent.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ClientOptions, resolveClientOptions } from '../../src/net/client-options.ts'
import { resolveListenOptions } from '../../src/net/server-options.ts'
import { ClientHarness } from '../support/client-harness.ts'

const WRONG = { code: 'KV_INVALID_ARGUMENT' }
const JUNK: readonly unknown[] = [
  null,
  0,
  1n,
  true,
  '',
  'x',
  Symbol('junk'),
  () => 1,
  [],
  new Date(0),
]

/** The call may throw at once or reject. */
async function refused(what: string, call: () => unknown): Promise<void> {
  await assert.rejects(
    async () => {
      await call()
    },
    WRONG,
    what,
  )
}

describe('a mistake of the caller', () => {
  test('is refused where a client or a server is to be made', () => {
    for (const junk of JUNK as never[]) {
      const made = (options: ClientOptions) => () =>
        resolveClientOptions({ nodes: [{ host: 'a' }], ...options })
      for (const nodes of [junk, [junk], [{ host: 'a', port: junk }]] as never[]) {
        if ((nodes as unknown) !== null) assert.throws(made({ nodes }), WRONG)
      }
      assert.throws(made({ versions: junk }), WRONG)
      if (typeof junk !== 'string' && junk !== null) {
        assert.throws(made({ nodes: [{ host: junk }] }), WRONG)
        assert.throws(made({ clientName: junk }), WRONG)
      }
      assert.throws(made({ queueCountMax: junk }), WRONG)
      const policy = { allowInsecureRemote: false, asksForPassword: false }
      if ((junk as unknown) === 0) continue
      assert.throws(() => resolveListenOptions({ port: junk }, policy), WRONG)
    }
  })

  test('is refused in ranges and options', async () => {
    const { client, wire, settle } = ClientHarness.connected()
    const none = wire.requests.length
    for (const junk of JUNK as never[]) {
      for (const call of ['entries', 'keys', 'values', 'count'] as const) {
        await refused(call, () => client[call](junk))
      }
      await refused('count', () => client.count({}, junk))
      await refused('get', () => client.get('k', junk))
      await refused('getMany', () => client.getMany(['k'], junk))
      await refused('getMany', () => client.getMany([], junk))
      await refused('put', () => client.put('k', 'v', junk))
      await refused('delete', () => client.delete('k', junk))
      await refused('batch', () => client.batch([], junk))
      await refused('stats', () => client.stats(junk))
      await refused('signal', () => client.get('k', { signal: junk }))
      await refused('signal', () => client.put('k', 'v', { signal: junk }))
      await refused('signal', () => client.keys({ signal: junk }))
      await refused('timeout', () => client.get('k', { timeoutMs: junk }))
      await refused('limit', () => client.keys({ limit: junk === 0 ? -1 : junk } as never))
    }
    await settle()
    assert.equal(wire.requests.length, none, 'nothing was sent')
  })

  test('is refused in keys and operations', async () => {
    const { client, wire, settle } = ClientHarness.connected()
    const none = wire.requests.length
    for (const junk of JUNK as never[]) {
      const isList = Array.isArray(junk)
      if (!isList) await refused('getMany', () => client.getMany(junk))
      if (!isList) await refused('batch', () => client.batch(junk))
      await refused('batch', () => client.batch([junk]))
      await refused('type', () => client.batch([{ type: junk, key: 'k' } as never]))
      if (typeof junk === 'string') continue
      await refused('key', () => client.get(junk))
      await refused('key', () => client.getMany([junk]))
      await refused('value', () => client.put('k', junk))
    }
    await settle()
    assert.equal(wire.requests.length, none, 'nothing was sent')
  })
})

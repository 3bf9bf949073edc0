// Goal: clients of Redis that nobody changed work with their default settings, and what is built on
// them: connecting, pipelines of 10,000, binary values, transactions, a server that goes and comes.
// Method: the libraries themselves, over TCP, against a server over the engine.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import KeyvRedis from '@keyv/redis'
import { RedisStore } from 'connect-redis'
import { Redis } from 'ioredis'
import Keyv from 'keyv'
import { createClient, RESP_TYPES } from 'redis'
import { systemClock } from '../../src/clock.ts'
import { RespDoor } from '../../src/net/resp/index.ts'
import { Server } from '../../src/net/server.ts'
import { seededRandom } from '../../src/random.ts'
import { type RespTarget, startResp } from '../support/resp-target.ts'

const PIPELINE = 10_000
/** Of node-redis, whose five seconds a slow machine may need for so many sets. */
const COMMAND_MS_MAX = 60_000
const BINARY = Buffer.from(Uint8Array.from({ length: 256 }, (_, byte) => byte))

/** The same data at the same port, over another server: as after a restart. */
async function serveAgain({ server: gone, handler, port }: RespTarget): Promise<Server> {
  await gone.close({ graceMs: 0 })
  const random = seededRandom(2)
  const server = new Server({
    handler,
    clock: systemClock(),
    random,
    protocol: new RespDoor(random),
  })
  await server.listen({ port })
  return server
}

test('ioredis: pipelines, binary values, scans, transactions, a restart', async t => {
  const target = await startResp(t)
  const { port } = target
  const client = new Redis(port, { retryStrategy: () => 10 })
  t.after(() => client.disconnect())
  await client.set('key', 'value', 'EX', 100)
  assert.equal(await client.get('key'), 'value')
  const leftS = await client.ttl('key')
  assert.ok(leftS > 0 && leftS <= 100, `${leftS}`)
  await client.set(BINARY, BINARY)
  assert.deepEqual(await client.getBuffer(BINARY), BINARY)
  assert.deepEqual(await client.mget('key', 'none'), ['value', null])
  assert.deepEqual(await client.multi().incr('n').incr('n').get('n').exec(), [
    [null, 1],
    [null, 2],
    [null, '2'],
  ])
  await assert.rejects(client.incr('key'), /ERR value is not an integer/)
  const pipeline = client.pipeline()
  for (let index = 0; index < PIPELINE; index++) pipeline.set(`p:${index}`, index)
  for (let index = 0; index < PIPELINE; index += 100) pipeline.get(`p:${index}`)
  const replies = await pipeline.exec()
  assert.ok(replies !== null)
  assert.ok(replies.slice(0, PIPELINE).every(([error, reply]) => error === null && reply === 'OK'))
  assert.deepEqual(replies.at(-1), [null, String(PIPELINE - 100)])
  const found = new Set<string>()
  for await (const keys of client.scanStream({ match: 'p:*', count: 1000 })) {
    for (const key of keys as string[]) found.add(key)
  }
  assert.equal(found.size, PIPELINE)
  const again = await serveAgain(target)
  assert.equal(await client.get('p:7'), '7')
  client.disconnect()
  await again.close({ graceMs: 0 })
})

test('node-redis: version 3, pipelines, binary values, scans, transactions, a restart', async t => {
  const target = await startResp(t)
  const { port } = target
  const client = createClient({
    socket: { port, reconnectStrategy: 10 },
    commandOptions: { timeout: COMMAND_MS_MAX },
  })
  client.on('error', () => undefined)
  t.after(() => client.destroy())
  await client.connect()
  await client.set('key', 'value', { expiration: { type: 'EX', value: 100 } })
  assert.equal(await client.get('key'), 'value')
  assert.equal(await client.set('key', 'other', { condition: 'NX' }), null)
  const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
  await client.set(BINARY, BINARY)
  assert.deepEqual(await bytes.get(BINARY), BINARY)
  assert.deepEqual(await client.multi().incr('n').append('n', '0').get('n').exec(), [1, 2, '10'])
  const replies = await Promise.all(
    Array.from({ length: PIPELINE }, (_, index) => client.set(`p:${index}`, String(index))),
  )
  assert.ok(replies.every(reply => reply === 'OK'))
  const found = new Set<string>()
  for await (const keys of client.scanIterator({ MATCH: 'p:*', COUNT: 1000 })) {
    for (const key of keys) found.add(key)
  }
  assert.equal(found.size, PIPELINE)
  assert.deepEqual(await client.configGet('save'), { save: '' })
  const again = await serveAgain(target)
  assert.equal(await client.get('p:7'), '7')
  client.destroy()
  await again.close({ graceMs: 0 })
})

test('keyv: values, expiry, several at once, namespaces, iteration', async t => {
  const { port } = await startResp(t)
  const url = `redis://127.0.0.1:${port}`
  const store = new KeyvRedis(url)
  const keyv = new Keyv({ store, namespace: 'a' })
  const other = new Keyv({ store: new KeyvRedis(url), namespace: 'b' })
  for (const each of [keyv, other]) {
    each.on('error', error => assert.fail(String(error)))
    await each.set('user', { name: 'Ada', in: each.namespace }, 60_000)
  }
  assert.deepEqual(await keyv.get('user'), { name: 'Ada', in: 'a' })
  await keyv.setMany([
    { key: 'x', value: 1 },
    { key: 'y', value: 2 },
  ])
  assert.deepEqual(await keyv.getMany(['x', 'none', 'y']), [1, undefined, 2])
  assert.equal(await keyv.has('x'), true)
  assert.equal(await keyv.delete('x'), true)
  assert.equal(await keyv.delete('x'), false)
  const keys = new Set<string>()
  for await (const [key] of keyv.iterator!('a')) keys.add(String(key))
  assert.deepEqual(keys, new Set(['user', 'y']))
  await keyv.clear()
  assert.equal(await keyv.get('user'), undefined)
  assert.deepEqual(await other.get('user'), { name: 'Ada', in: 'b' })
  await Promise.all([keyv.disconnect(), other.disconnect()])
})

test('connect-redis: sessions of a web server', async t => {
  const { port } = await startResp(t)
  const client = createClient({ socket: { port } })
  await client.connect()
  const store = new RedisStore({ client, prefix: 'sess:', ttl: 100 })
  const session = { cookie: { originalMaxAge: 50_000 }, user: 'Ada' }
  await store.set('one', session)
  await store.set('two', { ...session, user: 'Bob' })
  assert.deepEqual(await store.get('one'), session)
  await client.expire('sess:one', 5)
  await store.touch('one', session)
  assert.ok((await client.ttl('sess:one')) > 5)
  assert.deepEqual(new Set(await store.ids()), new Set(['one', 'two']))
  assert.equal(await store.length(), 2)
  await store.destroy('one')
  assert.equal(await store.get('one'), null)
  await store.clear()
  assert.equal(await store.length(), 0)
  client.destroy()
})

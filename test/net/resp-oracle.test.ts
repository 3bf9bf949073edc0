// Goal: what a Redis client asks is answered as Redis answers it, to the byte.
// Method: random commands, pipelined, to redis-server and to ours over the engine, and the streams
// of replies compared, in both versions of the protocol. Skipped where there is no redis-server.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../src/random.ts'
import { redisScript } from '../support/redis-script.ts'
import { programVersion, startRedis } from '../support/redis-server.ts'
import { type Argument, commandOf, RespClient } from '../support/resp-client.ts'
import { startResp } from '../support/resp-target.ts'
import { printSeed } from '../support/seed.ts'

const PIPELINES = 40
const COMMANDS_EACH = 50

const redis = programVersion('redis-server')
const skip = redis === undefined ? 'there is no redis-server on this machine' : false

/** Connections to each server, in use in turns: what one watches, the other changes. */
const CONNECTIONS = 2

/** Commands whose replies are not wanted, but for three. */
function muted(commands: readonly Argument[][]): Argument[][] {
  return [
    ['discard'],
    ['client', 'reply', 'off'],
    ...commands.filter(([name]) => String(name).toLowerCase() !== 'multi'),
    ...['on', 'skip'].map(word => ['client', 'reply', word]),
    ['incr', 'n'],
    ['get', 'n'],
  ]
}

/** What a transaction must not contain, or would end it. */
const TRANSACTIONS = ['multi', 'exec', 'discard', 'watch', 'unwatch']

/** The same commands on both servers, whose replies, `count` of them, must be the same. */
async function compare(
  pair: readonly RespClient[],
  commands: readonly Argument[][],
  count = commands.length,
): Promise<void> {
  const bytes = Buffer.concat(commands.map(command => commandOf(...command)))
  const [ours, theirs] = await Promise.all(
    pair.map(client => {
      client.socket.write(bytes)
      return client.take(count)
    }),
  )
  for (const [index, reply] of theirs!.entries()) {
    const asked = JSON.stringify(commands.slice(Math.max(0, index - 12), index + 1))
    assert.equal(ours![index], reply, `command ${index}: ${asked}`)
  }
}

for (const version of [2, 3]) {
  test(`${PIPELINES * COMMANDS_EACH} commands, version ${version}`, { skip }, async t => {
    const random = seededRandom(printSeed(t))
    t.diagnostic(`compared with ${redis}`)
    const servers = [(await startResp(t)).port, await startRedis(t)]
    const pairs: RespClient[][] = []
    for (let left = CONNECTIONS; left > 0; left--) {
      const pair = await Promise.all(servers.map(server => RespClient.connect(server)))
      for (const client of pair) {
        t.after(() => client.end())
        await client.ask('hello', version)
        await client.ask('config', 'set', 'slowlog-log-slower-than', -1)
      }
      await compare(pair, [['debug', 'sleep', '0']])
      pairs.push(pair)
    }
    for (let round = 0; round < PIPELINES; round++) {
      const script = redisScript(random, 1 + random.below(2 * COMMANDS_EACH))
      const pair = pairs[random.below(CONNECTIONS)]!
      if (random.below(8) === 0) await compare(pair, muted(script), 3)
      else await compare(pair, script)
      const key = ['a', 'b', 'c'][random.below(3)]!
      const between = redisScript(random, random.below(4)).filter(([name]) => {
        return !TRANSACTIONS.includes(String(name).toLowerCase())
      })
      await compare(pairs[0]!, [['discard'], ['unwatch'], ['watch', key, 'd']])
      await compare(pairs[random.below(CONNECTIONS)]!, [['discard'], ...between])
      await compare(pairs[0]!, [['multi'], ['get', key], ['append', 'd', 'x'], ['exec']])
    }
  })
}

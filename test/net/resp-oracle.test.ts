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
    ...commands.filter(([name]) => name !== 'multi'),
    ...['on', 'skip'].map(word => ['client', 'reply', word]),
    ['incr', 'n'],
    ['get', 'n'],
  ]
}

async function answersOf(
  client: RespClient,
  commands: readonly Argument[][],
  count: number,
): Promise<string[]> {
  client.socket.write(Buffer.concat(commands.map(command => commandOf(...command))))
  return await client.take(count)
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
      }
      pairs.push(pair)
    }
    for (let round = 0; round < PIPELINES; round++) {
      const script = redisScript(random, 1 + random.below(2 * COMMANDS_EACH))
      const isMuted = random.below(8) === 0
      const commands = isMuted ? muted(script) : script
      const count = isMuted ? 3 : commands.length
      const pair = pairs[random.below(CONNECTIONS)]!
      const [ours, theirs] = await Promise.all(
        pair.map(client => answersOf(client, commands, count)),
      )
      for (const [index, reply] of theirs!.entries()) {
        const asked = JSON.stringify(commands.slice(Math.max(0, index - 12), index + 1))
        assert.equal(ours![index], reply, `pipeline ${round}, command ${index}: ${asked}`)
      }
    }
  })
}

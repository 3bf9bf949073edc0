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

async function answersOf(client: RespClient, commands: readonly Argument[][]): Promise<string[]> {
  client.socket.write(Buffer.concat(commands.map(command => commandOf(...command))))
  return await client.take(commands.length)
}

for (const version of [2, 3]) {
  test(`${PIPELINES * COMMANDS_EACH} commands, version ${version}`, { skip }, async t => {
    const random = seededRandom(printSeed(t))
    t.diagnostic(`compared with ${redis}`)
    const { port } = await startResp(t)
    const clients = [
      await RespClient.connect(port),
      await RespClient.connect(await startRedis(t)),
    ] as const
    for (const client of clients) {
      t.after(() => client.end())
      await client.ask('hello', version)
    }
    for (let round = 0; round < PIPELINES; round++) {
      const commands = redisScript(random, COMMANDS_EACH)
      const [ours, theirs] = await Promise.all(clients.map(client => answersOf(client, commands)))
      for (const [index, reply] of theirs!.entries()) {
        const asked = JSON.stringify(commands.slice(Math.max(0, index - 12), index + 1))
        assert.equal(ours![index], reply, `pipeline ${round}, command ${index}: ${asked}`)
      }
    }
  })
}

/**
 * Hostile clients of the Redis protocol against a live server, with good ones beside them.
 *
 * What is checked: no command of a good client fails or gets a wrong answer, and none of them loses
 * its connection; the server meets no bug; in the end it holds nothing of the hostile ones.
 */
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { delay, systemClock } from '../../src/clock.ts'
import type { Logger } from '../../src/logger.ts'
import { RespDoor } from '../../src/net/resp/index.ts'
import { Server } from '../../src/net/server.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import type { FuzzTarget } from './fuzz-target.ts'
import { converse } from './hostile-conversation.ts'
import { redisScript } from './redis-script.ts'
import { commandOf, RespClient } from './resp-client.ts'

const HOSTILE_AT_ONCE = 8
const GOOD_CLIENTS = 3
const SETTLE_MS_MAX = 10_000
const SETTLE_POLL_MS = 20

export interface RespFuzzReport {
  readonly seed: number
  readonly conversations: number
  readonly goodCommands: number
  readonly commands: number
  readonly errors: Readonly<Record<string, number>>
}

/** Rejects when one of the checks fails. */
export async function fuzzResp(
  seed: number,
  conversations: number,
  target: FuzzTarget,
): Promise<RespFuzzReport> {
  const bugs: string[] = []
  const ignore = (): void => undefined
  const error = (message: string, fields: unknown): void => {
    bugs.push(`${message} ${inspect(fields)}`)
  }
  const logger: Logger = { debug: ignore, info: ignore, warn: ignore, error }
  const server = new Server({
    handler: target.handler,
    clock: systemClock(),
    random: seededRandom(seed),
    protocol: new RespDoor(seededRandom(seed)),
    logger,
  })
  const { port } = await server.listen({ port: 0 })
  const progress = { over: false, goodCommands: 0 }
  try {
    const good = Array.from({ length: GOOD_CLIENTS }, (_, at) => {
      return beGood(port, `good:${at}`, progress)
    })
    let begun = 0
    const hostile = async (): Promise<void> => {
      while (begun < conversations) {
        const own = seededRandom(seed + ++begun)
        await converse(port, hostileBytes(own), own)
      }
    }
    await Promise.all(Array.from({ length: HOSTILE_AT_ONCE }, hostile))
    progress.over = true
    await Promise.all(good)
    await settle(server)
    assert.deepEqual(bugs, [])
    const { requests, errors } = server.stats()
    const commands = Object.values(requests).reduce((sum, count) => sum + count, 0)
    const { goodCommands } = progress
    return { seed, conversations, goodCommands, commands, errors }
  } finally {
    progress.over = true
    await server.close({ graceMs: 0 })
    await target.close()
  }
}

async function settle(server: Server): Promise<void> {
  const clock = systemClock()
  const endMs = clock.monotonicMs() + SETTLE_MS_MAX
  for (;;) {
    const { connections, inFlight, inFlightBytes, receiveBytes } = server.stats()
    const held = { connections, inFlight, inFlightBytes, receiveBytes }
    if (Object.values(held).every(value => value === 0)) return
    if (clock.monotonicMs() > endMs) assert.fail(`held in the end: ${JSON.stringify(held)}`)
    await delay(clock, SETTLE_POLL_MS)
  }
}

async function beGood(
  port: number,
  name: string,
  progress: { readonly over: boolean; goodCommands: number },
): Promise<void> {
  const client = await RespClient.connect(port)
  for (let count = 0; !progress.over; count++) {
    const value = `${name} ${count}`
    assert.equal(await client.ask('set', name, value), '+OK\r\n')
    assert.equal(await client.ask('get', name), `$${value.length}\r\n${value}\r\n`)
    assert.equal(await client.ask('echo', value), `$${value.length}\r\n${value}\r\n`)
    progress.goodCommands += 3
  }
  client.end()
}

const ALPHABET = Buffer.from('*$-0123456789\r\n\r\n "\'\\\0PINGSETget')

function hostileBytes(random: Random): Uint8Array {
  const script = (count: number): Buffer => {
    return Buffer.concat(redisScript(random, count).map(command => commandOf(...command)))
  }
  switch (random.below(6)) {
    case 0:
      return random.bytes(1 + random.below(2000))
    case 1:
      return Uint8Array.from({ length: random.below(500) }, () => {
        return ALPHABET[random.below(ALPHABET.length)]!
      })
    case 2: {
      const bytes = script(1 + random.below(30))
      for (let flips = 1 + random.below(5); flips > 0; flips--) {
        bytes[random.below(bytes.length)] = random.below(256)
      }
      return bytes
    }
    case 3: {
      const count = ['9', '1000000', '2147483647', '99999999999'][random.below(4)]
      const size = ['-1', '7000000', '536870912', '18446744073709551615'][random.below(4)]
      return Buffer.concat([Buffer.from(`*${count}\r\n$${size}\r\n`), random.bytes(3000)])
    }
    case 4: {
      const bytes = script(1 + random.below(60))
      return bytes.subarray(0, random.below(bytes.length))
    }
    default:
      return script(1 + random.below(60))
  }
}

/**
 * Hostile clients against a live server with good clients beside them.
 *
 * What is checked: no request of a good client fails or gets a wrong answer, and none of them loses
 * its connection; the server does not throw; in the end it holds nothing of the hostile ones, and
 * memory has not grown with them. That each check can fail is proved by plants (fuzz-plants.ts).
 */
import assert from 'node:assert/strict'
import { connect as connectSocket } from 'node:net'
import { compareBytes, utf8Decode } from '../../src/bytes.ts'
import { delay, systemClock } from '../../src/clock.ts'
import type { Logger } from '../../src/logger.ts'
import { type Client, connect } from '../../src/net/client.ts'
import { Server } from '../../src/net/server.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { NO_PLANT, type Plant } from './fuzz-plants.ts'
import type { FuzzTarget } from './fuzz-target.ts'
import { type HostileConversation, hostileConversation } from './hostile-frames.ts'
import { liveMemory } from './live-memory.ts'
import { frameOf, HELLO } from './session-harness.ts'
import { WatchedHandler } from './watched-handler.ts'

const HOSTILE_AT_ONCE = 16
const GOOD_CLIENTS = 4
const PROBES_AT_ONCE = 6
const GOOD_PREFIX = 'good client '
/** Growth of what is reachable that is put down to caches, buffers and compiled code. */
const MEMORY_GROWTH_MAX = 6 << 20

export interface FuzzReport {
  readonly seed: number
  readonly frames: number
  readonly conversations: number
  readonly goodRequests: number
  readonly errors: Readonly<Record<string, number>>
  /** Bytes that were reachable after a quarter of the frames, and at the end. */
  readonly memoryEarly: number
  readonly memoryLate: number
}

interface Progress {
  frames: number
  conversations: number
  over: boolean
}

export async function fuzzServer(
  seed: number,
  frameCount: number,
  target: FuzzTarget,
  plant: Plant = NO_PLANT,
): Promise<FuzzReport> {
  const bugs: unknown[] = []
  const ignore = (): void => undefined
  const error = (message: string, fields: unknown): void => {
    bugs.push({ message, fields })
  }
  const logger: Logger = { debug: ignore, info: ignore, warn: ignore, error }
  const handler = new WatchedHandler(plant.around(target.handler), GOOD_PREFIX)
  const server = new Server({ handler, clock: systemClock(), random: seededRandom(seed), logger })
  const { port } = await server.listen({ port: 0 })
  const url = `kv://127.0.0.1:${await plant.goodPort(port)}`
  const clients = await Promise.all(Array.from({ length: GOOD_CLIENTS }, () => connect(url)))
  const progress: Progress = { frames: 0, conversations: 0, over: false }
  try {
    const good = Promise.all(
      clients.map((client, index) =>
        behaveWell(client, index, seededRandom(seed + index), progress),
      ),
    )
    const attack = async (until: number): Promise<number> => {
      await attackAll(port, seed + until, until, progress, plant)
      while (server.stats().connections > GOOD_CLIENTS && !progress.over) {
        await delay(systemClock(), 5)
      }
      return progress.over ? 0 : liveMemory()
    }
    const attacks = async (): Promise<[number, number]> => {
      try {
        return [await attack(frameCount / 4), await attack(frameCount)]
      } finally {
        progress.over = true
      }
    }
    const [[memoryEarly, memoryLate], counts] = await Promise.all([attacks(), good])
    const goodRequests = counts.reduce((sum, count) => sum + count, 0)
    const { errors, inFlight, receiveBytes } = server.stats()
    assert.deepEqual(bugs, [])
    assert.equal(handler.watchedClients, GOOD_CLIENTS, 'no good client lost its connection')
    assert.equal(inFlight, 0)
    assert.equal(receiveBytes, 0)
    assert.equal(target.openScans(), 0)
    const { frames, conversations } = progress
    const growth = memoryLate - memoryEarly
    assert.ok(growth < MEMORY_GROWTH_MAX, `memory grew by ${growth >> 20} MiB`)
    return { seed, frames, conversations, goodRequests, errors, memoryEarly, memoryLate }
  } finally {
    // What failed must end the test, not leave it hanging on its connections.
    progress.over = true
    await Promise.all(clients.map(client => client.close()))
    await plant.close()
    await server.close({ graceMs: 0 })
    await target.close()
  }
}

/** Hostile conversations, several at once, until there were enough frames or something failed. */
async function attackAll(
  port: number,
  seed: number,
  frameCount: number,
  progress: Progress,
  plant: Plant,
): Promise<void> {
  const random = seededRandom(seed)
  async function attack(): Promise<void> {
    while (progress.frames < frameCount && !progress.over) {
      const conversation = hostileConversation(random)
      progress.frames += conversation.frameCount
      progress.conversations++
      await converse(port, conversation)
      plant.attacked(conversation.frameCount)
    }
  }
  await Promise.all(Array.from({ length: HOSTILE_AT_ONCE }, attack))
}

/** One hostile conversation, until the connection is closed from either side. */
function converse(port: number, conversation: HostileConversation): Promise<void> {
  return new Promise(resolve => {
    const socket = connectSocket({ port, host: '127.0.0.1', noDelay: true })
    socket.on('close', () => resolve())
    socket.on('error', () => undefined)
    // What the server answers is of no interest, but it must be read.
    socket.resume()
    socket.on('connect', () => {
      if (conversation.greets) socket.write(frameOf(HELLO, 1))
      for (const chunk of conversation.chunks) socket.write(chunk)
      if (conversation.ending === 'end') socket.end()
      else setImmediate(() => socket.resetAndDestroy())
    })
  })
}

/** Puts, gets and scans its own keys until the others are done, and checks every answer. */
async function behaveWell(
  client: Client,
  index: number,
  random: Random,
  progress: { readonly over: boolean },
): Promise<number> {
  const prefix = `${GOOD_PREFIX}${index}, keys that no accident hits: `
  const stored = new Map<string, Uint8Array>()
  let count = 0
  while (!progress.over) {
    const key = `${prefix}${random.below(50)}`
    const value = random.bytes(random.below(500))
    await client.put(key, value)
    stored.set(key, value)
    const probes = Array.from({ length: PROBES_AT_ONCE }, () => `${prefix}${random.below(50)}`)
    await Promise.all(probes.map(probe => checkGet(client, probe, stored.get(probe))))
    count += 1 + PROBES_AT_ONCE
    if (random.below(25) !== 0) continue
    await scanOwn(client, prefix, [...stored.keys()].sort(compareText))
    count += 3
  }
  return count
}

async function checkGet(
  client: Client,
  key: string,
  expected: Uint8Array | undefined,
): Promise<void> {
  const found = await client.get(key)
  const isSame =
    found === undefined || expected === undefined
      ? found === expected
      : compareBytes(found, expected) === 0
  assert.ok(isSame, `the answer to another request came for ${key}`)
}

/** One scan to its end, which must be whole, and one that is left and closed after a page. */
async function scanOwn(client: Client, prefix: string, expected: string[]): Promise<void> {
  const range = { gte: prefix, lt: `${prefix}~`, pageEntries: 7 }
  const found: string[] = []
  for await (const key of client.keys(range)) found.push(utf8Decode(key))
  assert.deepEqual(found, expected)
  const left = client.keys(range)
  assert.ok((await left.nextBatch(100)).length > 0)
  await left.close()
  // Closing is told to the server and not waited for; the answer to what was sent after it is.
  await client.get(prefix)
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : 1
}

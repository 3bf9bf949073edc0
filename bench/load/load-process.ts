/**
 * One process of the load generator. The parent starts as many as it takes that the generator is
 * not what is measured, and adds their results up.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { serveParent } from '../child.ts'
import { type Distribution, type KeyChooser, keyChooser } from '../key-chooser.ts'
import { Dataset, KEY_SIZE } from '../workloads.ts'
import { binaryDriver, echoDriver } from './binary-driver.ts'
import type { Driver, DriverName, Operation } from './driver.ts'
import { LoadConnection, type Outcome } from './load-connection.ts'
import { type LoadResult, LoadTally } from './load-tally.ts'
import { respDriver } from './resp-driver.ts'

export interface ConnectArgument {
  readonly driver: DriverName
  readonly host: string
  readonly port: number
  readonly connections: number
  readonly keyCount: number
  readonly valueSize: number
}

export interface RunArgument {
  /** Open: `rate` requests a second, whatever the server does. Closed: `depth` in flight each. */
  readonly mode: 'open' | 'closed'
  readonly rate: number
  readonly depth: number
  readonly readRatio: number
  readonly distribution: Distribution
  readonly seed: number
  readonly warmupMs: number
  readonly durationMs: number
}

export interface PreloadArgument {
  readonly start: number
  readonly end: number
}

const OPENING_AT_ONCE = 64
const PRELOAD_DEPTH = 4
/** How long replies are waited for after the last request. */
const DRAIN_MS = 5000
const DRIVERS: Readonly<Record<DriverName, () => Driver | Promise<Driver>>> = {
  duramen: binaryDriver,
  resp: respDriver,
  echo: echoDriver,
}

let connections: LoadConnection[] = []
let dataset = new Dataset({ keyCount: 1 })
let onOutcome: (outcome: Outcome, connection: LoadConnection) => void = () => undefined

const key = Buffer.alloc(KEY_SIZE)

function send(
  connection: LoadConnection,
  operation: Operation,
  index: number,
  dueMs: number,
): void {
  dataset.writeKey(index, key)
  connection.send(operation, key, dataset.value(index), dueMs)
}

async function connectAll(argument: ConnectArgument): Promise<void> {
  dataset = new Dataset(argument)
  const driver = await DRIVERS[argument.driver]()
  while (connections.length < argument.connections) {
    const count = Math.min(OPENING_AT_ONCE, argument.connections - connections.length)
    const opening = Array.from({ length: count }, () =>
      LoadConnection.open(argument, driver, dataset.valueSize, (outcome, connection) =>
        onOutcome(outcome, connection),
      ),
    )
    connections.push(...(await Promise.all(opening)))
  }
}

/** Writes keys `start` to `end`, a few in flight on every connection. */
function preload(argument: PreloadArgument): Promise<void> {
  let next = argument.start
  let answered = 0
  const wanted = argument.end - argument.start
  return new Promise((resolve, reject) => {
    onOutcome = ({ error }, connection) => {
      if (error !== undefined) return reject(new Error(`preload: ${error}`))
      if (++answered === wanted) return resolve()
      if (next < argument.end) send(connection, 'write', next++, 0)
    }
    for (const connection of connections) {
      for (let count = 0; count < PRELOAD_DEPTH && next < argument.end; count++) {
        send(connection, 'write', next++, 0)
      }
    }
  })
}

class Mix {
  readonly #chooser: KeyChooser
  readonly #readRatio: number
  #debt = 0

  constructor(argument: RunArgument) {
    this.#chooser = keyChooser(argument.distribution, dataset.keyCount, argument.seed)
    this.#readRatio = argument.readRatio
  }

  /** Reads and writes alternate in exactly the ratio asked for. */
  operation(): Operation {
    this.#debt += this.#readRatio
    if (this.#debt < 1) return 'write'
    this.#debt -= 1
    return 'read'
  }

  index(): number {
    return this.#chooser.next()
  }
}

async function runClosed(argument: RunArgument): Promise<LoadResult> {
  const mix = new Mix(argument)
  const startMs = performance.now()
  const tally = new LoadTally(startMs + argument.warmupMs, argument.durationMs)
  let isSending = true
  const issue = (connection: LoadConnection): void =>
    send(connection, mix.operation(), mix.index(), performance.now())
  onOutcome = (outcome, connection) => {
    tally.record(outcome)
    // A failed connection answers at once: going on would only spin.
    if (isSending && connection.canSend) issue(connection)
  }
  for (const connection of connections) {
    connection.cork()
    for (let count = 0; count < argument.depth; count++) issue(connection)
    connection.uncork()
  }
  await sleep(argument.warmupMs + argument.durationMs)
  isSending = false
  await drain()
  return tally.result(abandonAll())
}

async function runOpen(argument: RunArgument): Promise<LoadResult> {
  const mix = new Mix(argument)
  const startMs = performance.now()
  const tally = new LoadTally(startMs + argument.warmupMs, argument.durationMs)
  onOutcome = outcome => tally.record(outcome)
  const intervalMs = 1000 / argument.rate
  const total = Math.floor((argument.warmupMs + argument.durationMs) / intervalMs)
  for (let sent = 0; sent < total; ) {
    const nowMs = performance.now()
    for (; sent < total; sent++) {
      const dueMs = startMs + sent * intervalMs
      if (dueMs > nowMs) break
      tally.recordLag(nowMs, dueMs)
      const connection = connections[sent % connections.length] as LoadConnection
      send(connection, mix.operation(), mix.index(), dueMs)
    }
    await sleep(1)
  }
  await drain()
  return tally.result(abandonAll())
}

async function drain(): Promise<void> {
  const endMs = performance.now() + DRAIN_MS
  while (performance.now() < endMs && connections.some(({ inFlight }) => inFlight > 0)) {
    await sleep(5)
  }
}

function abandonAll(): number {
  return connections.reduce((sum, connection) => sum + connection.abandon(), 0)
}

serveParent({
  connect: connectAll,
  preload,
  run: (argument: RunArgument) =>
    argument.mode === 'open' ? runOpen(argument) : runClosed(argument),
  async disconnect() {
    for (const connection of connections) connection.close()
    connections = []
  },
})

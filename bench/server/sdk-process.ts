/** One process with many callers on one client: Duramen's SDK or ioredis with auto-pipelining. */
import type { CallOptions } from '../../src/key-value-store.ts'
import { type DuramenModule, loadDuramen } from '../built.ts'
import { serveParent } from '../child.ts'
import { chooseKeys, keyChooser } from '../key-chooser.ts'
import { type HistogramData, LatencyHistogram } from '../latency-histogram.ts'
import type { Operation } from '../load/driver.ts'
import { loadPeer } from '../peers.ts'
import { Dataset, range } from '../workloads.ts'

export type ClientName = 'duramen' | 'ioredis'

export interface ClientArgument {
  readonly client: ClientName
  readonly host: string
  readonly port: number
  readonly keyCount: number
  readonly valueSize: number
  /** Of Duramen: servers to use instead, and what each call asks for. */
  readonly url?: string
  readonly consistency?: string
}

export interface CallersArgument {
  readonly operation: Operation
  readonly callers: number
  readonly durationMs: number
  readonly seed: number
}

export interface CallersResult {
  readonly perSecond: number
  readonly answered: number
  readonly latencies: HistogramData
  /** The part of a processor that this process used. */
  readonly busy: number
}

interface Client {
  readonly put: (key: Buffer, value: Buffer) => Promise<unknown>
  readonly get: (key: Buffer) => Promise<Uint8Array | null | undefined>
  readonly close: () => Promise<unknown>
}

const KEYS_CHOSEN = 100_000

async function openDuramen(open: DuramenModule['open'], place: ClientArgument): Promise<Client> {
  const store = await open(place.url ?? `kv://${place.host}:${place.port}`)
  const { consistency } = place
  const options = consistency === undefined ? undefined : ({ consistency } as CallOptions)
  return {
    put: (key, value) => store.put(key, value, options),
    get: key => store.get(key, options),
    close: () => store.close(),
  }
}

function openRedis(place: ClientArgument): Client {
  const { Redis } = loadPeer('ioredis')
  const redis = new Redis({ host: place.host, port: place.port, enableAutoPipelining: true })
  redis.on('error', error => {
    throw error
  })
  return {
    put: (key, value) => redis.set(key, value),
    get: key => redis.getBuffer(key),
    close: () => redis.quit(),
  }
}

let client: Client | undefined
let dataset = new Dataset({ keyCount: 1 })

function opened(): Client {
  if (client === undefined) throw new Error('open comes first')
  return client
}

/** Each caller issues its next call once its last one was answered. */
async function run(argument: CallersArgument): Promise<CallersResult> {
  const { put, get } = opened()
  const chooser = keyChooser('uniform', dataset.keyCount, argument.seed)
  const indices = chooseKeys(chooser, KEYS_CHOSEN)
  const keys = dataset.keys(indices)
  const values = dataset.values(indices)
  const histogram = new LatencyHistogram()
  const startCpu = process.cpuUsage()
  const startMs = performance.now()
  const endMs = startMs + argument.durationMs
  let issued = 0
  async function caller(): Promise<void> {
    for (let nowMs = performance.now(); nowMs < endMs; ) {
      const position = issued++ % KEYS_CHOSEN
      const key = keys[position] as Buffer
      if (argument.operation === 'write') await put(key, values[position] as Buffer)
      else if ((await get(key))?.length !== dataset.valueSize) throw new Error('wrong value')
      const doneMs = performance.now()
      histogram.recordMs(doneMs - nowMs)
      nowMs = doneMs
    }
  }
  await Promise.all(range(0, argument.callers).map(caller))
  const elapsedMs = performance.now() - startMs
  const { user, system } = process.cpuUsage(startCpu)
  return {
    perSecond: (issued / elapsedMs) * 1000,
    answered: issued,
    latencies: histogram.toData(),
    busy: (user + system) / 1000 / elapsedMs,
  }
}

serveParent({
  async open(argument: ClientArgument) {
    dataset = new Dataset(argument)
    client =
      argument.client === 'duramen'
        ? await openDuramen((await loadDuramen()).open, argument)
        : openRedis(argument)
  },
  run,
  async close() {
    await client?.close()
    client = undefined
  },
})

/** What is measured of one node and of a cluster, a row each, and one round of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { loadDuramen } from '../built.ts'
import { Child } from '../child.ts'
import { LatencyHistogram } from '../latency-histogram.ts'
import type { CallersArgument, CallersResult, ClientArgument } from '../server/sdk-process.ts'
import { HOST } from '../server/server-process.ts'
import { Dataset, KEY_SIZE, range, SEED } from '../workloads.ts'
import type { Nodes } from './nodes.ts'

export interface ClusterRow {
  readonly id: string
  readonly title: string
  readonly operation: 'read' | 'write'
  readonly consistency: 'one' | 'quorum'
  /** One node answers the same for every consistency: it is measured in this row. */
  readonly baseline: string
}

export const CLUSTER_ROWS: readonly ClusterRow[] = [
  {
    id: 'put-one',
    title: 'put, consistency one',
    operation: 'write',
    consistency: 'one',
    baseline: 'put-one',
  },
  {
    id: 'put-quorum',
    title: 'put, consistency quorum',
    operation: 'write',
    consistency: 'quorum',
    baseline: 'put-one',
  },
  {
    id: 'get-one',
    title: 'get, consistency one',
    operation: 'read',
    consistency: 'one',
    baseline: 'get-one',
  },
  {
    id: 'get-quorum',
    title: 'get, consistency quorum',
    operation: 'read',
    consistency: 'quorum',
    baseline: 'get-one',
  },
]

export interface RoundOptions {
  readonly keyCount: number
  readonly valueSize: number
  readonly callers: number
  readonly warmupMs: number
  readonly durationMs: number
}

export interface ClusterRound {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Microseconds of processor time of all nodes for one operation, replication included. */
  readonly cpuUs?: number
  /** Bytes on links between nodes for a byte of key or value that was to be copied. */
  readonly sentPerByte?: number
  /** Bytes on links between nodes for one operation. */
  readonly sentPerOperation: number
}

const PRELOAD_BATCH = 1000
/** What kvd has unless told otherwise. */
const REPLICATION_FACTOR = 3
/** What a round of writes left to flush and compact shall not be charged to the next row. */
const REST_MS = 1000

export async function preload(nodes: Nodes, options: RoundOptions): Promise<void> {
  const dataset = new Dataset(options)
  const store = await (await loadDuramen()).open(nodes.url)
  try {
    for (let start = 0; start < options.keyCount; start += PRELOAD_BATCH) {
      const indices = range(start, Math.min(options.keyCount, start + PRELOAD_BATCH))
      const values = dataset.values(indices)
      const keys = dataset.keys(indices)
      await store.batch(keys.map((key, at) => ({ type: 'put', key, value: values[at]! })))
    }
  } finally {
    await store.close()
  }
  await nodes.drained()
  await sleep(REST_MS)
}

export async function runRow(
  row: ClusterRow,
  nodes: Nodes,
  options: RoundOptions,
  round: number,
): Promise<ClusterRound> {
  const { keyCount, valueSize, callers, warmupMs, durationMs } = options
  const child = new Child('server/sdk-process')
  try {
    await child.call('open', {
      ...{ client: 'duramen', host: HOST, port: 0, keyCount, valueSize },
      url: nodes.url,
      consistency: row.consistency,
    } satisfies ClientArgument)
    const call = { operation: row.operation, callers, durationMs, seed: SEED + round } as const
    await child.call('run', { ...call, durationMs: warmupMs } satisfies CallersArgument)
    await nodes.drained()
    const before = await nodes.counters()
    const result = await child.call<CallersResult>('run', call satisfies CallersArgument)
    await nodes.drained()
    const after = await nodes.counters()
    const histogram = new LatencyHistogram()
    histogram.add(result.latencies)
    const sent = after.bytesSent - before.bytesSent
    const isCopied = row.operation === 'write' && nodes.count > 1
    const copies = Math.min(nodes.count, REPLICATION_FACTOR) - 1
    const copied = result.answered * (KEY_SIZE + valueSize) * copies
    return {
      perSecond: result.perSecond,
      p50Ms: histogram.percentileMs(0.5),
      p99Ms: histogram.percentileMs(0.99),
      ...(before.cpuMs === undefined || after.cpuMs === undefined
        ? {}
        : { cpuUs: ((after.cpuMs - before.cpuMs) * 1000) / result.answered }),
      ...(isCopied ? { sentPerByte: sent / copied } : {}),
      sentPerOperation: sent / result.answered,
    }
  } finally {
    await child.end()
    if (row.operation === 'write') await sleep(REST_MS)
  }
}

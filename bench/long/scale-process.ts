/** The process of scale.ts: one store, one phase after another, each with what it felt like. */
import { setTimeout as sleep } from 'node:timers/promises'
import { yieldToEventLoop } from '../../src/clock.ts'
import { loadEngine } from '../built.ts'
import { serveParent } from '../child.ts'
import { type ProcessFigures, ProcessMonitor } from './process-monitor.ts'
import { openSource, type RecordSource, type SourceArgument } from './record-source.ts'

const SETTLE_POLL_MS = 500
/** As a user who minds his event loop reads: a turn after so many reads from memory or disk. */
const READS_PER_TURN = 50
const PAGE_ENTRIES = 1000

export interface ScaleArgument extends SourceArgument {
  readonly directory: string
  readonly memoryBudget: number
}

export interface PhaseResult extends ProcessFigures {
  /** What was done, of which `count` took `elapsedMs`. */
  readonly count: number
  readonly elapsedMs: number
}

export interface SpaceResult {
  readonly diskBytes: number
  readonly liveBytes: number
  readonly entries: number
}

type Engine = Awaited<ReturnType<typeof loadEngine>>
type Database = Awaited<ReturnType<Engine['open']>>

const monitor = new ProcessMonitor()
let database: Database | undefined
let source: RecordSource | undefined

function opened(): { readonly store: Database; readonly records: RecordSource } {
  if (database === undefined || source === undefined) throw new Error('open comes first')
  return { store: database, records: source }
}

/** Runs a phase that returns how many things it did. */
async function phase(work: () => Promise<number>): Promise<PhaseResult> {
  globalThis.gc?.()
  monitor.begin()
  const startMs = performance.now()
  const count = await work()
  const elapsedMs = performance.now() - startMs
  return { count, elapsedMs, ...monitor.end() }
}

/** Reading a thousand records takes as long as writing them: two turns delay others less. */
const ownTurn = yieldToEventLoop

async function settle(): Promise<number> {
  const { store } = opened()
  for (;;) {
    const { compactions } = store.stats()
    if (compactions.running === 0 && compactions.debt === 0) return compactions.count
    await sleep(SETTLE_POLL_MS)
  }
}

serveParent({
  async open(argument: ScaleArgument) {
    const { open } = await loadEngine()
    source = openSource(argument)
    return await phase(async () => {
      database = await open(argument.directory, { memoryBudget: argument.memoryBudget })
      return 1
    })
  },
  load: () =>
    phase(async () => {
      const { store, records } = opened()
      let count = 0
      for (const { keys, values } of records.batches()) {
        const operations = keys.map((key, at) => ({
          type: 'put' as const,
          key,
          value: values[at] as Buffer,
        }))
        await ownTurn()
        await store.batch(operations, { durability: 'interval' })
        count += keys.length
      }
      return count
    }),
  settle: () => phase(settle),
  /** Random reads, each checked. */
  read() {
    const { store, records } = opened()
    const sample = records.sample()
    return phase(async () => {
      for (let at = 0; at < sample.count; at++) {
        const value = await store.get(sample.key(at))
        if (value === undefined || sample.value(at).compare(value) !== 0) {
          throw new Error(`record ${at} of the sample was read wrong`)
        }
        if (at % READS_PER_TURN === 0) await yieldToEventLoop()
      }
      return sample.count
    })
  },
  scan: () =>
    phase(async () => {
      const scan = opened().store.entries()
      let count = 0
      let last: Uint8Array | undefined
      for (;;) {
        const page = await scan.nextBatch(PAGE_ENTRIES)
        if (page.length === 0) break
        const first = page[0]?.[0] as Uint8Array
        if (last !== undefined && Buffer.compare(last, first) >= 0) throw new Error('out of order')
        last = page.at(-1)?.[0]
        count += page.length
        await yieldToEventLoop()
      }
      await scan.close()
      return count
    }),
  /** Every second record of each batch. */
  deleteHalf: () =>
    phase(async () => {
      const { store, records } = opened()
      let count = 0
      for (const { keys } of records.batches()) {
        const operations = keys
          .filter((_, at) => at % 2 === 0)
          .map(key => ({ type: 'del' as const, key }))
        await ownTurn()
        await store.batch(operations, { durability: 'interval' })
        count += operations.length
      }
      return count
    }),
  compact: () =>
    phase(async () => {
      await opened().store.compact({})
      return 1
    }),
  /** Bytes on disk against the bytes of what a scan finds. */
  async space(): Promise<SpaceResult> {
    const { store } = opened()
    let liveBytes = 0
    let entries = 0
    for await (const [key, value] of store.entries()) {
      liveBytes += key.length + value.length
      entries++
    }
    const { tableBytes, walBytes } = store.stats()
    return { diskBytes: tableBytes + walBytes, liveBytes, entries }
  },
  async close() {
    await database?.close()
    database = undefined
  },
})

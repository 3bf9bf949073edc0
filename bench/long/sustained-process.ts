/** The process of sustained.ts: writes random keys without a pause and tells of every second. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DbEvent } from '../../src/engine/index.ts'
import type { Durability } from '../../src/key-value-store.ts'
import { seededRandom } from '../../src/random.ts'
import { loadEngine } from '../built.ts'
import { serveParent } from '../child.ts'
import { Dataset, KEY_SIZE } from '../workloads.ts'
import { ProcessMonitor } from './process-monitor.ts'

const SECOND_MS = 1000

export interface SustainedArgument {
  readonly directory: string
  readonly memoryBudget: number
  readonly keyCount: number
  readonly valueSize: number
  readonly seed: number
  readonly callers: number
  readonly durability: Durability
}

export interface SustainedSecond {
  /** Acknowledged writes a second. */
  readonly writes: number
  /** Milliseconds for which writers were held back, and why. */
  readonly stalledMs: number
  readonly reasons: readonly string[]
  readonly delayP99Ms: number
  readonly delayMaxMs: number
  readonly residentMiB: number
}

type Engine = Awaited<ReturnType<typeof loadEngine>>
type Database = Awaited<ReturnType<Engine['open']>>

const monitor = new ProcessMonitor()
let database: Database | undefined
let writers: Promise<unknown> = Promise.resolve()
let running = false
let writes = 0
let heldMs = 0
const reasons = new Set<string>()

function listen(event: DbEvent): void {
  if (event.type === 'stallBegin') reasons.add(event.reason)
}

/** Each caller waits for its own write before it sends the next. */
async function write(store: Database, dataset: Dataset, argument: SustainedArgument, seed: number) {
  const random = seededRandom(seed)
  const options = { durability: argument.durability }
  const key = Buffer.allocUnsafeSlow(KEY_SIZE)
  while (running) {
    const index = random.below(dataset.keyCount)
    dataset.writeKey(index, key)
    await store.put(key, dataset.value(index), options)
    writes++
  }
}

serveParent({
  async start(argument: SustainedArgument) {
    const { open } = await loadEngine()
    const store = await open(argument.directory, { memoryBudget: argument.memoryBudget })
    database = store
    store.onEvent(listen)
    const dataset = new Dataset(argument)
    running = true
    writers = Promise.all(
      Array.from({ length: argument.callers }, (_, caller) =>
        write(store, dataset, argument, argument.seed + caller),
      ),
    )
  },
  /** Waits for a second and describes it. */
  async second(): Promise<SustainedSecond> {
    const startMs = performance.now()
    const before = writes
    reasons.clear()
    monitor.begin()
    await Promise.race([sleep(SECOND_MS), writers])
    const figures = monitor.end()
    const stalls = database?.stats().stalls
    const stalledMs = (stalls?.totalMs ?? 0) - heldMs
    heldMs += stalledMs
    if (stalledMs > 0 && stalls?.reason !== undefined) reasons.add(stalls.reason)
    const elapsedMs = performance.now() - startMs
    return {
      writes: ((writes - before) / elapsedMs) * SECOND_MS,
      stalledMs,
      reasons: [...reasons],
      ...figures,
    }
  },
  async stop() {
    running = false
    await writers
    const stats = database?.stats()
    await database?.close()
    return stats
  },
})

/**
 * Load in an open loop: so many clients, each of which begins a call whenever its time has come,
 * answered or not (Schroeder et al. 2006); latency counts from when a call should have begun, so
 * that a stall is seen as what it was for those who came meanwhile.
 */
import { type CancelTimer, systemClock } from '../../../src/clock.ts'
import { KvError } from '../../../src/errors.ts'
import { LatencyHistogram } from '../../../src/net/index.ts'
import type { Random } from '../../../src/random.ts'
import { keyText, valueText, type WriteHistory } from './history.ts'

/** What the load needs of a client, whatever is behind it. Errors are told as KvErrors are. */
export interface ChaosClient {
  get(key: string): Promise<string | undefined>
  put(key: string, value: string): Promise<void>
  close(): Promise<void>
}

export interface LoadOptions {
  readonly clients: readonly ChaosClient[]
  readonly history: WriteHistory
  readonly random: Random
  /** Callers, each with calls at even distances; several share a client. */
  readonly callers: number
  /** Calls a second, of all callers. */
  readonly rate: number
  /** Of all calls. */
  readonly readPart: number
}

export interface LoadReport {
  readonly operations: number
  readonly failures: number
  /** Acknowledged. */
  readonly writes: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
  /** The longest time in which no tenth of a second was without a failure. */
  readonly longestBurstMs: number
  /** Of time with failures, in tenths of a second. */
  readonly errorSeconds: number
  readonly errors: Readonly<Record<string, number>>
  /** Of each kind one, for who looks into it. */
  readonly messages: readonly string[]
  /** The longest time without a success. */
  readonly longestSilenceMs: number
  /** How long after its time a call began at worst: this process had no processor either. */
  readonly lateMaxMs: number
  /** Processors that this process kept busy, the clients in it included. */
  readonly cpu: number
}

const TICK_MS = 5
const SLOT_MS = 100

export class OpenLoopLoad {
  readonly #options: LoadOptions
  readonly #clock = systemClock()
  readonly #latency = new LatencyHistogram()
  readonly #errors = new Map<string, number>()
  readonly #messages = new Map<string, string>()
  readonly #errorSlots = new Set<number>()
  readonly #calls = new Set<Promise<void>>()
  #startMs = 0
  #begun = 0
  #writes = 0
  #successMs = 0
  #longestSilenceMs = 0
  #lateMaxMs = 0
  #startCpu = process.cpuUsage()
  #cancelTick: CancelTimer | undefined

  constructor(options: LoadOptions) {
    this.#options = options
  }

  start(): void {
    this.#startMs = this.#clock.monotonicMs()
    this.#successMs = this.#startMs
    this.#startCpu = process.cpuUsage()
    this.#tick()
  }

  #tick(): void {
    const { rate } = this.#options
    const elapsedMs = this.#clock.monotonicMs() - this.#startMs
    const dueCount = (elapsedMs / 1000) * rate
    this.#lateMaxMs = Math.max(this.#lateMaxMs, elapsedMs - (this.#begun / rate) * 1000)
    while (this.#begun < dueCount) {
      const call = this.#call(this.#begun, this.#startMs + (this.#begun / rate) * 1000)
      this.#begun++
      this.#calls.add(call)
      void call.finally(() => this.#calls.delete(call))
    }
    this.#cancelTick = this.#clock.setTimer(TICK_MS, () => this.#tick())
  }

  async #call(number: number, dueMs: number): Promise<void> {
    const { clients, callers, random, readPart, history } = this.#options
    const client = clients[(number % callers) % clients.length]!
    const key = this.#chooseKey(random.below(history.keyCount), clients.length, number)
    try {
      if (random.next() < readPart || history.isBusy(key)) await client.get(keyText(key))
      else await this.#write(client, key)
      this.#succeeded()
    } catch (error) {
      this.#failed(error)
    }
    this.#latency.record(this.#clock.monotonicMs() - dueMs)
  }

  /** A key belongs to one client, so that its writes are versioned in their order. */
  #chooseKey(key: number, clientCount: number, number: number): number {
    const owner = (number % this.#options.callers) % clientCount
    const chosen = key - (key % clientCount) + owner
    return chosen < this.#options.history.keyCount ? chosen : owner
  }

  async #write(client: ChaosClient, key: number): Promise<void> {
    const { history } = this.#options
    const number = history.begin(key)
    try {
      await client.put(keyText(key), valueText(key, number))
      history.acknowledged(key, number)
      this.#writes++
    } catch (error) {
      history.failed(key, number, !(error instanceof KvError) || error.outcome === 'unknown')
      throw error
    }
  }

  #succeeded(): void {
    const nowMs = this.#clock.monotonicMs()
    this.#longestSilenceMs = Math.max(this.#longestSilenceMs, nowMs - this.#successMs)
    this.#successMs = nowMs
  }

  #failed(error: unknown): void {
    if (!(error instanceof KvError)) throw error
    this.#messages.set(error.code, error.message)
    this.#errors.set(error.code, (this.#errors.get(error.code) ?? 0) + 1)
    this.#errorSlots.add(Math.floor((this.#clock.monotonicMs() - this.#startMs) / SLOT_MS))
  }

  /** Begins no more calls, and resolves when all have ended. */
  async stop(): Promise<LoadReport> {
    this.#cancelTick?.()
    const seconds = (this.#clock.monotonicMs() - this.#startMs) / 1000
    const { user, system } = process.cpuUsage(this.#startCpu)
    await Promise.all(this.#calls)
    const { p50Ms, p99Ms, p999Ms, maxMs, count } = this.#latency.summary()
    const failures = [...this.#errors.values()].reduce((sum, each) => sum + each, 0)
    return {
      ...{
        operations: count,
        failures,
        writes: this.#writes,
        seconds,
        p50Ms,
        p99Ms,
        p999Ms,
        maxMs,
      },
      longestBurstMs: longestRun(this.#errorSlots) * SLOT_MS,
      errorSeconds: (this.#errorSlots.size * SLOT_MS) / 1000,
      errors: Object.fromEntries(this.#errors),
      messages: [...this.#messages.values()],
      longestSilenceMs: this.#longestSilenceMs,
      lateMaxMs: this.#lateMaxMs,
      cpu: (user + system) / 1e6 / seconds,
    }
  }
}

/** The most consecutive numbers in the set. */
function longestRun(numbers: ReadonlySet<number>): number {
  let longest = 0
  for (const first of numbers) {
    if (numbers.has(first - 1)) continue
    let next = first
    while (numbers.has(next)) next++
    longest = Math.max(longest, next - first)
  }
  return longest
}

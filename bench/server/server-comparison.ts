/**
 * Measures Duramen's server, Redis and the bare echo with the same load generator, in rounds that
 * take turns. All servers run all the time; the idle ones cost nothing.
 */
import { Child } from '../child.ts'
import { LatencyHistogram } from '../latency-histogram.ts'
import { LoadGenerator } from '../load/load-generator.ts'
import type { ErrorCounts } from '../load/load-tally.ts'
import { formatCount, formatDigits, median, note } from '../report.ts'
import { SEED } from '../workloads.ts'
import type { CallersArgument, CallersResult, ClientArgument } from './sdk-process.ts'
import { HOST, type ServerProcess } from './server-process.ts'
import type { ServerRow } from './server-rows.ts'

export interface ServerComparisonOptions {
  readonly rows: readonly ServerRow[]
  readonly keyCount: number
  readonly valueSize: number
  readonly rounds: number
  readonly warmupMs: number
  readonly durationMs: number
  /** Processes of the load generator. */
  readonly processes: number
}

export interface ServerCell {
  /** Medians over the rounds. */
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
  /** Microseconds of processor time that the server spent on a request; absent if unknown. */
  readonly serverUs?: number
  /** Over all rounds. */
  readonly errorCount: number
  readonly errors: ErrorCounts
  readonly rounds: readonly Round[]
}

interface Round {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
  readonly errors: ErrorCounts
  /** The part of a processor that the busiest process of the generator used. */
  readonly busy: number
  readonly serverUs?: number
}

export interface ServerRowResult {
  readonly row: ServerRow
  /** By the name of the server. */
  readonly cells: Readonly<Record<string, ServerCell>>
}

/** A round before the server's processor time is added; `requests` is how many it answered. */
interface Measured extends Round {
  readonly requests: number
}

/** Something that can run one row on one server. */
interface Runner {
  run(round: number): Promise<Measured>
  stop(): Promise<void>
}

function cell(rounds: readonly Round[]): ServerCell {
  const errors: Record<string, number> = {}
  for (const round of rounds) {
    for (const [error, count] of Object.entries(round.errors)) {
      errors[error] = (errors[error] ?? 0) + count
    }
  }
  const of = (name: 'perSecond' | 'p50Ms' | 'p99Ms' | 'p999Ms' | 'maxMs'): number =>
    median(rounds.map(round => round[name]))
  const serverUs = rounds.flatMap(round => round.serverUs ?? [])
  return {
    perSecond: of('perSecond'),
    p50Ms: of('p50Ms'),
    p99Ms: of('p99Ms'),
    p999Ms: of('p999Ms'),
    maxMs: of('maxMs'),
    ...(serverUs.length === 0 ? {} : { serverUs: median(serverUs) }),
    errorCount: Object.values(errors).reduce((sum, count) => sum + count, 0),
    errors,
    rounds,
  }
}

async function withServerTime(server: ServerProcess, run: () => Promise<Measured>): Promise<Round> {
  const beforeMs = server.cpuMs()
  const measured = await run()
  const afterMs = server.cpuMs()
  if (beforeMs === undefined || afterMs === undefined) return measured
  return { ...measured, serverUs: ((afterMs - beforeMs) * 1000) / measured.requests }
}

function roundText({ perSecond, p99Ms, busy, errors }: Round): string {
  const failed = Object.entries(errors).map(([error, count]) => `, ${count} x ${error}`)
  const rate = `${formatCount(perSecond)}/s, p99 ${formatDigits(p99Ms)} ms`
  return `${rate}, generator ${Math.round(busy * 100)} % of a core${failed.join('')}`
}

export class ServerComparison {
  readonly #options: ServerComparisonOptions
  readonly #servers: readonly ServerProcess[]
  readonly #hasIoredis: boolean

  constructor(
    servers: readonly ServerProcess[],
    hasIoredis: boolean,
    options: ServerComparisonOptions,
  ) {
    this.#servers = servers
    this.#hasIoredis = hasIoredis
    this.#options = options
  }

  async run(): Promise<ServerRowResult[]> {
    await this.#preload()
    const results: ServerRowResult[] = []
    for (const row of this.#options.rows) results.push(await this.#row(row))
    return results
  }

  async #preload(): Promise<void> {
    for (const server of this.#servers) {
      if (server.plan.driver === 'echo') continue
      note(`${server.plan.name}: loading ${this.#options.keyCount} keys`)
      const generator = await this.#generator(server, 100)
      try {
        await generator.preload()
      } finally {
        await generator.stop()
      }
      await server.settle()
    }
  }

  async #row(row: ServerRow): Promise<ServerRowResult> {
    note(`${row.id}: ${row.title}`)
    const runners = new Map<ServerProcess, Runner>()
    const rounds = new Map<string, Round[]>()
    try {
      for (const server of this.#servers) {
        const runner = await this.#runner(row, server)
        if (runner !== undefined) runners.set(server, runner)
      }
      // Round 0 warms up and is not counted.
      for (let round = 0; round <= this.#options.rounds; round++) {
        for (const [server, runner] of runners) {
          const { name } = server.plan
          const measured = await withServerTime(server, () => runner.run(round))
          note(`  ${name} ${roundText(measured)}`)
          // What this round left to flush and compact must not slow down the next server.
          if (row.readRatio < 1) await server.settle()
          if (round > 0) rounds.set(name, [...(rounds.get(name) ?? []), measured])
        }
      }
    } finally {
      for (const runner of runners.values()) await runner.stop()
    }
    const cells = [...rounds].map(([name, measured]) => [name, cell(measured)] as const)
    return { row, cells: Object.fromEntries(cells) }
  }

  async #runner(row: ServerRow, server: ServerProcess): Promise<Runner | undefined> {
    if (row.kind !== 'callers') return this.#loadRunner(row, server)
    if (server.plan.driver === 'echo') return undefined
    if (server.plan.driver === 'resp' && !this.#hasIoredis) return undefined
    return this.#callersRunner(row, server)
  }

  async #generator(server: ServerProcess, connections: number): Promise<LoadGenerator> {
    const { keyCount, valueSize, processes } = this.#options
    const { driver, name } = server.plan
    if (driver === 'http') throw new Error(`${name} is for bench/http.ts`)
    return LoadGenerator.start({
      driver,
      host: HOST,
      port: server.port,
      connections,
      processes,
      keyCount,
      valueSize,
    })
  }

  async #loadRunner(row: ServerRow, server: ServerProcess): Promise<Runner> {
    const generator = await this.#generator(server, row.clients)
    const { warmupMs, durationMs } = this.#options
    return {
      async run() {
        const summary = await generator.run({
          mode: row.kind === 'open' ? 'open' : 'closed',
          ...(row.rate === undefined ? {} : { rate: row.rate }),
          ...(row.depth === undefined ? {} : { depth: row.depth }),
          readRatio: row.readRatio,
          warmupMs,
          durationMs,
        })
        const { p50Ms, p99Ms, p999Ms, maxMs } = summary.all
        return {
          perSecond: summary.perSecond,
          p50Ms,
          p99Ms,
          p999Ms,
          maxMs,
          errors: summary.errors,
          busy: summary.busy,
          requests: summary.answered,
        }
      },
      stop: () => generator.stop(),
    }
  }

  async #callersRunner(row: ServerRow, server: ServerProcess): Promise<Runner> {
    const { keyCount, valueSize, durationMs } = this.#options
    const child = new Child('server/sdk-process')
    const client = server.plan.driver === 'resp' ? 'ioredis' : 'duramen'
    await child.call('open', {
      client,
      host: HOST,
      port: server.port,
      keyCount,
      valueSize,
    } satisfies ClientArgument)
    return {
      async run(round) {
        const result = await child.call<CallersResult>('run', {
          operation: row.readRatio === 1 ? 'read' : 'write',
          callers: row.clients,
          durationMs,
          seed: SEED + round,
        } satisfies CallersArgument)
        const histogram = new LatencyHistogram()
        histogram.add(result.latencies)
        return {
          perSecond: result.perSecond,
          p50Ms: histogram.percentileMs(0.5),
          p99Ms: histogram.percentileMs(0.99),
          p999Ms: histogram.percentileMs(0.999),
          maxMs: histogram.maxMs,
          errors: {},
          busy: result.busy,
          requests: result.answered,
        }
      },
      stop: () => child.kill(),
    }
  }
}

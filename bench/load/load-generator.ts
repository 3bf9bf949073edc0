/** The load generator as its user sees it: some processes, many connections, one result. */
import { Child } from '../child.ts'
import type { Distribution } from '../key-chooser.ts'
import { SEED } from '../workloads.ts'
import type { DriverName } from './driver.ts'
import type { ConnectArgument, PreloadArgument, RunArgument } from './load-process.ts'
import { type LoadResult, type LoadSummary, summarize } from './load-tally.ts'

export interface LoadTarget {
  readonly driver: DriverName
  readonly host: string
  readonly port: number
}

export interface LoadGeneratorOptions extends LoadTarget {
  readonly processes: number
  /** Over all processes. */
  readonly connections: number
  readonly keyCount: number
  readonly valueSize: number
}

export interface LoadRun {
  readonly mode: 'open' | 'closed'
  /** Open loop: requests a second over all connections. */
  readonly rate?: number
  /** Closed loop: requests in flight on each connection. @defaultValue 1 */
  readonly depth?: number
  /** Between 0 and 1. */
  readonly readRatio: number
  /** @defaultValue 'uniform' */
  readonly distribution?: Distribution
  readonly warmupMs: number
  readonly durationMs: number
}

/** The `part`th of `count` equal shares of `total`, larger ones first. */
function share(total: number, part: number, count: number): number {
  return Math.floor(total / count) + (part < total % count ? 1 : 0)
}

export class LoadGenerator {
  readonly #children: readonly Child[]
  readonly #keyCount: number
  #runs = 0

  private constructor(children: readonly Child[], keyCount: number) {
    this.#children = children
    this.#keyCount = keyCount
  }

  static async start(options: LoadGeneratorOptions): Promise<LoadGenerator> {
    const children = Array.from({ length: options.processes }, () => new Child('load/load-process'))
    const generator = new LoadGenerator(children, options.keyCount)
    try {
      await generator.#all(
        'connect',
        part =>
          ({
            ...options,
            connections: share(options.connections, part, options.processes),
          }) satisfies ConnectArgument,
      )
    } catch (error) {
      await generator.stop()
      throw error
    }
    return generator
  }

  /** Writes every key once. */
  async preload(): Promise<void> {
    const count = this.#children.length
    await this.#all(
      'preload',
      part =>
        ({
          start: Math.floor((this.#keyCount * part) / count),
          end: Math.floor((this.#keyCount * (part + 1)) / count),
        }) satisfies PreloadArgument,
    )
  }

  async run(run: LoadRun): Promise<LoadSummary> {
    const count = this.#children.length
    const number = this.#runs++
    const results = await this.#all<LoadResult>(
      'run',
      part =>
        ({
          mode: run.mode,
          rate: (run.rate ?? 1) / count,
          depth: run.depth ?? 1,
          readRatio: run.readRatio,
          distribution: run.distribution ?? 'uniform',
          seed: SEED + number * count + part,
          warmupMs: run.warmupMs,
          durationMs: run.durationMs,
        }) satisfies RunArgument,
    )
    return summarize(results)
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map(child => child.kill()))
  }

  #all<Result = unknown>(command: string, argument: (part: number) => object): Promise<Result[]> {
    const calls = this.#children.map((child, part) => child.call<Result>(command, argument(part)))
    return Promise.all(calls)
  }
}

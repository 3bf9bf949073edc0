/**
 * The figures of the node for whoever looks at it, made once a second at most and shared: fifty
 * dashboards cost as much as one, and nobody looking costs nothing.
 *
 * Invariants:
 *  1. Figures that are served are at most SHARED_MS old when they are taken from here.
 *  2. One sample is being made at a time; whoever asks meanwhile waits for it.
 */
import type { Clock } from '../../clock.ts'
import type { EventLog } from '../event-log.ts'
import type { LoadMeter } from '../load-meter.ts'
import type { MaybePromise, RequestContext, RequestHandler } from '../request-handler.ts'
import type { NamedDoor } from './http-server-options.ts'

/** Less than a second, so that who asks every second gets other figures every time. */
const SHARED_MS = 900
const NO_CLUSTER = null

export interface StatsBoardOptions {
  readonly handler: RequestHandler
  readonly clock: Clock
  readonly serverVersion: string
  readonly doors: () => readonly NamedDoor[]
  readonly events: EventLog
  readonly load: LoadMeter
}

interface Sample {
  readonly madeMs: number
  /** JSON, but for the closing brace. */
  readonly text: string
}

export class StatsBoard {
  readonly #options: StatsBoardOptions
  #sample: Sample | undefined
  #making: Promise<Sample> | undefined

  constructor(options: StatsBoardOptions) {
    this.#options = options
  }

  /** As JSON; with `isHistory` the seconds before as well. Rejects as the handler does. */
  read(isHistory: boolean, context: RequestContext): MaybePromise<string> {
    const { clock, handler } = this.#options
    // A sample may have been made for somebody who may see it.
    handler.checkMonitor?.(context)
    const sample = this.#sample
    if (sample !== undefined && clock.monotonicMs() - sample.madeMs < SHARED_MS) {
      return this.#whole(sample, isHistory)
    }
    this.#making ??= this.#make(context).finally(() => {
      this.#making = undefined
    })
    return this.#making.then(made => this.#whole(made, isHistory))
  }

  #whole({ text }: Sample, isHistory: boolean): string {
    if (!isHistory) return `${text}}\n`
    return `${text},"history":${JSON.stringify(this.#options.load.history())}}\n`
  }

  async #make(context: RequestContext): Promise<Sample> {
    const { handler, clock, serverVersion, doors, events, load } = this.#options
    const stats = await handler.stats(context)
    const figures = {
      atMs: Math.round(clock.wallMs()),
      version: serverVersion,
      lastEvent: events.last,
      load: load.last ?? null,
      doors: Object.fromEntries(doors().map(([name, door]) => [name, doorFigures(door)])),
      process: { residentBytes: process.memoryUsage.rss() },
      cluster: (await handler.overview?.(context)) ?? NO_CLUSTER,
      stats,
    }
    const sample = { madeMs: clock.monotonicMs(), text: JSON.stringify(figures).slice(0, -1) }
    this.#sample = sample
    return sample
  }
}

function doorFigures(door: NamedDoor[1]): Readonly<Record<string, unknown>> {
  const { connections, inFlight, requests, errors } = door.stats()
  const sum = Object.values(requests).reduce((total, count) => total + count, 0)
  return { connections, inFlight, requests: sum, errors }
}

/**
 * Commands that took long, for SLOWLOG and LATENCY: the last of them, and by the second the worst.
 *
 * A command's time is from its arrival until its reply was ready, so the wait for the disk and for
 * commands before it is part of it, as its client feels it; Redis counts only its own computing.
 * Of the arguments only the first is kept: values of users do not belong in a log, and passwords
 * even less.
 */
import type { Clock } from '../../clock.ts'
import { latin1 } from './characters.ts'
import type { CommandArguments } from './command-arguments.ts'
import type { RespRequest } from './resp-request.ts'

const US_PER_MS = 1000
const MS_PER_S = 1000
const SHOWN_MAX = 128
/** Entries of a history of latencies, as in Redis. */
const HISTORY_MAX = 160
/** Below this a command that answers at once may be slow, so each is timed by itself. */
const TIGHT_MS = 1

export interface SlowCommand {
  readonly id: number
  /** Milliseconds since the Unix epoch. */
  readonly timeMs: number
  readonly tookMs: number
  readonly words: readonly string[]
  readonly address: string
  readonly clientName: string
}

export interface LatencySpike {
  readonly timeS: number
  /** The worst of that second. */
  tookMs: number
}

/** What can be set while the server runs, with the names and the units of Redis. */
export interface SlowLogSettings {
  /** Microseconds from which on a command is kept; negative: none is. */
  readonly slowerThanUs: number
  readonly lengthMax: number
  /** Milliseconds from which on it is a spike; 0: nothing is. */
  readonly spikeMs: number
}

/** Whose command it was. */
export interface SlowClient {
  readonly sink: { readonly remoteAddress: string }
  readonly clientName: string
  readonly context: { readonly clock: Clock }
}

export class SlowLog {
  /** From so many milliseconds on a command is of interest; infinite: none is. */
  fromMs = 0
  /** Whether commands that answer at once must be timed: none of them takes long. */
  isTight = false
  #settings: SlowLogSettings = { slowerThanUs: 10_000, lengthMax: 128, spikeMs: 0 }
  #entries: SlowCommand[] = []
  #nextId = 0
  #spikes: LatencySpike[] = []
  #worstMs = 0

  constructor() {
    this.change({})
  }

  get settings(): SlowLogSettings {
    return this.#settings
  }

  change(changed: Partial<SlowLogSettings>): void {
    this.#settings = { ...this.#settings, ...changed }
    const { slowerThanUs, lengthMax, spikeMs } = this.#settings
    const slowMs = slowerThanUs < 0 ? Number.POSITIVE_INFINITY : slowerThanUs / US_PER_MS
    this.fromMs = spikeMs === 0 ? slowMs : Math.min(slowMs, spikeMs)
    this.isTight = this.fromMs < TIGHT_MS
    this.#trim(lengthMax)
  }

  get entries(): readonly SlowCommand[] {
    return this.#entries
  }

  get spikes(): readonly LatencySpike[] {
    return this.#spikes
  }

  /** The worst since the last reset. */
  get worstMs(): number {
    return this.#worstMs
  }

  /** Keeps of a command what is shown of it, while its arguments are there. */
  remember(request: RespRequest, args: CommandArguments): void {
    if (this.fromMs === Number.POSITIVE_INFINITY) return
    const index = request.name.includes('|') ? 2 : 1
    if (args.count <= index) return
    const { bytes, starts, ends } = args.source
    const start = starts[index]!
    request.firstArgument = latin1(bytes, start, Math.min(ends[index]!, start + SHOWN_MAX))
  }

  /** A command was answered at once, its arguments still at hand. */
  answered(request: RespRequest, args: CommandArguments, client: SlowClient): void {
    const tookMs = client.context.clock.monotonicMs() - request.receivedMs
    if (tookMs < this.fromMs) return
    this.remember(request, args)
    this.took(request, tookMs, client)
  }

  /** A command took so long, from `fromMs` on. */
  took(request: RespRequest, tookMs: number, { sink, clientName, context }: SlowClient): void {
    // Their arguments are passwords.
    if (request.name === 'auth' || request.name === 'hello') return
    const { slowerThanUs, lengthMax, spikeMs } = this.#settings
    const timeMs = context.clock.wallMs()
    if (slowerThanUs >= 0 && tookMs * US_PER_MS >= slowerThanUs) {
      const address = sink.remoteAddress
      const words = wordsOf(request)
      this.#entries.unshift({ id: this.#nextId++, timeMs, tookMs, words, address, clientName })
      this.#trim(lengthMax)
    }
    if (spikeMs > 0 && tookMs >= spikeMs) this.#addSpike(Math.floor(timeMs / MS_PER_S), tookMs)
  }

  #trim(lengthMax: number): void {
    this.#entries.length = Math.min(this.#entries.length, lengthMax)
  }

  clear(): void {
    this.#entries = []
  }

  #addSpike(timeS: number, tookMs: number): void {
    this.#worstMs = Math.max(this.#worstMs, tookMs)
    const last = this.#spikes.at(-1)
    if (last?.timeS === timeS) {
      last.tookMs = Math.max(last.tookMs, tookMs)
      return
    }
    this.#spikes.push({ timeS, tookMs })
    if (this.#spikes.length > HISTORY_MAX) this.#spikes.shift()
  }

  /** False when there were none. */
  clearSpikes(): boolean {
    const had = this.#spikes.length > 0
    this.#spikes = []
    this.#worstMs = 0
    return had
  }
}

/** A command as the log shows it. */
function wordsOf({ name, firstArgument, argCount, count }: RespRequest): string[] {
  const words = name.split('|')
  if (firstArgument !== undefined) words.push(firstArgument)
  const more = argCount - words.length
  if (more > 0) words.push(`... (${more} more arguments)`)
  if (count > 1) words.push(`... (${count - 1} more of its pipeline)`)
  return words
}

/**
 * Kills a real `kvd` again and again while it is being written to, and checks after each restart
 * with the oracle, which lives here and not in the process that dies, what it made of it.
 *
 *   load --moment--> kill -9 --> [start, kill -9 during recovery]* --> start --> answer --> check
 *
 * The same client stays connected, or reconnects, through all of it. Choices come from the seed;
 * what happens between two processes does not, so a seed replays a run only roughly.
 */
import { join } from 'node:path'
import { freePort } from '../../bench/server/server-process.ts'
import { type Client, connect } from '../../src/net/index.ts'
import type { Random } from '../../src/random.ts'
import { seededRandom } from '../../src/random.ts'
import { KillLoad, type LoadPlant, type LoadRecord } from './kill-load.ts'
import { awaitMoment, awaitRecoveryMoment, chooseMoment, type Moment } from './kill-moment.ts'
import { fileBytes, KvdProcess, type ProgramForm, peakMemoryMib } from './kvd-process.ts'
import { type OracleCounts, RecordOracle } from './record-oracle.ts'
import { checkStore } from './store-check.ts'

/** Longer than any restart takes, so that calls that were never sent are carried out after it. */
const CALL_TIMEOUT_MS = 30_000

export interface KillLoopOptions {
  readonly seed: number
  readonly kills: number
  /** An empty directory on a real disk. */
  readonly directory: string
  readonly records: Iterator<LoadRecord, unknown>
  readonly form: ProgramForm
  /** Mean milliseconds of load before a kill. */
  readonly meanMs: number
  readonly callers: number
  /** Further arguments of `kvd serve`. */
  readonly args: readonly string[]
  readonly moments?: readonly Moment[]
  readonly plant?: LoadPlant
  /** Writes what is left of the records after the last kill. @defaultValue false */
  readonly finish?: boolean
  readonly onKill?: (kill: KillRow) => void
  readonly onProgress?: (text: string) => void
}

/** One kill. What comes after the restart is missing when no restart answered before the next. */
export interface KillRow {
  readonly number: number
  readonly moment: Moment
  /** Milliseconds of load, or of recovery, before it. */
  readonly afterMs: number
  /** Operations acknowledged so far, by all lives of the store. */
  readonly acknowledged: number
  readonly walBytes: number
  readonly peakMib: number | undefined
  /** From the start of the process to the first answer. */
  answerMs?: number
  /** The engine's own part of it. */
  engineMs?: number
  replayed?: number
  live?: number
  checkMs?: number
}

export interface KillLoopResult {
  readonly kills: readonly KillRow[]
  readonly counts: OracleCounts
  readonly errors: Readonly<Record<string, number>>
  readonly live: number
}

export async function runKillLoop(options: KillLoopOptions): Promise<KillLoopResult> {
  const port = await freePort()
  const loop = new KillLoop(options, port)
  try {
    return await loop.run()
  } finally {
    await loop.discard()
  }
}

class KillLoop {
  readonly #options: KillLoopOptions
  readonly #random: Random
  readonly #oracle = new RecordOracle()
  readonly #data: string
  readonly #port: number
  readonly #rows: KillRow[] = []
  #kvd: KvdProcess
  #client: Client | undefined
  #load: KillLoad | undefined
  #answerMs = 0

  constructor(options: KillLoopOptions, port: number) {
    this.#options = options
    this.#random = seededRandom(options.seed)
    this.#data = join(options.directory, 'data')
    this.#port = port
    this.#kvd = this.#spawn()
  }

  async run(): Promise<KillLoopResult> {
    const { records, callers, kills, plant } = this.#options
    this.#answerMs = await this.#kvd.answered()
    const store = await connect(this.#kvd.url, { timeoutMs: CALL_TIMEOUT_MS })
    this.#client = store
    const load = new KillLoad({
      store,
      oracle: this.#oracle,
      random: this.#random,
      records,
      callers,
      ...(plant && { plant }),
    })
    this.#load = load
    let next = this.#nextMoment()
    while (this.#rows.length < kills) {
      const moment = next
      next = this.#nextMoment()
      await this.#round(load, moment, next)
    }
    const live = await this.#end(load)
    const errors = Object.fromEntries(load.errors)
    return { kills: this.#rows, counts: this.#oracle.counts, errors, live }
  }

  async discard(): Promise<void> {
    this.#load?.halt()
    await this.#kvd.discard()
    await this.#client?.close()
  }

  #nextMoment(): Moment {
    return chooseMoment(this.#random, this.#options.moments)
  }

  #spawn(): KvdProcess {
    const { form, args } = this.#options
    return new KvdProcess({ directory: this.#data, port: this.#port, form, args })
  }

  async #round(load: KillLoad, moment: Moment, next: Moment): Promise<void> {
    const { meanMs, kills } = this.#options
    const startMs = performance.now()
    load.start()
    const random = this.#random
    const isCompacting = () => this.#isCompacting()
    const came = await awaitMoment(moment, { directory: this.#data, random, meanMs, isCompacting })
    await this.#kill(came, performance.now() - startMs)
    load.halt()
    let more = moment === 'recovery' ? 1 + random.below(3) : 0
    for (; more > 0 && this.#rows.length < kills; more--) await this.#killRecovery()
    const row = this.#rows.at(-1)!
    await this.#restart(row)
    await load.stop()
    await load.settle()
    this.#oracle.nothingPending()
    // The next kill is to come before there is time for anything, a check included.
    if (next !== 'again' || this.#rows.length >= kills) await this.#check(load, row)
    this.#options.onKill?.(row)
  }

  async #kill(moment: Moment, afterMs: number): Promise<void> {
    const peakMib = peakMemoryMib(this.#kvd.pid)
    await this.#kvd.kill()
    this.#rows.push({
      number: this.#rows.length + 1,
      moment,
      afterMs,
      acknowledged: this.#oracle.counts.acknowledged,
      walBytes: fileBytes(this.#data, '.wal'),
      peakMib,
    })
  }

  async #killRecovery(): Promise<void> {
    const row = this.#rows.at(-1)
    if (row !== undefined) this.#options.onKill?.(row)
    const startMs = performance.now()
    this.#kvd = this.#spawn()
    await awaitRecoveryMoment(this.#data, this.#random, this.#answerMs)
    await this.#kill('recovery', performance.now() - startMs)
  }

  async #restart(row: KillRow): Promise<void> {
    this.#kvd = this.#spawn()
    this.#answerMs = await this.#kvd.answered()
    row.answerMs = this.#answerMs
    const recovery = await this.#engineStats('recovery')
    row.engineMs = Number(recovery['elapsedMs'])
    row.replayed = Number(recovery['entries'])
  }

  async #check(load: KillLoad, row: KillRow): Promise<void> {
    const startMs = performance.now()
    row.live = await this.#checkStore(load)
    row.checkMs = performance.now() - startMs
    this.#kvd.checkAlive()
  }

  #checkStore(load: KillLoad): Promise<number> {
    const { onProgress } = this.#options
    return checkStore({
      store: this.#client!,
      oracle: this.#oracle,
      random: this.#random,
      keys: load.keys,
      onProgress: (what, count) => onProgress?.(`${what}, ${count} entries`),
    })
  }

  /** What is left is loaded and checked; then the same after an orderly stop and start. */
  async #end(load: KillLoad): Promise<number> {
    const { finish = false, onProgress } = this.#options
    if (finish) {
      await load.finish(count => onProgress?.(`loading the rest, ${count} keys`))
      await this.#checkStore(load)
    }
    await this.#kvd.stop()
    this.#kvd = this.#spawn()
    await this.#kvd.answered()
    const live = await this.#checkStore(load)
    await this.#kvd.stop()
    return live
  }

  async #isCompacting(): Promise<boolean> {
    const compactions = await this.#engineStats('compactions')
    return Number(compactions['running']) > 0
  }

  async #engineStats(part: string): Promise<Readonly<Record<string, unknown>>> {
    const { engine } = await this.#client!.stats()
    const parts = engine as Readonly<Record<string, Readonly<Record<string, unknown>>>>
    return parts[part] ?? {}
  }
}

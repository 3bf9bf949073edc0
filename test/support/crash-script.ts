/**
 * A random life of a database: puts, deletes, batches of mixed durability and size, several at a
 * time, waits in which time passes, and clean closes and reopens; everything told to an oracle.
 */
import type { Db, FileSystem } from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import type { Durability } from '../../src/key-value-store.ts'
import type { Random } from '../../src/random.ts'
import {
  type CrashOracle,
  logDataOf,
  type SubmittedOperation,
  type SubmittedWrite,
} from './crash-oracle.ts'
import { drive, type EngineSettings, openEngine } from './engine-on-disk.ts'
import type { SimClock } from './sim-clock.ts'

const KEY_COUNT = 60
const DAY_MS = 86_400_000

export interface CrashScriptOptions {
  readonly fileSystem: FileSystem
  readonly oracle: CrashOracle
  readonly clock: SimClock
  readonly random: Random
  readonly operationCount: number
  /** The mix that writes are drawn from. @defaultValue two thirds sync */
  readonly durabilities?: readonly Durability[]
  readonly options?: EngineSettings['options']
  readonly executor?: EngineSettings['executor']
  /** Called before each burst. */
  readonly beforeBurst?: () => void
  /** Called before the database is opened. */
  readonly beforeOpen?: () => void
  /** The chance of a clean close and reopen after a burst. @defaultValue 0.02 */
  readonly reopen?: number
}

export interface ScriptStats {
  flushes: number
  compactions: number
  moves: number
  reopens: number
  /** Calls that failed, by code. */
  readonly errors: Map<string, number>
}

export class CrashScript {
  readonly stats: ScriptStats = {
    flushes: 0,
    compactions: 0,
    moves: 0,
    reopens: 0,
    errors: new Map(),
  }
  readonly #options: CrashScriptOptions
  #db: Db | undefined

  constructor(options: CrashScriptOptions) {
    this.#options = options
  }

  /** The database as run() left it: open, unless an error ended the script while reopening. */
  get db(): Db | undefined {
    return this.#db
  }

  /** Rejects only when opening or closing fails. Failed writes are told to the oracle. */
  async run(): Promise<void> {
    const { random, operationCount, clock, reopen = 0.02 } = this.#options
    await this.open()
    for (let count = 0; count < operationCount; ) {
      const burst = 1 + random.below(random.below(4) === 0 ? 8 : 2)
      await this.burst(burst)
      count += burst
      // Interval syncs, and the wait for idleness after which compaction tidies up.
      if (random.below(6) === 0) await clock.advanceAsync(random.below(5) === 0 ? 4000 : 60)
      if (random.next() < reopen) {
        await this.close()
        await this.open()
        this.stats.reopens++
      }
    }
  }

  async open(): Promise<void> {
    this.#options.beforeOpen?.()
    const { fileSystem, clock, random, options, executor } = this.#options
    this.#db = await openEngine(fileSystem, {
      clock,
      random,
      ...(options && { options }),
      ...(executor && { executor }),
    })
  }

  async close(): Promise<void> {
    const db = this.#db
    if (db === undefined) return
    this.#count(db)
    this.#db = undefined
    await drive(this.#options.clock, db.close())
    this.#options.oracle.closed()
  }

  /** Submits so many writes at once, and waits for all answers. */
  async burst(count: number): Promise<void> {
    this.#options.beforeBurst?.()
    const answers: Promise<void>[] = []
    for (let index = 0; index < count; index++) answers.push(this.#submit())
    await drive(this.#options.clock, Promise.all(answers))
  }

  #count(db: Db): void {
    const { flushes, compactions } = db.stats()
    this.stats.flushes += flushes.count
    this.stats.compactions += compactions.count
    this.stats.moves += compactions.moves
  }

  async #submit(): Promise<void> {
    const { oracle } = this.#options
    const db = this.#db!
    const write = this.#randomWrite()
    const ticket = oracle.submit(write)
    const { operations, durability } = write
    const first = operations[0]!
    try {
      if (write.logged) await db.batch(operations, { durability, logData: logDataOf(ticket) })
      else if (operations.length > 1) await db.batch(operations, { durability })
      else if (first.type === 'del') await db.delete(first.key, { durability })
      else if (first.type === 'del-range') {
        await db.deleteRange({ gte: first.gte, lt: first.lt }, { durability })
      } else {
        const { key, value, ttlMs } = first
        await db.put(key, value, ttlMs === undefined ? { durability } : { ttlMs, durability })
      }
      oracle.acknowledge(ticket)
    } catch (error) {
      // Anything else is no clean answer, and ends the test.
      if (!(error instanceof KvError)) throw error
      if (error.outcome === 'rejected') oracle.reject(ticket)
      const { errors } = this.stats
      errors.set(error.code, (errors.get(error.code) ?? 0) + 1)
    }
  }

  #randomWrite(): SubmittedWrite {
    const { random, oracle } = this.#options
    const { durabilities = ['sync', 'sync', 'sync', 'sync', 'interval', 'none'] } = this.#options
    const durability = durabilities[random.below(durabilities.length)]!
    const size = random.below(6) === 0 ? 2 + random.below(12) : 1
    const name = `${oracle.submittedCount}`
    const operations = Array.from({ length: size }, (_, index) =>
      this.#randomOperation(`${name}.${index}`),
    )
    return { operations, durability, logged: random.below(3) === 0 }
  }

  /** Values carry the name of their write, so no two are alike. */
  #randomOperation(name: string): SubmittedOperation {
    const { random } = this.#options
    const key = `key-${random.below(KEY_COUNT)}`
    if (random.below(6) === 0) return { type: 'del', key }
    if (random.below(30) === 0) {
      // The keys that begin alike, or all from one on.
      return { type: 'del-range', gte: key, lt: random.below(6) === 0 ? 'key-~' : `${key}~` }
    }
    // Now and then one that is written asynchronously because of its size.
    const sizeMax = random.below(150) === 0 ? 40_000 : random.below(8) === 0 ? 900 : 120
    const value = `${name} ${'x'.repeat(random.below(sizeMax))}`
    if (random.below(10) === 0) return { type: 'put', key, value, ttlMs: DAY_MS }
    return { type: 'put', key, value }
  }
}

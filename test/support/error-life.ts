/**
 * The life of a database on a disk that may fail: everything that an engine does with files, step
 * by scripted step, told to an oracle, and every answer on the way checked.
 *
 * What must hold, whatever call fails:
 *  1. Whoever is told of a failure gets a KvError with what the system said. Nothing hangs.
 *  2. A read answers with what was acknowledged, or fails; asked again it answers, unless the disk
 *     still fails.
 *  3. Once a write has failed with unknown outcome, or a write or sync of the log or of the
 *     MANIFEST has, all later writes fail with KV_POISONED until the database is opened again.
 *     Not so where there was no room for an edit of the MANIFEST, or for the zeros that the log is
 *     written over: then nothing is poisoned, and writes are taken again once there is room.
 *  4. Opening again finds a state that explain() of crash-oracle.ts allows.
 */
import type { Db } from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import type { Durability, Snapshot } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { CrashOracle, OracleError, readState, type SubmittedWrite, text } from './crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from './engine-on-disk.ts'
import { ErrorCopies } from './error-copies.ts'
import type { FailingFileSystem, Fault, FaultReport } from './failing-file-system.ts'
import { SimClock } from './sim-clock.ts'

/** Every few dozen entries fill a memtable, and three tables make a level. */
export const ERROR_OPTIONS = { memtableSize: 4096, tableSizeTarget: 2048, baseLevelSize: 6144 }

const KEYS = Array.from({ length: 24 }, (_, index) => `key-${String(index).padStart(2, '0')}`)

export interface ErrorLifeOptions {
  readonly seed: number
  readonly disk: FailingFileSystem
  /** The error that is, or will be, injected. */
  readonly fault: FaultReport
  /** It goes on once it has begun. */
  readonly forever: boolean
  /** Looks only at what becomes of the data, not at whether writes are refused where they must. */
  readonly dataOnly?: boolean
  /** The system's name for it; undefined where the call does not fail. */
  readonly code: string | undefined
}

interface HeldSnapshot {
  readonly snapshot: Snapshot
  readonly state: ReadonlyMap<string, string>
}

export class ErrorLife {
  /** By code: calls that failed. */
  readonly errors = new Map<string, number>()
  readonly copies: ErrorCopies
  poisonings = 0
  flushes = 0
  compactions = 0
  readonly #options: ErrorLifeOptions
  readonly #random: Random
  readonly #clock = new SimClock()
  #db: Db | undefined
  #oracle = new CrashOracle()
  #held: HeldSnapshot | undefined
  #mustBePoisoned = false
  /** The disk failed before, or while, this database was opened. */
  #wasHitBefore = false
  #hasRoom = false
  #writeCount = 0

  constructor(options: ErrorLifeOptions) {
    this.#options = options
    this.#random = seededRandom(options.seed)
    this.copies = new ErrorCopies({
      disk: options.disk,
      clock: this.#clock,
      random: this.#random,
      attempt: call => this.#try(call),
      read: call => this.#read(call),
    })
  }

  /** Of the last opening that succeeded. */
  get oracle(): CrashOracle {
    return this.#oracle
  }

  /** Throws an OracleError that names the step, or another Error when this life itself is wrong. */
  async run(): Promise<void> {
    await this.#step('open', () => this.#open())
    await this.#step('first writes', () => this.#puts(10, ['sync']))
    await this.#step('bursts', () => this.#bursts(6))
    await this.#step('first reads', () => this.#reads())
    await this.#step('snapshot', () => this.#takeSnapshot())
    await this.#step('hold', () => this.#copy('hold'))
    await this.#step('ranges', () => this.#deleteRanges())
    await this.#step('compact', () => this.#compact())
    await this.#step('reads of the snapshot', () => this.#snapshotReads())
    await this.#step('more bursts', () => this.#bursts(8))
    await this.#step('checkpoint', () => this.#copy('checkpoint'))
    await this.#step('backup', () => this.#copy('backup'))
    await this.#step('changes', () => this.#changes())
    await this.#step('bursts between backups', () => this.#bursts(3))
    await this.#step('second backup', () => this.#copy('backup'))
    await this.#step('restore', () => this.copies.restore())
    await this.#step('syncs', () => this.#clock.advanceAsync(200))
    await this.#step('replica', () => this.#copy('follow'))
    await this.#step('reads', () => this.#reads())
    await this.#step('close', () => this.#close())
    await this.#step('open again', () => this.#open())
    await this.#step('reads of what was closed', () => this.#reads())
    await this.#step('last bursts', () => this.#bursts(5))
    await this.#step('idleness', () => this.#clock.advanceAsync(4000))
    await this.#step('writes without sync', () => this.#puts(6, ['interval', 'none']))
    await this.#step('time', () => this.#clock.advanceAsync(200))
    await this.#step('last reads', () => this.#reads())
    await this.#step('open with room', () => this.#findRoom())
    await this.#step('recovery', () => this.#expectRecovery())
    await this.#step('last close', () => this.#close())
  }

  async #step(name: string, step: () => Promise<void>): Promise<void> {
    const before = this.#db
    const { injected } = this.#options.fault
    try {
      if (before !== undefined || name.startsWith('open')) await step()
      const isHit = this.#options.fault.injected > injected
      if (isHit && before !== undefined && this.#db === before && this.#isVital()) {
        this.#mustBePoisoned = true
      }
      if (this.#mustBePoisoned && this.#db !== undefined) await this.#expectPoisoned()
    } catch (error) {
      if (error instanceof OracleError) throw new OracleError(`${name}: ${error.message}`)
      if (error instanceof KvError) throw new OracleError(`${name}: ${describe(error)}`)
      // No OracleError: what goes wrong in here judges nothing, and must not pass for a bug caught.
      throw new Error(`${name}: ${String(error)}`, { cause: error })
    }
  }

  /** Whether the failed call leaves in doubt what the log or the MANIFEST holds. */
  #isVital(): boolean {
    // One that began on a failing disk may have written nothing that could be in doubt.
    if (this.#options.dataOnly === true || this.#wasHitBefore) return false
    const { fault, kind, path, isBeginning, isZeros } = this.#options.fault.first!
    if (kind !== 'write' && kind !== 'sync') return false
    if (!path.startsWith(DIRECTORY)) return false
    const isShort = isShortage(fault)
    if (path.includes('MANIFEST')) return !isShort
    // A segment that there is no room to begin is taken back, and begun anew by a later write.
    return path.endsWith('.wal') && !(isShort && (isBeginning || isZeros))
  }

  async #open(): Promise<void> {
    const { disk } = this.#options
    const db = await this.#try(() =>
      openEngine(disk, { clock: this.#clock, random: this.#random, options: ERROR_OPTIONS }),
    )
    if (db === undefined) {
      const isFull = this.#options.fault.first?.fault === 'full'
      if (isFull && this.#oracle.submittedCount > 0) {
        throw new OracleError('a full disk keeps the database from being opened')
      }
      return
    }
    this.#db = db
    this.#mustBePoisoned = false
    this.#wasHitBefore = this.#options.fault.injected > 0
    const found = await this.#read(() => readState(db))
    if (found === undefined) {
      // What is there is judged at the end; until then nobody knows.
      this.#db = undefined
      await this.#try(() => drive(this.#clock, db.close()))
      return
    }
    this.#oracle.explain(found, this.#oracle.moment(), 'kill')
    this.#oracle = new CrashOracle(found)
  }

  async #close(): Promise<void> {
    this.#held?.snapshot.release()
    this.#held = undefined
    const db = this.#db!
    this.#db = undefined
    const { flushes, compactions } = db.stats()
    this.flushes += flushes.count
    this.compactions += compactions.count
    const closed = this.#try(async () => {
      await drive(this.#clock, db.close())
      return true
    })
    if ((await closed) === true) this.#oracle.closed()
  }

  /** The result, or undefined after a clean failure. */
  async #try<T>(call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call()
    } catch (error) {
      this.#expectClean(error)
      return undefined
    }
  }

  /** A read that fails although the disk has recovered has no excuse. */
  async #read<T>(call: () => Promise<T>): Promise<T | undefined> {
    const before = this.#options.fault.injected
    const first = await this.#try(call)
    if (first !== undefined || this.#options.forever) return first
    if (this.#options.fault.injected === before) {
      throw new OracleError('a read failed, though no call of the disk did')
    }
    return await call()
  }

  #expectClean(error: unknown): void {
    const { code, fault } = this.#options
    if (error instanceof OracleError) throw error
    if (!(error instanceof KvError)) throw new OracleError(`no KvError: ${describe(error)}`)
    this.errors.set(error.code, (this.errors.get(error.code) ?? 0) + 1)
    if (fault.injected === 0) throw new OracleError(`failed for no reason: ${describe(error)}`)
    const tellsWhy = code === undefined || error.message.includes(code)
    if (!tellsWhy) throw new OracleError(`does not say what failed: ${describe(error)}`)
  }

  async #puts(count: number, durabilities: readonly Durability[]): Promise<void> {
    for (let index = 0; index < count; index++) {
      const durability = durabilities[index % durabilities.length]!
      await this.#submit({ operations: [this.#put()], durability })
    }
  }

  #put() {
    const key = KEYS[this.#random.below(KEYS.length)]!
    const value = `${this.#writeCount++} ${'x'.repeat(this.#random.below(360))}`
    return { type: 'put', key, value } as const
  }

  /** Several writes at once, of every kind and durability. */
  async #bursts(count: number): Promise<void> {
    const random = this.#random
    for (let burst = 0; burst < count; burst++) {
      const answers: Promise<void>[] = []
      for (let size = 1 + random.below(4); size > 0; size--) {
        const die = random.below(6)
        const length = die === 0 ? 1 + random.below(8) : 1
        const operations = Array.from({ length }, () => {
          const put = this.#put()
          return random.below(5) === 0 ? ({ type: 'del', key: put.key } as const) : put
        })
        answers.push(this.#submit({ operations, durability: die === 5 ? 'interval' : 'sync' }))
      }
      await drive(this.#clock, Promise.all(answers))
    }
  }

  async #deleteRanges(): Promise<void> {
    const gte = KEYS[this.#random.below(KEYS.length)]!
    const range = { type: 'del-range', gte, lt: `${gte.slice(0, -1)}~` } as const
    await this.#submit({ operations: [range], durability: 'sync' })
    await this.#submit({ operations: [this.#put(), range, this.#put()], durability: 'sync' })
  }

  async #submit(write: SubmittedWrite): Promise<void> {
    const oracle = this.#oracle
    const isPoisoned = this.#mustBePoisoned
    const ticket = oracle.submit(write)
    const { operations, durability } = write
    const db = this.#db!
    try {
      await drive(this.#clock, db.batch(operations, { durability }))
    } catch (error) {
      this.#expectClean(error)
      const { code, outcome } = error as KvError
      if (outcome === 'rejected') oracle.reject(ticket)
      if (outcome === 'unknown' && code !== 'KV_POISONED') {
        throw new OracleError(`of unknown outcome, and not poisoned: ${describe(error)}`)
      }
      if (isPoisoned && code !== 'KV_POISONED') {
        throw new OracleError(`a poisoned engine refuses a write with ${describe(error)}`)
      }
      if (code === 'KV_POISONED') {
        if (!this.#mustBePoisoned) this.poisonings++
        this.#mustBePoisoned = true
      }
      return
    }
    if (isPoisoned) throw new OracleError('a write succeeded though the engine is poisoned')
    oracle.acknowledge(ticket)
  }

  async #expectPoisoned(): Promise<void> {
    await this.#submit({ operations: [this.#put()], durability: 'sync' })
  }

  async #takeSnapshot(): Promise<void> {
    this.#held = { snapshot: this.#db!.snapshot(), state: this.#oracle.acknowledgedState() }
  }

  async #reads(): Promise<void> {
    await this.#checkReads(this.#oracle.acknowledgedState(), undefined)
  }

  async #snapshotReads(): Promise<void> {
    if (this.#held !== undefined) await this.#checkReads(this.#held.state, this.#held.snapshot)
  }

  async #checkReads(
    state: ReadonlyMap<string, string>,
    snapshot: Snapshot | undefined,
  ): Promise<void> {
    const db = this.#db!
    const options = snapshot === undefined ? {} : { snapshot }
    const wanted = [...KEYS, 'absent']
    for (const key of wanted) {
      const found = await this.#read(async () => [await db.get(key, options)])
      if (found !== undefined) expectValue(key, state.get(key), found[0])
    }
    const many = await this.#read(() => db.getMany(wanted, options))
    for (const [index, value] of (many ?? []).entries()) {
      expectValue(wanted[index]!, state.get(wanted[index]!), value)
    }
    const sync = await this.#read(async () => [db.getSync(KEYS[0]!, options)])
    if (sync !== undefined) expectValue(KEYS[0]!, state.get(KEYS[0]!), sync[0])
    const all = await this.#read(() => readState({ entries: () => db.entries(options) }))
    if (all !== undefined && !isSame(all, state)) throw new OracleError('a scan is wrong')
    const back = await this.#read(async () => {
      const found = new Map<string, string>()
      for await (const [key, value] of db.entries({ ...options, reverse: true })) {
        found.set(text(key), text(value))
      }
      return found
    })
    if (back !== undefined && !isSame(back, state)) throw new OracleError('a reverse scan is wrong')
  }

  async #compact(): Promise<void> {
    await this.#try(() => drive(this.#clock, this.#db!.compact()))
  }

  async #copy(kind: 'hold' | 'checkpoint' | 'backup' | 'follow'): Promise<void> {
    await this.copies[kind](this.#db!, this.#oracle.acknowledgedState())
  }

  /** What is written now comes out of the feed, in order, or the feed fails. */
  async #changes(): Promise<void> {
    const db = this.#db!
    await using feed = db.changes()
    const written = this.#oracle.submittedCount
    await this.#puts(3, ['sync'])
    for (let count = this.#oracle.acknowledgedSince(written); count > 0; count--) {
      const next = await this.#read(() => drive(this.#clock, feed.next()))
      if (next === undefined || next.done === true) return
      if (next.value.operations.length !== 1) throw new OracleError('a batch of the feed is wrong')
    }
  }

  /** A disk that was full has room again. */
  async #findRoom(): Promise<void> {
    const { fault, forever } = this.#options
    if (!forever || fault.first === undefined || !isShortage(fault.first.fault)) return
    fault.remove()
    this.#hasRoom = true
    if (this.#db !== undefined) return
    await this.#open()
    if (this.#db === undefined) throw new OracleError('it cannot be opened though there is room')
  }

  /** What does not poison is got over: time passes, and writes are taken again. */
  async #expectRecovery(): Promise<void> {
    const { forever, fault } = this.#options
    if (fault.first?.fault === 'full' && this.poisonings > 0) {
      throw new OracleError('a full disk has poisoned the database')
    }
    if (this.#mustBePoisoned || (forever && !this.#hasRoom)) return
    await this.#clock.advanceAsync(60_000)
    const before = this.#oracle.submittedCount
    const { injected } = fault
    await this.#puts(1, ['sync'])
    // It may have come only now.
    if (fault.injected > injected && !this.#mustBePoisoned) await this.#puts(1, ['sync'])
    if (this.#oracle.acknowledgedSince(before) === 0 && !this.#mustBePoisoned) {
      throw new OracleError('writes are still refused after a failure that is over')
    }
  }
}

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value)
}

function expectValue(key: string, expected: string | undefined, found: Uint8Array | undefined) {
  const actual = found && text(found)
  if (actual === expected) return
  const show = (value: string | undefined) => value?.slice(0, 16) ?? 'nothing'
  throw new OracleError(`${key} reads as ${show(actual)}, acknowledged is ${show(expected)}`)
}

/** Whether the fault says that there is no room, and not that something is broken. */
function isShortage(fault: Fault): boolean {
  return fault === 'ENOSPC' || fault === 'shortWrite' || fault === 'full' || fault === 'EMFILE'
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name} ${error.message}\n${error.stack}` : String(error)
}

/**
 * Many option sets, and what makes a database with one of them go through a script and compares
 * each answer with that of the sorted map (matrix-script.ts): on a simulated disk, or on a real one
 * with jobs on this thread or on threads of their own.
 */
import * as zlib from 'node:zlib'
import { systemClock, yieldToEventLoop } from '../../src/clock.ts'
import {
  type Db,
  type DbEnvironment,
  type DbOptions,
  type DbTuning,
  InlineExecutor,
  nodeFileSystem,
  open,
  openInEnvironment,
} from '../../src/engine/index.ts'
import { WorkerExecutor } from '../../src/engine/worker-executor.ts'
import { loadHasher } from '../../src/hash.ts'
import type { ScanOptions, Snapshot } from '../../src/key-value-store.ts'
import { seededRandom, systemRandom } from '../../src/random.ts'
import { text } from './crash-oracle.ts'
import { drive, openEngine } from './engine-on-disk.ts'
import { type MatrixScript, type MatrixStep, readAnswer, scanAnswer } from './matrix-script.ts'
import { MemoryFileSystem } from './memory-file-system.ts'
import { SimClock } from './sim-clock.ts'

const KIB = 1024
const HAS_ZSTD = 'zstdCompressSync' in zlib
const RESTARTS_WITH_THREADS = 2
const NOBODY = 'nobody wrote this key'

export interface OptionSet {
  readonly name: string
  readonly options: DbOptions & DbTuning
  /** `simulated` unless said. `inline` and `worker` are real disks. */
  readonly world?: 'simulated' | 'inline' | 'worker' | 'user'
}

/** The sizes of engine-on-disk.ts, of which each set changes some. */
export const OPTION_SETS: readonly OptionSet[] = [
  { name: 'tiny', options: {} },
  { name: 'the smallest memtable', options: { memtableSize: 4 * KIB, frozenMemtablesMax: 1 } },
  { name: 'a memtable for everything', options: { memtableSize: 1024 * KIB } },
  { name: 'many frozen memtables', options: { memtableSize: 4 * KIB, frozenMemtablesMax: 16 } },
  { name: 'small blocks', options: { blockSize: 128 } },
  { name: 'blocks that no cache holds', options: { blockSize: 65_535, memtableSize: 64 * KIB } },
  { name: 'a big cache', options: { memoryBudget: 64 * KIB * KIB } },
  { name: 'deflate', options: { compression: 'deflate', blockSize: KIB } },
  { name: 'deflate below level 0', options: { compression: ['none', 'deflate'] } },
  { name: 'no filters', options: { filterBitsPerKey: 0 } },
  { name: 'filters that err', options: { filterBitsPerKey: 1 } },
  { name: 'precise filters', options: { filterBitsPerKey: 32 } },
  { name: 'interval', options: { durability: 'interval', syncIntervalMs: 1 } },
  { name: 'no durability', options: { durability: 'none' } },
  {
    name: 'deep levels',
    options: { level0CompactionTrigger: 1, baseLevelSize: KIB, levelSizeRatio: 2 },
  },
  { name: 'level 0 alone', options: { level0CompactionTrigger: 100 } },
  { name: 'flat levels', options: { levelSizeRatio: 100, baseLevelSize: 64 * KIB } },
  { name: 'the smallest tables', options: { tableSizeTarget: KIB } },
  { name: 'few open files', options: { tableSizeTarget: KIB, openFilesMax: 4 } },
  { name: 'many compactions at once', options: { compactionThreads: 4, tableSizeTarget: KIB } },
  { name: 'nothing purged', options: { purgeBound: 0 } },
  { name: 'a real disk', options: { durability: 'none' }, world: 'inline' },
  { name: 'threads', options: { durability: 'none', compactionThreads: 2 }, world: 'worker' },
  { name: 'what a user has', options: { durability: 'interval' }, world: 'user' },
  ...(HAS_ZSTD ? ([{ name: 'zstd', options: { compression: 'zstd' } }] as const) : []),
]

/** An answer is not that of the sorted map. */
export class MatrixError extends Error {
  override readonly name = 'MatrixError'
}

/** What a script needs of where a database lives. */
interface World {
  open(): Promise<Db>
  wait<T>(promise: Promise<T>): Promise<T>
  /** Lets time pass, or nothing where it passes by itself. */
  idle(): Promise<void>
  /** Restarts that are made; the others are left out, since each costs the start of threads. */
  readonly restartsMax: number
  /** The database as the next process finds it; the old one is over. */
  kill(db: Db): Promise<Db>
}

/** `directory` is used by sets of a real disk only. Throws a MatrixError that names the step. */
export async function runOptionSet(
  set: OptionSet,
  script: MatrixScript,
  directory: string,
  executor: typeof InlineExecutor = InlineExecutor,
): Promise<{ flushes: number; compactions: number }> {
  const { options, world: kind = 'simulated' } = set
  const world = kind === 'simulated' ? simulated(options, executor) : real(set, directory)
  return await new MatrixRun(set.name, world).run(script)
}

function simulated(options: OptionSet['options'], executor: typeof InlineExecutor): World {
  const clock = new SimClock()
  let disk = new MemoryFileSystem({ random: seededRandom(1) })
  const openHere = () => openEngine(disk, { clock, options, executor, random: seededRandom(2) })
  return {
    restartsMax: Number.POSITIVE_INFINITY,
    open: openHere,
    wait: promise => drive(clock, promise),
    idle: () => clock.advanceAsync(4000),
    async kill(db) {
      // What was not handed over may be gone; a write that is synced covers all before it.
      await drive(clock, db.delete(NOBODY, { durability: 'sync' }))
      const survivor = disk.processCrashClone()
      disk.powerOff()
      const ended = drive(clock, db.close()).catch((error: unknown) => error)
      if (!((await ended) instanceof Error)) throw new MatrixError('a database outlived its disk')
      disk = survivor
      return openHere()
    },
  }
}

function real({ options, world }: OptionSet, directory: string): World {
  const openHere = async () => {
    if (world === 'user') return await open(directory, options)
    const [hasher, fileSystem, clock] = [await loadHasher(), nodeFileSystem(), systemClock()]
    const executor =
      world === 'worker'
        ? new WorkerExecutor(1 + (options.compactionThreads ?? 1))
        : new InlineExecutor({ fileSystem, hasher, clock })
    const environment: DbEnvironment = { fileSystem, executor, clock, random: systemRandom() }
    const small = { memtableSize: 16 * KIB, tableSizeTarget: 8 * KIB, baseLevelSize: 32 * KIB }
    return await openInEnvironment(directory, { ...small, ...options }, environment)
  }
  return {
    restartsMax: world === 'inline' ? Number.POSITIVE_INFINITY : RESTARTS_WITH_THREADS,
    open: openHere,
    wait: promise => promise,
    idle: () => yieldToEventLoop(),
    async kill(db) {
      await db.close()
      return await openHere()
    },
  }
}

class MatrixRun {
  readonly #name: string
  readonly #world: World
  readonly #snapshots: (Snapshot | undefined)[] = []
  #db!: Db
  #flushes = 0
  #compactions = 0
  #restarts = 0

  constructor(name: string, world: World) {
    this.#name = name
    this.#world = world
  }

  async run({ steps, answers }: MatrixScript): Promise<{ flushes: number; compactions: number }> {
    this.#db = await this.#world.open()
    try {
      for (const [index, step] of steps.entries()) {
        const found = await this.#take(step)
        if (found === answers[index]) continue
        throw new MatrixError(
          `'${this.#name}', step ${index} (${JSON.stringify(step)}): ` +
            `expected ${answers[index]?.slice(0, 400)}, found ${found?.slice(0, 400)}`,
        )
      }
    } finally {
      await this.#close()
    }
    return { flushes: this.#flushes, compactions: this.#compactions }
  }

  async #close(): Promise<void> {
    this.#letGo()
    await this.#world.wait(this.#db.close())
  }

  /** Before a database ends. */
  #letGo(): void {
    for (const snapshot of this.#snapshots.splice(0)) snapshot?.release()
    const { flushes, compactions } = this.#db.stats()
    this.#flushes += flushes.count
    this.#compactions += compactions.count
  }

  async #take(step: MatrixStep): Promise<string | undefined> {
    const db = this.#db
    switch (step.kind) {
      case 'write':
        await this.#world.wait(db.batch(step.operations))
        return undefined
      case 'read':
        return await this.#read(step.keys, this.#view(step.snapshot))
      case 'scan':
        return await this.#scan({ ...step.range, ...this.#view(step.snapshot) })
      case 'take':
        this.#snapshots[step.snapshot] = db.snapshot()
        return undefined
      case 'release':
        this.#snapshots[step.snapshot]!.release()
        this.#snapshots[step.snapshot] = undefined
        return undefined
      case 'compact':
        await this.#world.wait(db.compact())
        return undefined
      case 'idle':
        await this.#world.idle()
        return undefined
      case 'reopen':
      case 'kill':
        await this.#restart(step.kind)
        return undefined
    }
  }

  async #restart(kind: 'reopen' | 'kill'): Promise<void> {
    if (this.#restarts++ >= this.#world.restartsMax) {
      for (const snapshot of this.#snapshots.splice(0)) snapshot?.release()
    } else if (kind === 'kill') {
      this.#letGo()
      this.#db = await this.#world.kill(this.#db)
    } else {
      await this.#close()
      this.#db = await this.#world.open()
    }
  }

  #view(snapshot: number | undefined): { snapshot?: Snapshot } {
    return snapshot === undefined ? {} : { snapshot: this.#snapshots[snapshot]! }
  }

  /** In every way there is. */
  async #read(keys: readonly string[], view: { snapshot?: Snapshot }): Promise<string> {
    const db = this.#db
    const say = (value: Uint8Array | undefined) => value && text(value)
    const many = readAnswer((await db.getMany(keys, view)).map(say))
    const single = readAnswer((await Promise.all(keys.map(key => db.get(key, view)))).map(say))
    const sync = readAnswer(keys.map(key => say(db.getSync(key, view))))
    return many === single && many === sync ? many : `${many} or ${single} or ${sync}`
  }

  async #scan(options: ScanOptions): Promise<string> {
    const entries: [string, string][] = []
    for await (const [key, value] of this.#db.entries(options)) {
      entries.push([text(key), text(value)])
    }
    return scanAnswer(entries)
  }
}

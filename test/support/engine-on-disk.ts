/**
 * A database on a simulated disk, with sizes so small that a few dozen writes reach flush,
 * compaction and deep levels, and simulated time that runs only while somebody waits for it.
 */
import { yieldToEventLoop } from '../../src/clock.ts'
import { BufferPool } from '../../src/engine/buffer-pool.ts'
import {
  type Db,
  type DbOptions,
  type DbTuning,
  type FileSystem,
  InlineExecutor,
  openInEnvironment,
} from '../../src/engine/index.ts'
import { type Hasher, loadHasher } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { SimClock } from './sim-clock.ts'

export const DIRECTORY = '/db'
/** Compiled once: a test opens thousands of databases. */
const HASHER: Promise<Hasher> = loadHasher()
/** Of all of them: 2 MiB anew for each took a quarter of the time of a test of power losses. */
const BUFFERS = new BufferPool(8 * 1024 * 1024)

/** Several levels within 50 KiB. */
export const TINY_TUNING: DbOptions & DbTuning = {
  memoryBudget: 1024 * 1024,
  memtableSize: 8192,
  blockSize: 256,
  tableSizeTarget: 4096,
  level0CompactionTrigger: 2,
  baseLevelSize: 12 * 1024,
  levelSizeRatio: 3,
  openFilesMax: 8,
}

export interface EngineSettings {
  readonly clock?: SimClock
  readonly random?: Random
  readonly options?: DbOptions & DbTuning
  /** @defaultValue DIRECTORY */
  readonly directory?: string
  /** @defaultValue InlineExecutor; another one plants a bug */
  readonly executor?: typeof InlineExecutor
  /** @defaultValue the real one; another one plants a bug */
  readonly hasher?: Hasher
}

/** Opens the database in a directory of the disk. */
export async function openEngine(
  fileSystem: FileSystem,
  settings: EngineSettings = {},
): Promise<Db> {
  const { clock = new SimClock(), random = seededRandom(1), options } = settings
  const { directory = DIRECTORY, executor: ExecutorOfJobs = InlineExecutor } = settings
  const hasher = settings.hasher ?? (await HASHER)
  const executor = new ExecutorOfJobs({ fileSystem, hasher, clock, buffers: BUFFERS })
  const environment = { fileSystem, executor, clock, random, hasher }
  return drive(clock, openInEnvironment(directory, { ...TINY_TUNING, ...options }, environment))
}

/** Turns of the event loop without an answer before time moves on to the next timer. */
const PATIENCE_TURNS = 3
/** Far more than anything takes, also where the real disk is slow and turns are short. */
const TURNS_MAX = 500_000

/** Waits for the promise and lets simulated time pass when it must. Throws when it hangs. */
export async function drive<T>(clock: SimClock, promise: Promise<T>): Promise<T> {
  let settled = false
  const done = () => {
    settled = true
  }
  promise.then(done, done)
  for (let turn = 0; turn < TURNS_MAX; turn++) {
    await yieldToEventLoop()
    if (settled) return promise
    const { nextTimerMs } = clock
    if (turn % PATIENCE_TURNS !== PATIENCE_TURNS - 1 || nextTimerMs === undefined) continue
    clock.advance(Math.max(0, nextTimerMs - clock.monotonicMs()))
  }
  throw new Error(`no answer after ${TURNS_MAX} turns: it hangs`)
}

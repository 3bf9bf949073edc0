/**
 * The copies that the life of a database on a failing disk makes of it: a checkpoint, backups one
 * after another, what is restored from them, and a replica that follows its changes.
 *
 * What must hold, whatever call fails:
 *  1. A copy that was reported as made is what the database was then, also after a power loss.
 *  2. A restore that fails leaves nothing at its target, and one that is asked for again succeeds,
 *     unless the disk still fails.
 *  3. A replica gets each batch once, in order, and is then what was acknowledged.
 */
import { type Db, InlineExecutor } from '../../src/engine/index.ts'
import { restoreInEnvironment } from '../../src/engine/offline.ts'
import { KvError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import type { Random } from '../../src/random.ts'
import { ChangeFollower } from './change-follower.ts'
import { OracleError, readState, type State } from './crash-oracle.ts'
import { drive, openEngine } from './engine-on-disk.ts'
import type { FailingFileSystem } from './failing-file-system.ts'
import type { MemoryFileSystem } from './memory-file-system.ts'
import { SimClock } from './sim-clock.ts'

const CHECKPOINT = '/copies/one'
const BACKUPS = '/backups'
const HASHER = loadHasher()

type Disk = FailingFileSystem | MemoryFileSystem

/** Restores the newest backup. */
export async function restoreOn(disk: Disk, target: string, random: Random): Promise<void> {
  const clock = new SimClock()
  const executor = new InlineExecutor({ fileSystem: disk, hasher: await HASHER, clock })
  const environment = { fileSystem: disk, executor, clock, random }
  await drive(clock, restoreInEnvironment(BACKUPS, target, {}, environment))
}

/** How the life makes calls that may fail; see error-life.ts. */
export interface Attempts {
  readonly disk: FailingFileSystem
  readonly clock: SimClock
  readonly random: Random
  /** The result, or undefined after a clean failure. */
  attempt<T>(call: () => Promise<T>): Promise<T | undefined>
  /** The same, asked again once when the disk has recovered. */
  read<T>(call: () => Promise<T>): Promise<T | undefined>
}

export class ErrorCopies {
  readonly #attempts: Attempts
  /** By directory, of what was reported as made. */
  readonly #made = new Map<string, State>()
  #backedUp: State | undefined
  #restores = 0
  #follower: ChangeFollower | undefined

  constructor(attempts: Attempts) {
    this.#attempts = attempts
  }

  /** Copies that were made, of each kind one at least. */
  get isComplete(): boolean {
    return this.#made.size >= 2 && this.#follower !== undefined
  }

  async checkpoint(db: Db, state: State): Promise<void> {
    const { attempt, clock } = this.#attempts
    const made = await attempt(() => drive(clock, db.checkpoint(CHECKPOINT)))
    if (made !== undefined) this.#made.set(CHECKPOINT, state)
  }

  async backup(db: Db, state: State): Promise<void> {
    const { attempt, clock } = this.#attempts
    const made = await attempt(() => drive(clock, db.backup(BACKUPS, { keep: 2 })))
    // Whether one that failed came into force all the same, nobody knows.
    this.#backedUp = made === undefined ? undefined : state
  }

  async restore(): Promise<void> {
    const { attempt, read, disk, random } = this.#attempts
    const state = this.#backedUp
    if (state === undefined) return
    let tries = 0
    const target = await read(async () => {
      tries++
      const place = `/restored/${this.#restores++}`
      await restoreOn(disk, place, random)
      return place
    })
    if (target === undefined) return
    if (tries > 2) throw new OracleError('a restore was tried too often')
    this.#made.set(target, state)
    const found = await attempt(() => readCopy(disk, target, random))
    if (found !== undefined) expectSame(found, state, 'what was restored')
  }

  /** A replica begins with what is there, and the log is kept for it. */
  async hold(db: Db, state: State): Promise<void> {
    const { sequence } = db.stats()
    const hold = await this.#attempts.attempt(async () => db.holdWal(sequence + 1))
    if (hold === undefined) return
    const follower = new ChangeFollower()
    follower.sequence = sequence
    for (const [key, value] of state) follower.entries.set(key, { value, expiryMs: 0 })
    this.#follower = follower
  }

  /** Lets the replica catch up; `state` is what it has to be then. */
  async follow(db: Db, state: State): Promise<void> {
    const follower = this.#follower
    if (follower === undefined) return
    const { read, clock } = this.#attempts
    const { sequence } = db.stats()
    const done = await read(async () => {
      await using feed = db.changes({ after: follower.sequence })
      try {
        await drive(clock, follower.follow(feed, sequence))
        return true
      } catch (error) {
        // Then it ends behind what is durable, which need not be all that is visible.
        if (error instanceof KvError && error.code === 'KV_POISONED') return false
        throw error
      }
    })
    if (done === true) expectSame(follower.state(0), state, 'a replica')
  }

  /** What is left of the copies after the disk was mended. */
  async judge(disk: MemoryFileSystem, random: Random): Promise<void> {
    for (const [directory, state] of this.#made) {
      expectSame(await readCopy(disk, directory, random), state, `the copy ${directory}`)
    }
    if (this.#backedUp === undefined) return
    await restoreOn(disk, '/restored/last', random)
    expectSame(await readCopy(disk, '/restored/last', random), this.#backedUp, 'the backup')
  }
}

async function readCopy(disk: Disk, directory: string, random: Random): Promise<State> {
  const clock = new SimClock()
  const options = { createIfMissing: false }
  const copy = await openEngine(disk, { directory, clock, random, options })
  const found = await readState(copy)
  await drive(clock, copy.close())
  return found
}

function expectSame(found: State, expected: State, what: string): void {
  const isSame =
    found.size === expected.size && [...found].every(([key, value]) => expected.get(key) === value)
  if (!isSame) throw new OracleError(`${what} is not what was acknowledged`)
}

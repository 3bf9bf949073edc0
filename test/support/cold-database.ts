/**
 * A small database that keeps the tables of its last level in a second directory, on a simulated
 * disk, for the tests of that.
 */
import assert from 'node:assert/strict'
import { type Db, type DbOptions, InlineExecutor } from '../../src/engine/index.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { readState } from './crash-oracle.ts'
import { drive, openEngine } from './engine-on-disk.ts'
import type { FailingFileSystem } from './failing-file-system.ts'
import type { MemoryFileSystem } from './memory-file-system.ts'
import { SimClock } from './sim-clock.ts'

export const COLD = '/slow/cold'
export const KEYS = 400

export interface Life {
  readonly db: Db
  readonly clock: SimClock
}

export async function begin(
  disk: MemoryFileSystem | FailingFileSystem,
  coldDirectory: string | null | undefined,
  options: DbOptions = {},
): Promise<Life> {
  const clock = new SimClock()
  const cold = coldDirectory === undefined ? {} : { coldDirectory }
  return { clock, db: await openEngine(disk, { clock, options: { ...options, ...cold } }) }
}

export async function fill({ db, clock }: Life, round = 0): Promise<void> {
  for (let index = 0; index < KEYS; index++) {
    const key = `key-${String((index * 37) % KEYS).padStart(4, '0')}`
    await drive(clock, db.put(key, `${round} ${index} ${'v'.repeat(60)}`))
  }
  await settle({ db, clock })
}

export async function settle({ db, clock }: Life): Promise<void> {
  await drive(clock, db.compact())
  await clock.advanceAsync(10_000, 30)
}

export async function close({ db, clock }: Life): Promise<void> {
  await drive(clock, db.close())
}

export function tablesIn(disk: MemoryFileSystem, directory: string): number {
  return disk.paths().filter(path => path.startsWith(`${directory}/`) && path.endsWith('.sst'))
    .length
}

export async function environment(fileSystem: MemoryFileSystem) {
  const clock = new SimClock()
  const executor = new InlineExecutor({ fileSystem, hasher: await loadHasher(), clock })
  return { fileSystem, executor, clock, random: seededRandom(5) }
}

/** A database with all its tables in the second directory, closed, and what it holds. */
export async function coldDatabase(disk: MemoryFileSystem): Promise<Map<string, string>> {
  const life = await begin(disk, COLD)
  await fill(life)
  const state = await readState(life.db)
  assert.equal(state.size, KEYS)
  await close(life)
  assert.ok(tablesIn(disk, COLD) > 3)
  return state
}

/**
 * Reads of keys for the abstract-level adapter: what abstract-level calls, against the engine. A
 * key that is longer than keys can be is absent. Errors are those that abstract-level knows.
 *
 * Invariant: whoever awaits one read after another, or many keys at once, lets the event loop turn
 * about every millisecond.
 */
import { checkFlag } from './arguments.ts'
import type { Db } from './engine/index.ts'
import type { EventLoopBudget } from './event-loop-budget.ts'
import { KEY_SIZE_MAX, type ReadOptions } from './key-value-store.ts'
import { levelError } from './level-error.ts'
import { formatted, type LevelData, type LevelFormat, storedKey } from './level-key.ts'
import { checkAmount } from './level-options.ts'
import type { LevelSource } from './level-reader.ts'
import { engineSnapshot, type LevelSnapshot } from './level-snapshot.ts'

/** Keys that are looked for at a time: about half a millisecond. */
const KEYS_PER_SLICE = 128

export interface LevelReadOptions {
  readonly keyEncoding: LevelFormat
  readonly valueEncoding: LevelFormat
  readonly snapshot?: LevelSnapshot | null | undefined
  readonly fillCache?: boolean | undefined
  readonly highWaterMarkBytes?: number | undefined
}

export async function getValue(
  db: Db,
  key: LevelData,
  options: LevelReadOptions,
): Promise<LevelData | undefined> {
  try {
    const stored = storedKey(key)
    const value = isPossible(stored) ? await db.get(stored, readOptions(options)) : undefined
    return value === undefined ? undefined : formatted(value, options.valueEncoding)
  } catch (error) {
    throw levelError(error)
  }
}

export function getValueSync(
  db: Db,
  key: LevelData,
  options: LevelReadOptions,
): LevelData | undefined {
  try {
    const stored = storedKey(key)
    if (!isPossible(stored)) return undefined
    const value = db.getSync(stored, readOptions(options))
    return value === undefined ? undefined : formatted(value, options.valueEncoding)
  } catch (error) {
    throw levelError(error)
  }
}

/** All of one moment. */
export async function getValues(
  db: Db,
  keys: readonly LevelData[],
  options: LevelReadOptions,
): Promise<(LevelData | undefined)[]> {
  try {
    const stored = keys.map(storedKey)
    const found = await db.getMany(stored.filter(isPossible), readOptions(options))
    const values = found.values()
    return stored.map(key => {
      const value = isPossible(key) ? values.next().value : undefined
      return value && formatted(value, options.valueEncoding)
    })
  } catch (error) {
    throw levelError(error)
  }
}

/** All of one moment. */
export async function hasKeys(
  db: Db,
  keys: readonly LevelData[],
  options: LevelReadOptions,
): Promise<boolean[]> {
  try {
    const given = readOptions(options)?.snapshot
    const snapshot = given ?? db.snapshot()
    try {
      const present: boolean[] = []
      for (let from = 0; from < keys.length; from += KEYS_PER_SLICE) {
        const slice = keys.slice(from, from + KEYS_PER_SLICE).map(storedKey)
        const found = slice.map(key => isPossible(key) && db.has(key, { snapshot }))
        for (const isThere of await Promise.all(found)) present.push(isThere)
      }
      return present
    } finally {
      if (given === undefined) snapshot.release()
    }
  } catch (error) {
    throw levelError(error)
  }
}

type GivenOptions = Pick<LevelReadOptions, 'snapshot' | 'fillCache' | 'highWaterMarkBytes'>

/**
 * What to read from: the caller's snapshot, or one of this moment that the reader releases. Throws
 * InvalidArgumentError for options that are of another kind.
 */
export function sourceFor(db: Db, options: GivenOptions, budget: EventLoopBudget): LevelSource {
  const given = readOptions(options)?.snapshot
  return { db, snapshot: given ?? db.snapshot(), isOwned: given === undefined, budget }
}

function readOptions(options: GivenOptions): Required<Pick<ReadOptions, 'snapshot'>> | undefined {
  checkFlag(options.fillCache, 'fillCache')
  checkAmount(options.highWaterMarkBytes, 'highWaterMarkBytes')
  const snapshot = engineSnapshot(options.snapshot)
  return snapshot === undefined ? undefined : { snapshot }
}

function isPossible(stored: Uint8Array): boolean {
  return stored.length <= KEY_SIZE_MAX
}

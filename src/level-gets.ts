/**
 * Reads of keys for the abstract-level adapter: what abstract-level calls, against the engine. A
 * key that is longer than keys can be is absent. Errors are those that abstract-level knows.
 */
import { attempt } from './attempt.ts'
import type { Db } from './engine/index.ts'
import { type Snapshot as EngineSnapshot, KEY_SIZE_MAX } from './key-value-store.ts'
import { levelError } from './level-error.ts'
import { formatted, type LevelData, type LevelFormat, storedKey } from './level-key.ts'
import type { LevelSource } from './level-reader.ts'
import { engineSnapshot, type LevelSnapshot } from './level-snapshot.ts'

export interface LevelReadOptions {
  readonly keyEncoding: LevelFormat
  readonly valueEncoding: LevelFormat
  readonly snapshot?: LevelSnapshot | null | undefined
}

export async function getValue(
  db: Db,
  key: LevelData,
  { snapshot, valueEncoding }: LevelReadOptions,
): Promise<LevelData | undefined> {
  try {
    const value = await read(db, key, engineSnapshot(snapshot))
    return value === undefined ? undefined : formatted(value, valueEncoding)
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
    if (stored.length > KEY_SIZE_MAX) return undefined
    const snapshot = engineSnapshot(options.snapshot)
    const value = db.getSync(stored, snapshot === undefined ? undefined : { snapshot })
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
    const { snapshot, isOwned } = sourceFor(db, options)
    try {
      const values = await Promise.all(keys.map(key => attempt(() => read(db, key, snapshot))))
      return values.map(value => value && formatted(value, options.valueEncoding))
    } finally {
      if (isOwned) snapshot.release()
    }
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
    const { snapshot, isOwned } = sourceFor(db, options)
    try {
      return await Promise.all(
        keys.map(key => {
          const stored = storedKey(key)
          return stored.length > KEY_SIZE_MAX ? false : db.has(stored, { snapshot })
        }),
      )
    } finally {
      if (isOwned) snapshot.release()
    }
  } catch (error) {
    throw levelError(error)
  }
}

/** What to read from: the caller's snapshot, or one of this moment that the reader releases. */
export function sourceFor(db: Db, options: Pick<LevelReadOptions, 'snapshot'>): LevelSource {
  const given = engineSnapshot(options.snapshot)
  return { db, snapshot: given ?? db.snapshot(), isOwned: given === undefined }
}

function read(
  db: Db,
  key: LevelData,
  snapshot: EngineSnapshot | undefined,
): Uint8Array | undefined | Promise<Uint8Array | undefined> {
  const stored = storedKey(key)
  return stored.length > KEY_SIZE_MAX ? undefined : db.read(stored, snapshot)
}

/** The writes of abstract-level in the words of the engine. */
import { checkFlag } from './arguments.ts'
import type { BatchOperation, Durability, PutOptions } from './key-value-store.ts'
import { dataBytes, type LevelData, storedKey } from './level-key.ts'
import type { WriteOptions } from './level-options.ts'

/** An operation of a batch as abstract-level hands it over: encoded, its options beside it. */
export type LevelOperation =
  | { type: 'put'; key: LevelData; value: LevelData; ttlMs?: number | undefined }
  | { type: 'del'; key: LevelData }

export interface LevelWriteOptions extends WriteOptions {
  readonly ttlMs?: number | undefined
}

/** The engine's options for those of a put, del, batch or clear. */
export function putOptions(options: LevelWriteOptions): PutOptions {
  const durability = writeDurability(options)
  const { ttlMs } = options
  return {
    ...(durability !== undefined && { durability }),
    ...(ttlMs !== undefined && { ttlMs }),
  }
}

/**
 * putOptions of a batch. With a prewrite hook abstract-level turns a put into a batch with the
 * options of the put, each of which it also gives to the operation, where `ttlMs` belongs; one that
 * no put has taken over is left for the engine to refuse.
 */
export function batchOptions(
  operations: readonly LevelOperation[],
  options: LevelWriteOptions,
): PutOptions {
  const { ttlMs } = options
  if (ttlMs === undefined) return putOptions(options)
  const isTaken = operations.some(
    operation => operation.type === 'put' && operation.ttlMs === ttlMs,
  )
  return putOptions(isTaken ? { ...options, ttlMs: undefined } : options)
}

/**
 * What a write asks for; undefined for what the database gives by itself. Throws
 * InvalidArgumentError.
 */
function writeDurability({ sync, durability }: WriteOptions): Durability | undefined {
  checkFlag(sync, 'sync')
  if (durability !== undefined || sync === undefined) return durability
  return sync ? 'sync' : 'interval'
}

export function engineOperation(operation: LevelOperation): BatchOperation {
  const key = storedKey(operation.key)
  if (operation.type === 'del') return { type: 'del', key }
  const { ttlMs } = operation
  const value = dataBytes(operation.value)
  return { type: 'put', key, value, ...(ttlMs !== undefined && { ttlMs }) }
}

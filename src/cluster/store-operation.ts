/** Operations of users as the store keeps them. */
import { InvalidArgumentError } from '../errors.ts'
import { UINT48_MAX, versionTimeMs } from '../write-version.ts'
import type { Allocate } from './byte-slab.ts'
import { PARTITION_SIZE } from './partition.ts'
import { encodeTombstone, encodeValue, STORED_HEADER_SIZE_MAX } from './versioned-value.ts'

export type StoreWrite =
  | {
      readonly type: 'put'
      readonly key: Uint8Array
      readonly value: Uint8Array
      /** Milliseconds from the version on; 0 for never. */
      readonly ttlMs: number
      /** Instead of ttlMs: milliseconds since the Unix epoch; 0 for never. */
      readonly expiryMs?: number
    }
  | { readonly type: 'del'; readonly key: Uint8Array }

/** What engine keys and stored forms take at most. */
export function sizeOf(operations: readonly StoreWrite[]): number {
  let size = operations.length * (PARTITION_SIZE + STORED_HEADER_SIZE_MAX)
  for (const operation of operations) {
    size += operation.key.length + (operation.type === 'put' ? operation.value.length : 0)
  }
  return size
}

/** Throws InvalidArgumentError for a time to live that is not positive. */
export function encodeOperation(
  operation: StoreWrite,
  version: Uint8Array,
  allocate: Allocate,
): Uint8Array {
  if (operation.type === 'del') return encodeTombstone(version, allocate)
  const { ttlMs, value, expiryMs } = operation
  if (expiryMs !== undefined) {
    return encodeValue(version, value, Math.min(expiryMs, UINT48_MAX), allocate)
  }
  if (ttlMs === 0) return encodeValue(version, value, 0, allocate)
  if (!(ttlMs > 0)) throw new InvalidArgumentError(`ttlMs must be positive, got ${ttlMs}`)
  const until = Math.ceil(versionTimeMs(version) + ttlMs)
  return encodeValue(version, value, Math.min(until, UINT48_MAX), allocate)
}

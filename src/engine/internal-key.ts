/**
 * Internal entries: what memtables and SSTables hold for a user key.
 *
 * An entry is (user key, sequence number, kind, value). Entries sort by user key in unsigned byte
 * order, then by sequence number from the newest down, so the first entry at or below a snapshot's
 * sequence is the one the snapshot sees.
 *
 * In memory a sequence is a plain number (no BigInt: 196 ns against 6 ns to pack and store).
 */
/** Part of the on-disk formats. Append only; never renumber. 0 is never valid. */
export const EntryKind = {
  /** value = the user's value */
  put: 1,
  /** value = empty */
  delete: 2,
  /** value = expiry u64 (ms since the Unix epoch) | the user's value */
  putExpiring: 3,
  /**
   * WAL and memtables only; tables hold fragments (range-fragment.ts). user key = first key, value
   * = first key after the range, or empty when there is none.
   */
  deleteRange: 4,
  /** WAL only: an opaque blob of the layer above (`logData`). Never in a table. */
  logData: 5,
} as const
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind]
export const ENTRY_KIND_MAX = 5

/** Bytes of the expiry in front of a putExpiring value. */
export const EXPIRY_SIZE = 8

/** Writes are refused from here on; at a million writes a second that is in 285 years. */
export const SEQUENCE_MAX = Number.MAX_SAFE_INTEGER - 2 ** 32
/**
 * What a field for a sequence holds before it has one: no entry's. Sequences read from blocks are
 * floating-point numbers to the compiler; a field that began as a small integer would make it
 * compile everything that touches the object again.
 */
export const NO_SEQUENCE: number = Number.MAX_SAFE_INTEGER

/** Reads the expiry of a putExpiring value that starts at `offset`: ms since the Unix epoch. */
export function readExpiry(source: Uint8Array, offset: number): number {
  const low =
    (source[offset]! |
      (source[offset + 1]! << 8) |
      (source[offset + 2]! << 16) |
      (source[offset + 3]! << 24)) >>>
    0
  const high =
    (source[offset + 4]! |
      (source[offset + 5]! << 8) |
      (source[offset + 6]! << 16) |
      (source[offset + 7]! << 24)) >>>
    0
  return high * 0x1_0000_0000 + low
}

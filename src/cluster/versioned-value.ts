/**
 * What is stored under an engine key: the user's value, or a tombstone, with its version.
 *
 *   stored  := form u8 (1) | flags u8 | version [16] | expiry u48, if flags has it | value
 *   version: see write-version.ts
 *   flags   := 0x01 tombstone (nothing follows the version) | 0x02 expiring
 *
 * Integers are big-endian, so that versions compare as bytes. `time` and `expiry` are milliseconds
 * since the Unix epoch. Golden bytes: PROTOCOL.md.
 *
 * Of two stored forms of a key the later one wins: by version, then a tombstone over a value, then
 * the larger bytes. That is a total order, so taking the later one is commutative, associative and
 * idempotent: replicas that have seen the same writes, in any order, hold the same bytes.
 */
import { assert } from '../assert.ts'
import { compareBytes, compareRanges, DecodeError } from '../bytes.ts'
import { readUint48, VERSION_SIZE, writeUint48 } from '../write-version.ts'
import { type Allocate, allocateAlone } from './byte-slab.ts'

/** Part of the stored form. Append only; never renumber. 0 is never valid. */
export const STORED_FORM = 1

const FLAGS_OFFSET = 1
const VERSION_OFFSET = 2
const PLAIN_HEADER_SIZE = VERSION_OFFSET + VERSION_SIZE
const EXPIRY_SIZE = 6
const EXPIRING_HEADER_SIZE = PLAIN_HEADER_SIZE + EXPIRY_SIZE
/** Bytes that a stored value has at most besides the user's value. */
export const STORED_HEADER_SIZE_MAX = EXPIRING_HEADER_SIZE

const StoredFlag = { tombstone: 1, expiring: 2 } as const

/** `expiryMs` 0 is never. */
export function encodeValue(
  version: Uint8Array,
  value: Uint8Array,
  expiryMs: number,
  allocate: Allocate = allocateAlone,
): Uint8Array {
  const headerSize = expiryMs === 0 ? PLAIN_HEADER_SIZE : EXPIRING_HEADER_SIZE
  const stored = allocate(headerSize + value.length)
  writeHeader(stored, expiryMs === 0 ? 0 : StoredFlag.expiring, version)
  if (expiryMs !== 0) writeUint48(stored, PLAIN_HEADER_SIZE, expiryMs)
  stored.set(value, headerSize)
  return stored
}

export function encodeTombstone(
  version: Uint8Array,
  allocate: Allocate = allocateAlone,
): Uint8Array {
  const stored = allocate(PLAIN_HEADER_SIZE)
  writeHeader(stored, StoredFlag.tombstone, version)
  return stored
}

function writeHeader(stored: Uint8Array, flags: number, version: Uint8Array): void {
  assert(version.length === VERSION_SIZE, 'a version has 16 bytes')
  stored[0] = STORED_FORM
  stored[FLAGS_OFFSET] = flags
  stored.set(version, VERSION_OFFSET)
}

/** Throws DecodeError unless the bytes are a stored form that this build understands. */
export function checkStored(stored: Uint8Array): void {
  checkFlags(stored, 0, stored.length)
}

/** The flags of the stored form bytes[start, end). Throws DecodeError as checkStored does. */
function checkFlags(bytes: Uint8Array, start: number, end: number): number {
  const size = end - start
  if (size < PLAIN_HEADER_SIZE) {
    throw new DecodeError(`${size} bytes are too few for a version`, 0)
  }
  if (bytes[start] !== STORED_FORM) throw new DecodeError(`unknown stored form ${bytes[start]}`, 0)
  const flags = bytes[start + FLAGS_OFFSET]!
  if (flags === 0) return flags
  if (flags === StoredFlag.tombstone) {
    if (size === PLAIN_HEADER_SIZE) return flags
    throw new DecodeError('a tombstone has no value', PLAIN_HEADER_SIZE)
  }
  if (flags !== StoredFlag.expiring) {
    throw new DecodeError(`unknown flags 0x${flags.toString(16)}`, FLAGS_OFFSET)
  }
  if (size < EXPIRING_HEADER_SIZE) {
    throw new DecodeError('the expiry is incomplete', PLAIN_HEADER_SIZE)
  }
  return flags
}

/** The user's value, borrowed, or undefined when deleted or expired. Throws DecodeError. */
export function liveValue(stored: Uint8Array, nowMs: number): Uint8Array | undefined {
  const start = liveValueStart(stored, 0, stored.length, nowMs)
  return start < 0 ? undefined : stored.subarray(start)
}

/**
 * Where the user's value begins in the stored form bytes[start, end), which it ends with; -1 when
 * deleted or expired. Throws DecodeError.
 */
export function liveValueStart(
  bytes: Uint8Array,
  start: number,
  end: number,
  nowMs: number,
): number {
  const flags = checkFlags(bytes, start, end)
  if (flags === 0) return start + PLAIN_HEADER_SIZE
  if (flags === StoredFlag.tombstone) return -1
  const isExpired = readUint48(bytes, start + PLAIN_HEADER_SIZE) <= nowMs
  return isExpired ? -1 : start + EXPIRING_HEADER_SIZE
}

export function isTombstone(stored: Uint8Array): boolean {
  return stored[FLAGS_OFFSET] === StoredFlag.tombstone
}

/** Milliseconds since the Unix epoch; 0 for never. Requires checked bytes. */
export function expiryMs(stored: Uint8Array): number {
  return stored[FLAGS_OFFSET] === StoredFlag.expiring ? readUint48(stored, PLAIN_HEADER_SIZE) : 0
}

/** The time of the stored version. Requires checked bytes. */
export function storedTimeMs(stored: Uint8Array): number {
  return readUint48(stored, VERSION_OFFSET)
}

/** The stored version, borrowed. Requires checked bytes. */
export function storedVersion(stored: Uint8Array): Uint8Array {
  return stored.subarray(VERSION_OFFSET, PLAIN_HEADER_SIZE)
}

/** Where the value begins in the stored form bytes[start, end), live or not. Throws DecodeError. */
export function storedHeadEnd(bytes: Uint8Array, start: number, end: number): number {
  const flags = checkFlags(bytes, start, end)
  return start + (flags === StoredFlag.expiring ? EXPIRING_HEADER_SIZE : PLAIN_HEADER_SIZE)
}

/**
 * From when on the stored form bytes[start, end) is nothing but a deletion: the time of a
 * tombstone's version, for an expiring value that of its expiry, if later. Infinity for a value
 * that stays. In milliseconds since the Unix epoch. Throws DecodeError.
 */
export function purgeTimeMs(bytes: Uint8Array, start: number, end: number): number {
  const flags = checkFlags(bytes, start, end)
  if (flags === 0) return Number.POSITIVE_INFINITY
  const timeMs = readUint48(bytes, start + VERSION_OFFSET)
  if (flags === StoredFlag.tombstone) return timeMs
  return Math.max(timeMs, readUint48(bytes, start + PLAIN_HEADER_SIZE))
}

/** Positive when `a` is the later of two stored forms of a key. Requires checked bytes. */
export function compareStored(a: Uint8Array, b: Uint8Array): number {
  const end = VERSION_OFFSET + VERSION_SIZE
  const byVersion = compareRanges(a, VERSION_OFFSET, end, b, VERSION_OFFSET, end)
  if (byVersion !== 0) return byVersion
  const byKind = Number(isTombstone(a)) - Number(isTombstone(b))
  return byKind !== 0 ? byKind : compareBytes(a, b)
}

/** The later of two stored forms of a key: the one conflict rule. Requires checked bytes. */
export function mergeStored(a: Uint8Array, b: Uint8Array): Uint8Array {
  return compareStored(a, b) >= 0 ? a : b
}

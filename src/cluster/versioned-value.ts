/**
 * What is stored under an engine key: the user's value, or a tombstone, with its version.
 *
 *   stored  := form u8 (1) | flags u8 | version [16] | expiry u48, if flags has it | value
 *   version := time u48 | counter u16 | writer [8]
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
import { type Allocate, allocateAlone } from './byte-slab.ts'

/** Part of the stored form. Append only; never renumber. 0 is never valid. */
export const STORED_FORM = 1
export const VERSION_SIZE = 16
export const WRITER_SIZE = 8

const FLAGS_OFFSET = 1
const VERSION_OFFSET = 2
const PLAIN_HEADER_SIZE = VERSION_OFFSET + VERSION_SIZE
const EXPIRY_SIZE = 6
const EXPIRING_HEADER_SIZE = PLAIN_HEADER_SIZE + EXPIRY_SIZE
/** Bytes that a stored value has at most besides the user's value. */
export const STORED_HEADER_SIZE_MAX = EXPIRING_HEADER_SIZE

const StoredFlag = { tombstone: 1, expiring: 2 } as const

export const UINT48_MAX = 2 ** 48 - 1
const COUNTER_MAX = 0xffff

/** The time of a version, in milliseconds since the Unix epoch. */
export function versionTimeMs(version: Uint8Array, offset = 0): number {
  return readUint48(version, offset)
}

export function versionCounter(version: Uint8Array): number {
  return version[6]! * 256 + version[7]!
}

export function encodeVersion(timeMs: number, counter: number, writer: Uint8Array): Uint8Array {
  assert(counter >= 0 && counter <= COUNTER_MAX, 'the counter has 16 bits')
  assert(writer.length === WRITER_SIZE, 'a writer id has 8 bytes')
  const version = new Uint8Array(VERSION_SIZE)
  writeUint48(version, 0, timeMs)
  version[6] = counter >>> 8
  version[7] = counter
  version.set(writer, 8)
  return version
}

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

export function readUint48(source: Uint8Array, offset: number): number {
  const high = source[offset]! * 256 + source[offset + 1]!
  const low =
    ((source[offset + 2]! << 24) |
      (source[offset + 3]! << 16) |
      (source[offset + 4]! << 8) |
      source[offset + 5]!) >>>
    0
  return high * 0x1_0000_0000 + low
}

export function writeUint48(target: Uint8Array, offset: number, value: number): void {
  assert(Number.isInteger(value) && value >= 0 && value <= UINT48_MAX, 'a time fits 48 bits')
  const low = value % 0x1_0000_0000
  const high = (value - low) / 0x1_0000_0000
  target[offset] = high >>> 8
  target[offset + 1] = high
  target[offset + 2] = low >>> 24
  target[offset + 3] = low >>> 16
  target[offset + 4] = low >>> 8
  target[offset + 5] = low
}

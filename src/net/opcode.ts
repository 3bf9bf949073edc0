/**
 * The code tables of the wire protocol: operations, statuses, flags, features and versions.
 *
 * Every table is append-only: a code is never renumbered and never reused, and 0 is reserved in
 * each, so that zeroed bytes never decode as something. PROTOCOL.md says what each code means.
 */
import type { KvErrorCode } from '../errors.ts'
import type { Consistency, Durability } from '../key-value-store.ts'

/** The range of protocol versions that this build speaks. */
export const PROTOCOL_VERSION_MIN = 1
export const PROTOCOL_VERSION_MAX = 1

/** What a request asks for, and which request a reply answers. Append only; never renumber. */
export const Opcode = {
  hello: 1,
  ping: 2,
  get: 3,
  getMany: 4,
  put: 5,
  delete: 6,
  batch: 7,
  scanOpen: 8,
  scanNext: 9,
  scanClose: 10,
  count: 11,
  stats: 12,
  cancel: 13,
  /** Pushed by the server: it is about to close; send new requests elsewhere. */
  goaway: 14,
  /** Reserved: proof of identity in several steps, after HELLO. */
  auth: 15,
  /** The ring that the server goes by; pushed by it as well, to those who have `ringPush`. */
  ringMap: 16,
  /** Reserved: subscribe to changes of a range, and the events pushed for it. */
  watch: 17,
  unwatch: 18,
  deleteRange: 19,
  /** Asks a server about itself, or to do something; which, is not of the protocol. */
  admin: 20,
  /** A value with its expiry and version. */
  getEntry: 21,
  // 128 and above are reserved for messages between servers.
} as const
export type Opcode = (typeof Opcode)[keyof typeof Opcode]

/** What reads data, and what writes it; all else does neither. */
export const READ_OPCODES: ReadonlySet<number> = new Set<Opcode>([
  Opcode.get,
  Opcode.getEntry,
  Opcode.getMany,
  Opcode.scanOpen,
  Opcode.scanNext,
  Opcode.count,
])
export const WRITE_OPCODES: ReadonlySet<number> = new Set<Opcode>([
  Opcode.put,
  Opcode.delete,
  Opcode.batch,
  Opcode.deleteRange,
])

/** Operations this build serves or sends; one counter each in the statistics. */
export const OPERATION_NAMES = [
  'hello',
  'ping',
  'get',
  'getMany',
  'put',
  'delete',
  'batch',
  'scanOpen',
  'scanNext',
  'scanClose',
  'count',
  'stats',
  'cancel',
  'ringMap',
  'admin',
  'getEntry',
] as const

/** How a request went. 16 and above are errors, one for each KvErrorCode. Append only. */
export const Status = {
  ok: 1,
  /** GET and GET_ENTRY only: the key is absent or expired. */
  absent: 2,
  invalidArgument: 16,
  notFound: 17,
  closed: 18,
  locked: 19,
  corruption: 20,
  io: 21,
  poisoned: 22,
  aborted: 23,
  timeout: 24,
  unavailable: 25,
  overloaded: 26,
  protocol: 27,
  versionMismatch: 28,
  authentication: 29,
  clockSkew: 30,
  internal: 31,
  changesGone: 32,
  permission: 33,
} as const
export type Status = (typeof Status)[keyof typeof Status]
/** Statuses from here on are errors and carry the error body. */
export const STATUS_ERROR_MIN = 16

/** The one-to-one map of errors to statuses. */
export const STATUS_OF_CODE: Readonly<Record<KvErrorCode, number>> = {
  KV_INVALID_ARGUMENT: Status.invalidArgument,
  KV_NOT_FOUND: Status.notFound,
  KV_CLOSED: Status.closed,
  KV_LOCKED: Status.locked,
  KV_CORRUPTION: Status.corruption,
  KV_IO: Status.io,
  KV_POISONED: Status.poisoned,
  KV_ABORTED: Status.aborted,
  KV_TIMEOUT: Status.timeout,
  KV_UNAVAILABLE: Status.unavailable,
  KV_OVERLOADED: Status.overloaded,
  KV_PROTOCOL: Status.protocol,
  KV_VERSION_MISMATCH: Status.versionMismatch,
  KV_AUTHENTICATION: Status.authentication,
  KV_CLOCK_SKEW: Status.clockSkew,
  KV_INTERNAL: Status.internal,
  KV_CHANGES_GONE: Status.changesGone,
  KV_PERMISSION: Status.permission,
}

/** The error code of a status, or undefined when it is not an error that this build knows. */
export function codeOfStatus(status: number): KvErrorCode | undefined {
  for (const [code, known] of Object.entries(STATUS_OF_CODE)) {
    if (known === status) return code as KvErrorCode
  }
  return undefined
}

/** Bits of the flags byte of a request header. Unknown bits are refused. */
export const RequestFlag = {
  /** The 16-byte version of the write follows the header. */
  version: 1,
  /** PUT only: an 8-byte time to live stands in front of the key. */
  ttl: 2,
} as const
export const REQUEST_FLAGS_KNOWN = RequestFlag.version | RequestFlag.ttl

/** Optional abilities, negotiated by HELLO: the answer holds those that both sides offered. */
export const Feature = {
  /** Reserved: a checksum behind every frame, for links that cannot be trusted without TLS. */
  frameChecksum: 1,
  /** Reserved: compressed frames. */
  compression: 2,
  /** Replies to writes carry the server's time when their version lies away from it. */
  serverTime: 4,
  /** The server tells its new ring unasked, after each change. */
  ringPush: 8,
} as const
export const FEATURES_SUPPORTED = Feature.serverTime | Feature.ringPush

/** Consistency as a byte; 0 leaves it to the server, which then uses `one`. Append only. */
const CONSISTENCY_CODES = { one: 1, quorum: 2, all: 3 } as const satisfies Record<
  Consistency,
  number
>
const CONSISTENCIES: readonly (Consistency | undefined)[] = [undefined, 'one', 'quorum', 'all']

/** Durability as a byte; 0 leaves it to the server's own setting. Append only. */
const DURABILITY_CODES = { sync: 1, interval: 2, none: 3 } as const satisfies Record<
  Durability,
  number
>
const DURABILITIES: readonly (Durability | undefined)[] = [undefined, 'sync', 'interval', 'none']

export function consistencyCode(consistency: Consistency | undefined): number {
  return consistency === undefined ? 0 : CONSISTENCY_CODES[consistency]
}

/** The meaning of a known code; undefined for 0 and for unknown codes. */
export function consistencyOf(code: number): Consistency | undefined {
  return CONSISTENCIES[code]
}

export const CONSISTENCY_CODE_MAX = 3

export function durabilityCode(durability: Durability | undefined): number {
  return durability === undefined ? 0 : DURABILITY_CODES[durability]
}

/** The meaning of a known code; undefined for 0 and for unknown codes. */
export function durabilityOf(code: number): Durability | undefined {
  return DURABILITIES[code]
}

export const DURABILITY_CODE_MAX = 3

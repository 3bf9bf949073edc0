/**
 * Every limit of the network layer, by name, with what happens at it. First the constants that are
 * part of the protocol, then the limits that a server's operator may set.
 */
import { InvalidArgumentError } from '../errors.ts'
import { KEY_SIZE_MAX, VALUE_SIZE_MAX } from '../key-value-store.ts'

const KIB = 1024
const MIB = 1024 * KIB

/** The port of `kv://host` without one. */
export const DEFAULT_PORT = 7700

/** A first frame longer than this is not a HELLO: the connection is closed. */
export const HELLO_FRAME_SIZE_MAX = 4 * KIB
/** Longer names and credentials are refused as malformed. */
export const CLIENT_NAME_SIZE_MAX = 256
export const CREDENTIALS_SIZE_MAX = 1024
/** A PING that carries more is refused as malformed. */
export const PING_SIZE_MAX = 1024
/** Longer error messages are cut by the sender. */
export const ERROR_MESSAGE_SIZE_MAX = 2 * KIB
/** A scan cursor is opaque, and at most this long; a longer one is refused as malformed. */
export const CURSOR_SIZE_MAX = 65_535
/** Bytes of a write version. */
export const WRITE_VERSION_SIZE = 16
/** Everything of a one-entry PUT, reply or page besides its key and value is shorter than this. */
export const FRAME_OVERHEAD_MAX = 4 * KIB
/** Of a batch of so many operations at most a handler copies what it keeps; see RequestHandler. */
export const BATCH_COPIED_MAX = 128

/** What a server allows. Each limit protects other clients, or memory, from one client. */
export interface ServerLimits {
  /** Bytes of a value. A longer one: KV_INVALID_ARGUMENT. @defaultValue 8 MiB */
  readonly valueSizeMax: number
  /**
   * Bytes of a frame behind its length, either way. A longer request: KV_PROTOCOL, and the
   * connection is closed, for its bytes cannot be skipped cheaply. A reply never gets longer:
   * GET_MANY and pages end early. @defaultValue 16 MiB
   */
  readonly frameSizeMax: number
  /** Keys of one GET_MANY. More: KV_INVALID_ARGUMENT. @defaultValue 4,096 */
  readonly getManyKeysMax: number
  /** Operations of one BATCH. More: KV_INVALID_ARGUMENT. @defaultValue 65,536 */
  readonly batchOperationsMax: number
  /** Entries of one page. A request for more gets this many. @defaultValue 4,096 */
  readonly pageEntriesMax: number
  /** Bytes of one page before its last entry. A request for more gets this. @defaultValue 1 MiB */
  readonly pageBytesMax: number
  /** Connections at once. One more is told KV_OVERLOADED and closed. @defaultValue 10,000 */
  readonly connectionsMax: number
  /** Unanswered requests of a connection. Then its socket is not read. @defaultValue 2,048 */
  readonly connectionInFlightMax: number
  /**
   * Unanswered requests of the node. Then KV_OVERLOADED, but for a client that has less than its
   * fair part of them; the same holds for the other limits of the node (admission.ts).
   * @defaultValue 16,384
   */
  readonly inFlightMax: number
  /** Bytes of those requests. Then KV_OVERLOADED. @defaultValue 64 MiB */
  readonly inFlightBytesMax: number
  /** What KV_OVERLOADED tells the client to wait. @defaultValue 50 */
  readonly overloadRetryAfterMs: number
  /**
   * Bytes, over all connections, of frames that have come in part, and of requests that wait for
   * their turn. A frame that would exceed it is skipped as it comes, and answered with
   * KV_OVERLOADED; a connection whose waiting requests would is closed. @defaultValue 128 MiB
   */
  readonly receiveBytesMax: number
  /** Replies waiting for a slow reader; above it his requests are not read. @defaultValue 1 MiB */
  readonly outputPauseBytes: number
  /**
   * Replies waiting for a slow reader; a reply of data that would exceed it becomes KV_OVERLOADED.
   * @defaultValue 64 MiB
   */
  readonly outputBytesMax: number
  /** The same over all connections. @defaultValue 256 MiB */
  readonly outputTotalBytesMax: number
  /**
   * While the memory for replies or for incomplete frames is nearly used up, a connection that
   * does not take or bring its bytes for so long is closed. @defaultValue 2 s
   */
  readonly stallUnderPressureMs: number
  /** A connection that takes none of its waiting bytes for so long is closed. @defaultValue 60 s */
  readonly outputStallMs: number
  /** A connection without a complete HELLO is closed. @defaultValue 5 s */
  readonly handshakeTimeoutMs: number
  /** A connection without a frame, and with none to answer, is closed. @defaultValue 120 s */
  readonly idleTimeoutMs: number
  /** A frame that has not come completely since its first byte closes it. @defaultValue 60 s */
  readonly frameTimeoutMs: number
  /** The operating system probes a silent peer from then on. @defaultValue 30 s */
  readonly keepAliveMs: number
  /** Open scans of a connection. One more: KV_OVERLOADED. @defaultValue 64 */
  readonly scansMax: number
  /** Open scans of the node. One more: KV_OVERLOADED. @defaultValue 16,384 */
  readonly scansTotalMax: number
  /** Unanswered SCAN_NEXTs of a scan, its credit. One more: KV_OVERLOADED. @defaultValue 8 */
  readonly scanCreditsMax: number
  /** A scan that is not read for so long is closed; then KV_NOT_FOUND. @defaultValue 60 s */
  readonly scanIdleMs: number
  /** What takes so long or longer is in the slow-operation log. @defaultValue 100 ms */
  readonly slowOperationMs: number
  /** The budget of a request that names none. @defaultValue 5 s */
  readonly budgetDefaultMs: number
  /** A longer budget is cut to this. @defaultValue 1 h */
  readonly budgetMaxMs: number
}

export const DEFAULT_SERVER_LIMITS: ServerLimits = Object.freeze({
  valueSizeMax: 8 * MIB,
  frameSizeMax: 16 * MIB,
  getManyKeysMax: 4096,
  batchOperationsMax: 65_536,
  pageEntriesMax: 4096,
  pageBytesMax: MIB,
  connectionsMax: 10_000,
  connectionInFlightMax: 2048,
  inFlightMax: 16_384,
  inFlightBytesMax: 64 * MIB,
  overloadRetryAfterMs: 50,
  receiveBytesMax: 128 * MIB,
  outputPauseBytes: MIB,
  outputBytesMax: 64 * MIB,
  outputTotalBytesMax: 256 * MIB,
  stallUnderPressureMs: 2000,
  outputStallMs: 60_000,
  handshakeTimeoutMs: 5000,
  idleTimeoutMs: 120_000,
  frameTimeoutMs: 60_000,
  keepAliveMs: 30_000,
  scansMax: 64,
  scansTotalMax: 16_384,
  scanCreditsMax: 8,
  scanIdleMs: 60_000,
  slowOperationMs: 100,
  budgetDefaultMs: 5000,
  budgetMaxMs: 3_600_000,
})

const LIMIT_MAX = 2 ** 31 - 1

/** Fills in defaults and checks how the limits fit together. */
export function resolveServerLimits(limits: Partial<ServerLimits> = {}): ServerLimits {
  const resolved: ServerLimits = { ...DEFAULT_SERVER_LIMITS, ...withoutUndefined(limits) }
  for (const [name, value] of Object.entries(resolved)) {
    if (!Number.isSafeInteger(value) || value < 1 || value > LIMIT_MAX) {
      throw new InvalidArgumentError(
        `limits.${name} must be an integer from 1 to ${LIMIT_MAX}, got ${String(value)}`,
      )
    }
  }
  if (resolved.valueSizeMax > VALUE_SIZE_MAX) {
    throw new InvalidArgumentError(`limits.valueSizeMax is at most ${VALUE_SIZE_MAX} bytes`)
  }
  const entrySizeMax = resolved.valueSizeMax + KEY_SIZE_MAX + FRAME_OVERHEAD_MAX
  if (resolved.frameSizeMax < entrySizeMax) {
    throw new InvalidArgumentError(
      `limits.frameSizeMax must hold the largest entry: at least ${entrySizeMax} bytes`,
    )
  }
  const needs = resolved.pageBytesMax + entrySizeMax + CURSOR_SIZE_MAX
  if (resolved.frameSizeMax < needs) {
    throw new InvalidArgumentError(
      `limits.frameSizeMax must hold a page and one more entry: at least ${needs} bytes`,
    )
  }
  for (const name of FRAME_HOLDERS) {
    if (resolved[name] > resolved.frameSizeMax) continue
    throw new InvalidArgumentError(`limits.${name} must exceed limits.frameSizeMax`)
  }
  return Object.freeze(resolved)
}

/** Limits under which no frame could ever pass would be mistakes. */
const FRAME_HOLDERS = [
  'inFlightBytesMax',
  'receiveBytesMax',
  'outputBytesMax',
  'outputTotalBytesMax',
] as const

function withoutUndefined(limits: Partial<ServerLimits>): Partial<ServerLimits> {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined))
}

/**
 * Connections beyond `connectionsMax` that are told why they are turned away and may still read it;
 * above that they are just closed. They take descriptors, too.
 */
export function refusedConnectionsMax(connectionsMax: number): number {
  return Math.min(256, Math.max(16, Math.ceil(connectionsMax / 8)))
}

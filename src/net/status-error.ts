/**
 * Errors on the wire: a status for the code, and a body that lets the other side build the same
 * error again.
 *
 *   error  := outcome u8 | retryAfter u32 ms | messageLength u16 | message (UTF-8) | detail
 *   outcome: 1 rejected (nothing was written anywhere), 2 unknown (it may surface later)
 *   detail of versionMismatch := versionMin u16 | versionMax u16     what the sender understands
 *   detail of corruption      := offset u64 | path (UTF-8)
 *   detail of clockSkew       := wall u64, ms since the Unix epoch       the server's time
 *   any other detail is empty; readers ignore what they do not know.
 */
import { ByteReader, ByteWriter, DecodeError, utf8Decode, utf8Encode } from '../bytes.ts'
import {
  AbortedError,
  AuthenticationError,
  ChangesGoneError,
  ClockSkewError,
  ClosedError,
  CorruptionError,
  InternalError,
  InvalidArgumentError,
  IoError,
  KvError,
  type KvErrorCode,
  LockedError,
  NotFoundError,
  OverloadedError,
  PermissionError,
  PoisonedError,
  ProtocolError,
  TimeoutError,
  UnavailableError,
  VersionMismatchError,
  type WriteOutcome,
} from '../errors.ts'
import { ERROR_MESSAGE_SIZE_MAX } from './limits.ts'
import {
  codeOfStatus,
  PROTOCOL_VERSION_MAX,
  PROTOCOL_VERSION_MIN,
  STATUS_OF_CODE,
  Status,
} from './opcode.ts'

const OUTCOME_REJECTED = 1
const OUTCOME_UNKNOWN = 2
const NOTHING = new Uint8Array(0)

/** A corrupt file's path on the wire is cut to this many bytes. */
const PATH_SIZE_MAX = 1024

export interface ErrorBody {
  readonly outcome: WriteOutcome
  readonly retryAfterMs: number
  readonly message: string
  readonly detail: Uint8Array
}

export function encodeErrorBody(error: ErrorBody): Uint8Array {
  const message = cut(utf8Encode(error.message), ERROR_MESSAGE_SIZE_MAX)
  const writer = new ByteWriter(8 + message.length + error.detail.length)
  writer.uint8(error.outcome === 'rejected' ? OUTCOME_REJECTED : OUTCOME_UNKNOWN)
  writer.uint32(error.retryAfterMs)
  writer.uint16(message.length).raw(message).raw(error.detail)
  return writer.written
}

/** The first bytes of UTF-8 text, without half a character at the end. */
function cut(text: Uint8Array, sizeMax: number): Uint8Array {
  if (text.length <= sizeMax) return text
  let end = sizeMax
  while (end > 0 && (text[end]! & 0xc0) === 0x80) end--
  return text.subarray(0, end)
}

export function decodeErrorBody(bytes: Uint8Array, start: number, end: number): ErrorBody {
  const reader = new ByteReader(bytes, start, end)
  const outcome = reader.uint8()
  if (outcome !== OUTCOME_REJECTED && outcome !== OUTCOME_UNKNOWN) {
    throw new DecodeError(`unknown outcome ${outcome}`, start)
  }
  const retryAfterMs = reader.uint32()
  const message = utf8Decode(reader.view(reader.uint16()))
  return {
    outcome: outcome === OUTCOME_REJECTED ? 'rejected' : 'unknown',
    retryAfterMs,
    message,
    detail: reader.copy(reader.remaining),
  }
}

/** The status of an error that a handler threw. What is not a KvError is a bug: internal. */
export function statusOfError(error: unknown): number {
  return error instanceof KvError ? STATUS_OF_CODE[error.code] : Status.internal
}

/** The body of an error that a handler threw. The text of a bug stays in the server's log. */
export function errorBodyOf(error: unknown): ErrorBody {
  if (!(error instanceof KvError)) {
    const message = 'the server met a bug of its own; its log has the details'
    return { outcome: 'unknown', retryAfterMs: 0, message, detail: NOTHING }
  }
  const retryAfterMs = error instanceof OverloadedError ? wholeMs(error.retryAfterMs) : 0
  const { outcome, message } = error
  return { outcome, retryAfterMs, message, detail: detailOf(error) }
}

function wholeMs(milliseconds: number): number {
  return Math.min(0xffff_ffff, Math.max(0, Math.ceil(milliseconds)))
}

function detailOf(error: KvError): Uint8Array {
  const writer = new ByteWriter(16)
  if (error instanceof VersionMismatchError) {
    return writer.uint16(PROTOCOL_VERSION_MIN).uint16(PROTOCOL_VERSION_MAX).written
  }
  if (error instanceof ClockSkewError && error.serverTimeMs !== undefined) {
    return writer.uint64(error.serverTimeMs).written
  }
  if (!(error instanceof CorruptionError)) return NOTHING
  return writer.uint64(error.offset).raw(cut(utf8Encode(error.path), PATH_SIZE_MAX)).written
}

/** Builds the error that the server met, as if it had happened here. */
export function remoteError(status: number, body: ErrorBody): KvError {
  const code = codeOfStatus(status)
  const { message, outcome } = body
  if (code === undefined) {
    return new ProtocolError(`the server answered with unknown status ${status}: ${message}`)
  }
  return BUILDERS[code](message, outcome, body)
}

type Builder = (message: string, outcome: WriteOutcome, body: ErrorBody) => KvError

const BUILDERS: Readonly<Record<KvErrorCode, Builder>> = {
  KV_INVALID_ARGUMENT: message => new InvalidArgumentError(message),
  KV_NOT_FOUND: message => new NotFoundError(message),
  KV_CLOSED: message => new ClosedError(message),
  KV_LOCKED: message => new LockedError(message),
  KV_CORRUPTION: remoteCorruption,
  KV_IO: message => new IoError(message),
  KV_POISONED: (message, outcome) => new PoisonedError(message, { outcome }),
  KV_ABORTED: (message, outcome) => new AbortedError(message, { outcome }),
  KV_TIMEOUT: (message, outcome) => new TimeoutError(message, { outcome }),
  KV_UNAVAILABLE: (message, outcome) => {
    return new UnavailableError(message, { outcome, isAnswer: true })
  },
  KV_OVERLOADED: (message, _outcome, body) => new OverloadedError(message, body.retryAfterMs),
  KV_PROTOCOL: message => new ProtocolError(message),
  KV_VERSION_MISMATCH: message => new VersionMismatchError(message),
  KV_AUTHENTICATION: message => new AuthenticationError(message),
  KV_CLOCK_SKEW: remoteClockSkew,
  KV_INTERNAL: message => new InternalError(message),
  KV_CHANGES_GONE: message => new ChangesGoneError(message),
  KV_PERMISSION: message => new PermissionError(message),
}

function remoteClockSkew(message: string, _outcome: WriteOutcome, body: ErrorBody): KvError {
  if (body.detail.length < 8) return new ClockSkewError(message)
  return new ClockSkewError(message, { serverTimeMs: new ByteReader(body.detail).uint64() })
}

/** The message arrives complete, with place and advice, so it replaces the one built here. */
function remoteCorruption(message: string, _outcome: WriteOutcome, body: ErrorBody): KvError {
  let path = 'the server'
  let offset = 0
  if (body.detail.length >= 8) {
    const reader = new ByteReader(body.detail)
    offset = reader.uint64()
    path = utf8Decode(reader.view(reader.remaining))
  }
  const error = new CorruptionError({ path, offset }, message)
  error.message = message
  return error
}

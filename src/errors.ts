/**
 * Every error a user of Duramen can meet. Recognise them by `code`; `action` says what to do about
 * it, `outcome` says what is known of a write that failed with it.
 *
 * Three kinds are never mixed: operating errors and corruption are `KvError`s, bugs are
 * `AssertionError`s (assert.ts). Codes are part of the API: append only, each documented in README.
 */

export type KvErrorCode =
  | 'KV_INVALID_ARGUMENT'
  | 'KV_NOT_FOUND'
  | 'KV_CLOSED'
  | 'KV_LOCKED'
  | 'KV_CORRUPTION'
  | 'KV_IO'
  | 'KV_POISONED'
  | 'KV_ABORTED'
  | 'KV_TIMEOUT'
  | 'KV_UNAVAILABLE'
  | 'KV_OVERLOADED'
  | 'KV_PROTOCOL'
  | 'KV_VERSION_MISMATCH'
  | 'KV_AUTHENTICATION'
  | 'KV_CLOCK_SKEW'
  | 'KV_INTERNAL'
  | 'KV_CHANGES_GONE'
  | 'KV_PERMISSION'

/** What the caller should do about the error, whichever error it is. */
export type KvErrorAction =
  | 'fix-request'
  | 'retry'
  | 'retry-later'
  | 'read-to-confirm'
  | 'reopen'
  | 'close-other'
  | 'check-disk'
  | 'restore-data'
  | 'upgrade'
  | 'report'
  | 'start-over'
  | 'have-granted'

/** Of a failed write: `rejected` wrote nothing anywhere; `unknown` may surface later. */
export type WriteOutcome = 'rejected' | 'unknown'

/** The base of every error that is not a bug. Recognise errors by `code`, not by class. */
export abstract class KvError extends Error {
  abstract readonly code: KvErrorCode
  abstract readonly action: KvErrorAction
  /** What is known of the write that failed with this error. */
  readonly outcome: WriteOutcome = 'rejected'
}

/** The call itself is wrong: a bad key, value, option or range. Says what was expected. */
export class InvalidArgumentError extends KvError {
  override readonly name = 'InvalidArgumentError'
  readonly code = 'KV_INVALID_ARGUMENT'
  readonly action = 'fix-request'
}

/** A directory, file or snapshot that must exist does not. A missing key is `undefined` instead. */
export class NotFoundError extends KvError {
  override readonly name = 'NotFoundError'
  readonly code = 'KV_NOT_FOUND'
  readonly action = 'fix-request'
}

/** The store, client or iterator was closed before or during the call. */
export class ClosedError extends KvError {
  override readonly name = 'ClosedError'
  readonly code = 'KV_CLOSED'
  readonly action = 'reopen'
}

/** Another process (or this one) has the directory open. The message names the holder. */
export class LockedError extends KvError {
  override readonly name = 'LockedError'
  readonly code = 'KV_LOCKED'
  readonly action = 'close-other'
}

/** Where damage was found, and what stood there instead of what the format promises. */
export interface CorruptionDetail {
  readonly path: string
  /** Bytes from the start of the file. */
  readonly offset: number
  /** What the format promises at that place, for example a checksum in hex. */
  readonly expected?: string | undefined
  readonly actual?: string | undefined
}

/** Bytes on disk do not say what the format promises. Carries where, so an operator can look. */
export class CorruptionError extends KvError {
  override readonly name = 'CorruptionError'
  readonly code = 'KV_CORRUPTION'
  readonly action = 'restore-data'
  readonly path: string
  readonly offset: number
  readonly expected: string | undefined
  readonly actual: string | undefined
  /** What is wrong, without the place. */
  readonly what: string

  constructor(detail: CorruptionDetail, what: string, options?: ErrorOptions) {
    const difference =
      detail.expected === undefined
        ? ''
        : ` (expected ${detail.expected}, found ${detail.actual ?? 'nothing'})`
    super(
      `${detail.path}@${detail.offset}: ${what}${difference}; ` +
        'restore this file from a replica or backup, or examine it with: ' +
        `kvcli debug verify ${directoryOf(detail.path)}`,
      options,
    )
    this.path = detail.path
    this.offset = detail.offset
    this.expected = detail.expected
    this.actual = detail.actual
    this.what = what
  }
}

function directoryOf(path: string): string {
  const slash = Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\'))
  return slash <= 0 ? '.' : path.slice(0, slash)
}

/** The operating system refused a file operation (no space, no permission, device error). */
export class IoError extends KvError {
  override readonly name = 'IoError'
  readonly code = 'KV_IO'
  readonly action = 'check-disk'
}

/**
 * A write or fsync of the WAL or MANIFEST failed, so the engine refuses all further writes until
 * it is reopened: after a failed fsync the kernel may have dropped the bytes, and asking again
 * would wrongly report success (the fsyncgate trap). The outcome of writes in flight is unknown.
 */
export class PoisonedError extends KvError {
  override readonly name = 'PoisonedError'
  readonly code = 'KV_POISONED'
  readonly action = 'reopen'
  override readonly outcome: WriteOutcome

  constructor(message: string, options: ErrorOptions & { outcome: WriteOutcome }) {
    super(message, options)
    this.outcome = options.outcome
  }
}

/** The caller's AbortSignal fired. */
export class AbortedError extends KvError {
  override readonly name = 'AbortedError'
  readonly code = 'KV_ABORTED'
  readonly action = 'retry'
  override readonly outcome: WriteOutcome

  constructor(message: string, options?: ErrorOptions & { outcome?: WriteOutcome }) {
    super(message, options)
    this.outcome = options?.outcome ?? 'rejected'
  }
}

/** The deadline passed without an answer. A write may have happened: read to find out. */
export class TimeoutError extends KvError {
  override readonly name = 'TimeoutError'
  readonly code = 'KV_TIMEOUT'
  readonly action = 'read-to-confirm'
  override readonly outcome: WriteOutcome

  constructor(message: string, options?: ErrorOptions & { outcome?: WriteOutcome }) {
    super(message, options)
    this.outcome = options?.outcome ?? 'unknown'
  }
}

/** No server could be reached, or the connection broke. `outcome` says if the write was sent. */
export class UnavailableError extends KvError {
  override readonly name = 'UnavailableError'
  readonly code = 'KV_UNAVAILABLE'
  readonly action = 'retry'
  override readonly outcome: WriteOutcome
  /** True when a server said so: it is there, and others that it needs are not. */
  readonly isAnswer: boolean
  /** True when something listens there but gave no greeting: it may be another kind of port. */
  readonly isStranger: boolean
  /** True when a server is there, and TLS did not come about: the message says what to mend. */
  readonly isTls: boolean

  constructor(
    message: string,
    options?: ErrorOptions & {
      outcome?: WriteOutcome
      isAnswer?: boolean
      isStranger?: boolean
      isTls?: boolean
    },
  ) {
    super(message, options)
    this.outcome = options?.outcome ?? 'rejected'
    this.isAnswer = options?.isAnswer ?? false
    this.isStranger = options?.isStranger ?? false
    this.isTls = options?.isTls ?? false
  }
}

/** The server or a local queue has too much to do; nothing was written. Wait before retrying. */
export class OverloadedError extends KvError {
  override readonly name = 'OverloadedError'
  readonly code = 'KV_OVERLOADED'
  readonly action = 'retry-later'
  /** Milliseconds to wait before the next attempt. */
  readonly retryAfterMs: number

  constructor(message: string, retryAfterMs: number, options?: ErrorOptions) {
    super(message, options)
    this.retryAfterMs = retryAfterMs
  }
}

/** The peer sent bytes that are not the protocol. The connection is closed after it. */
export class ProtocolError extends KvError {
  override readonly name = 'ProtocolError'
  readonly code = 'KV_PROTOCOL'
  readonly action = 'report'
}

/** The file format or protocol version is outside what this build understands. */
export class VersionMismatchError extends KvError {
  override readonly name = 'VersionMismatchError'
  readonly code = 'KV_VERSION_MISMATCH'
  readonly action = 'upgrade'
}

/** The server asks for a password, or user or password is wrong. */
export class AuthenticationError extends KvError {
  override readonly name = 'AuthenticationError'
  readonly code = 'KV_AUTHENTICATION'
  readonly action = 'fix-request'
}

/**
 * The user may not do this. Says nothing about the keys: the answer is the same whether they exist.
 */
export class PermissionError extends KvError {
  override readonly name = 'PermissionError'
  readonly code = 'KV_PERMISSION'
  readonly action = 'have-granted'
}

/** A write's version lies too far from the server's clock. */
export class ClockSkewError extends KvError {
  override readonly name = 'ClockSkewError'
  readonly code = 'KV_CLOCK_SKEW'
  readonly action = 'fix-request'
  /** The server's time, in milliseconds since the Unix epoch, where it is known. */
  readonly serverTimeMs: number | undefined

  constructor(
    message: string,
    options?: ErrorOptions & { readonly serverTimeMs?: number | undefined },
  ) {
    super(message, options)
    this.serverTimeMs = options?.serverTimeMs
  }
}

/** The server met a bug of its own. The outcome of a write is unknown. */
export class InternalError extends KvError {
  override readonly name = 'InternalError'
  readonly code = 'KV_INTERNAL'
  readonly action = 'report'
  override readonly outcome: WriteOutcome = 'unknown'
}

/**
 * The log no longer has the changes that were asked for: nobody held them, or the hold was broken
 * because it kept too much. Copy the state anew, and follow the changes from there.
 */
export class ChangesGoneError extends KvError {
  override readonly name = 'ChangesGoneError'
  readonly code = 'KV_CHANGES_GONE'
  readonly action = 'start-over'
}

/** True when the same call may succeed if it is simply made again. */
export function isRetryable(error: unknown): boolean {
  return error instanceof KvError && (error.action === 'retry' || error.action === 'retry-later')
}

/** `error` as an Error, for rejecting with something thrown by code that is not ours. */
export function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

/** For what nobody waits for: an operating error of it is nobody's either, anything else a bug. */
export function failUnlessKv(error: unknown): void {
  if (!(error instanceof KvError)) throw error
}

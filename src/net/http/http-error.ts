/**
 * What a client is told of a request that failed: one table from codes to statuses, and a body.
 *
 *   { "code": …, "message": …, "action": …, "outcome": "unknown"?, "retryAfterMs": n? }
 *
 * Codes that begin with KV_ are those of every door (errors.ts); those that begin with HTTP_ are of
 * this one: what the protocol, not the store, has to object.
 */
import { KvError, type KvErrorAction, type KvErrorCode, OverloadedError } from '../../errors.ts'
import { errorBodyOf } from '../status-error.ts'

const MS_PER_S = 1000
/** Where nothing says how long: of Retry-After, in milliseconds. */
const RETRY_AFTER_MS = 1000

export const STATUS_OF_KV_CODE: Readonly<Record<KvErrorCode, number>> = {
  KV_INVALID_ARGUMENT: 400,
  KV_NOT_FOUND: 404,
  KV_CLOSED: 503,
  KV_LOCKED: 503,
  KV_CORRUPTION: 500,
  KV_IO: 500,
  KV_POISONED: 500,
  KV_ABORTED: 503,
  KV_TIMEOUT: 504,
  KV_UNAVAILABLE: 503,
  KV_OVERLOADED: 503,
  KV_PROTOCOL: 400,
  KV_VERSION_MISMATCH: 500,
  KV_AUTHENTICATION: 401,
  KV_CLOCK_SKEW: 409,
  KV_INTERNAL: 500,
  KV_CHANGES_GONE: 410,
  KV_PERMISSION: 403,
}

/** Code -> its status and what to do about it. Append only: the codes are part of the API. */
export const HTTP_ERRORS = {
  HTTP_BAD_REQUEST: [400, 'fix-request'],
  HTTP_FORBIDDEN: [403, 'fix-request'],
  HTTP_NO_SUCH_KEY: [404, 'fix-request'],
  HTTP_NO_SUCH_PATH: [404, 'fix-request'],
  HTTP_METHOD_NOT_ALLOWED: [405, 'fix-request'],
  HTTP_REQUEST_TIMEOUT: [408, 'retry'],
  HTTP_PRECONDITION_FAILED: [412, 'read-to-confirm'],
  HTTP_BODY_TOO_LARGE: [413, 'fix-request'],
  HTTP_URI_TOO_LONG: [414, 'fix-request'],
  HTTP_UNSUPPORTED_MEDIA_TYPE: [415, 'fix-request'],
  HTTP_EXPECTATION_FAILED: [417, 'fix-request'],
  HTTP_TOO_MANY_REQUESTS: [429, 'retry-later'],
  HTTP_HEADERS_TOO_LARGE: [431, 'fix-request'],
  HTTP_CONDITION_NOT_OFFERED: [501, 'fix-request'],
} as const satisfies Record<string, readonly [status: number, action: KvErrorAction]>

export type HttpErrorCode = keyof typeof HTTP_ERRORS

/** The request cannot be served, for a reason that is HTTP's. */
export class HttpError extends Error {
  override readonly name = 'HttpError'
  readonly code: HttpErrorCode
  /** Further headers of the answer: names and values in turn. */
  readonly headers: readonly string[]

  constructor(code: HttpErrorCode, message: string, headers: readonly string[] = []) {
    super(message)
    this.code = code
    this.headers = headers
  }
}

/** The answer to a request that failed. */
export interface ErrorReply {
  readonly status: number
  readonly code: string
  /** Names and values in turn, without Content-Length. */
  readonly headers: string[]
  readonly body: Buffer
}

export const JSON_TYPE = 'application/json; charset=utf-8'
const CHALLENGE = 'Basic realm="duramen", charset="UTF-8", Bearer realm="duramen"'

/** True for an error that the client can do something about; anything else is a bug. */
export function isTold(error: unknown): boolean {
  return error instanceof KvError || error instanceof HttpError
}

export function errorReply(error: unknown): ErrorReply {
  const { status, fields } = error instanceof HttpError ? ofHttp(error) : ofStore(error)
  const headers = ['Content-Type', JSON_TYPE, 'Cache-Control', 'no-store']
  const { code, retryAfterMs } = fields
  if (retryAfterMs !== undefined) {
    headers.push('Retry-After', String(Math.max(1, Math.ceil(retryAfterMs / MS_PER_S))))
  }
  if (status === 401) headers.push('WWW-Authenticate', CHALLENGE)
  if (error instanceof HttpError) headers.push(...error.headers)
  return { status, code, headers, body: Buffer.from(`${JSON.stringify(fields)}\n`) }
}

/** The body of an error as JSON text, for a stream whose status has gone out already. */
export function errorLine(error: unknown): Buffer {
  const { fields } = error instanceof HttpError ? ofHttp(error) : ofStore(error)
  return Buffer.from(`${JSON.stringify({ error: fields })}\n`)
}

interface Fields {
  readonly code: string
  readonly message: string
  readonly action: KvErrorAction
  readonly outcome?: string
  readonly retryAfterMs?: number
}

interface Told {
  readonly status: number
  readonly fields: Fields
}

function ofHttp({ code, message }: HttpError): Told {
  const [status, action] = HTTP_ERRORS[code]
  const retry = status === 429 || status === 408 ? { retryAfterMs: RETRY_AFTER_MS } : {}
  return { status, fields: { code, message, action, ...retry } }
}

function ofStore(error: unknown): Told {
  const { message, outcome } = errorBodyOf(error)
  const { code = 'KV_INTERNAL', action = 'report' } = error instanceof KvError ? error : {}
  const status = STATUS_OF_KV_CODE[code]
  const told = { code, message, action, ...(outcome === 'unknown' && { outcome }) }
  if (status !== 503) return { status, fields: told }
  const retryAfterMs = error instanceof OverloadedError ? error.retryAfterMs : RETRY_AFTER_MS
  return { status, fields: { ...told, retryAfterMs } }
}

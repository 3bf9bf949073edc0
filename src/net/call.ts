/** A call of the client: one request, until it has its answer or an error. */
import type { CancelTimer } from '../clock.ts'
import type { Consistency, Durability } from '../key-value-store.ts'
import type { ClientConnection } from './client-connection.ts'
import type { Request, RequestOptions } from './request.ts'
import type { VersionStamp } from './write-clock.ts'

/** Takes the result from the body of a reply with status ok or absent. Throws DecodeError. */
export type DecodeResult<T> = (status: number, bytes: Uint8Array, start: number, end: number) => T

/** What a call is asked to do; the promise's ends come with it. */
export interface CallSpec<T> {
  readonly request: Request
  readonly decode: DecodeResult<T>
  readonly deadlineMs: number
  /** True when doing it twice is the same as once: reads, and writes that carry their version. */
  readonly idempotent: boolean
  /** True for writes to which the client gives a version of its own when they are first sent. */
  readonly stamped?: boolean
  /** True when an answer that got lost may have changed data. */
  readonly write: boolean
  readonly consistency?: Consistency | undefined
  readonly durability?: Durability | undefined
  /** From the caller, who makes versions himself. */
  readonly version?: Uint8Array | undefined
  readonly signal?: AbortSignal | undefined
  /** Set for what makes sense on one connection only. */
  readonly connection?: ClientConnection | undefined
}

/** Of a call without a version of the client's. */
export const NO_VERSION = -1

/** Reused by every request of a connection; only the budget changes from call to call. */
export class CallOptionsView implements RequestOptions {
  budgetMs = 0
  consistency: Consistency | undefined
  durability: Durability | undefined
  version: Uint8Array | undefined
}

/**
 *   new --> queued --> sent --> settled
 *    ^                  |
 *    +---- waiting <----+             waiting: for the next attempt
 */
export type CallState = 'new' | 'queued' | 'sent' | 'waiting' | 'settled'

/** The part of a call that does not depend on the type of its result. */
export interface PendingCall extends VersionStamp {
  readonly spec: CallSpec<unknown>
  state: CallState
  /** Request id of the current attempt. */
  id: number
  /** The connection of the current attempt, or of the last one. */
  connection: ClientConnection | undefined
  /** The connection's count of flushes when the attempt was encoded. */
  flushMark: number
  /** True once an attempt may have been carried out without an answer that says so. */
  inDoubt: boolean
  attempts: number
  /** True once a version of it was refused, and another was tried. */
  restamped: boolean
  /** Place among the outstanding calls; -1 when it is not there. */
  index: number
  /** Stops what will happen to it by itself: a retry, or its abortion. */
  cancelRetry: CancelTimer | undefined
  removeAbortListener: (() => void) | undefined
  /** Resolves with the decoded result. Throws DecodeError when the reply is malformed. */
  complete(status: number, bytes: Uint8Array, start: number, end: number): void
  reject(error: Error): void
}

export class Call<T> implements PendingCall {
  readonly spec: CallSpec<T>
  state: CallState = 'new'
  id = 0
  connection: ClientConnection | undefined = undefined
  flushMark = 0
  inDoubt = false
  attempts = 0
  /** Negative: it has none yet. */
  versionMs = NO_VERSION
  versionCounter = 0
  stampedMs = 0
  restamped = false
  index = -1
  cancelRetry: CancelTimer | undefined = undefined
  removeAbortListener: (() => void) | undefined = undefined
  readonly #resolve: (value: T) => void
  readonly reject: (error: Error) => void

  constructor(spec: CallSpec<T>, resolve: (value: T) => void, reject: (error: Error) => void) {
    this.spec = spec
    this.connection = spec.connection
    this.#resolve = resolve
    this.reject = reject
  }

  complete(status: number, bytes: Uint8Array, start: number, end: number): void {
    this.#resolve(this.spec.decode(status, bytes, start, end))
  }
}

/** About how much memory a queued request holds. */
export function requestSize(request: Request): number {
  switch (request.type) {
    case 'put':
      return request.key.length + request.value.length + 64
    case 'get':
    case 'delete':
      return request.key.length + 64
    case 'getMany':
      return request.keys.reduce((sum, key) => sum + key.length + 16, 64)
    case 'batch':
      return request.operations.reduce(
        (sum, operation) =>
          sum + operation.key.length + (operation.type === 'put' ? operation.value.length : 0) + 32,
        64,
      )
    default:
      return 256
  }
}

/** A call of the client: one request, until it has its answer or an error. */
import type { CancelTimer } from '../clock.ts'
import type { Consistency, Durability } from '../key-value-store.ts'
import type { ClientConnection } from './client-connection.ts'
import type { NodeLink } from './node-link.ts'
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
  /** Hears under which version it was written. */
  readonly onVersion?: ((version: Uint8Array) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** Set for what makes sense on one connection only. */
  readonly connection?: ClientConnection | undefined
  /** The node that holds most of what it is about, of several keys; any other will do. */
  readonly preferred?: NodeLink | undefined
}

/** Of a call without a version of the client's. */
export const NO_VERSION = -1
const NO_WRITER = new Uint8Array(0)

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
  /** When the current attempt was sent. */
  sentMs: number
  /** When to look at it again, at its deadline at the latest. */
  dueMs: number
  /** The same request to a second node, under way as well. */
  hedge: PendingCall | undefined
  /** Of a hedge: the call that it may answer. */
  readonly primary: PendingCall | undefined
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
  sentMs = 0
  dueMs: number
  hedge: PendingCall | undefined = undefined
  readonly primary: PendingCall | undefined
  /** Negative: it has none yet. */
  versionMs = NO_VERSION
  versionCounter = 0
  versionWriter = NO_WRITER
  stampedMs = 0
  restamped = false
  index = -1
  cancelRetry: CancelTimer | undefined = undefined
  removeAbortListener: (() => void) | undefined = undefined
  readonly #resolve: (value: T) => void
  readonly reject: (error: Error) => void

  constructor(
    spec: CallSpec<T>,
    resolve: (value: T) => void,
    reject: (error: Error) => void,
    primary?: PendingCall,
  ) {
    this.spec = spec
    this.connection = spec.connection
    this.dueMs = spec.deadlineMs
    this.primary = primary
    this.#resolve = resolve
    this.reject = reject
  }

  complete(status: number, bytes: Uint8Array, start: number, end: number): void {
    this.#resolve(this.spec.decode(status, bytes, start, end))
  }
}

/** True when the call may be given up on one node and sent to another. */
export function isMovable({ request, idempotent, connection }: CallSpec<unknown>): boolean {
  if (!idempotent || connection !== undefined) return false
  return MOVABLE.has(request.type)
}

/** A count may take minutes; what is asked of one particular server is asked of no other. */
const MOVABLE: ReadonlySet<Request['type']> = new Set([
  'get',
  'getEntry',
  'getMany',
  'put',
  'delete',
  'batch',
  'scanOpen',
])

/** True when asking two nodes at once costs little and changes nothing. */
export function isHedgeable({ request, idempotent, connection }: CallSpec<unknown>): boolean {
  if (!idempotent || connection !== undefined) return false
  return HEDGEABLE.has(request.type)
}

const HEDGEABLE: ReadonlySet<Request['type']> = new Set(['get', 'getEntry', 'getMany'])

/** A key that says which nodes hold what the request is about; undefined when all do. */
export function routingKey(request: Request): Uint8Array | undefined {
  switch (request.type) {
    case 'get':
    case 'getEntry':
    case 'put':
    case 'delete':
      return request.key
    case 'getMany':
      return request.keys[0]
    case 'batch':
      return request.operations[0]?.key
    default:
      return undefined
  }
}

/** About how much memory a queued request holds. */
export function requestSize(request: Request): number {
  switch (request.type) {
    case 'put':
      return request.key.length + request.value.length + 64
    case 'get':
    case 'getEntry':
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

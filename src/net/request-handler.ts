/**
 * What the front doors (binary server, later RESP and HTTP) call. Implemented elsewhere: by the
 * cluster's node in `kvd`, by a plain map in tests. A door never knows what stands behind it.
 *
 * Methods answer directly when they can and with a promise when they must wait, so that a hot read
 * costs no promise. They fail by throwing or rejecting with a KvError. Keys, values and options
 * arrive validated against the limits of limits.ts; buffers are borrowed only until the method
 * returns, so an implementation that answers later copies what it keeps; only those of a batch of
 * more than BATCH_COPIED_MAX operations are its own until it answers. The context lives until the
 * answer: read what outlives it before answering.
 */
import type { ClientIdentity } from '../fair-queue.ts'
import type { Consistency, Durability } from '../key-value-store.ts'
import type { Caller, KeyRange } from './auth/index.ts'
import type { MetricFamily } from './metrics.ts'

export type MaybePromise<T> = T | Promise<T>

/** What is known of the request besides its arguments. */
export interface RequestContext {
  /** Monotonic milliseconds (Clock.monotonicMs) after which nobody waits for the answer. */
  readonly deadlineMs: number
  readonly consistency: Consistency
  /** Undefined leaves it to the server's own setting. */
  readonly durability: Durability | undefined
  /**
   * The version that the writer assigned to this write (write-version.ts), the same in every retry;
   * undefined for clients that leave it to the server (then the first coordinator assigns one). Of
   * a GET: the least that the answer may have.
   */
  readonly version: Uint8Array | undefined
  /**
   * Of a write of one key: hears which version it gets before it is answered, and again where it
   * gets another in place of that. Borrowed. Absent: nobody asks.
   */
  readonly onVersion?: ((version: Uint8Array) => void) | undefined
  /** What the door calls it, where that says more than the operation: for the audit. */
  readonly name?: string
  /** Whose request it is, and what that user may do: see guarded-handler.ts. */
  readonly caller: Caller
  /**
   * Who asks, usually a connection: long work is divided between clients, not between requests.
   * Absent: a client of its own.
   */
  readonly client?: ClientIdentity
  /**
   * True once nobody waits for the answer any more: the client cancelled, or its connection is
   * gone. Long work (a count) looks between steps and fails with AbortedError. Absent means never.
   */
  readonly cancelled?: boolean
}

export interface HandlerPut {
  readonly type: 'put'
  readonly key: Uint8Array
  readonly value: Uint8Array
  /** Milliseconds from now; 0 for never. */
  readonly ttlMs: number
  /** Instead of ttlMs, when it expires: milliseconds since the Unix epoch; 0 for never. */
  readonly expiryMs?: number
}

export interface HandlerDelete {
  readonly type: 'del'
  readonly key: Uint8Array
}

export type HandlerOperation = HandlerPut | HandlerDelete

export interface HandlerScan {
  readonly gt?: Uint8Array
  readonly gte?: Uint8Array
  readonly lt?: Uint8Array
  readonly lte?: Uint8Array
  readonly reverse: boolean
  readonly order: 'ordered' | 'unordered'
  /** Undefined means values are wanted. */
  readonly keysOnly: boolean
  /** A cursor from an earlier page of an unordered scan, to go on after it. */
  readonly cursor: Uint8Array | undefined
}

export interface ScanPage {
  readonly keys: readonly Uint8Array[]
  /** As many as keys, or empty when only keys were asked for. */
  readonly values: readonly Uint8Array[]
  /** Unordered scans: resumes after this page, even in another connection or after a restart. */
  readonly cursor: Uint8Array | undefined
  readonly done: boolean
}

/** A scan in progress on the server, of one frozen state. */
export interface ScanSession {
  /** The next page: at most so many entries, and about so many bytes, but at least one entry. */
  next(entriesMax: number, bytesMax: number): MaybePromise<ScanPage>
  /** Releases what the scan holds. May come while `next` is under way. Idempotent. */
  close(): void
}

/** What is stored under a key. */
export interface HandlerEntry {
  /** Borrowed until whoever got it returns. */
  readonly value: Uint8Array
  /** When it expires, in milliseconds since the Unix epoch; 0 for never. */
  readonly expiryMs: number
  /** Of the write that put it there, borrowed like the value. Absent: the handler knows none. */
  readonly version?: Uint8Array
}

/** Who owns what in one epoch of the ring. JSON-serialisable. */
export interface RingOwnership {
  readonly epoch: number
  readonly phase: string
  readonly partitionCount: number
  /** Owners of each partition. */
  readonly replicas: number
  readonly members: readonly {
    readonly nodeId: string
    readonly rack: string
    readonly weight: number
    /** Partitions that it owns, and those of them of which it is the first owner. */
    readonly partitions: number
    readonly firstPartitions: number
  }[]
  /**
   * In base64, for each partition the places in `members` of its owners, in the order in which they
   * are asked: u16 little-endian, `replicas` of them.
   */
  readonly owners: string
}

/** Something about the node that was looked at. */
export interface HealthCheck {
  /** Few words, always the same. */
  readonly name: string
  readonly isOk: boolean
  /** What is wrong. */
  readonly why?: string | undefined
}

/**
 * The version of the last write to key `index` of an update, also when that was a deletion or has
 * expired; borrowed. Undefined: nothing was written, or it is long forgotten.
 */
export type EntryVersions = (index: number) => Uint8Array | undefined

/** What follows from the entries of the keys of an update. */
export interface HandlerDecision<T> {
  readonly operations: readonly HandlerOperation[]
  readonly result: T
}

export interface HandlerUpdate<T> {
  readonly result: T
  /** Settles when all that the result tells of is as durable as asked; undefined: it is now. */
  readonly done: Promise<void> | undefined
}

export interface RequestHandler {
  get(key: Uint8Array, context: RequestContext): MaybePromise<Uint8Array | undefined>
  /**
   * One result per key, in their order. May answer only the first of them, at least one, once the
   * values come to `bytesMax`; the client then asks for the rest.
   */
  getMany(
    keys: readonly Uint8Array[],
    context: RequestContext,
    bytesMax: number,
  ): MaybePromise<(Uint8Array | undefined)[]>
  /** As get, with expiry and version. Absent: it knows none. The value is the caller's own. */
  entry?(key: Uint8Array, context: RequestContext): MaybePromise<HandlerEntry | undefined>
  /**
   * True while `update` is possible: while every write of a key passes through this handler. With
   * other nodes that take writes, too, there is no update that no write comes between. Absent:
   * never.
   */
  readonly canUpdate?: boolean
  /**
   * Reads keys and writes what follows, with no other write to them in between: `decide` gets the
   * entries as all writes that came before leave them, whether or not these are durable by now, and
   * says synchronously what to write. Rejects, and writes nothing, when `decide` throws, and with
   * UnavailableError while `canUpdate` is false. Requires that the keys differ, and at most one
   * operation on a key, which is one of the keys. Borrows the keys until it returns.
   */
  update?<T>(
    keys: readonly Uint8Array[],
    decide: (
      entries: readonly (HandlerEntry | undefined)[],
      versions: EntryVersions,
    ) => HandlerDecision<T>,
    context: RequestContext,
  ): MaybePromise<HandlerUpdate<T>>
  put(put: HandlerPut, context: RequestContext): MaybePromise<void>
  delete(key: Uint8Array, context: RequestContext): MaybePromise<void>
  batch(operations: readonly HandlerOperation[], context: RequestContext): MaybePromise<void>
  openScan(scan: HandlerScan, context: RequestContext): MaybePromise<ScanSession>
  /** Number of live keys in the range; exact, by reading it. */
  count(scan: HandlerScan, context: RequestContext): MaybePromise<number>
  /** A JSON-serialisable object; see `kvcli stats`. */
  stats(context: RequestContext): MaybePromise<Readonly<Record<string, unknown>>>
  /** What decides whether clients should be sent here. Absent: nothing does. */
  health?(): MaybePromise<readonly HealthCheck[]>
  /**
   * How the cluster and its members are, as `admin` answers to `status`, at once: of what members
   * owe each other it has what they said a moment ago. Absent: knows no cluster.
   */
  overview?(context: RequestContext): MaybePromise<Readonly<Record<string, unknown>>>
  /** Who owns which part of the data. Absent: knows no ring. */
  ownership?(context: RequestContext): MaybePromise<RingOwnership>
  /**
   * Throws unless the caller may see what a door itself knows of the node, figures and events.
   * Absent: everybody may.
   */
  checkMonitor?(context: RequestContext): void
  /**
   * Throws unless the caller may read the keys and, for an update, write them: asked before it is
   * told that what it wants is not offered at all. Absent: everybody may.
   */
  checkKeys?(keys: readonly Uint8Array[], action: 'read' | 'update', context: RequestContext): void
  /** What it has to tell to monitoring, besides what the doors know. Absent: nothing. */
  metrics?(context: RequestContext): MaybePromise<readonly MetricFamily[]>
  /** The ring of the current epoch, encoded; a door hands it on as it is. */
  ring(context: RequestContext): MaybePromise<Uint8Array>
  /**
   * Answers a command about the server itself, with a JSON-serialisable object: `command` says
   * which, the other members belong to it. Absent: knows none. Throws InvalidArgumentError for one
   * that it does not know.
   */
  admin?(
    command: Readonly<Record<string, unknown>>,
    context: RequestContext,
  ): MaybePromise<Readonly<Record<string, unknown>>>
  /** What a user must be allowed for a command. Absent: 'admin', whatever the command. */
  adminNeeds?(command: Readonly<Record<string, unknown>>): AdminNeeds
}

/** What a command about the server takes. */
export interface AdminNeeds {
  /** `read`: that of the range alone. */
  readonly permission: 'read' | 'monitor' | 'admin'
  /** A key that it tells something of. */
  readonly key?: Uint8Array
  /** Likewise, all keys of a range. */
  readonly range?: KeyRange
}

/**
 * The client: the same API as the embedded store, over connections to one or more servers.
 *
 * Keys and values given to a call are read until its promise settles: do not change them before.
 * Every call has a deadline, so nothing ever hangs; see requester.ts for what is tried until then.
 */
import { checkConsistency, checkMembers, checkTimeout, knownSignal } from '../arguments.ts'
import {
  AbortedError,
  ClosedError,
  InvalidArgumentError,
  ProtocolError,
  UnavailableError,
} from '../errors.ts'
import type {
  BatchOperation,
  BytesInput,
  CallOptions,
  Consistency,
  Durability,
  Entry,
  KeyRange,
  KeyValueStore,
  PutOptions,
  ReadOptions,
  ScanOptions,
  Snapshot,
  WriteOptions,
} from '../key-value-store.ts'
import { refuseMethods } from '../not-offered.ts'
import {
  PUT_OPTIONS,
  RANGE_MEMBERS,
  READ_OPTIONS,
  SCAN_OPTIONS,
  WRITE_OPTIONS,
} from '../option-names.ts'
import {
  keyGroup,
  toCount,
  toDurability,
  toKey,
  toKeys,
  toLimit,
  toOperations,
  toScan,
  toTtl,
  toValue,
} from './arguments.ts'
import type { CallSpec, DecodeResult } from './call.ts'
import {
  type ClientOptions,
  type ResolvedClientOptions,
  resolveClientOptions,
} from './client-options.ts'
import { ClientScans } from './client-scans.ts'
import type { ConnectionEvent } from './connection-pool.ts'
import { WRITE_VERSION_SIZE } from './limits.ts'
import type { KeyShare } from './node-choice.ts'
import type { NodeLink } from './node-link.ts'
import { type PageItems, RemoteScan } from './remote-scan.ts'
import type { Request } from './request.ts'
import { Requester } from './requester.ts'
import type { PageReply } from './response-body.ts'
import {
  decodeCountResult,
  decodeDone,
  decodePong,
  decodeRingMap,
  decodeStats,
  decodeValue,
  decodeValuesResult,
} from './result.ts'

const NOTHING = new Uint8Array(0)
/** What scans of a server can be told besides. */
const REMOTE_SCAN_OPTIONS = new Set([
  ...SCAN_OPTIONS,
  ...['cursor', 'resume', 'pageEntries', 'pageBytes', 'readAheadPages'],
])
/** Of calls that were given none; needs no check. */
const NO_OPTIONS: object = Object.freeze({})
const PAGE_ENTRIES_MAX = 1_000_000
const PAGE_BYTES_MAX = 64 * 1024 * 1024
const READ_AHEAD_PAGES_MAX = 4

/** What a remote scan can be told besides what every scan can. */
export interface RemoteScanCallOptions extends ScanOptions {
  /** `cursor` of an earlier scan with the same bounds and order: goes on where that one stood. */
  readonly cursor?: Uint8Array
  /** Goes on by itself after a lost connection, with a later state. @defaultValue true */
  readonly resume?: boolean
  /** Entries of a page, as far as the server allows. @defaultValue 1,000 */
  readonly pageEntries?: number
  /** Bytes of a page, as far as the server allows. @defaultValue 256 KiB */
  readonly pageBytes?: number
  /** Pages asked for ahead of the reader, 1 to 4. @defaultValue 2 */
  readonly readAheadPages?: number
}

/** How the client stands with its servers. */
export type ClientStatus = 'connecting' | 'connected' | 'disconnected' | 'closed'

interface Expectations extends CallOptions {
  readonly consistency?: Consistency
  readonly durability?: Durability
  readonly snapshot?: Snapshot
}

/**
 * Connects to `kv://host:port[,host:port…]` or as the options say. Resolves with the first
 * connection; rejects when no server can be reached, unless `lazy`.
 */
export async function connect(
  target: string | ClientOptions,
  options: ClientOptions = {},
): Promise<Client> {
  const given = typeof target === 'string' ? { ...options, url: target } : target
  const client = new Client(given)
  try {
    await client.ready()
  } catch (error) {
    await client.close()
    throw error
  }
  return client
}

export class Client implements KeyValueStore {
  readonly #options: ResolvedClientOptions
  readonly #requester: Requester
  readonly #scans: ClientScans
  #status: ClientStatus = 'connecting'
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = []
  #closing: Promise<void> | undefined

  /** Begins to connect. `connect` also waits for it. */
  constructor(options: ClientOptions) {
    this.#options = resolveClientOptions(options)
    this.#requester = new Requester(this.#options, event => this.#changed(event))
    this.#scans = new ClientScans(this.#requester, this.#options)
    this.#requester.pool.dial()
  }

  get status(): ClientStatus {
    return this.#status
  }

  /** Resolves once connected; rejects once every server was tried in vain. At once when lazy. */
  ready(): Promise<void> {
    if (this.#options.lazy || this.#status === 'connected') return Promise.resolve()
    if (this.#status !== 'connecting') return Promise.reject(this.#connectError())
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })
  }

  #changed(event: ConnectionEvent): void {
    if (this.#status === 'closed') return
    const { connectedCount, isInVain } = this.#requester.pool
    if (connectedCount > 0) this.#status = 'connected'
    else if (this.#status === 'connected') this.#status = 'disconnected'
    else if (isInVain) this.#status = 'disconnected'
    this.#settleWaiting()
    try {
      this.#options.onConnection?.(event)
    } catch (error) {
      this.#options.logger.error('the onConnection callback threw', { error })
    }
  }

  #settleWaiting(): void {
    if (this.#status === 'connecting') return
    const waiting = this.#waiting
    this.#waiting = []
    for (const { resolve, reject } of waiting) {
      if (this.#status === 'connected') resolve()
      else reject(this.#connectError())
    }
  }

  /** What a single server says, or all say of who asks, is more than that none can be reached. */
  #connectError(): Error {
    if (this.#status === 'closed') return new ClosedError('the client was closed')
    const { pool } = this.#requester
    if (pool.refusal !== undefined) return pool.refusal
    const cause = pool.lastError
    if (this.#options.nodes.length === 1 && cause !== undefined) return cause
    return new UnavailableError(`no server can be reached: ${pool.describeFailures()}`, { cause })
  }

  get(key: BytesInput, options: ReadOptions = NO_OPTIONS): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      const request = { type: 'get', key: toKey(key) } as const
      const spec = this.#read(request, decodeValue, options)
      const version = this.#options.session?.least(request.key)
      this.#requester.start(version === undefined ? spec : { ...spec, version }, resolve, reject)
    })
  }

  /** True when the key has a value. The value is fetched all the same. */
  async has(key: BytesInput, options: ReadOptions = NO_OPTIONS): Promise<boolean> {
    return (await this.get(key, options)) !== undefined
  }

  async getMany(
    keys: readonly BytesInput[],
    options: ReadOptions = NO_OPTIONS,
  ): Promise<(Uint8Array | undefined)[]> {
    checkMembers(options, 'options', READ_OPTIONS)
    const wanted = toKeys(keys)
    // Nothing is sent for no keys; the call is refused all the same where any other would be.
    if (wanted.length === 0) this.#checkBegin(options)
    const endMs = this.#deadline(options)
    const { session } = this.#options
    // A request has one version at most, so what the session has written is asked for key by key.
    const isWritten = wanted.map(key => session?.least(key) !== undefined)
    const written = wanted.filter((_, place) => isWritten[place])
    if (written.length === 0) return await this.#getUnwritten(wanted, endMs, options)
    const others = wanted.filter((_, place) => !isWritten[place])
    const [own, rest] = await Promise.all([
      Promise.all(written.map(key => this.get(key, options))),
      this.#getUnwritten(others, endMs, options),
    ])
    let at = 0
    return isWritten.map((isOwn, place) => (isOwn ? own[at++] : rest[place - at]))
  }

  async #getUnwritten(
    wanted: readonly Uint8Array[],
    endMs: number,
    options: ReadOptions,
  ): Promise<(Uint8Array | undefined)[]> {
    if (wanted.length === 0) return []
    const shares = this.#requester.pool.choice.divide(wanted)
    if (shares.length === 1) return await this.#getShare(wanted, undefined, endMs, options)
    const results = new Array<Uint8Array | undefined>(wanted.length).fill(undefined)
    const read = async ({ preferred, places }: KeyShare): Promise<void> => {
      const share = places.map(place => wanted[place]!)
      const values = await this.#getShare(share, preferred, endMs, options)
      for (const [at, place] of places.entries()) results[place] = values[at]
    }
    await Promise.all(shares.map(read))
    return results
  }

  /** The values of keys that one node can answer for. */
  async #getShare(
    keys: readonly Uint8Array[],
    preferred: NodeLink | undefined,
    endMs: number,
    options: ReadOptions,
  ): Promise<(Uint8Array | undefined)[]> {
    const results: (Uint8Array | undefined)[] = []
    while (results.length < keys.length) {
      const group = keyGroup(keys, results.length)
      const timeoutMs = Math.max(1, endMs - this.#options.clock.monotonicMs())
      const request: Request = { type: 'getMany', keys: group }
      const spec = this.#read(request, decodeValuesResult, { ...options, timeoutMs })
      const values = await this.#start({ ...spec, preferred })
      if (values.length === 0 || values.length > group.length) {
        throw new ProtocolError(`${group.length} keys brought ${values.length} results`)
      }
      for (const value of values) results.push(value)
    }
    return results
  }

  put(key: BytesInput, value: BytesInput, options: PutOptions = NO_OPTIONS): Promise<void> {
    return new Promise((resolve, reject) => {
      const ttlMs = toTtl(checkMembers(options, 'options', PUT_OPTIONS).ttlMs)
      const request: Request = { type: 'put', key: toKey(key), value: toValue(value), ttlMs }
      this.#requester.start(this.#write(request, options, PUT_OPTIONS), resolve, reject)
    })
  }

  delete(key: BytesInput, options: WriteOptions = NO_OPTIONS): Promise<void> {
    return new Promise((resolve, reject) => {
      const spec = this.#write({ type: 'delete', key: toKey(key) }, options)
      this.#requester.start(spec, resolve, reject)
    })
  }

  batch(operations: readonly BatchOperation[], options: WriteOptions = NO_OPTIONS): Promise<void> {
    return new Promise((resolve, reject) => {
      const request = { type: 'batch', operations: toOperations(operations) } as const
      const { choice } = this.#requester.pool
      const preferred = choice.common(request.operations)
      this.#requester.start({ ...this.#write(request, options), preferred }, resolve, reject)
    })
  }

  entries(options: RemoteScanCallOptions = {}): RemoteScan<Entry> {
    return this.#scan(options, false, entriesOf)
  }

  keys(options: RemoteScanCallOptions = {}): RemoteScan<Uint8Array> {
    return this.#scan(options, true, keysOf)
  }

  values(options: RemoteScanCallOptions = {}): RemoteScan<Uint8Array> {
    return this.#scan(options, false, valuesOf)
  }

  /**
   * Number of live keys in the range, counted by the server. Exact, and therefore as slow as
   * reading them all: give a large range the time it needs in `timeoutMs`.
   */
  count(range: KeyRange = {}, options: CallOptions = NO_OPTIONS): Promise<number> {
    return new Promise((resolve, reject) => {
      checkMembers(range, 'a range', RANGE_MEMBERS)
      const scan = { ...toScan(range), keysOnly: true }
      const spec = this.#read({ type: 'count', scan }, decodeCountResult, options)
      this.#requester.start(spec, resolve, reject)
    })
  }

  /** What the server says of itself. */
  stats(options: CallOptions = NO_OPTIONS): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      this.#requester.start(this.#read({ type: 'stats' }, decodeStats, options), resolve, reject)
    })
  }

  /**
   * Asks a server about itself, or to do something: `command` has a name under `command`, and what
   * belongs to it. Rejects with KV_INVALID_ARGUMENT when the server does not know it.
   */
  admin(
    command: Readonly<Record<string, unknown>>,
    options: CallOptions = NO_OPTIONS,
  ): Promise<Record<string, unknown>> {
    const request = { type: 'admin', json: JSON.stringify(command) } as const
    return this.#start(this.#read(request, decodeStats, options))
  }

  /**
   * The ring that the server goes by, encoded: who owns which keys, as the cluster's PROTOCOL.md
   * describes it. Rejects with KV_VERSION_MISMATCH where the server knows no rings yet.
   */
  ringMap(options: CallOptions = NO_OPTIONS): Promise<Uint8Array> {
    return this.#start(this.#read({ type: 'ringMap' }, decodeRingMap, options))
  }

  /** Asks a server for a sign of life. Resolves with the milliseconds it took. */
  async ping(options: CallOptions = NO_OPTIONS): Promise<number> {
    const { clock } = this.#options
    const startMs = clock.monotonicMs()
    await this.#start(this.#read({ type: 'ping', payload: NOTHING }, decodePong, options))
    return clock.monotonicMs() - startMs
  }

  #start<T>(spec: CallSpec<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#requester.start(spec, resolve, reject)
    })
  }

  #checkBegin({ signal }: CallOptions): void {
    if (this.#closing !== undefined) throw new ClosedError('the client was closed')
    if (signal?.aborted !== true) return
    throw new AbortedError('aborted before it began', { cause: signal.reason })
  }

  #deadline(options: CallOptions): number {
    const { clock, timeoutMs } = this.#options
    return clock.monotonicMs() + (checkTimeout(options.timeoutMs) ?? timeoutMs)
  }

  #read<T>(request: Request, decode: DecodeResult<T>, options: Expectations): CallSpec<T> {
    if (options !== NO_OPTIONS) checkMembers(options, 'options', READ_OPTIONS)
    if (options.snapshot !== undefined) {
      throw new InvalidArgumentError('snapshots exist in embedded stores only')
    }
    return {
      request,
      decode,
      deadlineMs: this.#deadline(options),
      idempotent: true,
      write: false,
      consistency: checkConsistency(options.consistency) ?? this.#options.consistency,
      durability: undefined,
      version: undefined,
      signal: knownSignal(options.signal),
      connection: undefined,
    }
  }

  #write(
    request: Request,
    options: Expectations,
    known: ReadonlySet<string> = WRITE_OPTIONS,
  ): CallSpec<void> {
    if (options !== NO_OPTIONS && known !== PUT_OPTIONS) checkMembers(options, 'options', known)
    const version = this.#options.writeVersion?.()
    if (version !== undefined && version.length !== WRITE_VERSION_SIZE) {
      throw new InvalidArgumentError(`a write version has ${WRITE_VERSION_SIZE} bytes`)
    }
    const stamped = version === undefined && this.#options.versions === 'client'
    return {
      request,
      decode: decodeDone,
      deadlineMs: this.#deadline(options),
      idempotent: version !== undefined || stamped,
      stamped,
      write: true,
      consistency: checkConsistency(options.consistency) ?? this.#options.consistency,
      durability: toDurability(options.durability) ?? this.#options.durability,
      version,
      signal: knownSignal(options.signal),
      connection: undefined,
    }
  }

  #scan<T>(
    options: RemoteScanCallOptions,
    keysOnly: boolean,
    itemsOf: PageItems<T>,
  ): RemoteScan<T> {
    if (this.#closing !== undefined) throw new ClosedError('the client was closed')
    if (checkMembers(options, 'options', REMOTE_SCAN_OPTIONS).snapshot !== undefined) {
      throw new InvalidArgumentError('snapshots exist in embedded stores only')
    }
    const scan = new RemoteScan(
      this.#scans,
      {
        scan: { ...toScan(options), keysOnly },
        limit: toLimit(options.limit),
        pageEntries: toCount('pageEntries', options.pageEntries, 1000, PAGE_ENTRIES_MAX),
        pageBytes: toCount('pageBytes', options.pageBytes, 256 * 1024, PAGE_BYTES_MAX),
        readAheadPages: toCount('readAheadPages', options.readAheadPages, 2, READ_AHEAD_PAGES_MAX),
        resume: options.resume ?? true,
        cursor: options.cursor,
        signal: knownSignal(options.signal),
        timeoutMs: checkTimeout(options.timeoutMs) ?? this.#options.timeoutMs,
      },
      itemsOf,
    )
    this.#scans.add(scan)
    return scan
  }

  /** Ends scans, lets calls in flight finish, fails those never sent, and disconnects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#status = 'closed'
    this.#settleWaiting()
    this.#scans.closeAll(new ClosedError('the client was closed'))
    await this.#requester.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

refuseMethods(Client, {
  kind: 'a remote client',
  throwing: ['changes', 'getSync', 'onEvent', 'snapshot'],
  rejecting: ['approximateSize', 'backup', 'checkpoint', 'compact', 'deleteRange', 'verify'],
  advice: 'only an embedded database has it, one that is opened by the path of its directory',
})

function entriesOf(page: PageReply): Entry[] {
  const values = valuesOf(page)
  return page.keys.map((key, index): Entry => [key, values[index]!])
}

function keysOf(page: PageReply): Uint8Array[] {
  return page.keys.slice()
}

function valuesOf(page: PageReply): Uint8Array[] {
  if (page.keys.length === 0) return []
  if (page.values?.length === page.keys.length) return page.values.slice()
  throw new ProtocolError('a page came without its values')
}

/**
 * What the doors of a proxy call: sends each request on to a replica of its key, through the same
 * machinery that the SDK has for that, and keeps nothing itself.
 *
 * What the client said goes on as it is: consistency, durability, what is left of its time, and the
 * version of a write. A write without one gets it here, once, so that every attempt carries the
 * same: what may have happened is never written anew.
 *
 * It offers no updates, as a node with others beside it does not: several proxies and nodes take
 * writes of a key.
 */
import { copyBytes } from '../../bytes.ts'
import type { Clock } from '../../clock.ts'
import { ProtocolError, UnavailableError } from '../../errors.ts'
import type { ClientIdentity } from '../../fair-queue.ts'
import { keyGroup } from '../arguments.ts'
import type { CallSpec, DecodeResult } from '../call.ts'
import { BATCH_COPIED_MAX } from '../limits.ts'
import { gauge, type MetricFamily } from '../metrics.ts'
import type { KeyShare } from '../node-choice.ts'
import type { Request } from '../request.ts'
import type {
  AdminNeeds,
  HandlerEntry,
  HandlerOperation,
  HandlerPut,
  HandlerScan,
  HealthCheck,
  RequestContext,
  RequestHandler,
  RingOwnership,
  ScanSession,
} from '../request-handler.ts'
import {
  decodeCountResult,
  decodeDone,
  decodeEntry,
  decodeStats,
  decodeValue,
  decodeValuesResult,
} from '../result.ts'
import { CancelWatch } from './cancel-watch.ts'
import { ForwardedScan } from './forwarded-scan.ts'
import { fromNode } from './node-error.ts'
import type { Lane, ProxyLanes } from './proxy-lanes.ts'

/** Nodes that one GET_MANY is asked of at the same time; each answers with megabytes at most. */
const SHARES_AT_ONCE = 4

type Json = Readonly<Record<string, unknown>>

export interface ProxyHandlerOptions {
  readonly lanes: ProxyLanes
  readonly clock: Clock
  /** The ring that clients are told: one that leads to no member. */
  readonly ring: () => Uint8Array | undefined
  readonly ownership: () => RingOwnership | undefined
  /** What a user must be allowed for a command, as the nodes see it. */
  readonly adminNeeds: (command: Json) => AdminNeeds
}

export class ProxyHandler implements RequestHandler {
  readonly #options: ProxyHandlerOptions
  readonly #lanes: ProxyLanes
  readonly #clock: Clock
  readonly #cancelWatch: CancelWatch
  readonly #startedMs: number
  #isLeaving = false

  constructor(options: ProxyHandlerOptions) {
    this.#options = options
    this.#lanes = options.lanes
    this.#clock = options.clock
    this.#cancelWatch = new CancelWatch(options.clock)
    this.#startedMs = options.clock.monotonicMs()
  }

  get(key: Uint8Array, context: RequestContext): Promise<Uint8Array | undefined> {
    const spec = this.#read({ type: 'get', key: copyBytes(key) }, decodeValue, context)
    const { version } = context
    return this.#start(context.client, version === undefined ? spec : { ...spec, version })
  }

  entry(key: Uint8Array, context: RequestContext): Promise<HandlerEntry | undefined> {
    const spec = this.#read({ type: 'getEntry', key: copyBytes(key) }, decodeHandlerEntry, context)
    return this.#start(context.client, spec)
  }

  /** The first of the keys, as far as all nodes that were asked have answered. */
  async getMany(
    keys: readonly Uint8Array[],
    context: RequestContext,
    bytesMax: number,
  ): Promise<(Uint8Array | undefined)[]> {
    const wanted = keys.map(key => copyBytes(key))
    const lane = this.#lanes.of(context.client)
    const { deadlineMs, consistency } = context
    const found = new Map<number, Uint8Array | undefined>()
    let bytes = 0
    const read = async ({ preferred, places }: KeyShare): Promise<void> => {
      const share = places.map(place => wanted[place]!)
      const group = keyGroup(share, 0)
      const request: Request = { type: 'getMany', keys: group }
      const spec = this.#read(request, decodeValuesResult, { deadlineMs, consistency })
      const values = await startOn(lane, { ...spec, preferred })
      if (values.length === 0 || values.length > group.length) {
        throw new ProtocolError(`${group.length} keys brought ${values.length} results`)
      }
      for (const [at, value] of values.entries()) {
        found.set(places[at]!, value)
        bytes += value?.length ?? 0
      }
    }
    const shares = lane.requester.pool.choice.divide(wanted)
    for (let at = 0; at < shares.length && bytes < bytesMax; at += SHARES_AT_ONCE) {
      await Promise.all(shares.slice(at, at + SHARES_AT_ONCE).map(read))
    }
    const results: (Uint8Array | undefined)[] = []
    while (found.has(results.length)) results.push(found.get(results.length))
    return results
  }

  put(put: HandlerPut, context: RequestContext): Promise<void> {
    const { key, value, ttlMs } = this.#owned(put)
    return this.#write({ type: 'put', key, value, ttlMs }, context)
  }

  delete(key: Uint8Array, context: RequestContext): Promise<void> {
    return this.#write({ type: 'delete', key: copyBytes(key) }, context)
  }

  batch(operations: readonly HandlerOperation[], context: RequestContext): Promise<void> {
    return this.#write({ type: 'batch', operations: this.#ownedBatch(operations) }, context)
  }

  /** Many are this handler's own, and go on as they are. */
  #ownedBatch(operations: readonly HandlerOperation[]): readonly HandlerOperation[] {
    const isOwn = operations.length > BATCH_COPIED_MAX
    if (isOwn && operations.every(operation => !('expiryMs' in operation))) return operations
    return operations.map(operation => {
      if (operation.type === 'put') return this.#owned(operation)
      return isOwn ? operation : { ...operation, key: copyBytes(operation.key) }
    })
  }

  #owned(put: HandlerPut): HandlerPut {
    const { key, value } = put
    return { type: 'put', key: copyBytes(key), value: copyBytes(value), ttlMs: this.#ttlOf(put) }
  }

  /** An instant goes on as the time until then: a moment later by as long as it takes to arrive. */
  #ttlOf({ ttlMs, expiryMs }: HandlerPut): number {
    if (expiryMs === undefined) return ttlMs
    return expiryMs === 0 ? 0 : Math.max(1, Math.floor(expiryMs - this.#lanes.timeMs))
  }

  #read<T>(
    request: Request,
    decode: DecodeResult<T>,
    { deadlineMs, consistency }: Pick<RequestContext, 'deadlineMs' | 'consistency'>,
  ): CallSpec<T> {
    return { request, decode, deadlineMs, idempotent: true, write: false, consistency }
  }

  #write(request: Request, context: RequestContext): Promise<void> {
    const { deadlineMs, consistency, durability, version, client, onVersion } = context
    const lane = this.#lanes.of(client)
    const preferred =
      request.type === 'batch' ? lane.requester.pool.choice.common(request.operations) : undefined
    return startOn(lane, {
      request,
      decode: decodeDone,
      deadlineMs,
      idempotent: true,
      stamped: version === undefined,
      write: true,
      consistency,
      durability,
      version: version && copyBytes(version),
      onVersion,
      preferred,
    })
  }

  #start<T>(client: ClientIdentity | undefined, spec: CallSpec<T>): Promise<T> {
    return startOn(this.#lanes.of(client), spec)
  }

  openScan(scan: HandlerScan, context: RequestContext): ScanSession {
    return new ForwardedScan(this.#lanes.of(context.client), ownedScan(scan), {
      timeoutMs: Math.max(1, context.deadlineMs - this.#clock.monotonicMs()),
      resumes: context.caller.door !== 'binary',
    })
  }

  async count(scan: HandlerScan, context: RequestContext): Promise<number> {
    const spec = this.#read({ type: 'count', scan: ownedScan(scan) }, decodeCountResult, context)
    const { client } = context
    const { signal, done } = this.#cancelWatch.add(context)
    try {
      return await this.#start(client, { ...spec, signal })
    } finally {
      done()
    }
  }

  /** Of the proxy itself. */
  stats(): Json {
    return {
      proxy: {
        epoch: this.#lanes.epoch,
        uptimeMs: Math.round(this.#clock.monotonicMs() - this.#startedMs),
        queued: this.#lanes.queuedCount,
        nodes: this.#lanes.nodes(),
      },
    }
  }

  /** From now on nobody should be sent here any more. */
  leave(): void {
    this.#isLeaving = true
  }

  /**
   * One node is enough: each passes on what it does not hold, so all is served here that the
   * cluster can serve. Were more asked for, all proxies would turn away together what is left.
   */
  health(): readonly HealthCheck[] {
    const isReached = this.#lanes.nodes().some(({ isReachable }) => isReachable)
    return [
      { name: 'accepts', isOk: !this.#isLeaving, why: 'the proxy is shutting down' },
      { name: 'nodes', isOk: isReached, why: 'no node of the cluster can be reached' },
    ]
  }

  metrics(): readonly MetricFamily[] {
    const nodes = this.#lanes.nodes()
    const uptimeMs = this.#clock.monotonicMs() - this.#startedMs
    const ofNodes = (read: (node: (typeof nodes)[number]) => number) =>
      nodes.map(node => ({ labels: { node: node.address }, value: read(node) }))
    return [
      gauge('duramen_uptime_seconds', 'Since the proxy was started.', uptimeMs / 1000),
      gauge(
        'duramen_proxy_node_reachable',
        '1 for a node that takes calls.',
        ofNodes(({ isReachable }) => (isReachable ? 1 : 0)),
      ),
      gauge(
        'duramen_proxy_node_calls_in_flight',
        'Calls that a node has not answered.',
        ofNodes(({ inFlight }) => inFlight),
      ),
      gauge(
        'duramen_proxy_calls_queued',
        'Calls that wait for a connection with room.',
        this.#lanes.queuedCount,
      ),
      gauge('duramen_ring_epoch', 'Of the ring that calls go by.', this.#lanes.epoch),
    ]
  }

  ring(): Uint8Array {
    return known(this.#options.ring())
  }

  ownership(): RingOwnership {
    return known(this.#options.ownership())
  }

  /** Any node answers for the cluster. */
  overview(context: RequestContext): Promise<Json> {
    return this.admin({ command: 'status' }, context)
  }

  admin(command: Json, context: RequestContext): Promise<Json> {
    const request: Request = { type: 'admin', json: JSON.stringify(command) }
    return this.#start(context.client, this.#read(request, decodeStats, context))
  }

  adminNeeds(command: Json): AdminNeeds {
    return this.#options.adminNeeds(command)
  }
}

function startOn<T>({ requester }: Lane, spec: CallSpec<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    requester.start(spec, resolve, error => reject(fromNode(error)))
  })
}

function known<T>(value: T | undefined): T {
  if (value !== undefined) return value
  throw new UnavailableError('no node has told this proxy its ring yet')
}

function decodeHandlerEntry(
  status: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): HandlerEntry | undefined {
  const entry = decodeEntry(status, bytes, start, end)
  if (entry === undefined) return undefined
  const { value, expiryMs, version } = entry
  return version === undefined ? { value, expiryMs } : { value, expiryMs, version }
}

/** The same in buffers of its own. */
function ownedScan(scan: HandlerScan): HandlerScan {
  const { gt, gte, lt, lte, reverse, order, keysOnly, cursor } = scan
  return {
    ...(gt === undefined ? {} : { gt: copyBytes(gt) }),
    ...(gte === undefined ? {} : { gte: copyBytes(gte) }),
    ...(lt === undefined ? {} : { lt: copyBytes(lt) }),
    ...(lte === undefined ? {} : { lte: copyBytes(lte) }),
    reverse,
    order,
    keysOnly,
    cursor: cursor && copyBytes(cursor),
  }
}

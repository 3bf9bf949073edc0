/**
 * What the front doors of a node call: requests in, operations of the partitioned store out. On a
 * cluster of one every consistency is met by the one replica there is; with peers, reads go where
 * the replicas are.
 */
import { AbortedError, InvalidArgumentError, UnavailableError } from '../errors.ts'
import type { ClientIdentity } from '../fair-queue.ts'
import type {
  AdminNeeds,
  EntryVersions,
  HandlerDecision,
  HandlerEntry,
  HandlerOperation,
  HandlerPut,
  HandlerScan,
  HandlerUpdate,
  HealthCheck,
  MaybePromise,
  MetricFamily,
  RequestContext,
  RequestHandler,
  RingOwnership,
  ScanSession,
  SlowPage,
} from '../net/index.ts'
import { type AdminCommand, type AdminOptions, adminNeeds, runAdmin } from './admin-commands.ts'
import type { ChangeWatches } from './change-watches.ts'
import type { ClusterScans } from './cluster-scans.ts'
import type { ClusterStatus } from './cluster-status.ts'
import type { ClusterWrites } from './cluster-writes.ts'
import { countEntries } from './count-entries.ts'
import type { HintReport } from './hint-reports.ts'
import { OrderedScan } from './ordered-scan.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import type { ReadCoordinator, ReadTerms } from './read-coordinator.ts'
import type { NodeId } from './ring-member.ts'
import type { PartitionScan } from './scan.ts'
import { ScanMemory } from './scan-memory.ts'
import { UnorderedScan } from './unordered-scan.ts'
import { WorkPlaces } from './work-places.ts'

/** Pages that are produced at the same time: each takes up to a megabyte, and one entry more. */
const PAGES_AT_ONCE = 32

/** Of a node alone, which owes nobody anything. */
const NO_HINTS: readonly HintReport[] = []

export type NodeStats = Readonly<Record<string, unknown>>

/** What a node with peers has beside its store. */
export interface ClusterParts {
  readonly reads: ReadCoordinator
  readonly scans: ClusterScans
  readonly writes?: ClusterWrites
  readonly admin: NonNullable<AdminOptions['cluster']>
}

/** What a node knows of itself, for those who watch it. */
export interface NodeAbout {
  readonly changes?: ChangeWatches
  slow?(countMax: number): SlowPage
  status(hints: readonly HintReport[]): ClusterStatus
  health(): readonly HealthCheck[]
  metrics(): readonly MetricFamily[]
  ownership(): RingOwnership
}

export class NodeHandler implements RequestHandler {
  readonly #store: PartitionedStore
  readonly #stats: () => NodeStats
  readonly #ring: () => Uint8Array
  readonly #cluster: ClusterParts | undefined
  readonly #self: NodeId
  readonly #about: NodeAbout | undefined
  readonly #scanMemory: ScanMemory
  readonly #pagePlaces = new WorkPlaces(PAGES_AT_ONCE)

  /** Without `cluster` the node has no peers, and never will. `self` names it in traces. */
  constructor(
    store: PartitionedStore,
    stats: () => NodeStats,
    ring: () => Uint8Array,
    cluster?: ClusterParts,
    self: NodeId = '',
    about?: NodeAbout,
  ) {
    this.#store = store
    this.#stats = stats
    this.#ring = ring
    this.#cluster = cluster
    this.#self = self
    this.#about = about
    this.#scanMemory = cluster?.scans.memory ?? new ScanMemory(store.clock)
  }

  get orderedScans(): number {
    return this.#scanMemory.open
  }

  get(key: Uint8Array, context: RequestContext): MaybePromise<Uint8Array | undefined> {
    const reads = this.#cluster?.reads
    return reads === undefined || reads.isAlone
      ? this.#store.get(key)
      : reads.get(key, leastTermsOf(context))
  }

  getMany(
    keys: readonly Uint8Array[],
    context: RequestContext,
    bytesMax: number,
  ): Promise<(Uint8Array | undefined)[]> {
    const reads = this.#cluster?.reads
    return reads === undefined || reads.isAlone
      ? this.#store.getMany(keys, bytesMax, context.client)
      : reads.getMany(keys, termsOf(context), bytesMax)
  }

  entry(key: Uint8Array, context: RequestContext): MaybePromise<HandlerEntry | undefined> {
    const reads = this.#cluster?.reads
    return reads === undefined || reads.isAlone
      ? this.#store.updates.entry(key)
      : reads.entry(key, termsOf(context))
  }

  get canUpdate(): boolean {
    const cluster = this.#cluster
    if (cluster === undefined) return true
    return cluster.reads.isAlone && cluster.writes?.replication.hasPeers !== true
  }

  update<T>(
    keys: readonly Uint8Array[],
    decide: (
      entries: readonly (HandlerEntry | undefined)[],
      versions: EntryVersions,
    ) => HandlerDecision<T>,
    context: RequestContext,
  ): MaybePromise<HandlerUpdate<T>> {
    return this.#store.updates.update(
      keys,
      (entries, versions) => {
        // In the very step of the write: another node may have joined while it waited.
        if (!this.canUpdate) throw notAlone()
        if (context.cancelled === true) throw new AbortedError('nobody waits for it any more')
        return decide(entries, versions)
      },
      context,
    )
  }

  put(put: HandlerPut, context: RequestContext): Promise<void> {
    return (this.#cluster?.writes ?? this.#store).batch([put], context)
  }

  delete(key: Uint8Array, context: RequestContext): Promise<void> {
    return this.batch([{ type: 'del', key }], context)
  }

  batch(operations: readonly HandlerOperation[], context: RequestContext): Promise<void> {
    return (this.#cluster?.writes ?? this.#store).batch(operations, context)
  }

  openScan(scan: HandlerScan, context: RequestContext): ScanSession {
    const client = context.client ?? {}
    const request = { ...scan, client }
    const scans = this.#cluster?.scans
    if (scans?.isLocal === false && (scan.order === 'unordered' || scan.cursor === undefined)) {
      return this.#inPlaces(client, scans.open(request, scan.order === 'unordered'))
    }
    const own = (local: PartitionScan) =>
      this.#inPlaces(client, scans === undefined ? local : scans.guarded(local))
    if (scan.order === 'unordered') return own(new UnorderedScan(this.#store, request))
    if (scan.cursor === undefined) {
      return own(new OrderedScan(this.#store, request, this.#scanMemory))
    }
    throw new InvalidArgumentError(
      'an ordered scan has no cursor: go on with gt (or lt, in reverse) the last key',
    )
  }

  #inPlaces(client: ClientIdentity, scan: PartitionScan): ScanSession {
    return {
      next: (entriesMax, bytesMax) =>
        this.#pagePlaces.use(client, () => scan.next(entriesMax, bytesMax)),
      close: () => scan.close(),
    }
  }

  count(scan: HandlerScan, context: RequestContext): Promise<number> {
    const { gt, gte, lt, lte } = scan
    const range = { gt, gte, lt, lte, client: context.client }
    const scans = this.#cluster?.scans
    if (scans === undefined) return countEntries(this.#store, range, context)
    return scans.isLocal ? scans.countLocally(range, context) : scans.count(range, context)
  }

  admin(command: AdminCommand, context: RequestContext): Promise<NodeStats> {
    const about = this.#about
    const options = {
      changes: this.#about?.changes,
      store: this.#store,
      self: this.#self,
      cluster: this.#cluster?.admin,
      slow: about?.slow && ((countMax: number) => about.slow!(countMax)),
      status: about && ((hints: readonly HintReport[]) => about.status(hints)),
    }
    return runAdmin(options, command, context.deadlineMs)
  }

  adminNeeds(command: AdminCommand): AdminNeeds {
    return adminNeeds(command)
  }

  stats(): NodeStats {
    return this.#stats()
  }

  health(): readonly HealthCheck[] {
    return this.#about?.health() ?? []
  }

  metrics(): readonly MetricFamily[] {
    return this.#about?.metrics() ?? []
  }

  overview(): NodeStats {
    const about = this.#about
    if (about === undefined) throw new UnavailableError('this server knows no cluster')
    return { ...about.status(this.#cluster?.admin.hints?.latest() ?? NO_HINTS) }
  }

  ownership(): RingOwnership {
    const about = this.#about
    if (about === undefined) throw new UnavailableError('this server knows no ring')
    return about.ownership()
  }

  ring(): Uint8Array {
    return this.#ring()
  }
}

function notAlone(): UnavailableError {
  return new UnavailableError(
    'in a cluster several nodes take writes of a key, so reading it and writing what follows is ' +
      'not offered: another write could come between',
  )
}

/** A GET with a version wants nothing older. */
function leastTermsOf(context: RequestContext): ReadTerms {
  const { version } = context
  const terms = termsOf(context)
  return version === undefined ? terms : { ...terms, least: [version] }
}

/** A context is filled anew once its request was answered; late replicas may still be awaited. */
function termsOf({ consistency, deadlineMs, client }: RequestContext): ReadTerms {
  return { consistency, deadlineMs, client }
}

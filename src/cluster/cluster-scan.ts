/**
 * A scan of all partitions, each read from one replica that can be reached: this node's own copies
 * here, those of others by pages that they send. What the replicas deliver in order is merged: by
 * user key, or for an unordered scan by partition and key, so that its cursors mean the same on
 * every node.
 *
 *   opening a source --> delivering --failed--> its partitions go to other replicas, behind the
 *                            |                  last key that was delivered
 *                            +--done
 *
 * Each replica delivers the state of the moment at which it was opened.
 *
 * Memory: two pages of each source, one being merged and one ahead; the more scans are open on this
 * node, the smaller they are.
 */
import { compareBytes } from '../bytes.ts'
import { AbortedError, KvError, UnavailableError } from '../errors.ts'
import type { LinkBreaks } from './link-breaks.ts'
import { LARGEST_ANSWER_MS } from './link-rate.ts'
import { OrderedScan } from './ordered-scan.ts'
import { KeyBounds, type Partitioner } from './partition.ts'
import { PartitionSet } from './partition-set.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { PeerMessage, type Peers } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import type { ReplicaChoice } from './replica-choice.ts'
import type { CurrentReplicaSets, ReplicaSet } from './replica-sets.ts'
import type { NodeId } from './ring-member.ts'
import type { PartitionScan, ScanPage, ScanRequest } from './scan.ts'
import type { ScanMemory } from './scan-memory.ts'
import { decodeOpened, decodePage, encodeClose, encodeNext, encodeOpen } from './scan-messages.ts'
import { TimeSlice } from './time-slice.ts'
import { unlessSilent } from './unless-silent.ts'
import { decodeCursor, encodeCursor, UnorderedScan } from './unordered-scan.ts'

/**
 * A replica that sends no page for so long has failed, as far as the scan is concerned. One large
 * value makes a page, and may take its time; who falls silent is given up before.
 */
const PAGE_MS_MAX = 5000 + LARGEST_ANSWER_MS
/** Replicas that a scan may lose before it gives up. */
const FAILURES_MAX = 16
/** Bytes of pages that the scans of a node hold together. */
const PAGES_BYTES = 64 * 1024 * 1024
const PAGE_BYTES_MAX = 256 * 1024
const PAGE_BYTES_MIN = 8 * 1024
const PAGE_ENTRIES_MAX = 4096
const ENTRIES_PER_LOOK = 32

export interface ClusterScanOptions {
  readonly store: PartitionedStore
  readonly peers: Peers
  readonly sets: CurrentReplicaSets
  readonly choice: ReplicaChoice
  readonly marks: PurgeMarks
  readonly memory: ScanMemory
  readonly breaks: LinkBreaks
}

/** The partitions that one replica delivers. */
interface Source {
  readonly node: NodeId
  readonly partitions: PartitionSet
  /** The scan of this node's own copies. */
  readonly own: PartitionScan | undefined
  /** Throws when those have lost something since. */
  readonly check: () => void
  /** What the peer calls the scan, once it is open, for as long as the link holds. */
  id: number | undefined
  /** Of its link, when the scan was opened. */
  breaks: number
  page: ScanPage
  index: number
  /** The page that was asked for ahead. */
  ahead: Promise<ScanPage> | undefined
  pagesTaken: number
}

const NO_ENTRIES: ScanPage = { keys: [], values: [], cursor: undefined, done: false }

/** How many scans across the cluster a node has open. */
export interface OpenScans {
  open: number
}

export class ClusterScan implements PartitionScan {
  readonly #options: ClusterScanOptions
  readonly #request: ScanRequest
  readonly #isUnordered: boolean
  readonly #partitioner: Partitioner
  readonly #scans: OpenScans
  readonly #slice: TimeSlice
  readonly #failed = new Set<NodeId>()
  #sources: Source[] | undefined
  #failures = 0
  /** The last user key that was delivered, or that the cursor told. */
  #last: Uint8Array | undefined
  #closed = false

  /** Copies what it keeps of the request. Throws InvalidArgumentError for a foreign cursor. */
  constructor(
    options: ClusterScanOptions,
    request: ScanRequest,
    isUnordered: boolean,
    scans: OpenScans,
  ) {
    const { cursor, reverse } = request
    const { store } = options
    this.#options = options
    this.#isUnordered = isUnordered
    this.#partitioner = store.partitioner
    this.#request = { ...request, ...new KeyBounds(request).toRange(), cursor: undefined }
    this.#last = cursor && decodeCursor(cursor, this.#partitioner, reverse)
    this.#slice = new TimeSlice(store.turns, request.client ?? this)
    this.#scans = scans
    scans.open++
  }

  /** A scan that failed is closed: what it lost must not be passed over. */
  async next(entriesMax: number, bytesMax: number): Promise<ScanPage> {
    this.#checkOpen()
    try {
      return await this.#next(entriesMax, bytesMax)
    } catch (error) {
      this.close()
      throw error
    }
  }

  async #next(entriesMax: number, bytesMax: number): Promise<ScanPage> {
    const keys: Uint8Array[] = []
    const values: Uint8Array[] = []
    let bytes = 0
    await this.#slice.begin()
    const isEmpty = new KeyBounds(this.#request).isEmpty
    this.#sources ??= isEmpty ? [] : await this.#openAll(entriesMax)
    let source = await this.#first(entriesMax)
    while (source !== undefined) {
      const key = source.page.keys[source.index]!
      keys.push(key)
      bytes += key.length
      if (!this.#request.keysOnly) {
        const value = source.page.values[source.index]!
        values.push(value)
        bytes += value.length
      }
      source.index++
      this.#last = key
      if (keys.length >= entriesMax || bytes >= bytesMax) break
      if (keys.length % ENTRIES_PER_LOOK === 0 && this.#slice.isOver) await this.#slice.pause()
      source = await this.#first(entriesMax)
    }
    const done = source === undefined || this.#sources.every(isUsedUp)
    const last = this.#last
    const hasCursor = this.#isUnordered && !done && last !== undefined
    const cursor = hasCursor
      ? encodeCursor(this.#partitioner, this.#request.reverse, last)
      : undefined
    return { keys, values, cursor, done }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#scans.open--
    for (const source of this.#sources ?? []) this.#closeSource(source)
    this.#sources = []
  }

  /** The source with the next entry; undefined when nothing is left. */
  async #first(entriesMax: number): Promise<Source | undefined> {
    const sources = this.#sources!
    if (sources.some(isEmptied)) {
      await Promise.all(sources.filter(isEmptied).map(source => this.#refill(source, entriesMax)))
      this.#checkOpen()
      // What was lost meanwhile has been put in its place.
      return await this.#first(entriesMax)
    }
    let first: Source | undefined
    for (const source of sources) {
      if (isUsedUp(source)) continue
      if (first === undefined || this.#isBefore(source, first)) first = source
    }
    return first
  }

  #isBefore(a: Source, b: Source): boolean {
    const keyA = a.page.keys[a.index]!
    const keyB = b.page.keys[b.index]!
    const partitions = this.#isUnordered
      ? this.#partitioner.partitionOf(keyA) - this.#partitioner.partitionOf(keyB)
      : 0
    const order = partitions === 0 ? compareBytes(keyA, keyB) : partitions
    return this.#request.reverse ? order > 0 : order < 0
  }

  /** Takes the next page of a source, or puts others in its place. */
  async #refill(source: Source, entriesMax: number): Promise<void> {
    try {
      const page = await (source.ahead ?? this.#nextPage(source, entriesMax))
      this.#checkOpen()
      source.page = page
      source.index = 0
      source.pagesTaken++
      source.ahead = undefined
      if (page.done || source.own !== undefined || source.pagesTaken < 2) return
      const ahead = this.#nextPage(source, PAGE_ENTRIES_MAX)
      source.ahead = ahead
      // It is looked at when its turn comes, if ever.
      ahead.catch(() => undefined)
    } catch (error) {
      this.#checkOpen()
      await this.#replace(source, error, entriesMax)
    }
  }

  async #nextPage(source: Source, entries: number): Promise<ScanPage> {
    const entriesMax = Math.min(entries, PAGE_ENTRIES_MAX)
    const bytesMax = this.#pageBytes
    if (source.own !== undefined) {
      const page = await source.own.next(entriesMax, bytesMax)
      source.check()
      return page
    }
    const { sets, breaks } = this.#options
    const { node, id, partitions } = source
    if (id !== undefined) {
      // By now the peer may call another scan so.
      if (source.breaks !== breaks.of(node)) {
        throw new UnavailableError(`the link to node ${node} broke amid a scan; ask another`)
      }
      const body = encodeNext({ id, entriesMax, bytesMax })
      const { scanNext } = PeerMessage
      return decodePage(await this.#ask(node, scanNext, body))
    }
    const request = this.#rest()
    const isUnordered = this.#isUnordered
    const { epoch } = sets
    const body = encodeOpen({ epoch, isUnordered, request, partitions, entriesMax, bytesMax })
    source.breaks = breaks.of(node)
    const opened = decodeOpened(await this.#ask(node, PeerMessage.scanOpen, body))
    source.id = opened.id
    if (this.#closed) this.#closeSource(source)
    return opened.page
  }

  #ask(node: NodeId, kind: number, body: Uint8Array): Promise<Uint8Array> {
    const { peers, store } = this.#options
    const answer = peers.request(node, 'data', kind, body, PAGE_MS_MAX)
    return unlessSilent(answer, node, peers, store.clock)
  }

  get #pageBytes(): number {
    const sources = Math.max(1, this.#sources?.length ?? 1)
    const share = PAGES_BYTES / Math.max(1, this.#scans.open) / sources / 2
    return Math.floor(Math.max(PAGE_BYTES_MIN, Math.min(PAGE_BYTES_MAX, share)))
  }

  /** What is left of the scan behind the last key. */
  #rest(): ScanRequest {
    const request = this.#request
    const last = this.#last
    if (last === undefined) return request
    if (this.#isUnordered) {
      return { ...request, cursor: encodeCursor(this.#partitioner, request.reverse, last) }
    }
    return request.reverse
      ? { ...request, lt: last, lte: undefined }
      : { ...request, gt: last, gte: undefined }
  }

  async #openAll(entriesMax: number): Promise<Source[]> {
    const all = new PartitionSet(this.#partitioner.count)
    for (let partition = 0; partition < this.#partitioner.count; partition++) all.add(partition)
    const sources = this.#sourcesFor(all)
    this.#sources = sources
    await Promise.all([...sources].map(source => this.#refill(source, entriesMax)))
    return sources
  }

  async #replace(source: Source, error: unknown, entriesMax: number): Promise<void> {
    if (!(error instanceof KvError) || ++this.#failures > FAILURES_MAX) throw error
    this.#failed.add(source.node)
    this.#closeSource(source)
    const sources = this.#sources!
    sources.splice(sources.indexOf(source), 1)
    const others = this.#sourcesFor(source.partitions, error)
    sources.push(...others)
    await Promise.all(others.map(other => this.#refill(other, entriesMax)))
  }

  #sourcesFor(partitions: PartitionSet, cause?: unknown): Source[] {
    const byNode = new Map<NodeId, PartitionSet>()
    const chosen = new Map<ReplicaSet, NodeId>()
    const chosenOthers = new Map<ReplicaSet, NodeId>()
    const { marks, sets: currentSets } = this.#options
    const sets = currentSets.current
    for (const partition of partitions) {
      const set = sets.of(partition)
      const isLacking = marks.isUnsound(partition)
      const known = isLacking ? chosenOthers : chosen
      const node = known.get(set) ?? this.#choose(set, isLacking, cause)
      known.set(set, node)
      const part = byNode.get(node) ?? new PartitionSet(this.#partitioner.count)
      part.add(partition)
      byNode.set(node, part)
    }
    return [...byNode].map(([node, part]) => this.#source(node, part))
  }

  /** A replica that has not failed yet, before one that has; not this node when it is lacking. */
  #choose(set: ReplicaSet, isLacking: boolean, cause: unknown): NodeId {
    const { choice } = this.#options
    const others = set.nodes.filter(node => node !== choice.self)
    const reachable = choice.order(isLacking ? others : set.nodes)
    const node = reachable.find(candidate => !this.#failed.has(candidate)) ?? reachable[0]
    if (node !== undefined) return node
    throw new UnavailableError(
      `no replica of some partitions can be reached (${set.nodes.join(', ')})${
        isLacking ? ', and the copy here lacks entries' : ''
      }: try again`,
      { cause },
    )
  }

  #source(node: NodeId, partitions: PartitionSet): Source {
    const { store, choice, marks, memory } = this.#options
    const request = { ...this.#rest(), partitions }
    const isOwn = node === choice.self
    const openOwn = (): PartitionScan =>
      this.#isUnordered
        ? new UnorderedScan(store, request)
        : new OrderedScan(store, request, memory)
    return {
      node,
      partitions,
      own: isOwn ? openOwn() : undefined,
      check: isOwn ? marks.guard(partitions) : () => undefined,
      id: undefined,
      breaks: 0,
      page: NO_ENTRIES,
      index: 0,
      ahead: undefined,
      pagesTaken: 0,
    }
  }

  #closeSource(source: Source): void {
    source.own?.close()
    const { node, id, page } = source
    const { peers, breaks } = this.#options
    if (id === undefined || page.done || source.breaks !== breaks.of(node)) return
    // Should it be lost, the peer closes the scan when nobody reads it.
    peers.send(node, 'data', PeerMessage.scanClose, encodeClose(id))
  }

  #checkOpen(): void {
    if (this.#closed) throw new AbortedError('the scan was closed')
  }
}

/** True when its next page is needed. */
function isEmptied({ index, page }: Source): boolean {
  return index >= page.keys.length && !page.done
}

/** True when it has nothing more. */
function isUsedUp({ index, page }: Source): boolean {
  return index >= page.keys.length && page.done
}

/**
 * Reads of one or many keys, across the cluster: each key by whom its replicas are.
 *
 *   one           own copy; of keys that this node has none of, by the best replica, one hop away
 *   quorum, all   agreed-read.ts, here when this node is a replica, else there
 *   not less than a version (a session reads what it wrote): own copy when recent enough, else
 *                 a quorum, else every replica that can be reached
 *
 * A copy that cannot be read counts as missing: another replica answers, and it is healed. A copy
 * that is known to lack entries says of no key that it is absent: another replica is asked, or the
 * read fails. One that is known to be old (purge-marks.ts) is not asked at all.
 *
 * Nothing is passed on twice: who gets a forwarded read answers it as a replica, or refuses it.
 */
import { attempt } from '../attempt.ts'
import { compareBytes, UINT32_MAX } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import { CorruptionError, UnavailableError } from '../errors.ts'
import type { ClientIdentity } from '../fair-queue.ts'
import type { Consistency } from '../key-value-store.ts'
import { ReadFigures, readAgreed } from './agreed-read.ts'
import { firstAnswer } from './first-answer.ts'
import { LARGEST_ANSWER_MS } from './link-rate.ts'
import type { LivenessView } from './liveness.ts'
import { eachLocalForm } from './local-replica.ts'
import { enginePartition, engineUserKey } from './partition.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { PeerMessage, type Peers } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import { decodeValues, encodeForwarded, type ForwardedRead } from './read-messages.ts'
import { ReplicaChoice } from './replica-choice.ts'
import { serveReplicaReads } from './replica-reads.ts'
import { CurrentReplicaSets, type ReplicaSet } from './replica-sets.ts'
import type { RingTable } from './ring-table.ts'
import type { MaybePromise } from './store.ts'
import type { LiveEntry } from './store-updates.ts'
import { expiryMs, storedVersion } from './versioned-value.ts'

/** Without an answer to a forwarded read for so long, the next replica is asked. */
const FORWARD_SLOW_MS = 300
/**
 * No forwarded read waits longer for one replica, whatever the deadline. Each that was asked goes
 * on meanwhile: of a value that takes long for its size the first to arrive is the answer.
 */
const FORWARD_MS_MAX = 5000 + LARGEST_ANSWER_MS
/** Keys of an agreed read that are read at once, whatever they were expected to hold. */
const KEYS_AT_ONCE_MAX = 64

export interface ReadCoordinatorOptions {
  readonly peers: Peers
  readonly liveness: LivenessView
  readonly store: PartitionedStore
  readonly ring: () => RingTable
  readonly marks: PurgeMarks
  readonly clock: Clock
}

/** What a read is asked for besides its keys. */
export interface ReadTerms {
  readonly consistency: Consistency
  /** Monotonic milliseconds after which nobody waits for the answer. */
  readonly deadlineMs: number
  /** By key, the least version that the answer may have; undefined for any. */
  readonly least?: readonly (Uint8Array | undefined)[] | undefined
  readonly client?: ClientIdentity | undefined
}

type Values = (Uint8Array | undefined)[]

export class ReadCoordinator {
  readonly figures = new ReadFigures()
  readonly choice: ReplicaChoice
  readonly sets: CurrentReplicaSets
  readonly #options: ReadCoordinatorOptions

  /** Answers the reads of the peers, too: made once a node, before its links are started. */
  constructor(options: ReadCoordinatorOptions) {
    const { peers, liveness, clock, ring, store, marks } = options
    this.#options = options
    this.choice = new ReplicaChoice({ peers, liveness, monotonicMs: () => clock.monotonicMs() })
    this.sets = new CurrentReplicaSets(ring, peers.self)
    const coordinate = (read: ForwardedRead, deadlineMs: number) => this.#answer(read, deadlineMs)
    serveReplicaReads({ peers, store, sets: this.sets, marks, coordinate })
  }

  /** True while this node is the only member: every read is its own. */
  get isAlone(): boolean {
    return this.#options.ring().ring.members.length === 1
  }

  /** The value in a buffer of the caller's own, or undefined. Borrows the key. */
  get(key: Uint8Array, terms: ReadTerms): MaybePromise<Uint8Array | undefined> {
    const { store, marks } = this.#options
    const partition = store.partitioner.partitionOf(key)
    const set = this.sets.current.of(partition)
    const isOwn = set.hasSelf && terms.consistency === 'one' && terms.least === undefined
    if (!isOwn || marks.isUnsound(partition)) return this.#first(key, terms)
    if (set.nodes.length === 1) return store.get(key)
    const found = attempt(() => store.get(key))
    if (!(found instanceof Promise)) return found
    const engineKey = store.partitioner.engineKey(key)
    return found.then(
      async value => {
        // It may have been lost meanwhile.
        if ((value !== undefined && !this.#isOld([engineKey])) || !marks.isUnsound(partition))
          return value
        const [late] = await this.#elsewhere(set, [engineKey], terms)
        return late
      },
      async (error: unknown) => {
        const [value] = await this.#pull(set, [engineKey], terms, error)
        return value
      },
    )
  }

  /** The same with expiry and version. At consistency `one` any one replica tells them. */
  entry(key: Uint8Array, terms: ReadTerms): MaybePromise<LiveEntry | undefined> {
    const { store, marks } = this.#options
    const partition = store.partitioner.partitionOf(key)
    const set = this.sets.current.of(partition)
    const engineKey = store.partitioner.engineKey(key)
    if (!set.hasSelf || terms.consistency !== 'one') return this.#entry(set, engineKey, terms)
    if (marks.isUnsound(partition)) return this.#entryElsewhere(set, engineKey, terms)
    const found = attempt(() => store.updates.entry(key))
    if (!(found instanceof Promise)) return found
    return found.then(
      own => {
        if ((own !== undefined && !this.#isOld([engineKey])) || !marks.isUnsound(partition))
          return own
        return this.#entryElsewhere(set, engineKey, terms)
      },
      (error: unknown) => {
        this.#checkElsewhere(set, error)
        return this.#entry(set, engineKey, terms)
      },
    )
  }

  /** As #elsewhere. */
  async #entryElsewhere(
    set: ReplicaSet,
    engineKey: Uint8Array,
    terms: ReadTerms,
  ): Promise<LiveEntry | undefined> {
    try {
      return await this.#entry(set, engineKey, terms)
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error
      const own = await this.#options.store.updates.entry(engineUserKey(engineKey))
      if (own === undefined || this.#isOld([engineKey])) throw error
      return own
    }
  }

  async #entry(
    set: ReplicaSet,
    engineKey: Uint8Array,
    terms: ReadTerms,
  ): Promise<LiveEntry | undefined> {
    const { store, clock } = this.#options
    const quorum = terms.consistency === 'one' ? 1 : set.quorum
    const needed = terms.consistency === 'all' ? set.nodes.length : quorum
    const [stored] = await this.#stored(set, [engineKey], needed, terms)
    if (stored === undefined) return undefined
    const value = store.liveAt(engineKey, stored, clock.wallMs())
    if (value === undefined) return undefined
    return { value, expiryMs: expiryMs(stored), version: storedVersion(stored) }
  }

  /**
   * One result per key, of the first of them, at least one, once the values come to `bytesMax`.
   * Borrows the keys.
   */
  getMany(keys: readonly Uint8Array[], terms: ReadTerms, bytesMax: number): Promise<Values> {
    const { partitioner } = this.#options.store
    return this.#readMany(
      keys.map(key => partitioner.engineKey(key)),
      terms,
      bytesMax,
    )
  }

  async #first(key: Uint8Array, terms: ReadTerms): Promise<Uint8Array | undefined> {
    const engineKey = this.#options.store.partitioner.engineKey(key)
    const [value] = await this.#readMany([engineKey], terms, UINT32_MAX)
    return value
  }

  async #readMany(
    engineKeys: readonly Uint8Array[],
    terms: ReadTerms,
    bytesMax: number,
  ): Promise<Values> {
    const groups = this.#groupsOf(engineKeys, terms.least)
    const share = Math.max(1, Math.floor(Math.min(bytesMax, UINT32_MAX) / groups.length))
    const values: Values = []
    const isRead = new Uint8Array(engineKeys.length)
    await Promise.all(
      groups.map(async ([set, indices]) => {
        const keys = indices.map(at => engineKeys[at]!)
        const least = terms.least && indices.map(at => terms.least![at])
        const found = await this.#readGroup(set, keys, { ...terms, least }, share)
        for (const [index, value] of found.entries()) {
          values[indices[index]!] = value
          isRead[indices[index]!] = 1
        }
      }),
    )
    const count = isRead.indexOf(0)
    return Array.from({ length: count < 0 ? isRead.length : count }, (_, at) => values[at])
  }

  /**
   * Which keys are read together: those of one set of replicas, and where this node is one of them,
   * those with a least version apart, for which another copy is right.
   */
  #groupsOf(
    engineKeys: readonly Uint8Array[],
    least: ReadTerms['least'],
  ): (readonly [ReplicaSet, number[]])[] {
    const { partitioner } = this.#options.store
    const sets = this.sets.current
    const groups = new Map<ReplicaSet, number[]>()
    const leastGroups = new Map<ReplicaSet, number[]>()
    for (const [at, engineKey] of engineKeys.entries()) {
      const set = sets.of(partitioner.partitionOf(engineUserKey(engineKey)))
      const which = set.hasSelf && least?.[at] !== undefined ? leastGroups : groups
      const group = which.get(set)
      if (group === undefined) which.set(set, [at])
      else group.push(at)
    }
    return [...groups, ...leastGroups]
  }

  #readGroup(
    set: ReplicaSet,
    keys: readonly Uint8Array[],
    terms: ReadTerms,
    bytesMax: number,
  ): Promise<Values> {
    if (!set.hasSelf) return this.#forward(set, keys, terms, bytesMax)
    if (terms.least?.some(version => version !== undefined) === true) {
      return this.#atLeast(set, keys, terms, bytesMax)
    }
    if (terms.consistency === 'one') return this.#own(set, keys, terms, bytesMax)
    const needed = terms.consistency === 'all' ? set.nodes.length : set.quorum
    return this.#agreed(set, keys, needed, terms, bytesMax)
  }

  async #own(
    set: ReplicaSet,
    keys: readonly Uint8Array[],
    terms: ReadTerms,
    bytesMax: number,
  ): Promise<Values> {
    const { marks, store } = this.#options
    const isLacking = () => keys.some(key => marks.isUnsound(enginePartition(key)))
    const few = keys.slice(0, KEYS_AT_ONCE_MAX)
    if (isLacking()) return await this.#elsewhere(set, few, terms)
    try {
      const own = await store.getMany(keys.map(engineUserKey), bytesMax, terms.client)
      // It may have been lost meanwhile.
      if ((!own.includes(undefined) && !this.#isOld(keys)) || !isLacking()) return own
    } catch (error) {
      return await this.#pull(set, few, terms, error)
    }
    return await this.#elsewhere(set, few, terms)
  }

  /** What this node has lost some of; what is there will do where nobody else can be asked. */
  async #elsewhere(
    set: ReplicaSet,
    keys: readonly Uint8Array[],
    terms: ReadTerms,
  ): Promise<Values> {
    try {
      return this.#live(keys, await this.#stored(set, keys, 1, terms))
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error
      const { store } = this.#options
      const own = await store.getMany(keys.map(engineUserKey), UINT32_MAX, terms.client)
      if (own.includes(undefined) || this.#isOld(keys)) throw error
      return own
    }
  }

  /** What is there may have been deleted, and forgotten by the others. */
  #isOld(keys: readonly Uint8Array[]): boolean {
    return keys.some(key => this.#options.marks.isBehind(enginePartition(key)))
  }

  /** What this node could not read for `error`, from whoever can. */
  async #pull(
    set: ReplicaSet,
    keys: readonly Uint8Array[],
    terms: ReadTerms,
    error: unknown,
  ): Promise<Values> {
    this.#checkElsewhere(set, error)
    return this.#live(keys, await this.#stored(set, keys, 1, terms))
  }

  /** Throws `error` unless it is of a copy that cannot be read, and another can be asked. */
  #checkElsewhere(set: ReplicaSet, error: unknown): void {
    const others = set.nodes.filter(node => node !== this.choice.self)
    const isElsewhere = others.some(node => this.choice.isReachable(node))
    if (!(error instanceof CorruptionError) || !isElsewhere) throw error
  }

  async #agreed(
    set: ReplicaSet,
    keys: readonly Uint8Array[],
    needed: number,
    terms: ReadTerms,
    bytesMax: number,
  ): Promise<Values> {
    const values: Values = []
    let bytes = 0
    let sizeMax = 1
    let atOnce = 1
    while (values.length < keys.length && bytes < bytesMax) {
      const part = keys.slice(values.length, values.length + atOnce)
      const found = this.#live(part, await this.#stored(set, part, needed, terms))
      for (const value of found) {
        values.push(value)
        bytes += value?.length ?? 0
        sizeMax = Math.max(sizeMax, value?.length ?? 0)
      }
      const fitting = Math.ceil(Math.max(1, bytesMax - bytes) / sizeMax)
      atOnce = Math.min(4 * atOnce, KEYS_AT_ONCE_MAX, fitting)
    }
    return values
  }

  /** The newest stored forms by `needed` replicas. */
  #stored(
    set: ReplicaSet,
    keys: readonly Uint8Array[],
    needed: number,
    { deadlineMs }: ReadTerms,
  ): Promise<Values> {
    const { clock, store, marks } = this.#options
    const { choice, figures } = this
    const { nodes } = set
    const epoch = this.sets.epoch
    const common = { clock, store, marks, choice, figures, deadlineMs }
    return readAgreed({ ...common, epoch, nodes, needed }, keys)
  }

  /** Reads a few keys only, whatever the bytes: sessions ask for little at once. */
  async #atLeast(
    set: ReplicaSet,
    allKeys: readonly Uint8Array[],
    terms: ReadTerms,
    bytesMax: number,
  ): Promise<Values> {
    const keys = allKeys.slice(0, bytesMax < UINT32_MAX ? KEYS_AT_ONCE_MAX : undefined)
    const { marks } = this.#options
    const isRecent = (stored: Uint8Array | undefined, at: number): boolean =>
      isAtLeast(stored, terms.least?.[at])
    // A deletion that is older than the mark is forgotten: there is nothing as recent any more.
    const isForgotten = (stored: Uint8Array | undefined, at: number): boolean =>
      stored === undefined && marks.isSettled(enginePartition(keys[at]!), terms.least![at]!)
    const reachable = set.nodes.filter(node => this.choice.isReachable(node)).length
    const agreeing = terms.consistency === 'all' ? set.nodes.length : set.quorum
    // At `one` any replica will do that has it, however few can be reached.
    const first = terms.consistency === 'one' ? Math.min(agreeing, reachable) : agreeing
    const steps = new Set([first, reachable])
    if (terms.consistency === 'one' && !this.#isOld(keys)) {
      const own: Values = []
      await eachLocalForm(this.#options.store, keys, terms.client ?? {}, form => {
        own.push(form.state === 'found' ? form.stored : undefined)
        return 'next'
      })
      // It may have been found to be old meanwhile.
      if (own.every(isRecent) && !this.#isOld(keys)) return this.#live(keys, own)
    }
    for (const needed of steps) {
      const forms = await this.#stored(set, keys, needed, terms)
      const isAnswer = forms.every((form, at) => isRecent(form, at) || isForgotten(form, at))
      if (isAnswer) return this.#live(keys, forms)
    }
    throw new UnavailableError(
      'no replica that can be reached has what this session wrote: try again in a moment',
    )
  }

  async #forward(
    set: ReplicaSet,
    keys: readonly Uint8Array[],
    terms: ReadTerms,
    bytesMax: number,
  ): Promise<Values> {
    const { clock } = this.#options
    this.figures.forwarded++
    const nodes = this.choice.order(set.nodes)
    if (nodes.length === 0) throw this.choice.tooFew(set.nodes, 1)
    const { consistency, least, deadlineMs } = terms
    const epoch = this.sets.epoch
    const userKeys = keys.map(engineUserKey)
    const body = encodeForwarded({ epoch, keys: userKeys, consistency, bytesMax, least })
    const answer = await firstAnswer({ clock, nodes, slowMs: FORWARD_SLOW_MS }, node => {
      const leftMs = Math.max(1, deadlineMs - clock.monotonicMs())
      const timeoutMs = Math.min(leftMs, FORWARD_MS_MAX)
      return this.choice.request(node, 'data', PeerMessage.forwardRead, body, timeoutMs)
    })
    return decodeValues(answer, keys.length)
  }

  /** A read that another node forwarded; this one owns the keys. */
  #answer(read: ForwardedRead, deadlineMs: number): Promise<Values> {
    const { consistency, least, bytesMax } = read
    const { partitioner } = this.#options.store
    const engineKeys = read.keys.map(key => partitioner.engineKey(key))
    for (const [set] of this.#groupsOf(engineKeys, least)) {
      if (set.hasSelf) continue
      throw new UnavailableError('this node answers no reads of the key yet: ask another replica')
    }
    return this.#readMany(engineKeys, { consistency, least, deadlineMs }, bytesMax)
  }

  #live(keys: readonly Uint8Array[], forms: Values): Values {
    const { store, clock } = this.#options
    const nowMs = clock.wallMs()
    return forms.map((stored, at) => stored && store.liveAt(keys[at]!, stored, nowMs))
  }
}

function isAtLeast(stored: Uint8Array | undefined, least: Uint8Array | undefined): boolean {
  if (least === undefined) return true
  return stored !== undefined && compareBytes(storedVersion(stored), least) >= 0
}

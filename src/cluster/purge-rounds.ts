/**
 * Moves the marks before which deletions may be purged (purge-marks.ts). For each partition the
 * owner with the lowest id does it, about once an hour, when there is a deletion old enough:
 *
 *   floor    every member of the ring says that it owes nobody anything from before the time: no
 *            write, no hint. Who cannot be reached may owe: then nothing is purged.
 *   compare  with every other owner, from then on, and again where any of them had something else:
 *            after the first time this node holds whatever one held before the time, then all do
 *   confirm  every owner writes down that this is so, unless by its own clock the time is too late
 *   advance  every owner moves its mark, and deletes
 *
 * In this order nothing older than the time can come once a mark has moved: clients' writes are
 * younger (PURGE_GRACE_MIN_MS), what members owe was asked for first, and what else comes late is
 * refused for being older than the mark. An owner that misses the last step learns of it from the
 * marks that roots carry. (P7 of the research; compare repair-based tombstone collection, Scylla.)
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { CorruptionError, InvalidArgumentError, KvError, UnavailableError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { SKEW_BEHIND_MAX_MS } from './hybrid-logical-clock.ts'
import type { PartitionTrees } from './partition-trees.ts'
import { PeerMessage, type Peers } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import { decodePurge, encodePurge, PurgeStep } from './purge-messages.ts'
import type { RepairExchange } from './repair-exchange.ts'
import { checkOwner } from './replica-reads.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { NodeId } from './ring-member.ts'

/** Deletions are kept for at least so long. */
export const PURGE_GRACE_MS = 24 * 3_600_000
/** No grace is shorter: clients' writes may be so old, and clocks differ. */
export const PURGE_GRACE_MIN_MS = SKEW_BEHIND_MAX_MS + 600_000
const ROUND_MS = 3_600_000
const REQUEST_MS = 30_000
/** Partitions that are compared and moved together. */
const BATCH = 64
const NOTHING = new Uint8Array(0)

export interface PurgeRoundsOptions {
  readonly peers: Peers
  readonly sets: CurrentReplicaSets
  readonly trees: PartitionTrees
  readonly marks: PurgeMarks
  readonly exchange: RepairExchange
  readonly clock: Clock
  readonly logger: Logger
  readonly isReachable: (node: NodeId) => boolean
  /** True when this node may owe anybody something from before the time. */
  readonly owesBefore: (timeMs: number) => Promise<boolean>
  /** @defaultValue PURGE_GRACE_MS */
  readonly graceMs?: number
}

export class PurgeRounds {
  readonly #options: PurgeRoundsOptions
  readonly #graceMs: number
  #cancel: CancelTimer = () => undefined
  #isClosed = false
  /** Partitions whose marks this node has moved. */
  advanced = 0
  /** What kept the last round from moving marks. */
  obstacle: string | undefined

  /** Answers the peers: made once a node, before its links are started. */
  constructor(options: PurgeRoundsOptions) {
    const { graceMs = PURGE_GRACE_MS, peers } = options
    if (graceMs < PURGE_GRACE_MIN_MS) {
      throw new InvalidArgumentError(
        `deletions must be kept for at least ${PURGE_GRACE_MIN_MS} ms, got ${graceMs}`,
      )
    }
    this.#options = options
    this.#graceMs = graceMs
    peers.handle(PeerMessage.purge, body => this.#answer(body))
  }

  start(): void {
    if (this.#isClosed) return
    const step = (): void => {
      void this.round().then(() => this.start())
    }
    this.#cancel = this.#options.clock.setTimer(ROUND_MS, step, { background: true })
  }

  close(): void {
    this.#isClosed = true
    this.#cancel()
  }

  /** Moves the marks that can be moved; never rejects for what a peer does. */
  async round(): Promise<void> {
    try {
      this.obstacle = await this.#round()
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.obstacle = error.message
    }
    const { obstacle } = this
    if (obstacle !== undefined) this.#options.logger.debug('deletions stay', { obstacle })
  }

  /** Resolves to what keeps the marks from moving. */
  async #round(): Promise<string | undefined> {
    const { sets, clock, isReachable } = this.#options
    const { ring } = sets.current.table
    if (ring.phase !== 'stable') return 'the ring is changing'
    const others = ring.members.map(({ nodeId }) => nodeId).filter(node => node !== sets.self)
    const away = others.find(node => !isReachable(node))
    if (away !== undefined) return `${away} cannot be reached, and may owe something older`
    const timeMs = Math.floor(clock.wallMs()) - this.#graceMs
    const partitions = await this.#withDeletions(timeMs)
    if (partitions.length === 0) return undefined
    const debtor = await this.#debtor(others, timeMs)
    if (debtor !== undefined) return `${debtor} owes something older`
    for (let at = 0; at < partitions.length && !this.#isClosed; at += BATCH) {
      await this.#move(partitions.slice(at, at + BATCH), timeMs)
    }
    return undefined
  }

  /** The partitions that this node leads and that have a deletion from before the time. */
  async #withDeletions(timeMs: number): Promise<number[]> {
    const { sets, trees, marks } = this.#options
    const count = sets.current.table.ring.partitionCount
    const found: number[] = []
    for (let partition = 0; partition < count && !this.#isClosed; partition++) {
      if (this.#ownersOf(partition)[0] !== sets.self || marks.damaged.has(partition)) continue
      try {
        if ((await trees.purgeMs(partition)) < timeMs) found.push(partition)
      } catch (error) {
        // It is compared, and healed, on another occasion; the others need not wait for that.
        if (!(error instanceof CorruptionError)) throw error
      }
    }
    return found
  }

  /** Ascending. */
  #ownersOf(partition: number): NodeId[] {
    const { table } = this.#options.sets.current
    const { members } = table.ring
    return members.map(({ nodeId }) => nodeId).filter(node => table.isOwner(partition, node))
  }

  /** A member that owes somebody something from before the time. */
  async #debtor(others: readonly NodeId[], timeMs: number): Promise<NodeId | undefined> {
    const { sets, owesBefore } = this.#options
    if (await owesBefore(timeMs)) return sets.self
    const owing = await Promise.all(
      others.map(async node => (await this.#ask(node, PurgeStep.floor, timeMs, []))[0] !== 0),
    )
    return others.find((_, at) => owing[at])
  }

  async #move(partitions: readonly number[], timeMs: number): Promise<void> {
    const { sets, marks } = this.#options
    const byPeer = new Map<NodeId, number[]>()
    for (const partition of partitions) {
      for (const node of this.#ownersOf(partition)) {
        if (node === sets.self) continue
        const list = byPeer.get(node) ?? []
        list.push(partition)
        byPeer.set(node, list)
      }
    }
    const unsure = await this.#evenOut(byPeer)
    const sure = (list: readonly number[]) => list.filter(partition => !unsure.has(partition))
    const own = sure(partitions)
    const askAll = (step: PurgeStep) =>
      Promise.all([...byPeer].map(([node, shared]) => this.#ask(node, step, timeMs, sure(shared))))
    // In this order: who confirms first may be refused by others, and must not go on alone.
    await askAll(PurgeStep.confirm)
    await marks.confirm(own, timeMs)
    await marks.advance(own, timeMs)
    await askAll(PurgeStep.advance)
    this.advanced += own.length
  }

  /** Resolves to the partitions of which not all owners are known to hold what any of them held. */
  async #evenOut(byPeer: ReadonlyMap<NodeId, readonly number[]>): Promise<Set<number>> {
    const { exchange } = this.#options
    const unsure = new Set<number>()
    let healed = new Set<number>()
    const compareAll = async (isWanted: (partition: number) => boolean): Promise<void> => {
      for (const [node, shared] of byPeer) {
        const partitions = shared.filter(isWanted)
        if (partitions.length === 0) continue
        for (const [partition, outcome] of await exchange.compare(node, partitions)) {
          if (outcome === 'skipped') unsure.add(partition)
          if (outcome === 'healed') healed.add(partition)
        }
      }
    }
    await compareAll(() => true)
    const toGive = healed
    healed = new Set()
    // What the last of them had, the first of them lack still.
    await compareAll(partition => toGive.has(partition))
    return unsure
  }

  #ask(
    node: NodeId,
    step: PurgeStep,
    timeMs: number,
    partitions: readonly number[],
  ): Promise<Uint8Array> {
    const { peers, sets } = this.#options
    const body = encodePurge({ step, epoch: sets.epoch, timeMs, partitions })
    return peers.request(node, 'bulk', PeerMessage.purge, body, REQUEST_MS)
  }

  async #answer(body: Uint8Array): Promise<Uint8Array> {
    const { sets, marks, owesBefore } = this.#options
    const { step, epoch, timeMs, partitions } = decodePurge(body)
    checkOwner(sets, epoch, partitions)
    if (step === PurgeStep.floor) return Uint8Array.of(Number(await owesBefore(timeMs)))
    this.#checkTime(timeMs)
    if (step === PurgeStep.confirm) {
      for (const partition of partitions) marks.damaged.check(partition)
      await marks.confirm(partitions, timeMs)
      return NOTHING
    }
    const ahead = partitions.find(partition => marks.confirmedMs(partition) < timeMs)
    if (ahead !== undefined) {
      throw new UnavailableError(`partition ${ahead} was never confirmed here up to ${timeMs}`)
    }
    await marks.advance(partitions, timeMs)
    return NOTHING
  }

  /** A leader whose clock is ahead must not make replicas refuse what clients write now. */
  #checkTime(timeMs: number): void {
    const latestMs = this.#options.clock.wallMs() - PURGE_GRACE_MIN_MS
    if (timeMs <= latestMs) return
    throw new UnavailableError(
      `deletions before ${new Date(timeMs).toISOString()} must stay, by the clock of this node: ` +
        'set the clocks of both machines',
    )
  }
}

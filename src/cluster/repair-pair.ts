/**
 * Anti-entropy between this node and one peer: rounds over the partitions that both own, a batch at
 * a time.
 *
 *   waiting --timer, link, demand--> round: batch, pause, batch, … --> waiting
 *
 * An ordinary round compares the half of the partitions that this node begins with, spread over
 * ROUND_MS; a full one, after the peer has been away or when somebody asks for it, all of them
 * without a pause. Partitions that are marked dirty for the peer come first in either. Full rounds
 * begin anywhere, each side with its own half: of the nodes that compare with one that returned,
 * none then repeats what another one does at the same time.
 *
 * Invariants:
 *  1. One batch is under way at a time.
 *  2. A full round that is demanded begins after the demand: what was compared before does not do.
 *  3. A dirty mark goes only when the partition was compared whole since the round began.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { KvError, UnavailableError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import type { RepairExchange } from './repair-exchange.ts'
import type { NodeId } from './ring-member.ts'
import type { WorkPlaces } from './work-places.ts'

/** An ordinary round takes about so long when nothing differs. */
export const ROUND_MS = 30_000
/** Partitions of one message of roots. */
const BATCH = 16
/** A batch takes at most this share of the time (one in so many), however much there is. */
const DUTY = 10
/** After a failure. */
const RETRY_MS = 2000
/** A returning peer is compared within so long: those it returns to do not all begin at once. */
const RETURN_JITTER_MS = 250

/** Partitions that only a comparison of all of them can heal; kept by whoever owes the peer. */
export interface DirtyMarks {
  partitionsOf(peer: NodeId): readonly number[]
  /** The same, once all that their marks stand for is visible: they are compared from then on. */
  beginCompare(peer: NodeId): Promise<readonly number[]>
  /** The partition was compared since, and both hold the same: it goes unless needed meanwhile. */
  clear(peer: NodeId, partition: number): Promise<void>
}

export interface RepairPairOptions {
  readonly peer: NodeId
  readonly self: NodeId
  readonly exchange: RepairExchange
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly dirty: DirtyMarks
  /** Batches of all pairs that are under way at once. */
  readonly places: WorkPlaces
  /** Partitions that both own now. */
  readonly shared: () => readonly number[]
  readonly isReachable: () => boolean
}

/** How a full round goes that somebody asked for. */
export interface RoundProgress {
  readonly peer: NodeId
  readonly compared: number
  readonly total: number
}

interface Demand {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

interface Round {
  readonly isFull: boolean
  readonly demands: readonly Demand[]
  readonly total: number
  waiting: number[]
  skipped: number
}

export class RepairPair {
  readonly #options: RepairPairOptions
  /** When each partition was last known to be the same, in monotonic milliseconds. */
  readonly #equalMs = new Map<number, number>()
  readonly #sinceMs: number
  #round: Round | undefined
  #isFullWanted = true
  #demands: Demand[] = []
  #cancel: CancelTimer = () => undefined
  #isBusy = false
  #isClosed = false
  #roundMs: number | undefined

  constructor(options: RepairPairOptions) {
    this.#options = options
    this.#sinceMs = options.clock.monotonicMs()
    this.#schedule(options.random.next() * RETURN_JITTER_MS)
  }

  /** When the last round without a failure ended, in monotonic milliseconds. */
  get roundMs(): number | undefined {
    return this.#roundMs
  }

  /** Of the round that was demanded, which may not have begun; another one tells nothing. */
  get progress(): RoundProgress {
    const { peer, shared } = this.#options
    const round = this.#round
    if (round === undefined || round.demands.length === 0) {
      return { peer, compared: 0, total: shared().length }
    }
    return { peer, compared: round.total - round.waiting.length, total: round.total }
  }

  /** When the partition that was compared longest ago was, in monotonic milliseconds. */
  get oldestMs(): number {
    let oldestMs = this.#options.clock.monotonicMs()
    for (const partition of this.#options.shared()) {
      oldestMs = Math.min(oldestMs, this.#equalMs.get(partition) ?? this.#sinceMs)
    }
    return oldestMs
  }

  /** When the partition was last known to be the same on both; undefined for never. */
  equalSince(partition: number): number | undefined {
    return this.#equalMs.get(partition)
  }

  /** Compares everything as soon as the peer can be reached: it was away. */
  returned(): void {
    this.#isFullWanted = true
    this.#schedule(this.#options.random.next() * RETURN_JITTER_MS)
  }

  /** Resolves when everything was compared since; rejects when that failed. */
  demand(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#demands.push({ resolve, reject })
      this.#isFullWanted = true
      this.#schedule(0)
    })
  }

  close(error: KvError): void {
    this.#isClosed = true
    this.#cancel()
    this.#fail(error)
  }

  #schedule(afterMs: number): void {
    if (this.#isBusy || this.#isClosed) return
    this.#cancel()
    const step = (): void => {
      this.#isBusy = true
      void this.#step().then(pauseMs => {
        this.#isBusy = false
        this.#schedule(pauseMs)
      })
    }
    this.#cancel = this.#options.clock.setTimer(afterMs, step, { background: true })
  }

  /** One batch; resolves to how long to wait before the next. */
  async #step(): Promise<number> {
    const { peer, exchange, places, clock, logger, isReachable } = this.#options
    if (!isReachable()) {
      this.#fail(new UnavailableError(`${peer} cannot be reached: repair it when it is back`))
      return RETRY_MS
    }
    this.#beginRound()
    const round = this.#round!
    const batch = round.waiting.slice(0, BATCH)
    const beganMs = clock.monotonicMs()
    try {
      // A mark that is made meanwhile is for what came after.
      const marked = new Set(await this.#options.dirty.beginCompare(peer))
      const outcomes = await places.use(this, () => exchange.compare(peer, batch))
      for (const [partition, outcome] of outcomes) {
        if (outcome === 'skipped') round.skipped++
        else await this.#same(partition, beganMs, marked.has(partition))
      }
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      logger.debug('anti-entropy failed, and begins again', { peer, error: error.message })
      this.#isFullWanted ||= round.isFull
      this.#fail(error)
      return RETRY_MS
    }
    round.waiting = round.waiting.slice(batch.length)
    if (round.waiting.length === 0) this.#endRound(round)
    if (round.isFull && round.waiting.length > 0) return 0
    if (this.#isFullWanted) return 0
    const tookMs = clock.monotonicMs() - beganMs
    const batches = Math.max(1, Math.ceil(round.total / BATCH))
    return Math.max(ROUND_MS / batches - tookMs, (DUTY - 1) * tookMs)
  }

  #beginRound(): void {
    if (this.#round !== undefined && !this.#isFullWanted) return
    const isFull = this.#isFullWanted
    const { shared, dirty, peer, self, random } = this.#options
    const dirtyOnes = new Set(dirty.partitionsOf(peer))
    // Each partition is begun by one of the two.
    const parity = self < peer ? 0 : 1
    const all = shared()
    const start = isFull && all.length > 0 ? random.below(all.length) : 0
    const turned = [...all.slice(start), ...all.slice(0, start)]
    const clean = turned.filter(partition => !dirtyOnes.has(partition))
    const waiting = [
      ...all.filter(partition => dirtyOnes.has(partition)),
      ...clean.filter(partition => partition % 2 === parity),
      ...(isFull ? clean.filter(partition => partition % 2 !== parity) : []),
    ]
    const demands = [...(this.#round?.demands ?? []), ...this.#demands]
    this.#demands = []
    this.#isFullWanted = false
    this.#round = { isFull, demands, total: waiting.length, waiting, skipped: 0 }
  }

  #endRound(round: Round): void {
    this.#round = undefined
    if (round.skipped === 0) this.#roundMs = this.#options.clock.monotonicMs()
    const message = `${round.skipped} partitions could not be compared with ${this.#options.peer}`
    for (const { resolve, reject } of round.demands) {
      if (round.skipped === 0) resolve()
      else reject(new UnavailableError(`${message}: try again`))
    }
  }

  async #same(partition: number, beganMs: number, isMarked: boolean): Promise<void> {
    const { peer, dirty } = this.#options
    this.#equalMs.set(partition, beganMs)
    if (isMarked) await dirty.clear(peer, partition)
  }

  #fail(error: KvError): void {
    const demands = [...(this.#round?.demands ?? []), ...this.#demands]
    this.#round = undefined
    this.#demands = []
    for (const { reject } of demands) reject(error)
  }
}

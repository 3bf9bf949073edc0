/**
 * What the members owe each other: the hints and marks that each of them holds for each other one
 * (hint-store.ts), and what is in its queues; asked of all members at once.
 */
import { utf8Encode } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import { KvError } from '../errors.ts'
import type { LivenessView } from './liveness.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { decodedJson } from './read-messages.ts'
import type { Replication } from './replication.ts'
import type { NodeId } from './ring-member.ts'

/** Who asks wants to know how things are now; a member that hangs is told as such. */
const REQUEST_MS = 1000
/** What somebody who looks all the time is told is no older, unless a member hangs. */
const LATEST_MS = 1000
/** Estimates are corrected by counting no more often than that, however often somebody asks. */
const RECOUNT_MS = 30_000
/** Of the time, at most one part in so many is spent on that. */
const RECOUNT_SHARE = 50
const NOTHING = new Uint8Array(0)

/** What one member holds for another. JSON-serialisable. */
export interface OwedHints {
  readonly peer: NodeId
  /** That came as hints. A key that was written several times may count as often for a while. */
  readonly writes: number
  /** False when that and `bytes` are what is there. */
  readonly isEstimate: boolean
  /** Of the hint records, not of the values. */
  readonly bytes: number
  /** Partitions with a mark: only a comparison tells what of them is owed. */
  readonly partitions: number
  /** True when the peer takes writes now, so that what it is owed is on its way. */
  readonly isSendable: boolean
  /** False when it is down: then it gets all of it once it is back. */
  readonly isUp: boolean
  /** Sent, or about to be: of writes that the peer has not acknowledged, and that are no hints. */
  readonly pendingBytes: number
  /** Milliseconds since the oldest of those; 0 when there is none. */
  readonly pendingAgeMs: number
}

export interface HintReport {
  readonly node: NodeId
  /** Only those that are owed something. */
  readonly owes: readonly OwedHints[]
  /** Why the member could not be asked. */
  readonly error?: string
}

export interface HintReportsOptions {
  readonly peers: Peers
  readonly liveness: LivenessView
  readonly clock: Clock
  readonly members: () => readonly NodeId[]
  readonly replication: Pick<Replication, 'figures' | 'recountHints'>
  /** Partitions of which this node has lost something itself: the others owe it what they have. */
  readonly lacking: () => number
}

export class HintReports {
  readonly #options: HintReportsOptions
  /** No sooner than this. */
  #recountMs = Number.NEGATIVE_INFINITY
  #latest: readonly HintReport[] = []
  #latestMs = Number.NEGATIVE_INFINITY
  #isAsking = false

  /** Answers the peers: made once a node, before its links are started. */
  constructor(options: HintReportsOptions) {
    this.#options = options
    options.peers.handle(PeerMessage.hintReport, () => utf8Encode(JSON.stringify(this.#own())))
  }

  /**
   * What all members said the last time that somebody asked, at once; empty before. Asks them anew
   * where that is a while ago.
   */
  latest(): readonly HintReport[] {
    const { clock } = this.#options
    const nowMs = clock.monotonicMs()
    if (!this.#isAsking && nowMs - this.#latestMs >= LATEST_MS) {
      this.#isAsking = true
      this.#latestMs = nowMs
      void this.all().then(reports => {
        this.#latest = reports
        this.#isAsking = false
      })
    }
    return this.#latest
  }

  /** Of every member. */
  all(): Promise<HintReport[]> {
    const { peers, members } = this.#options
    const asked = members().map(async node => (node === peers.self ? this.#own() : this.#ask(node)))
    return Promise.all(asked)
  }

  #own(): HintReport {
    const { peers, liveness, replication } = this.#options
    const figures = Object.entries(replication.figures().peers)
    const owes = figures.flatMap(([peer, figure]): OwedHints[] => {
      const { hintCount: writes, hintBytes: bytes, dirtyPartitions: partitions } = figure
      const { isSendable, pendingBytes, pendingAgeMs } = figure
      if (writes === 0 && partitions === 0 && pendingBytes === 0) return []
      const isEstimate = !figure.isHintCountExact
      const isUp = liveness.liveness(peer) !== 'down'
      const owed = { peer, writes, isEstimate, bytes, partitions }
      return [{ ...owed, isSendable, isUp, pendingBytes, pendingAgeMs }]
    })
    if (owes.some(({ isEstimate }) => isEstimate)) void this.#recount()
    const lacking = this.#options.lacking()
    if (lacking > 0) owes.push(lackingItself(peers.self, lacking))
    return { node: peers.self, owes }
  }

  /** The next answer has it. Never rejects. */
  async #recount(): Promise<void> {
    const { clock, replication } = this.#options
    const beginMs = clock.monotonicMs()
    if (beginMs < this.#recountMs) return
    this.#recountMs = Number.POSITIVE_INFINITY
    await replication.recountHints()
    const tookMs = clock.monotonicMs() - beginMs
    this.#recountMs = beginMs + Math.max(RECOUNT_MS, RECOUNT_SHARE * tookMs)
  }

  async #ask(node: NodeId): Promise<HintReport> {
    const { peers } = this.#options
    try {
      const answer = await peers.request(
        node,
        'urgent',
        PeerMessage.hintReport,
        NOTHING,
        REQUEST_MS,
      )
      return decodedJson<HintReport>('hint report', answer)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return { node, owes: [], error: error.message }
    }
  }
}

function lackingItself(peer: NodeId, partitions: number): OwedHints {
  const nothing = { writes: 0, isEstimate: false, bytes: 0, pendingBytes: 0, pendingAgeMs: 0 }
  return { ...nothing, peer, partitions, isSendable: true, isUp: true }
}

/**
 * What the members owe each other beyond the log: the hints and marks that each of them holds for
 * each other one (hint-store.ts), asked of all members at once.
 */
import { utf8Decode, utf8Encode } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import { KvError } from '../errors.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { decoded } from './read-messages.ts'
import type { Replication } from './replication.ts'
import type { NodeId } from './ring-member.ts'

/** Who asks wants to know how things are now; a member that hangs is told as such. */
const REQUEST_MS = 1000
/** Estimates are corrected by counting no more often than that, however often somebody asks. */
const RECOUNT_MS = 30_000
const NOTHING = new Uint8Array(0)

/** What one member holds for another. JSON-serialisable. */
export interface OwedHints {
  readonly peer: NodeId
  /** Keys with a hint; one that was hinted several times may count as often for a while. */
  readonly keys: number
  /** Of the hint records, not of the values. */
  readonly bytes: number
  /** Partitions with a mark: only a comparison tells what of them is owed. */
  readonly partitions: number
  /** True when the peer takes writes now, so that what it is owed is on its way. */
  readonly isSendable: boolean
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
  readonly clock: Clock
  readonly members: () => readonly NodeId[]
  readonly replication: Pick<Replication, 'figures' | 'recountHints'>
}

export class HintReports {
  readonly #options: HintReportsOptions
  #recountedMs = Number.NEGATIVE_INFINITY

  /** Answers the peers: made once a node, before its links are started. */
  constructor(options: HintReportsOptions) {
    this.#options = options
    options.peers.handle(PeerMessage.hintReport, () => utf8Encode(JSON.stringify(this.#own())))
  }

  /** Of every member. */
  all(): Promise<HintReport[]> {
    const { peers, members } = this.#options
    const asked = members().map(async node => (node === peers.self ? this.#own() : this.#ask(node)))
    return Promise.all(asked)
  }

  #own(): HintReport {
    const { peers, replication } = this.#options
    const figures = Object.entries(replication.figures().peers)
    const owes = figures.flatMap(([peer, figure]): OwedHints[] => {
      const { hintCount: keys, hintBytes: bytes, dirtyPartitions: partitions, isSendable } = figure
      if (keys === 0 && partitions === 0) return []
      return [{ peer, keys, bytes, partitions, isSendable }]
    })
    if (owes.length > 0) this.#recount()
    return { node: peers.self, owes }
  }

  /** The next answer has it. */
  #recount(): void {
    const { clock, replication } = this.#options
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#recountedMs < RECOUNT_MS) return
    this.#recountedMs = nowMs
    void replication.recountHints()
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
      return decoded('hint report', () => JSON.parse(utf8Decode(answer)) as HintReport)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return { node, owes: [], error: error.message }
    }
  }
}

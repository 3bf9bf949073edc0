/**
 * Full rounds of anti-entropy on demand, of all members: each compares everything that it owns with
 * every other owner, and tells how far it is.
 */
import { utf8Encode } from '../bytes.ts'
import { KvError, ProtocolError } from '../errors.ts'
import type { AntiEntropy, RepairRun } from './anti-entropy.ts'
import { PeerMessage, type Peers } from './peers.ts'
import { decodedJson } from './read-messages.ts'
import type { NodeId } from './ring-member.ts'

const REQUEST_MS = 5000
/** What is asked of a member. Append only; never renumber. */
const Ask = { status: 1, start: 2 } as const

/** JSON-serialisable. */
export interface RepairStatus {
  readonly node: NodeId
  readonly isRunning: boolean
  /** Partitions of all peers, of the round. */
  readonly compared: number
  readonly total: number
  /** Keys that one of two replicas had newer, since the round began. */
  readonly divergent: number
  readonly failures: readonly { readonly peer: NodeId; readonly reason: string }[]
  /** Why the member could not be asked. */
  readonly error?: string
}

interface Run {
  readonly repair: RepairRun
  readonly divergentBefore: number
  failures: RepairStatus['failures']
  isOver: boolean
}

export interface RepairRunsOptions {
  readonly peers: Peers
  readonly repair: AntiEntropy
  readonly members: () => readonly NodeId[]
}

export class RepairRuns {
  readonly #options: RepairRunsOptions
  #run: Run | undefined

  /** Answers the peers: made once a node, before its links are started. */
  constructor(options: RepairRunsOptions) {
    this.#options = options
    options.peers.handle(PeerMessage.repairRun, body => {
      if (body[0] === Ask.start) this.start()
      else if (body[0] !== Ask.status) throw new ProtocolError('a peer asked for an unknown repair')
      return utf8Encode(JSON.stringify(this.status))
    })
  }

  /** Begins a round of this node, unless one is under way. */
  start(): void {
    if (this.#run?.isOver === false) return
    const { repair } = this.#options
    const run: Run = {
      repair: repair.repairNow(),
      divergentBefore: repair.exchange.figures.divergent,
      failures: [],
      isOver: false,
    }
    this.#run = run
    void run.repair.done.then(failures => {
      run.failures = failures
      run.isOver = true
    })
  }

  get status(): RepairStatus {
    const { peers, repair } = this.#options
    const run = this.#run
    const rounds = run?.repair.progress() ?? []
    const total = rounds.reduce((sum, round) => sum + round.total, 0)
    const divergent = repair.exchange.figures.divergent - (run?.divergentBefore ?? 0)
    return {
      node: peers.self,
      isRunning: run?.isOver === false,
      compared: rounds.reduce((sum, round) => sum + round.compared, 0),
      total,
      divergent: run === undefined ? 0 : divergent,
      failures: run?.failures ?? [],
    }
  }

  /** The status of every member, after the rounds were begun where that is asked for. */
  async all(isStart: boolean): Promise<RepairStatus[]> {
    const { peers, members } = this.#options
    if (isStart) this.start()
    return await Promise.all(
      members().map(async node => (node === peers.self ? this.status : this.#ask(node, isStart))),
    )
  }

  async #ask(node: NodeId, isStart: boolean): Promise<RepairStatus> {
    const { peers } = this.#options
    const body = Uint8Array.of(isStart ? Ask.start : Ask.status)
    try {
      const answer = await peers.request(node, 'bulk', PeerMessage.repairRun, body, REQUEST_MS)
      return decodedJson<RepairStatus>('repair status', answer)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      const nothing = { isRunning: false, compared: 0, total: 0, divergent: 0, failures: [] }
      return { node, ...nothing, error: error.message }
    }
  }
}

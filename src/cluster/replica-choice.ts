/**
 * Which replicas to ask, and in which order: this node first, then those believed up by how soon
 * they would answer (their recent latency times what they are already asked), then suspects. Who is
 * down, silent or not linked is not asked at all, so that a request which cannot be served fails at
 * once.
 */
import { UnavailableError } from '../errors.ts'
import type { LivenessView } from './liveness.ts'
import type { Lane, Peers } from './peers.ts'
import type { NodeId } from './ring-member.ts'

/** Weight of the latest latency in the average (exponentially weighted). */
const LATEST_WEIGHT = 0.2
/** What a request that failed counts as, in milliseconds: others are tried before. */
const FAILURE_MS = 100

interface Record {
  latencyMs: number
  inFlight: number
}

export interface ReplicaChoiceOptions {
  readonly peers: Peers
  readonly liveness: LivenessView
  readonly monotonicMs: () => number
}

export class ReplicaChoice {
  readonly self: NodeId
  readonly #options: ReplicaChoiceOptions
  readonly #records = new Map<NodeId, Record>()

  constructor(options: ReplicaChoiceOptions) {
    this.self = options.peers.self
    this.#options = options
  }

  /** True when it may answer: it is this node, or linked, not silent, and not believed down. */
  isReachable(node: NodeId): boolean {
    if (node === this.self) return true
    const { peers, liveness } = this.#options
    return peers.isAnswering(node) && liveness.liveness(node) !== 'down'
  }

  /** Those of the nodes that are reachable, the best first. */
  order(nodes: readonly NodeId[]): NodeId[] {
    const reachable = nodes.filter(node => this.isReachable(node))
    if (reachable.length < 2) return reachable
    const scores = new Map(reachable.map(node => [node, this.#score(node)]))
    return reachable.sort((a, b) => scores.get(a)! - scores.get(b)!)
  }

  /** As Peers.request, and remembers how it went. */
  async request(
    node: NodeId,
    lane: Lane,
    kind: number,
    body: Uint8Array,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    const { peers, monotonicMs } = this.#options
    const record = this.#record(node)
    const beganMs = monotonicMs()
    record.inFlight++
    try {
      const answer = await peers.request(node, lane, kind, body, timeoutMs)
      this.#learn(record, monotonicMs() - beganMs)
      return answer
    } catch (error) {
      this.#learn(record, FAILURE_MS)
      throw error
    } finally {
      record.inFlight--
    }
  }

  /** The error of a request that needs more replicas than are reachable. */
  tooFew(nodes: readonly NodeId[], needed: number, cause?: unknown): UnavailableError {
    const away = nodes.filter(node => !this.isReachable(node))
    const whom = away.length === 0 ? '' : ` (not ${away.join(', ')})`
    const reachable = nodes.length - away.length
    const what =
      reachable < needed
        ? `and ${reachable} can be reached${whom}`
        : `and too few of the ${reachable} that can be reached${whom} did`
    const advice = needed === 1 ? 'try again' : 'try again, or with a lower consistency'
    return new UnavailableError(
      `${needed} of ${nodes.length} replicas must answer, ${what}: ${advice}`,
      { cause },
    )
  }

  #score(node: NodeId): number {
    if (node === this.self) return -1
    const { latencyMs, inFlight } = this.#record(node)
    const isUp = this.#options.liveness.liveness(node) === 'up'
    return (latencyMs + 0.1) * (inFlight + 1) + (isUp ? 0 : 1e9)
  }

  #learn(record: Record, latencyMs: number): void {
    record.latencyMs += LATEST_WEIGHT * (latencyMs - record.latencyMs)
  }

  #record(node: NodeId): Record {
    const record = this.#records.get(node) ?? { latencyMs: 0, inFlight: 0 }
    this.#records.set(node, record)
    return record
  }
}

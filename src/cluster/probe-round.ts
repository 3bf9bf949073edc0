/**
 * One attempt to reach a node: directly, and when that takes too long through others, who say
 * whether they got through (SWIM section 3.1, with the answers that Lifeguard added: a relay that
 * stays silent speaks against the node that asks, not against the one that is probed).
 *
 * Ends as soon as an answer came, and at the latest after its time. It never rejects.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { decodeMembership, type MembershipMessage } from './membership-format.ts'
import { PeerMessage, type Peers } from './peers.ts'
import type { NodeId } from './ring-member.ts'

export interface ProbeRequest {
  readonly target: NodeId
  /** Who is asked to try, when a direct answer takes longer than `timeoutMs`. */
  readonly relays: readonly NodeId[]
  /** The message, with the opinion of the target as its first claim. */
  readonly body: Uint8Array
  /** From when on relays are asked. */
  readonly timeoutMs: number
  /** The end of the attempt. */
  readonly intervalMs: number
}

export interface ProbeResult {
  /** What the target answered; undefined when it was not reached. */
  readonly answer: MembershipMessage | undefined
  /** Relays that were asked, and those that did not answer at all. */
  readonly asked: number
  readonly silent: number
}

export function probe(peers: Peers, clock: Clock, request: ProbeRequest): Promise<ProbeResult> {
  return new Promise(resolve => {
    new ProbeRound(peers, clock, request, resolve).start()
  })
}

class ProbeRound {
  readonly #peers: Peers
  readonly #clock: Clock
  readonly #request: ProbeRequest
  readonly #resolve: (result: ProbeResult) => void
  readonly #endMs: number
  #cancelTimer: CancelTimer | undefined
  #isDirectPending = true
  #asked = 0
  #answered = 0
  #silent = 0

  constructor(
    peers: Peers,
    clock: Clock,
    request: ProbeRequest,
    resolve: (result: ProbeResult) => void,
  ) {
    this.#peers = peers
    this.#clock = clock
    this.#request = request
    this.#resolve = resolve
    this.#endMs = clock.monotonicMs() + request.intervalMs
  }

  start(): void {
    const { target, timeoutMs } = this.#request
    this.#cancelTimer = this.#clock.setTimer(timeoutMs, () => this.#askRelays(), {
      background: true,
    })
    const failed = (): void => {
      this.#isDirectPending = false
      this.#askRelays()
    }
    this.#send(target, PeerMessage.probe).then(answer => this.#succeed(answer), failed)
  }

  #askRelays(): void {
    this.#cancelTimer?.()
    const { relays } = this.#request
    if (this.#asked === 0) {
      this.#asked = relays.length
      for (const relay of relays) this.#ask(relay)
    }
    this.#endWhenAllFailed()
  }

  #ask(relay: NodeId): void {
    const answered = (answer: MembershipMessage): void => {
      this.#answered++
      if (answer.claims.length > 0) this.#succeed(answer)
      else this.#endWhenAllFailed()
    }
    const failed = (): void => {
      this.#silent++
      this.#endWhenAllFailed()
    }
    this.#send(relay, PeerMessage.probeRequest).then(answered, failed)
  }

  async #send(peer: NodeId, kind: number): Promise<MembershipMessage> {
    const restMs = Math.max(1, this.#endMs - this.#clock.monotonicMs())
    const answer = await this.#peers.request(peer, 'urgent', kind, this.#request.body, restMs)
    return decodeMembership(answer, peer)
  }

  #succeed(answer: MembershipMessage): void {
    this.#cancelTimer?.()
    this.#resolve({ answer, asked: 0, silent: 0 })
  }

  #endWhenAllFailed(): void {
    if (this.#isDirectPending || this.#answered + this.#silent < this.#asked) return
    this.#resolve({ answer: undefined, asked: this.#asked, silent: this.#silent })
  }
}

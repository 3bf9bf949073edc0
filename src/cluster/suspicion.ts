/**
 * How long a suspected node has to refute: long while one node alone suspects it, short once
 * others have confirmed (Dadgar et al., Lifeguard, 2018, section IV-B; constants of memberlist).
 */
import type { NodeId } from './ring-member.ts'

/** Confirmations by others after which the shortest time is enough. */
export const CONFIRMATIONS_WANTED = 2
/** Attempts of its own that failed, before a node finds another one down. */
const OWN_FAILURES_WANTED = 2
const MIN_MULTIPLIER = 4
const MAX_MULTIPLIER = 6

/** With what a suspicion runs. */
export interface SuspicionTimes {
  readonly minMs: number
  readonly maxMs: number
  /** Confirmations that bring it down to minMs; 0 where too few nodes could give them. */
  readonly wanted: number
}

/** For a cluster of `members`, one that watches and one that is suspected among them. */
export function suspicionTimes(members: number, probeIntervalMs: number): SuspicionTimes {
  const minMs = MIN_MULTIPLIER * Math.max(1, Math.log10(Math.max(1, members))) * probeIntervalMs
  const wanted = members - 2 < CONFIRMATIONS_WANTED ? 0 : CONFIRMATIONS_WANTED
  return { minMs, maxMs: MAX_MULTIPLIER * minMs, wanted }
}

/** Milliseconds from the suspicion to its end, after so many confirmations. */
export function suspicionMs({ minMs, maxMs, wanted }: SuspicionTimes, confirmed: number): number {
  if (wanted < 1) return minMs
  const part = Math.log(confirmed + 1) / Math.log(wanted + 1)
  return Math.max(minMs, maxMs - part * (maxMs - minMs))
}

/** A suspicion that runs. */
export class Suspicion {
  readonly #times: SuspicionTimes
  readonly #accusers = new Set<NodeId>()
  #startedMs: number
  #isConcluded = false
  #ownFailures = 0

  constructor(times: SuspicionTimes, accuser: NodeId, nowMs: number) {
    this.#times = times
    this.#accusers.add(accuser)
    this.#startedMs = nowMs
  }

  get startedMs(): number {
    return this.#startedMs
  }

  /** True once this node itself tried often enough since it began, and failed to reach it. */
  get hasOwnEvidence(): boolean {
    return this.#ownFailures >= OWN_FAILURES_WANTED
  }

  get deadlineMs(): number {
    const { wanted } = this.#times
    const confirmed = this.#isConcluded ? wanted : this.#accusers.size - 1
    return this.#startedMs + suspicionMs(this.#times, confirmed)
  }

  /** True when that is news which shortens the time, and so is worth passing on. */
  confirm(accuser: NodeId): boolean {
    if (this.#accusers.size > this.#times.wanted || this.#accusers.has(accuser)) return false
    this.#accusers.add(accuser)
    return true
  }

  /** Another one found it down: the shortest time will do. True when that is news. */
  conclude(): boolean {
    const isNews = !this.#isConcluded
    this.#isConcluded = true
    return isNews
  }

  /** This node's own attempt, begun at `atMs`, failed. */
  addOwnEvidence(atMs: number): void {
    if (atMs >= this.#startedMs) this.#ownFailures++
  }

  /** Begins anew: what was seen before does not count. */
  restart(nowMs: number): void {
    this.#startedMs = nowMs
    this.#ownFailures = 0
  }
}

/**
 * News that waits to be passed on, each item to a few nodes at random, again and again until that
 * was often enough for it to have reached everybody (SWIM section 4.1; memberlist's queue).
 *
 * Invariants:
 *  1. Of one node there is one profile, and claims of one incarnation and status only, at most one
 *     an accuser: newer ones replace them. So the queue is bounded by the members.
 *  2. What was sent least often is sent first.
 */
import type { Claim } from './member-claim.ts'
import type { Profile } from './member-profile.ts'
import { CLAIM_SIZE_MAX, profileSize } from './membership-format.ts'
import type { NodeId } from './ring-member.ts'

const RETRANSMIT_MULTIPLIER = 4

/** How often an item is sent in a cluster of so many, to a few nodes each time. */
export function retransmissions(members: number): number {
  return RETRANSMIT_MULTIPLIER * Math.ceil(Math.log10(members + 1))
}

interface Item {
  readonly claim?: Claim
  readonly profile?: Profile
  readonly size: number
  sent: number
}

export interface News {
  readonly claims: readonly Claim[]
  readonly profiles: readonly Profile[]
}

export class GossipQueue {
  /** By what it is about: a later item of the same name replaces it. */
  readonly #items = new Map<string, Item>()

  get length(): number {
    return this.#items.size
  }

  addClaim(claim: Claim): void {
    for (const [name, { claim: other }] of this.#items) {
      const isOutdated =
        other?.node === claim.node &&
        (other.incarnation !== claim.incarnation || other.status !== claim.status)
      if (isOutdated) this.#items.delete(name)
    }
    this.#items.set(`${claim.node} ${claim.accuser}`, { claim, size: CLAIM_SIZE_MAX, sent: 0 })
  }

  addProfile(profile: Profile): void {
    this.#items.set(profile.node, { profile, size: profileSize(profile), sent: 0 })
  }

  /** Drops everything about nodes that `isMember` does not know. */
  keep(isMember: (node: NodeId) => boolean): void {
    for (const [name, { claim, profile }] of this.#items) {
      if (!isMember((claim ?? profile)!.node)) this.#items.delete(name)
    }
  }

  /** What goes to a few nodes this time; it counts as sent once. */
  take(bytesMax: number, members: number): News {
    const limit = retransmissions(members)
    const claims: Claim[] = []
    const profiles: Profile[] = []
    let bytes = 0
    const waiting = [...this.#items].sort(([, a], [, b]) => a.sent - b.sent)
    for (const [name, item] of waiting) {
      if (bytes + item.size > bytesMax) continue
      bytes += item.size
      if (item.claim !== undefined) claims.push(item.claim)
      if (item.profile !== undefined) profiles.push(item.profile)
      item.sent++
      if (item.sent >= limit) this.#items.delete(name)
    }
    return { claims, profiles }
  }
}

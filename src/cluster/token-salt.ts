/**
 * Chooses the tokens of a node that joins: of a few sets that its id can have, the one that leaves
 * the ring best balanced.
 *
 * With 128 tokens taken as they come, one ring of 20 in ten has a member with more than 1.15 times
 * its share, and one joining node in six takes more than 1.05 times what it should. With the best
 * of 16 sets, none of 1,800 rings of 3 to 20 exceeded 1.12 and 1.04 (npm run ring:balance). That
 * costs two bytes a member, and nothing when the ring is used. Several choices balance far better
 * than one: Azar et al., Balanced Allocations, 1994.
 */
import { type Load, loads, worstLoad } from './balance.ts'
import { Placement } from './placement.ts'
import type { Ring } from './ring.ts'
import { beginJoin } from './ring-change.ts'
import { type NewMember, ownsAfter } from './ring-member.ts'

export const TOKEN_SALTS_TRIED = 16

/** By how much a load may exceed its share, and the joining node's own: what salts compete in. */
const EXCESS_MAX = 0.15
const MOVED_EXCESS_MAX = 0.05

/**
 * A step a salt, each of some milliseconds with a hundred members: yields between them, so that
 * the caller can let other work pass. Returns the salt for beginJoin, whose errors it throws.
 * Pure: every node comes to the same.
 */
export function* chooseTokenSalt(ring: Ring, member: NewMember): Generator<void, number> {
  let best = 0
  let bestScore = Number.POSITIVE_INFINITY
  for (let salt = 0; salt < TOKEN_SALTS_TRIED; salt++) {
    const { members } = beginJoin(ring, member, salt)
    const all = loads(new Placement(members, ownsAfter, ring))
    const own = all.find(({ index }) => members[index]!.nodeId === member.nodeId)!
    const score = Math.max((worstLoad(all) - 1) / EXCESS_MAX, deviation(own) / MOVED_EXCESS_MAX)
    if (score < bestScore) {
      best = salt
      bestScore = score
    }
    yield
  }
  return best
}

function deviation({ owned, ideal }: Load): number {
  return Math.abs(owned / ideal - 1)
}

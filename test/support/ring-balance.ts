/** Grows a ring as a cluster grows, and measures how evenly it spreads its partitions. */
import { loads, worstLoad } from '../../src/cluster/balance.ts'
import { partitionMoves } from '../../src/cluster/partition-moves.ts'
import type { Ring } from '../../src/cluster/ring.ts'
import { beginJoin, finish, initRing, moveReads } from '../../src/cluster/ring-change.ts'
import { RingTable } from '../../src/cluster/ring-table.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { type RandomMember, randomId, randomMember, saltFor } from './random-ring.ts'

export interface GrowthStep {
  readonly ring: Ring
  /** The greatest load in relation to what it should be. */
  readonly worstLoad: number
  /** Partitions that moved to the joining member, in relation to its ideal share. */
  readonly moved: number
  /** Partitions that moved to anybody else. */
  readonly movedElsewhere: number
}

export interface GrowthSpec {
  readonly seed: number
  readonly membersMax: number
  readonly partitionCount?: number
  readonly chooseSalt?: boolean
  memberAt?(index: number): RandomMember
}

export function firstRing(random: Random, partitionCount: number, member: RandomMember): Ring {
  const options = { clusterId: randomId(random), partitionCount }
  return initRing(randomMember(random, member), options)
}

/** A step for each member that joins, the second to the last. */
export function* growth(spec: GrowthSpec): Generator<GrowthStep> {
  const { seed, membersMax, partitionCount = 1024, chooseSalt = true } = spec
  const random = seededRandom(seed)
  const memberAt = (index: number) => spec.memberAt?.(index) ?? {}
  let ring = firstRing(random, partitionCount, memberAt(0))
  for (let index = 1; index < membersMax; index++) {
    const member = randomMember(random, memberAt(index))
    ring = beginJoin(ring, member, chooseSalt ? saltFor(ring, member) : 0)
    const table = new RingTable(ring)
    const all = loads(table.after)
    const own = all.find(load => ring.members[load.index]!.nodeId === member.nodeId)!
    const moves = partitionMoves(table.before, table.after)
    const targets = moves.filter(({ target }) => target === member.nodeId)
    yield {
      ring,
      worstLoad: worstLoad(all),
      moved: targets.length / own.ideal,
      movedElsewhere: moves.length - targets.length,
    }
    ring = finish(moveReads(ring))
  }
}

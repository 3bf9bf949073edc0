/** Rings for tests: members, and clusters that were changed at random, one operation at a time. */
import fc from 'fast-check'
import type { Ring } from '../../src/cluster/ring.ts'
import {
  abort,
  beginJoin,
  beginLeave,
  beginRemove,
  beginReplace,
  finish,
  initRing,
  moveReads,
} from '../../src/cluster/ring-change.ts'
import { type NewMember, nodeIdOf } from '../../src/cluster/ring-member.ts'
import { chooseTokenSalt } from '../../src/cluster/token-salt.ts'
import type { Random } from '../../src/random.ts'

export interface RandomMember {
  readonly rack?: string
  readonly weight?: number
}

export function randomId(random: Random): string {
  return nodeIdOf(random.bytes(16))
}

export function randomMember(random: Random, { rack, weight }: RandomMember = {}): NewMember {
  const host = `10.0.${random.below(256)}.${random.below(256)}`
  return {
    nodeId: randomId(random),
    clientAddress: `${host}:7700`,
    peerAddress: random.below(2) === 0 ? `${host}:7800` : '',
    ...(rack === undefined ? {} : { rack }),
    ...(weight === undefined ? {} : { weight }),
  }
}

export interface RingSpec {
  readonly partitionCount: number
  readonly replicationFactor: number
  readonly virtualNodes: number
  readonly members: readonly RandomMember[]
}

/** A stable ring with those members, which joined one after another. */
export function ringOf(random: Random, spec: RingSpec): Ring {
  const { members, ...rules } = spec
  let ring = initRing(randomMember(random, members[0]), { clusterId: randomId(random), ...rules })
  for (const member of members.slice(1)) ring = joined(ring, randomMember(random, member))
  return ring
}

/** The ring once the member has joined, with the first set of tokens that its id has. */
export function joined(ring: Ring, member: NewMember, tokenSalt = 0): Ring {
  return finish(moveReads(beginJoin(ring, member, tokenSalt)))
}

export function saltFor(ring: Ring, member: NewMember): number {
  const choice = chooseTokenSalt(ring, member)
  for (;;) {
    const { done, value } = choice.next()
    if (done === true) return value
  }
}

/** A stable ring of 1 to `membersMax` members with racks and weights. */
export function specs(membersMax: number): fc.Arbitrary<RingSpec> {
  const member = fc.record({
    rack: fc.constantFrom('', 'a', 'b', 'c', 'd'),
    weight: fc.constantFrom(1, 1, 1, 2, 5),
  })
  return fc.record({
    partitionCount: fc.constantFrom(1, 2, 16, 64, 256),
    replicationFactor: fc.constantFrom(1, 2, 3, 3, 5),
    virtualNodes: fc.constantFrom(1, 8, 32),
    members: fc.array(member, { minLength: 1, maxLength: membersMax }),
  })
}

/** What can come next of a ring, one of it at random; the phases of an operation mostly go on. */
export function anyStep(random: Random, ring: Ring): Ring {
  if (ring.phase === 'readNew') return finish(ring)
  if (ring.phase === 'readOld') return random.below(4) === 0 ? abort(ring) : moveReads(ring)
  const { nodeId } = ring.members[random.below(ring.members.length)]!
  const member = randomMember(random, {
    rack: 'abc'[random.below(3)]!,
    weight: 1 + random.below(2),
  })
  switch (ring.members.length === 1 ? 0 : random.below(5)) {
    case 0:
    case 1:
      return beginJoin(ring, member, random.below(100))
    case 2:
      return beginLeave(ring, nodeId, { allowFewerReplicas: true })
    case 3:
      return beginRemove(ring, nodeId)
    default:
      return beginReplace(ring, nodeId, member)
  }
}

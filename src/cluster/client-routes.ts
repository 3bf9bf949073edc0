/**
 * A ring as clients use it: which members can answer for a key. The client of the network layer
 * knows no rings; it is given this decoder. And the ring that clients of a proxy get.
 */
import type { NodeAddress, RouteMember, Routes } from '../net/index.ts'
import { Partitioner } from './partition.ts'
import { Placement } from './placement.ts'
import { decodeRingMessage, encodeRing } from './ring-format.ts'
import { ownsAfter, ownsBefore, type RingMember } from './ring-member.ts'

/**
 * The routes of an encoded ring: to the members that reads go to, which all take writes as well.
 * `from` names the sender in messages. Throws ProtocolError for what is no ring,
 * VersionMismatchError for one that is newer than this build.
 */
export function decodeRoutes(bytes: Uint8Array, from: string): Routes {
  const ring = decodeRingMessage(bytes, from)
  const owns = ring.phase === 'readNew' ? ownsAfter : ownsBefore
  const placement = new Placement(ring.members, owns, ring)
  const partitioner = new Partitioner(ring.partitionCount)
  return {
    clusterId: ring.clusterId,
    epoch: ring.epoch,
    members: ring.members.map(routeMember),
    width: placement.width,
    partitionOf: key => partitioner.partitionOf(key),
    memberAt: (partition, place) => placement.indexAt(partition, place),
  }
}

/**
 * The ring as a proxy tells it: its clients find no member that they could ask instead, and stay.
 * Throws as decodeRoutes does.
 */
export function withoutClientAddresses(bytes: Uint8Array, from: string): Uint8Array {
  const ring = decodeRingMessage(bytes, from)
  const members = ring.members.map(member => ({ ...member, clientAddress: '' }))
  return encodeRing({ ...ring, members })
}

function routeMember({ nodeId, clientAddress }: RingMember): RouteMember {
  return { nodeId, address: clientAddress === '' ? undefined : addressOf(clientAddress) }
}

/** `host:port`, an IPv6 host in brackets; undefined for what no client can dial. */
function addressOf(text: string): NodeAddress | undefined {
  const match = /^(?:\[([^[\]]+)\]|([^[\]:]+)):(\d+)$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  return host !== undefined && port >= 1 && port <= 65_535 ? { host, port } : undefined
}

/** Who owns what in an epoch, for people who look at it: where reads go. Pure. */
import type { RingOwnership } from '../net/index.ts'
import type { RingTable } from './ring-table.ts'

/** Costs milliseconds for tens of thousands of partitions: once an epoch. */
export function ringOwnership({ ring, readers }: RingTable): RingOwnership {
  const { epoch, phase, partitionCount } = ring
  const { width } = readers
  const owned = readers.partitionsOwned()
  const firsts = new Uint32Array(ring.members.length)
  const owners = Buffer.alloc(partitionCount * width * 2)
  for (let partition = 0, at = 0; partition < partitionCount; partition++) {
    for (let place = 0; place < width; place++, at += 2) {
      const index = readers.indexAt(partition, place)
      if (place === 0) firsts[index]! += 1
      owners.writeUInt16LE(index, at)
    }
  }
  return {
    epoch,
    phase,
    partitionCount,
    replicas: width,
    members: ring.members.map(({ nodeId, rack, weight }, index) => {
      const [partitions, firstPartitions] = [owned[index]!, firsts[index]!]
      return { nodeId, rack, weight, partitions, firstPartitions }
    }),
    owners: owners.toString('base64'),
  }
}

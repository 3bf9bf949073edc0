/** Random table metadata, for tests of what is recorded about tables. */
import type { TableMetadata } from '../../src/engine/table-metadata.ts'
import type { Random } from '../../src/random.ts'

/** A number below 2^53 of any magnitude. */
export function randomNumber(random: Random): number {
  const magnitude = 2 ** random.below(54)
  return Math.min(Math.floor(random.next() * magnitude), Number.MAX_SAFE_INTEGER)
}

/** A table with this number and range; everything else is made up. */
export function randomTable(
  random: Random,
  fileNumber: number,
  smallestKey: Uint8Array,
  largestKey: Uint8Array,
): TableMetadata {
  const smallestSequence = random.below(2 ** 30) * 1000
  return {
    fileNumber,
    size: 1 + random.below(200),
    smallestKey,
    largestKey,
    smallestSequence,
    largestSequence: smallestSequence + random.below(1000),
    entryCount: 1 + randomNumber(random),
    tombstoneCount: randomNumber(random),
    rangeTombstoneCount: random.below(3) === 0 ? randomNumber(random) : 0,
    expiringCount: randomNumber(random),
    expiryMax: randomNumber(random),
    rawSize: randomNumber(random),
    fileChecksum: random.below(2 ** 32),
  }
}

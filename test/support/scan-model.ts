/** Random scans, and what they must deliver, computed from all entries at once. */
import { compareBytes } from '../../src/bytes.ts'
import type { PartitionScan, ScanRequest } from '../../src/cluster/scan.ts'
import type { Random } from '../../src/random.ts'

export type ModelEntry = readonly [key: Uint8Array, value: Uint8Array]

/** Keys over a small alphabet, so that prefixes, repeats and bounds that hit are common. */
export function randomKey(random: Random, sizeMin: number): Uint8Array {
  return random.bytes(sizeMin + random.below(4)).map(byte => [0, 0x61, 0x62, 0xff][byte & 3]!)
}

export function randomScan(random: Random): ScanRequest {
  const lower = [{}, { gt: randomKey(random, 0) }, { gte: randomKey(random, 0) }]
  const upper = [{}, { lt: randomKey(random, 0) }, { lte: randomKey(random, 0) }]
  return {
    ...lower[random.below(3)],
    ...upper[random.below(3)],
    reverse: random.below(2) === 0,
    keysOnly: random.below(3) === 0,
    cursor: undefined,
  }
}

/** What an ordered scan delivers. */
export function expectedEntries(
  entries: readonly ModelEntry[],
  scan: ScanRequest,
): readonly ModelEntry[] {
  const inside = entries.filter(([key]) => {
    if (scan.gt !== undefined && compareBytes(key, scan.gt) <= 0) return false
    if (scan.gte !== undefined && compareBytes(key, scan.gte) < 0) return false
    if (scan.lt !== undefined && compareBytes(key, scan.lt) >= 0) return false
    return scan.lte === undefined || compareBytes(key, scan.lte) <= 0
  })
  inside.sort(([a], [b]) => compareBytes(a, b))
  if (scan.reverse) inside.reverse()
  return scan.keysOnly ? inside.map(([key]): ModelEntry => [key, NOTHING]) : inside
}

const NOTHING = new Uint8Array(0)

/** Reads a scan to its end in pages of random size; also checks what every page promises. */
export async function readAll(scan: PartitionScan, random: Random): Promise<ModelEntry[]> {
  const entries: ModelEntry[] = []
  for (;;) {
    const entriesMax = 1 + random.below(20)
    const page = await scan.next(entriesMax, 1 + random.below(200))
    if (page.keys.length > entriesMax) throw new Error('the page is too long')
    if (page.keys.length === 0 && !page.done) throw new Error('the page is empty')
    for (const [index, key] of page.keys.entries()) {
      entries.push([key, page.values[index] ?? NOTHING])
    }
    if (page.done) break
  }
  scan.close()
  return entries
}

/**
 * Which block should leave the cache: the policy in use, S3-FIFO, beside LRU, CLOCK and FIFO, on
 * the same traces: zipfian reads alone, and zipfian reads with scans through everything in between.
 * Prints the share of hits of the zipfian reads (a scan's own misses are nobody's fault) and what
 * an access costs.
 */
import { type EvictionQueue, S3FifoQueue, SlotLists } from '../src/engine/eviction-queue.ts'
import { chooseKeys, keyChooser } from './key-chooser.ts'
import { print, textTable } from './report.ts'
import { SEED } from './workloads.ts'

const BLOCK_COUNT = 100_000
const READ_COUNT = 2_000_000
/** The first reads fill the cache and are not counted. */
const WARMUP_SHARE = 0.25
const CACHE_SHARES = [0.01, 0.05, 0.2]
/** Blocks that a scan reads, and zipfian reads between two scans. */
const SCAN_LENGTH = 10_000
const READS_PER_SCAN = 50_000
const FREQUENCY_MAX = 3

/** One list; what a hit does is the difference between the policies. */
class ListQueue implements EvictionQueue {
  readonly frequency: Uint8Array
  readonly evictedOnProbation = false
  count = 0
  protected readonly lists: SlotLists

  constructor(slotCount: number) {
    this.frequency = new Uint8Array(slotCount)
    this.lists = new SlotLists(slotCount, 1)
  }

  insert(slot: number, _returning: boolean): void {
    this.frequency[slot] = 0
    this.lists.append(0, slot)
    this.count++
  }

  evict(): number {
    const slot = this.lists.first(0)
    this.remove(slot)
    return slot
  }

  remove(slot: number): void {
    this.lists.unlink(slot)
    this.count--
  }

  touch(_slot: number): void {}
}

class LruQueue extends ListQueue {
  override touch(slot: number): void {
    this.lists.unlink(slot)
    this.lists.append(0, slot)
  }
}

class ClockQueue extends ListQueue {
  override evict(): number {
    for (;;) {
      const slot = super.evict()
      if (this.frequency[slot] === 0) return slot
      this.insert(slot, false)
    }
  }
}

interface Policy {
  readonly name: string
  readonly create: (slots: number) => EvictionQueue & { touch?(slot: number): void }
}

const POLICIES: readonly Policy[] = [
  { name: 'S3-FIFO (in use)', create: slots => new S3FifoQueue(slots) },
  { name: 'LRU', create: slots => new LruQueue(slots) },
  { name: 'CLOCK', create: slots => new ClockQueue(slots) },
  { name: 'FIFO', create: slots => new ListQueue(slots) },
]

/** Block numbers; those of a scan are stored as their complement, so that they are not counted. */
function makeTrace(withScans: boolean): Int32Array {
  const reads = chooseKeys(keyChooser('zipfian', BLOCK_COUNT, SEED), READ_COUNT)
  // Popular blocks are spread over the key space, as hashing spreads them over tables.
  const place = (rank: number) => (rank * 48_271) % BLOCK_COUNT
  const scans = withScans ? Math.floor(READ_COUNT / READS_PER_SCAN) : 0
  const trace = new Int32Array(READ_COUNT + scans * SCAN_LENGTH)
  let at = 0
  let scanAt = 0
  for (let read = 0; read < READ_COUNT; read++) {
    trace[at++] = place(reads[read]!)
    if (!withScans || (read + 1) % READS_PER_SCAN !== 0) continue
    for (let block = 0; block < SCAN_LENGTH; block++) {
      trace[at++] = ~(scanAt++ % BLOCK_COUNT)
    }
  }
  return trace.subarray(0, at)
}

/** As block-cache.ts does it: slots by block, and a mark for those evicted on probation. */
function run(trace: Int32Array, slots: number, policy: Policy): { hits: number; ns: number } {
  const queue = policy.create(slots)
  const slotOf = new Int32Array(BLOCK_COUNT).fill(-1)
  const ghostOf = new Int32Array(BLOCK_COUNT).fill(-1)
  const blockIn = new Int32Array(slots)
  const warmup = Math.floor(trace.length * WARMUP_SHARE)
  let [used, ghostTime, hits, reads] = [0, 0, 0, 0]
  const startMs = performance.now()
  for (let at = 0; at < trace.length; at++) {
    const access = trace[at]!
    const block = access < 0 ? ~access : access
    const counted = access >= 0 && at >= warmup
    if (counted) reads++
    const held = slotOf[block]!
    if (held >= 0) {
      if (queue.frequency[held]! < FREQUENCY_MAX) queue.frequency[held] = queue.frequency[held]! + 1
      queue.touch?.(held)
      if (counted) hits++
      continue
    }
    let slot = used
    if (used < slots) used++
    else {
      slot = queue.evict()
      const evicted = blockIn[slot]!
      slotOf[evicted] = -1
      if (queue.evictedOnProbation) ghostOf[evicted] = ghostTime++
    }
    const ghost = ghostOf[block]!
    queue.insert(slot, ghost >= 0 && ghostTime - ghost < slots)
    ghostOf[block] = -1
    // The read that loads a block is its first use.
    queue.frequency[slot] = 1
    slotOf[block] = slot
    blockIn[slot] = block
  }
  const ns = ((performance.now() - startMs) * 1e6) / trace.length
  return { hits: hits / reads, ns }
}

for (const withScans of [false, true]) {
  const trace = makeTrace(withScans)
  const what = `a scan of ${SCAN_LENGTH} blocks after every ${READS_PER_SCAN}`
  print(`${READ_COUNT} zipfian reads of ${BLOCK_COUNT} blocks${withScans ? `, ${what}` : ''}`)
  const rows = POLICIES.map(policy => {
    const results = CACHE_SHARES.map(share => run(trace, Math.round(BLOCK_COUNT * share), policy))
    const ns = Math.min(...results.map(result => result.ns))
    return [
      policy.name,
      ...results.map(({ hits }) => `${(hits * 100).toFixed(1)} %`),
      ns.toFixed(0),
    ]
  })
  const head = ['hits, cache of', ...CACHE_SHARES.map(share => `${share * 100} %`), 'ns/access']
  print(`${textTable([head, ...rows])}\n`)
}

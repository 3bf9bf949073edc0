/**
 * Partitions of which this node lacks entries that it had, until it has from the others what
 * they have of them: lost to damage on its disk (P38 of the research: bit rot), or not in the old
 * copy of the disk that was taken back (readmission.ts).
 *
 *   whole --add, before anything is given up--> lacking --compared with all other owners--> whole
 *
 *   record := form u8 (1) | partition u16 * count          big-endian, ascending
 *
 * Invariants:
 *  1. What lacks something is recorded durably before anything goes by that.
 *  2. While a partition lacks something this node answers no quorum for it, says of no key that it
 *     is absent, scans and counts nothing of it, gives of it to nobody, and confirms nothing that
 *     it would have to know all of it for.
 *  3. A comparison counts only if nothing of the partition was lost since it began.
 */
import { CorruptionError, UnavailableError } from '../errors.ts'
import { NodeKey, nodeKey } from './partition.ts'
import type { NodeId } from './ring-member.ts'
import type { Store } from './store.ts'

/** Part of the stored form. Never reuse a number. */
const RECORD_FORM = 1

interface Lacking {
  /** Comparisons count that began after so many losses. */
  readonly sinceLosses: number
  /** With whom it was compared since. */
  readonly peers: Set<NodeId>
}

export class DamagedPartitions {
  readonly #store: Store
  readonly #lacking = new Map<number, Lacking>()
  #writing: Promise<void> = Promise.resolve()
  #losses = 0
  /** Losses that whoever reads all of a partition may have to do with. */
  #newLosses = 0

  private constructor(store: Store) {
    this.#store = store
  }

  /** Rejects with KV_CORRUPTION when the record is damaged. `path` is the directory. */
  static async open(store: Store, path: string): Promise<DamagedPartitions> {
    const damaged = new DamagedPartitions(store)
    const record = await store.read(nodeKey(NodeKey.damaged))
    if (record === undefined) return damaged
    if (record[0] !== RECORD_FORM || record.length % 2 !== 1) {
      const place = { path: `${path}/damage record`, offset: 0 }
      throw new CorruptionError(place, 'the record of damaged partitions cannot be read')
    }
    for (let at = 1; at < record.length; at += 2) {
      damaged.#lost(record[at]! * 256 + record[at + 1]!)
    }
    return damaged
  }

  has(partition: number): boolean {
    return this.#lacking.has(partition)
  }

  get count(): number {
    return this.#lacking.size
  }

  /** Those that are still to be compared with this node. */
  waitingFor(peer: NodeId): number[] {
    return [...this.#lacking].flatMap(([partition, { peers }]) => {
      return peers.has(peer) ? [] : [partition]
    })
  }

  /** To be asked for when a comparison begins. */
  get losses(): number {
    return this.#losses
  }

  /** Throws UnavailableError where a quorum must not rely on this copy. */
  check(partition: number): void {
    if (!this.#lacking.has(partition)) return
    throw new UnavailableError(
      `this copy of partition ${partition} lacks entries (a damaged file, or an old copy of the ` +
        'disk): ask another',
    )
  }

  /**
   * For who reads all that some partitions hold. Throws UnavailableError when one of them lacks
   * something. What it returns is to be called before anything of that is told, and throws when
   * something was lost since: what came back by then may be later than what the reader sees.
   */
  guard(partitions: Iterable<number>): () => void {
    if (this.#lacking.size > 0) for (const partition of partitions) this.check(partition)
    const losses = this.#newLosses
    return () => {
      if (this.#newLosses === losses) return
      throw new UnavailableError('entries were lost here while they were read: ask another')
    }
  }

  /** These are about to lose something, or just did. Resolves when that is durable. */
  async add(partitions: Iterable<number>): Promise<void> {
    this.#losses++
    this.#newLosses++
    for (const partition of partitions) this.#lost(partition)
    await this.#record()
  }

  /**
   * Something that cannot be read is about to be hidden by what may be older. Resolves when that is
   * durable. Who reads a partition that lacks something already has nothing new to fear.
   */
  async addHidden(partition: number): Promise<void> {
    if (!this.#lacking.has(partition)) this.#newLosses++
    this.#losses++
    this.#lost(partition)
    await this.#record()
  }

  /** What was lost is gone by now: only what is compared from here on counts. */
  renew(): void {
    this.#losses++
    this.#newLosses++
    for (const partition of this.#lacking.keys()) this.#lost(partition)
  }

  #lost(partition: number): void {
    this.#lacking.set(partition, { sinceLosses: this.#losses, peers: new Set() })
  }

  /**
   * The partition was compared with one other owner of it, from when there were so many `losses`.
   * With all of `owners` it is whole again; resolves when that is durable.
   */
  async compared(
    partition: number,
    peer: NodeId,
    owners: readonly NodeId[],
    losses: number,
  ): Promise<void> {
    const lacking = this.#lacking.get(partition)
    if (lacking === undefined || losses < lacking.sinceLosses) return
    lacking.peers.add(peer)
    if (!owners.every(owner => lacking.peers.has(owner))) return
    this.#lacking.delete(partition)
    await this.#record()
  }

  /** One after another: each writes the record whole. */
  #record(): Promise<void> {
    const before = this.#writing
    const writing = before.then(async () => {
      const partitions = [...this.#lacking.keys()].sort((a, b) => a - b)
      const value = encodeDamaged(partitions)
      const key = nodeKey(NodeKey.damaged)
      await this.#store.write([{ type: 'put', key, value, expiryMs: 0 }], { durability: 'sync' })
    })
    this.#writing = writing.catch(() => undefined)
    return writing
  }
}

/** The record of these partitions, which ascend. */
export function encodeDamaged(partitions: readonly number[]): Uint8Array {
  const value = new Uint8Array(1 + 2 * partitions.length)
  value[0] = RECORD_FORM
  for (const [index, partition] of partitions.entries()) {
    value[1 + 2 * index] = partition >>> 8
    value[2 + 2 * index] = partition
  }
  return value
}

/**
 * Up to when deletions of a partition may be purged on this node: a time, its mark, of which every
 * replica has confirmed that all of them hold the same before it. Then nothing older can come from
 * anywhere any more, but from a disk that was away: that is refused (P7 of the research).
 *
 * In milliseconds since the Unix epoch; purge-record.ts has how it is stored. A mark moves in two
 * steps: every replica confirms a time, then each moves its mark there. Who finds a mark above its
 * own at a peer follows it, for all have confirmed. Who finds one above what it ever confirmed is
 * behind: its disk is an old copy, and what it holds may have been deleted and forgotten by the
 * others: it takes before it gives anything (repair-exchange.ts).
 *
 * Invariants:
 *  1. A mark only grows, up to what was confirmed, and is durable before anything goes by it.
 *  2. Nothing of a user that lies before a mark comes back by way of a peer whose mark is lower.
 */
import { UnavailableError } from '../errors.ts'
import { versionTimeMs } from '../write-version.ts'
import { DamagedPartitions } from './damaged-partitions.ts'
import { enginePartition } from './partition.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import { openPurgeTimes, type PurgeTimes, writePurgeTimes } from './purge-record.ts'
import type { MaybePromise } from './store.ts'
import { readIntact } from './stored-entries.ts'
import { purgeTimeMs, storedVersion } from './versioned-value.ts'

export class PurgeMarks {
  readonly #store: PartitionedStore
  readonly #marks: Float64Array
  readonly #confirmed: Float64Array
  readonly #behind = new Set<number>()
  /** How often something was found to be behind. */
  #foundBehind = 0
  readonly #listeners: ((partitions: readonly number[]) => void)[] = []
  /** Settles, without failing, when the write under way has. */
  #writing: Promise<void> = Promise.resolve()
  /** Older mutations of peers that were refused. */
  refused = 0

  /** What this node has lost something of, and cannot answer for either. */
  readonly damaged: DamagedPartitions
  readonly #mayVote: () => boolean

  private constructor(
    store: PartitionedStore,
    damaged: DamagedPartitions,
    { marks, confirmed }: PurgeTimes,
    mayVote: () => boolean,
  ) {
    this.#store = store
    this.damaged = damaged
    this.#mayVote = mayVote
    this.#marks = marks
    this.#confirmed = confirmed
  }

  /**
   * Rejects as openPurgeTimes. `path` is the directory; `mayVote` is
   * false while members may still say that it is an old copy.
   */
  static async open(
    store: PartitionedStore,
    path: string,
    mayVote: () => boolean = () => true,
  ): Promise<PurgeMarks> {
    const damaged = await DamagedPartitions.open(store.store, path)
    const times = await openPurgeTimes(store.store, store.partitioner.count, path)
    return new PurgeMarks(store, damaged, times, mayVote)
  }

  /** Deletions of the partition before that time may be gone; 0: none. */
  markMs(partition: number): number {
    return this.#marks[partition]!
  }

  /** Throws UnavailableError while members may still say that this disk is an old copy. */
  checkVote(): void {
    if (this.#mayVote()) return
    throw new UnavailableError(
      'this node has just started, and too few members have met it yet: ask another',
    )
  }

  /** Calls back whenever the marks of some partitions have moved: deletions may go. */
  onAdvance(listener: (partitions: readonly number[]) => void): void {
    this.#listeners.push(listener)
  }

  /** True when others have purged what this node never confirmed: it must be resynchronised. */
  isBehind(partition: number): boolean {
    return this.#behind.has(partition)
  }

  get behindCount(): number {
    return this.#behind.size
  }

  /** True when what this copy says may be wrong: it lacks something, or shows what is forgotten. */
  isUnsound(partition: number): boolean {
    return this.damaged.has(partition) || this.#behind.has(partition)
  }

  get unsoundCount(): number {
    return this.damaged.count + this.#behind.size
  }

  /** As DamagedPartitions.guard, and the same of what is found to be behind. */
  guard(partitions: Iterable<number>): () => void {
    const asked = [...partitions]
    const check = this.damaged.guard(asked)
    for (const partition of asked) this.#checkBehind(partition)
    const found = this.#foundBehind
    return () => {
      check()
      if (this.#foundBehind === found) return
      throw new UnavailableError('this copy was found to be old while it was read: ask another')
    }
  }

  /** Confirms that this node holds what the others hold before that time. Resolves when durable. */
  async confirm(partitions: readonly number[], timeMs: number): Promise<void> {
    await this.#raise(this.#confirmed, partitions, timeMs)
  }

  /** All replicas have confirmed; resolves when durable, and only then the mark has moved. */
  async advance(partitions: readonly number[], timeMs: number): Promise<void> {
    await this.#raise(this.#confirmed, partitions, timeMs)
    await this.#raise(this.#marks, partitions, timeMs)
    for (const partition of partitions) {
      if (this.#marks[partition]! >= timeMs) this.#behind.delete(partition)
    }
    for (const listener of this.#listeners) listener(partitions)
  }

  /** True when a form that this node has is live for certain, however old. */
  isSettled(partition: number, version: Uint8Array): boolean {
    return versionTimeMs(version) < this.#marks[partition]!
  }

  /**
   * Throws UnavailableError when this node may hold what others have deleted and forgotten, or
   * lacks what it once had, or may be found to be an old copy.
   */
  checkNotBehind(partition: number): void {
    this.checkVote()
    this.damaged.check(partition)
    this.#checkBehind(partition)
  }

  #checkBehind(partition: number): void {
    if (!this.#behind.has(partition)) return
    throw new UnavailableError(
      `this copy of partition ${partition} is older than what the others purged: ask another`,
    )
  }

  /** What this node has confirmed. */
  confirmedMs(partition: number): number {
    return this.#confirmed[partition]!
  }

  /** Takes note of a peer's mark: follows it, or finds out that this node is behind. */
  async meet(partition: number, theirsMs: number): Promise<void> {
    if (theirsMs <= this.#marks[partition]!) return
    if (theirsMs <= this.#confirmed[partition]!) {
      await this.advance([partition], theirsMs)
    } else if (!this.#behind.has(partition)) {
      this.#behind.add(partition)
      this.#foundBehind++
    }
  }

  /** Of what a peer sent without a mark of its own: a write that comes late, a repair of a read. */
  fence(entries: readonly StoredEntry[]): MaybePromise<readonly StoredEntry[]> {
    const isOld = entries.some(entry => this.#isOld(entry, 0))
    return isOld ? this.withoutPurged(entries, 0) : entries
  }

  /**
   * Of what a peer sent, what may be applied: not deletions that were purged, and of keys that this
   * node does not have nothing that is older than its mark, unless the peer has purged as far.
   */
  async withoutPurged(
    entries: readonly StoredEntry[],
    theirsMs: number,
  ): Promise<readonly StoredEntry[]> {
    const isOld = entries.map(entry => this.#isOld(entry, theirsMs))
    if (!isOld.includes(true)) return entries
    const kept: StoredEntry[] = []
    for (const [at, entry] of entries.entries()) {
      if (!isOld[at] || (await this.#stays(entry))) kept.push(entry)
    }
    this.refused += entries.length - kept.length
    return kept
  }

  #isOld({ engineKey, stored }: StoredEntry, theirsMs: number): boolean {
    const markMs = this.#marks[enginePartition(engineKey)]!
    if (purgeTimeMs(stored, 0, stored.length) < markMs) return true
    return theirsMs < markMs && versionTimeMs(storedVersion(stored)) < markMs
  }

  /**
   * True when something is there that no sweep takes away before the entry is held against it. What
   * cannot be read is not there, and may be healed by any peer that has purged as far.
   */
  async #stays({ engineKey }: StoredEntry): Promise<boolean> {
    const stored = await readIntact(this.#store.store, engineKey)
    if (stored === undefined) return false
    return purgeTimeMs(stored, 0, stored.length) >= this.#marks[enginePartition(engineKey)]!
  }

  async #raise(times: Float64Array, partitions: readonly number[], timeMs: number): Promise<void> {
    // One after another: each writes records whole, with what those before it have raised.
    const before = this.#writing
    const writing = before.then(async () => {
      const rising = partitions.filter(partition => times[partition]! < timeMs)
      if (rising.length === 0) return
      const raised = times.slice()
      for (const partition of rising) raised[partition] = timeMs
      const isMarks = times === this.#marks
      const marks = isMarks ? raised : this.#marks
      const confirmed = isMarks ? this.#confirmed : raised
      await writePurgeTimes(this.#store.store, { marks, confirmed }, rising)
      for (const partition of rising) times[partition] = timeMs
    })
    this.#writing = writing.catch(() => undefined)
    await writing
  }
}

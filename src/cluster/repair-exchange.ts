/**
 * Compares partitions with one replica and evens out what differs, both ways: roots, then leaves,
 * then keys, and of those the stored forms of which one has a newer one.
 *
 * Once it resolves without a failure both hold, of every key that either held when it began, the
 * later form or one that is later still. That is what purging and dirty marks build on; that the
 * roots are the same meanwhile is not needed, for writes go on.
 *
 * Messages are bounded (a few hundred keys, about a quarter of a mebibyte of forms), paid for from
 * the background budget, and all work takes turns with what clients wait for.
 */
import { CorruptionError } from '../errors.ts'
import type { BackgroundBudget } from './background-budget.ts'
import { leafEntries } from './leaf-entries.ts'
import { engineUserKey } from './partition.ts'
import type { PartitionSalvage } from './partition-salvage.ts'
import { LEAF_COUNT, leafSet, leavesOf, type TreeRoot } from './partition-tree.ts'
import type { PartitionTrees } from './partition-trees.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import { PeerMessage, type Peers } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import { digestOfStored } from './read-messages.ts'
import {
  decodeCompared,
  decodeLeafSet,
  decodeVerdicts,
  encodeKeyDigests,
  encodeLeaves,
  encodePush,
  encodeRoots,
  type KeyDigest,
  type PartitionHead,
  Verdict,
} from './repair-messages.ts'
import { checkEntries } from './repair-server.ts'
import { checkOwner } from './replica-reads.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { NodeId } from './ring-member.ts'
import { TimeSlice } from './time-slice.ts'
import { storedTimeMs } from './versioned-value.ts'
import { otherOwners } from './write-acks.ts'

/** Leaves whose keys are compared together. */
const LEAVES_AT_ONCE = 64
/** Keys and stored forms that are held while they are compared. */
const KEYS_AT_ONCE = 512
const FORMS_BYTES = 1024 * 1024
const PUSH_BYTES = 256 * 1024
const REQUEST_MS = 30_000

/** What became of a partition: both hold the same now, or that could not be found out. */
export type RepairOutcome = 'equal' | 'healed' | 'skipped'

export class RepairFigures {
  /** Partitions compared. */
  compared = 0
  /** Of those, the ones whose roots differed. */
  differed = 0
  /** Keys that one replica had newer than the other. */
  divergent = 0
  /** Stored forms taken from peers, and given to them. */
  pulled = 0
  pushed = 0
  /** Taken from this node, as the others had purged it. */
  dropped = 0
  bytes = 0
}

export interface RepairExchangeOptions {
  readonly peers: Peers
  readonly store: PartitionedStore
  readonly sets: CurrentReplicaSets
  readonly trees: PartitionTrees
  readonly marks: PurgeMarks
  readonly budget: BackgroundBudget
  readonly salvage: PartitionSalvage
}

export class RepairExchange {
  readonly figures = new RepairFigures()
  readonly #options: RepairExchangeOptions

  constructor(options: RepairExchangeOptions) {
    this.#options = options
  }

  /** Rejects when the peer cannot be asked; what was evened out until then stays so. */
  async compare(peer: NodeId, partitions: readonly number[]): Promise<Map<number, RepairOutcome>> {
    const { sets, marks, budget } = this.#options
    await budget.yieldToForeground()
    const { losses } = marks.damaged
    const outcomes = new Map<number, RepairOutcome>()
    const roots: { partition: number; markMs: number; root: TreeRoot }[] = []
    for (const partition of partitions) {
      const markMs = marks.markMs(partition)
      const root = await this.#root(partition)
      if (root === undefined) outcomes.set(partition, 'skipped')
      else roots.push({ partition, markMs, root })
    }
    if (roots.length === 0) return outcomes
    const body = encodeRoots(sets.epoch, roots)
    const answer = await this.#request(peer, PeerMessage.treeRoots, body)
    for (const [at, { verdict, markMs }] of decodeVerdicts(answer, roots.length).entries()) {
      const { partition } = roots[at]!
      const outcome = await this.#settle(peer, partition, verdict, markMs)
      outcomes.set(partition, outcome)
      if (marks.damaged.has(partition))
        await this.#regained(peer, partition, verdict, outcome, losses)
    }
    this.figures.compared += roots.length
    return outcomes
  }

  /** Undefined when the partition cannot be read, or is not this node's any more. */
  async #root(partition: number): Promise<TreeRoot | undefined> {
    const { trees, salvage, sets } = this.#options
    // Whoever asks may go by the partitions of a ring that has changed since.
    if (!sets.current.table.isOwner(partition, sets.self)) return undefined
    // What is about to go must not be told of any more.
    if (salvage.isRunning) return undefined
    try {
      return await trees.root(partition)
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error
      salvage.found(partition)
      return undefined
    }
  }

  /** What this node has lost of the partition and the peer has, it has by now. */
  async #regained(
    peer: NodeId,
    partition: number,
    verdict: Verdict,
    outcome: RepairOutcome,
    losses: number,
  ): Promise<void> {
    const { sets, marks } = this.#options
    // Whoever lost something, too, gives what it has once it is whole.
    if (outcome === 'skipped' && verdict !== Verdict.unreadable) return
    const others = otherOwners(sets.current.table, partition, sets.self)
    await marks.damaged.compared(partition, peer, others, losses)
  }

  async #settle(
    peer: NodeId,
    partition: number,
    verdict: Verdict,
    markMs: number,
  ): Promise<RepairOutcome> {
    if (verdict === Verdict.equal) return 'equal'
    const { marks } = this.#options
    if (verdict === Verdict.otherMark) {
      await marks.meet(partition, markMs)
      if (marks.isBehind(partition)) await this.#resync(peer, partition, markMs)
    }
    if (verdict !== Verdict.differs) return 'skipped'
    this.figures.differed++
    // Older versions may have come to light under what was lost, also of what was purged since.
    if (marks.damaged.has(partition)) await this.#resync(peer, partition, marks.markMs(partition))
    else await this.#heal(peer, partition)
    return 'healed'
  }

  /**
   * What the others have purged is taken from this node: all that is older than their mark and that
   * the peer lacks. The mark follows.
   */
  async #resync(peer: NodeId, partition: number, markMs: number): Promise<void> {
    const all = Array.from({ length: LEAF_COUNT }, (_, leaf) => leaf)
    for (let at = 0; at < all.length; at += LEAVES_AT_ONCE) {
      const leaves = leafSet(all.slice(at, at + LEAVES_AT_ONCE))
      await this.#healLeaves(peer, partition, leaves, markMs)
    }
    await this.#options.marks.advance([partition], markMs)
  }

  async #heal(peer: NodeId, partition: number): Promise<void> {
    const { trees } = this.#options
    const tree = await trees.tree(partition)
    const body = encodeLeaves(this.#head(partition), tree.bytes)
    const answer = await this.#request(peer, PeerMessage.treeLeaves, body)
    const leaves = leavesOf(decodeLeafSet(answer))
    for (let at = 0; at < leaves.length; at += LEAVES_AT_ONCE) {
      await this.#healLeaves(peer, partition, leafSet(leaves.slice(at, at + LEAVES_AT_ONCE)))
    }
  }

  /** With `resyncMs`, what is wanted and older is dropped here in place of given. */
  async #healLeaves(
    peer: NodeId,
    partition: number,
    leaves: Uint8Array,
    resyncMs = 0,
  ): Promise<void> {
    const { store, marks, sets } = this.#options
    let after: Uint8Array | undefined
    do {
      const head = this.#head(partition, resyncMs)
      const { entries, upTo } = await this.#collect(partition, leaves, after, head.markMs)
      const digests = entries.map(digestOfEntry)
      const body = encodeKeyDigests({ ...head, leaves, after, upTo, digests })
      const answer = await this.#request(peer, PeerMessage.treeKeys, body)
      const compared = decodeCompared(answer, entries.length, store.partitioner)
      checkEntries(partition, compared.newer)
      const newer = await marks.withoutPurged(compared.newer, head.markMs)
      // The ring may have changed since the round began: then it is for the owners alone.
      checkOwner(sets, head.epoch, [partition])
      await store.applyStored(newer, 'sync')
      const missing = compared.wanted.map(index => entries[index]!)
      const gone = missing.filter(({ stored }) => storedTimeMs(stored) < resyncMs)
      const wanted = missing.filter(({ stored }) => storedTimeMs(stored) >= resyncMs)
      // Before the mark follows: a crash must not bring back what lies before it, and is live.
      if (gone.length > 0) this.figures.dropped += await store.drop(gone)
      await this.#push(peer, head, wanted)
      this.figures.pulled += compared.newer.length
      this.figures.pushed += wanted.length
      this.figures.divergent += compared.newer.length + wanted.length
      after = compared.upTo ?? upTo
    } while (after !== undefined)
  }

  /** The next entries of this node in the leaves, and the last key looked at unless at the end. */
  async #collect(
    partition: number,
    leaves: Uint8Array,
    after: Uint8Array | undefined,
    markMs: number,
  ): Promise<{ readonly entries: StoredEntry[]; readonly upTo: Uint8Array | undefined }> {
    const { store } = this.#options
    const slice = new TimeSlice(store.turns, this)
    await slice.begin()
    const entries: StoredEntry[] = []
    let bytes = 0
    const range = { partition, leaves, after, upTo: undefined, markMs }
    for await (const entry of leafEntries(store, range, slice)) {
      entries.push(entry)
      bytes += entry.stored.length
      if (bytes < FORMS_BYTES && entries.length < KEYS_AT_ONCE) continue
      return { entries, upTo: engineUserKey(entry.engineKey) }
    }
    return { entries, upTo: undefined }
  }

  async #push(peer: NodeId, head: PartitionHead, entries: readonly StoredEntry[]): Promise<void> {
    for (let at = 0; at < entries.length; ) {
      const part: StoredEntry[] = []
      for (let bytes = 0; at < entries.length && bytes < PUSH_BYTES; at++) {
        part.push(entries[at]!)
        bytes += entries[at]!.stored.length
      }
      const body = encodePush({ ...head, entries: part })
      await this.#request(peer, PeerMessage.treePush, body)
    }
  }

  #head(partition: number, resyncMs = 0): PartitionHead {
    const { sets, marks } = this.#options
    const markMs = Math.max(resyncMs, marks.markMs(partition))
    return { epoch: sets.epoch, partition, markMs }
  }

  async #request(peer: NodeId, kind: number, body: Uint8Array): Promise<Uint8Array> {
    const { peers, budget } = this.#options
    const answer = await peers.request(peer, 'bulk', kind, body, REQUEST_MS)
    this.figures.bytes += body.length + answer.length
    await budget.spend(body.length + answer.length)
    return answer
  }
}

function digestOfEntry({ engineKey, stored }: StoredEntry): KeyDigest {
  const { version, hash } = digestOfStored(stored)
  return { userKey: engineUserKey(engineKey), version, hash }
}

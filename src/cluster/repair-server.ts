/**
 * What this node answers when a replica compares partitions with it: verdicts on roots, leaves that
 * differ, keys of which either has something newer; and the stored forms that it is pushed.
 */
import { compareBytes } from '../bytes.ts'
import { CorruptionError, ProtocolError, UnavailableError } from '../errors.ts'
import { leafEntries } from './leaf-entries.ts'
import { enginePartition, engineUserKey } from './partition.ts'
import type { PartitionSalvage } from './partition-salvage.ts'
import { isSameRoot, leafSet, PartitionTree } from './partition-tree.ts'
import type { PartitionTrees } from './partition-trees.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import { PeerMessage, type Peers } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import { decoded, digestOfStored } from './read-messages.ts'
import {
  type ComparedMessage,
  decodeKeyDigests,
  decodeLeaves,
  decodePush,
  decodeRoots,
  encodeCompared,
  encodeVerdicts,
  type KeyDigest,
  type KeysMessage,
  type PartitionHead,
  type PartitionRoot,
  type RootVerdict,
  Verdict,
} from './repair-messages.ts'
import { checkOwner } from './replica-reads.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import { TimeSlice } from './time-slice.ts'
import { checkStored } from './versioned-value.ts'

/** Stored forms and entries of one answer; one form alone may be larger. */
const ANSWER_BYTES = 256 * 1024
const ANSWER_ENTRIES = 1024
const NO_ANSWER = new Uint8Array(0)

export interface RepairServerOptions {
  readonly peers: Peers
  readonly store: PartitionedStore
  readonly sets: CurrentReplicaSets
  readonly trees: PartitionTrees
  readonly marks: PurgeMarks
  readonly salvage: PartitionSalvage
}

/** Answers the peers from here on. Once a node, before its links are started. */
export function serveRepair(options: RepairServerOptions): void {
  const { peers } = options
  const server = new RepairServer(options)
  peers.handle(PeerMessage.treeRoots, body => server.roots(body))
  peers.handle(PeerMessage.treeLeaves, body => server.leaves(body))
  peers.handle(PeerMessage.treeKeys, body => server.keys(body))
  peers.handle(PeerMessage.treePush, body => server.push(body))
}

/** Throws ProtocolError unless all of them are stored forms of keys of the partition. */
export function checkEntries(partition: number, entries: readonly StoredEntry[]): void {
  for (const { engineKey, stored } of entries) {
    if (enginePartition(engineKey) !== partition) {
      throw new ProtocolError(`a peer sent a key that is not of partition ${partition}`)
    }
    decoded('stored form', () => checkStored(stored))
  }
}

class RepairServer {
  readonly #options: RepairServerOptions

  constructor(options: RepairServerOptions) {
    this.#options = options
  }

  async roots(body: Uint8Array): Promise<Uint8Array> {
    const { epoch, roots } = decodeRoots(body)
    checkOwner(this.#options.sets, epoch, [])
    // Nobody is to be whole by what was compared with an old copy of the disk.
    this.#options.marks.checkVote()
    const verdicts: RootVerdict[] = []
    for (const root of roots) verdicts.push(await this.#judge(root))
    return encodeVerdicts(verdicts)
  }

  async #judge({ partition, markMs: theirs, root }: PartitionRoot): Promise<RootVerdict> {
    const { sets, marks, trees, salvage } = this.#options
    if (!sets.current.table.isOwner(partition, sets.self)) {
      return { verdict: Verdict.notOwned, markMs: 0 }
    }
    await marks.meet(partition, theirs)
    const markMs = marks.markMs(partition)
    if (markMs !== theirs) return { verdict: Verdict.otherMark, markMs }
    if (marks.damaged.has(partition)) return { verdict: Verdict.unreadable, markMs }
    // Whoever asks must not take this for a comparison: what is here and sound it may lack.
    if (salvage.isRunning) return { verdict: Verdict.busy, markMs }
    try {
      const own = await trees.root(partition)
      return { verdict: isSameRoot(own, root) ? Verdict.equal : Verdict.differs, markMs }
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error
      salvage.found(partition)
      return { verdict: Verdict.busy, markMs }
    }
  }

  async leaves(body: Uint8Array): Promise<Uint8Array> {
    const { tree, ...head } = decodeLeaves(body)
    this.#check(head)
    const own = await this.#options.trees.tree(head.partition)
    return leafSet(own.differences(new PartitionTree(tree)))
  }

  async keys(body: Uint8Array): Promise<Uint8Array> {
    const message = decodeKeyDigests(body)
    this.#check(message)
    return encodeCompared(await this.#compare(message))
  }

  /** Merges what the peer told with what is here, both in the order of keys. */
  async #compare(message: KeysMessage): Promise<ComparedMessage> {
    const { store } = this.#options
    const slice = new TimeSlice(store.turns, this)
    await slice.begin()
    const { digests } = message
    const wanted: number[] = []
    const newer: StoredEntry[] = []
    let bytes = 0
    let next = 0
    for await (const entry of leafEntries(store, message, slice)) {
      const key = engineUserKey(entry.engineKey)
      while (next < digests.length && compareBytes(digests[next]!.userKey, key) < 0) {
        wanted.push(next++)
      }
      const theirs = digests[next]
      const isBoth = theirs !== undefined && compareBytes(theirs.userKey, key) === 0
      const order = isBoth ? compareWith(theirs, entry.stored) : 'newer'
      if (order === 'older' || order === 'either') wanted.push(next)
      if (isBoth) next++
      if (order === 'same' || order === 'older') continue
      newer.push(entry)
      bytes += entry.engineKey.length + entry.stored.length
      if (bytes >= ANSWER_BYTES || newer.length >= ANSWER_ENTRIES) {
        return { upTo: key, wanted, newer }
      }
    }
    while (next < digests.length) wanted.push(next++)
    return { upTo: undefined, wanted, newer }
  }

  async push(body: Uint8Array): Promise<Uint8Array> {
    const { store, sets, marks } = this.#options
    const { epoch, partition, markMs, entries } = decodePush(body, store.partitioner)
    checkOwner(sets, epoch, [partition])
    checkEntries(partition, entries)
    await store.applyStored(await marks.withoutPurged(entries, markMs), 'sync')
    return NO_ANSWER
  }

  #check({ epoch, partition, markMs }: PartitionHead): void {
    const { sets, marks } = this.#options
    checkOwner(sets, epoch, [partition])
    marks.damaged.check(partition)
    const own = marks.markMs(partition)
    if (own === markMs) return
    throw new UnavailableError(
      `partition ${partition} is purged up to ${own} here, up to ${markMs} there: compare it again`,
    )
  }
}

/** What this node's form is to the one that the peer told of. */
function compareWith(theirs: KeyDigest, stored: Uint8Array): 'same' | 'newer' | 'older' | 'either' {
  const own = digestOfStored(stored)
  const order = compareBytes(own.version, theirs.version)
  if (order !== 0) return order > 0 ? 'newer' : 'older'
  // Of one version the bytes decide, and those the peer did not tell.
  return own.hash === theirs.hash ? 'same' : 'either'
}

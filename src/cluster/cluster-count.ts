/**
 * Counts the live entries of a range across the cluster: each partition on one replica that can be
 * reached. What a replica that fails was to count is counted anew by others.
 */
import type { Clock } from '../clock.ts'
import { AbortedError, KvError, TimeoutError, UnavailableError } from '../errors.ts'
import type { ClientIdentity } from '../fair-queue.ts'
import { type CountTerms, countEntries } from './count-entries.ts'
import type { UserRange } from './partition.ts'
import { PartitionSet } from './partition-set.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { PeerMessage, type Peers } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import type { ReplicaChoice } from './replica-choice.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { NodeId } from './ring-member.ts'
import { decodeCounted, encodeCount } from './scan-messages.ts'
import { unlessSilent } from './unless-silent.ts'

/** Rounds in which what failed is given to other replicas. */
const ROUNDS_MAX = 4

export interface ClusterCountOptions {
  readonly store: PartitionedStore
  readonly peers: Peers
  readonly sets: CurrentReplicaSets
  readonly choice: ReplicaChoice
  readonly marks: PurgeMarks
  readonly clock: Clock
}

export interface CountedRange extends UserRange {
  readonly client?: ClientIdentity | undefined
}

/** Rejects as countEntries does, and with UnavailableError when nobody can count a partition. */
export async function countAcross(
  options: ClusterCountOptions,
  range: CountedRange,
  terms: CountTerms,
): Promise<number> {
  const { partitioner } = options.store
  let rest = new PartitionSet(partitioner.count)
  for (let partition = 0; partition < partitioner.count; partition++) rest.add(partition)
  const failed = new Set<NodeId>()
  let cause: unknown
  let total = 0
  for (let round = 0; rest.size > 0 && round < ROUNDS_MAX; round++) {
    const uncounted = new PartitionSet(partitioner.count)
    const parts = [...assign(options, rest, failed)]
    await Promise.all(
      parts.map(async ([node, partitions]) => {
        try {
          const count = await countOn(options, node, partitions, range, terms)
          total += count
        } catch (error) {
          if (!(error instanceof KvError) || error instanceof AbortedError) throw error
          cause = error
          failed.add(node)
          for (const partition of partitions) uncounted.add(partition)
        }
      }),
    )
    rest = uncounted
    if (terms.cancelled === true) throw new AbortedError('nobody waits for the count')
    if (rest.size > 0 && options.clock.monotonicMs() >= terms.deadlineMs) {
      const message = `counting took too long; ${total} keys were counted by then`
      throw new TimeoutError(message, { outcome: 'rejected', cause })
    }
  }
  if (rest.size === 0) return total
  throw new UnavailableError('the replicas of some partitions cannot count: try again', { cause })
}

function assign(
  { sets, choice, store, marks }: ClusterCountOptions,
  partitions: PartitionSet,
  failed: ReadonlySet<NodeId>,
): Map<NodeId, PartitionSet> {
  const parts = new Map<NodeId, PartitionSet>()
  const replicas = sets.current
  for (const partition of partitions) {
    const { nodes } = replicas.of(partition)
    const isLacking = marks.isUnsound(partition)
    const reachable = choice.order(nodes).filter(node => node !== choice.self || !isLacking)
    const node = reachable.find(candidate => !failed.has(candidate)) ?? reachable[0]
    if (node === undefined) throw choice.tooFew(nodes, 1)
    const part = parts.get(node) ?? new PartitionSet(store.partitioner.count)
    part.add(partition)
    parts.set(node, part)
  }
  return parts
}

async function countOn(
  { store, peers, sets, choice, marks, clock }: ClusterCountOptions,
  node: NodeId,
  partitions: PartitionSet,
  range: CountedRange,
  terms: CountTerms,
): Promise<number> {
  if (node === choice.self) {
    const check = marks.guard(partitions)
    const count = await countEntries(store, { ...range, partitions }, terms)
    check()
    return count
  }
  const body = encodeCount({ epoch: sets.epoch, range, partitions })
  const leftMs = Math.max(1, terms.deadlineMs - clock.monotonicMs())
  const counting = peers.request(node, 'data', PeerMessage.count, body, leftMs)
  return decodeCounted(await unlessSilent(counting, node, peers, clock))
}

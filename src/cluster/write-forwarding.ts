/**
 * Passes writes on to nodes that own them, one hop, as stored forms under a version that is fixed
 * here: so it may be sent again, to another owner, when one does not answer. What goes to one node
 * in one message is atomic; a partition is never divided between messages.
 *
 * The one exception: what this node versioned itself, and an owner refuses as too far from its
 * time, is versioned once more by that time (owner-times.ts), as long as nobody can have it.
 */
import type { Clock } from '../clock.ts'
import { ClockSkewError, ClosedError, UnavailableError } from '../errors.ts'
import { CONSISTENCIES, DURABILITIES } from '../key-value-store.ts'
import { sendingMs } from './link-rate.ts'
import type { OwnerTimes } from './owner-times.ts'
import { enginePartition } from './partition.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import { PeerMessage } from './peers.ts'
import type { ReplicaChoice } from './replica-choice.ts'
import {
  ENTRY_OVERHEAD,
  encodeForward,
  type ForwardedWrite,
  MESSAGE_ENTRIES_MAX,
  MESSAGE_SIZE_TARGET,
} from './replica-message.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'
import type { StoreWrite } from './store-operation.ts'
import { TimeSlice } from './time-slice.ts'
import { otherOwners } from './write-acks.ts'
import type { CoordinatedTerms } from './write-coordinator.ts'
import { isRejected, settleParts, unknownOutcome } from './write-outcome.ts'

/** The longest wait for one owner while there is another to ask, but for what sending takes. */
const ATTEMPT_MS = 1000
/** No attempt waits longer, whatever the deadline. */
const FORWARD_MS_MAX = 30_000
/** Messages of one batch that are on their way: what links hold is limited. */
const MESSAGES_AT_ONCE = 4
/** Operations that are encoded between two looks at the clock. */
const OPERATIONS_PER_LOOK = 64
/** So often a write is versioned anew: the owner's time may just have moved on. */
const REVERSIONS_MAX = 3

export interface WriteForwardingOptions {
  readonly store: PartitionedStore
  readonly choice: ReplicaChoice
  readonly clock: Clock
  readonly table: () => RingTable
  readonly ownerTimes: OwnerTimes
}

export interface ForwardTerms extends CoordinatedTerms {
  readonly version: Uint8Array
  /** The version is this node's own, and nobody counts on it. */
  readonly mayVersionAnew: boolean
}

export class WriteForwarding {
  readonly #options: WriteForwardingOptions
  #forwarded = 0

  constructor(options: WriteForwardingOptions) {
    this.#options = options
  }

  /** Operations that were passed on. */
  get forwardedCount(): number {
    return this.#forwarded
  }

  /** Requires that this node owns none of these. Rejects with a KvError and its outcome. */
  async batch(operations: readonly StoreWrite[], terms: ForwardTerms): Promise<void> {
    const partitions = await this.#encode(operations, terms)
    this.#forwarded += operations.length
    const messages = messagesOf(partitions)
    const passing: Promise<void>[] = []
    const passNext = async (): Promise<void> => {
      for (let next = messages.shift(); next !== undefined; next = messages.shift()) {
        const passed = this.#pass(next, terms)
        passing.push(passed)
        await passed.then(ignore, ignore)
      }
    }
    await Promise.all(Array.from({ length: MESSAGES_AT_ONCE }, passNext))
    await settleParts(passing)
  }

  /** With their stored forms, by partition. */
  async #encode(
    operations: readonly StoreWrite[],
    { version, client = {} }: ForwardTerms,
  ): Promise<Map<number, PartitionEntries>> {
    const { store } = this.#options
    const slice = new TimeSlice(store.turns, client)
    const partitions = new Map<number, PartitionEntries>()
    for (let at = 0; at < operations.length; at += OPERATIONS_PER_LOOK) {
      if (at > 0 && slice.isOver) await slice.pause()
      const some = operations.slice(at, at + OPERATIONS_PER_LOOK)
      for (const [index, entry] of store.entriesOf(some, version).entries()) {
        const partition = enginePartition(entry.engineKey)
        const part = partitions.get(partition) ?? { partition, operations: [], entries: [] }
        part.operations.push(some[index]!)
        part.entries.push(entry)
        partitions.set(partition, part)
      }
    }
    return partitions
  }

  /** To one owner after the other, until one has it. */
  async #pass(partitions: readonly PartitionEntries[], terms: ForwardTerms): Promise<void> {
    const { choice, table } = this.#options
    const groups = new Map<NodeId, PartitionEntries[]>()
    for (const part of partitions) {
      const owners = otherOwners(table(), part.partition, choice.self)
      const [best] = choice.order(owners)
      if (best === undefined) throw choice.tooFew(owners, 1)
      const group = groups.get(best)
      if (group === undefined) groups.set(best, [part])
      else group.push(part)
    }
    await settleParts([...groups].map(([, group]) => this.#passTo(group, terms)))
  }

  async #passTo(group: readonly PartitionEntries[], terms: ForwardTerms): Promise<void> {
    const { choice, clock, table } = this.#options
    let entries = group.flatMap(part => part.entries)
    let reversions = 0
    const tried = new Set<NodeId>()
    let failure: unknown
    let isUnknown = false
    for (;;) {
      const current = table()
      const owners = ownersOfAll(current, group, choice.self)
      const [next, other] = choice.order(owners.filter(owner => !tried.has(owner)))
      if (next === undefined) break
      tried.add(next)
      const restMs = Math.min(FORWARD_MS_MAX, terms.deadlineMs - clock.monotonicMs())
      if (restMs <= 0) break
      try {
        const body = encodeForward(messageOf(current.ring.epoch, entries, terms))
        const timeoutMs = other === undefined ? restMs : Math.min(restMs, attemptMs(body.length))
        await choice.request(next, 'data', PeerMessage.forwardWrite, body, timeoutMs)
        return
      } catch (error) {
        const mayGoOn = !isUnknown && reversions < REVERSIONS_MAX
        const anew = mayGoOn ? this.#versionedAnew(next, group, terms, error) : undefined
        if (anew !== undefined) {
          entries = anew
          reversions++
          tried.delete(next)
          continue
        }
        failure ??= error
        // A link that broke was closed under the request, which may have arrived before.
        if (!isRejected(error) || error instanceof ClosedError) isUnknown = true
      }
    }
    failure ??= new UnavailableError(
      'the write was not passed on: no owner of it can be reached, or the time was over before',
    )
    throw isUnknown ? unknownOutcome(failure) : failure
  }

  /** The same by the time of the owner that refused it for its version; undefined: it is not. */
  #versionedAnew(
    owner: NodeId,
    group: readonly PartitionEntries[],
    { mayVersionAnew, onVersion }: ForwardTerms,
    error: unknown,
  ): StoredEntry[] | undefined {
    if (!mayVersionAnew || !(error instanceof ClockSkewError)) return undefined
    if (error.serverTimeMs === undefined) return undefined
    const { store, ownerTimes } = this.#options
    const version = ownerTimes.next(owner, error.serverTimeMs)
    onVersion?.(version)
    return group.flatMap(({ operations }) => store.entriesOf(operations, version))
  }
}

/** It is sent here, and by the owner to others. */
function attemptMs(bytes: number): number {
  return ATTEMPT_MS + 2 * sendingMs(bytes)
}

/** Failures are judged all together. */
function ignore(): void {}

interface PartitionEntries {
  readonly partition: number
  readonly operations: StoreWrite[]
  /** The same as it is stored. */
  readonly entries: StoredEntry[]
}

/** So many partitions in each as fit, without dividing one. */
function messagesOf(partitions: ReadonlyMap<number, PartitionEntries>): PartitionEntries[][] {
  const messages: PartitionEntries[][] = []
  let bytes = Number.POSITIVE_INFINITY
  let count = 0
  for (const part of partitions.values()) {
    const { entries } = part
    let size = 0
    for (const { engineKey, stored } of entries) {
      size += engineKey.length + stored.length + ENTRY_OVERHEAD
    }
    bytes += size
    count += entries.length
    if (bytes > MESSAGE_SIZE_TARGET || count > MESSAGE_ENTRIES_MAX) {
      messages.push([])
      bytes = size
      count = entries.length
    }
    messages.at(-1)!.push(part)
  }
  return messages
}

/** Those that own all of these partitions. */
function ownersOfAll(table: RingTable, group: readonly PartitionEntries[], self: NodeId): NodeId[] {
  const [first, ...rest] = group
  const owners = otherOwners(table, first!.partition, self)
  return owners.filter(owner => rest.every(({ partition }) => table.isOwner(partition, owner)))
}

function messageOf(
  epoch: number,
  entries: readonly StoredEntry[],
  { consistency, durability }: ForwardTerms,
): ForwardedWrite {
  return {
    epoch,
    entries,
    consistencyCode: CONSISTENCIES.indexOf(consistency) + 1,
    durabilityCode: durability === undefined ? 0 : DURABILITIES.indexOf(durability) + 1,
  }
}

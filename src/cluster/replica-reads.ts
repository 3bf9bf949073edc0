/**
 * What this node answers to the reads of other members: versions, stored forms, and reads that they
 * pass on because they are no replica; and the repairs that their reads lead to.
 *
 * A message whose epoch is more than one away from the node's own is refused: within one, writes of
 * both epochs reach the replicas of both (ring-change.ts), beyond that they may not have. So is one
 * for keys that this node does not own. Whoever is refused asks another replica; the rings meet by
 * gossip.
 */
import { UnavailableError } from '../errors.ts'
import type { ClientIdentity } from '../fair-queue.ts'
import { eachLocalForm } from './local-replica.ts'
import { enginePartition, type Partitioner } from './partition.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import { type PeerContext, PeerMessage, type Peers } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import {
  decodeForwarded,
  decodeKeys,
  decodeMarkedKeys,
  decodeRepair,
  digestOf,
  encodeDigests,
  encodeForms,
  encodeValues,
  type ForwardedRead,
  type KeysMessage,
  type ReplicaForm,
} from './read-messages.ts'
import type { CurrentReplicaSets } from './replica-sets.ts'
import type { NodeId } from './ring-member.ts'

/** Stored forms of one answer; one form alone may be larger. */
export const FORMS_BYTES_MAX = 1024 * 1024
/** Epochs that a message may be away from the node's own. */
const EPOCHS_APART_MAX = 1
const NO_ANSWER = new Uint8Array(0)

export interface ReplicaReadsOptions {
  readonly peers: Peers
  readonly store: PartitionedStore
  readonly sets: CurrentReplicaSets
  readonly marks: PurgeMarks
  /** Reads as a coordinator that is a replica of all the keys. */
  readonly coordinate: (
    read: ForwardedRead,
    deadlineMs: number,
  ) => Promise<readonly (Uint8Array | undefined)[]>
}

/** Answers the peers from here on. Once a node, before its links are started. */
export function serveReplicaReads(options: ReplicaReadsOptions): void {
  const { peers } = options
  const reads = new ReplicaReads(options)
  peers.handle(PeerMessage.readVersions, (body, context) => reads.versions(body, context))
  peers.handle(PeerMessage.readStored, (body, context) => reads.forms(body, context))
  peers.handle(PeerMessage.forwardRead, (body, context) => reads.forwarded(body, context))
  peers.handle(PeerMessage.readRepair, body => reads.repair(body))
}

class ReplicaReads {
  readonly #options: ReplicaReadsOptions
  readonly #partitioner: Partitioner
  /** Long reads are divided between the members that ask. */
  readonly #clients = new Map<NodeId, ClientIdentity>()

  constructor(options: ReplicaReadsOptions) {
    this.#options = options
    this.#partitioner = options.store.partitioner
  }

  async versions(body: Uint8Array, { from }: PeerContext): Promise<Uint8Array> {
    const { store, marks } = this.#options
    const { marksMs, ...message } = decodeMarkedKeys(body)
    const engineKeys = this.#ownedKeys(message)
    const client = this.#clientOf(from)
    const forms = await formsAtOneMark({ store, marks, client }, engineKeys, marksMs)
    return encodeDigests(forms.map(({ form, markMs }) => ({ ...digestOf(form), markMs })))
  }

  async forms(body: Uint8Array, { from }: PeerContext): Promise<Uint8Array> {
    const forms: ReplicaForm[] = []
    let bytes = 0
    await this.#eachForm(decodeKeys(body), from, form => {
      forms.push(form)
      if (form.state === 'found') bytes += form.stored.length
      return bytes < FORMS_BYTES_MAX ? 'next' : 'stop'
    })
    return encodeForms(forms)
  }

  async forwarded(body: Uint8Array, context: PeerContext): Promise<Uint8Array> {
    const read = decodeForwarded(body)
    checkOwner(
      this.#options.sets,
      read.epoch,
      read.keys.map(key => this.#partitioner.partitionOf(key)),
    )
    return encodeValues(await this.#options.coordinate(read, context.deadlineMs))
  }

  async repair(body: Uint8Array): Promise<Uint8Array> {
    const { store, sets, marks } = this.#options
    const { epoch, markMs, entries } = decodeRepair(body, this.#partitioner)
    checkOwner(
      sets,
      epoch,
      entries.map(({ engineKey }) => enginePartition(engineKey)),
    )
    // Whatever the node asks of its clients' writes: who reads next must not see less.
    await store.applyAgreed(await marks.withoutPurged(entries, markMs))
    return NO_ANSWER
  }

  async #eachForm(
    message: KeysMessage,
    from: NodeId,
    visit: (form: ReplicaForm) => 'next' | 'stop',
  ): Promise<void> {
    const { store, marks } = this.#options
    const engineKeys = this.#ownedKeys(message)
    const check = (): void => {
      for (const engineKey of engineKeys) marks.checkNotBehind(enginePartition(engineKey))
    }
    check()
    await eachLocalForm(store, engineKeys, this.#clientOf(from), visit)
    // What was lost meanwhile may be what it has come to since.
    check()
  }

  #ownedKeys({ epoch, keys }: KeysMessage): Uint8Array[] {
    const engineKeys = keys.map(key => this.#partitioner.engineKey(key))
    checkOwner(this.#options.sets, epoch, engineKeys.map(enginePartition))
    return engineKeys
  }

  #clientOf(from: NodeId): ClientIdentity {
    const client = this.#clients.get(from) ?? {}
    this.#clients.set(from, client)
    return client
  }
}

/** What a replica has of a key, and up to when it had purged the partition before it looked. */
export interface MarkedForm {
  readonly form: ReplicaForm
  readonly markMs: number
}

/**
 * What this node has of the keys, once it has purged at least as far as who asks, who tells so by
 * key. No deletion of it was purged between the mark that is told with a form and the look at it.
 * Throws UnavailableError when no quorum may rely on this copy.
 */
export async function formsAtOneMark(
  source: {
    readonly store: PartitionedStore
    readonly marks: PurgeMarks
    readonly client: ClientIdentity
  },
  engineKeys: readonly Uint8Array[],
  theirsMs: readonly number[],
): Promise<MarkedForm[]> {
  const { store, marks, client } = source
  const partitions = engineKeys.map(enginePartition)
  marks.checkVote()
  for (const [at, partition] of partitions.entries()) {
    if (theirsMs[at]! > marks.markMs(partition)) await marks.meet(partition, theirsMs[at]!)
    marks.checkNotBehind(partition)
  }
  for (;;) {
    const marksMs = partitions.map(partition => marks.markMs(partition))
    const found: MarkedForm[] = []
    await eachLocalForm(store, engineKeys, client, form => {
      found.push({ form, markMs: marksMs[found.length]! })
      return 'next'
    })
    for (const partition of partitions) marks.checkNotBehind(partition)
    // A mark moves about once an hour.
    if (partitions.every((partition, at) => marks.markMs(partition) === marksMs[at])) return found
  }
}

/** Throws UnavailableError unless this node may answer for the partitions to a sender's epoch. */
export function checkOwner(
  sets: CurrentReplicaSets,
  epoch: number,
  partitions: Iterable<number>,
): void {
  const { table } = sets.current
  const own = table.ring.epoch
  if (Math.abs(own - epoch) > EPOCHS_APART_MAX) {
    throw new UnavailableError(
      `the request goes by the ring of epoch ${epoch}, this node by epoch ${own}: try again`,
    )
  }
  for (const partition of partitions) {
    if (table.isOwner(partition, sets.self)) continue
    throw new UnavailableError(
      `node ${sets.self} owns nothing of partition ${partition} in epoch ${own}: ask another`,
    )
  }
}

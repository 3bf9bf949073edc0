/**
 * Sends a peer that has returned what it is owed by hints: the stored form that each key has now,
 * on the lane `bulk`, one message at a time, as fast as the peer takes it. It begins half a
 * second to two after the peer is there, so that not everybody begins at once. A message that the
 * peer does not take although it is there (a value that its link cannot bring in time) holds up
 * nothing but itself: the others go on, and it comes again with the next pass.
 *
 * A hint whose peer owns the partition no longer is made into hints for those who do. That needs no
 * peer, so it is done for nodes that left the ring, too.
 *
 * Invariants:
 *  1. Nothing is sent to a node that does not own the partition by the ring of this node.
 *  2. A hint goes only when what it stands for was acknowledged, or stands elsewhere durably.
 *  3. It ends, while the peer is there, only when no hint of it was found and all that was hinted
 *     before was visible: nothing begins it again for a hint that it overlooked.
 */
import { DecodeError } from '../bytes.ts'
import { type Clock, delay } from '../clock.ts'
import {
  ClosedError,
  CorruptionError,
  KvError,
  OverloadedError,
  UnavailableError,
} from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import { hintedKey } from './hint-format.ts'
import type { HintStore } from './hint-store.ts'
import { sendingMs } from './link-rate.ts'
import { enginePartition } from './partition.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import type { PeerNumbers } from './peer-numbers.ts'
import { PeerMessage, type Peers } from './peers.ts'
import {
  decodeAnswer,
  encodeEntries,
  MESSAGE_SIZE_TARGET,
  type ReplicaAnswer,
  ReplicaStatus,
} from './replica-message.ts'
import type { NodeId } from './ring-member.ts'
import type { RingTable } from './ring-table.ts'
import type { StorePut } from './store.ts'
import { checkStored } from './versioned-value.ts'
import { otherOwners } from './write-acks.ts'

const START_MIN_MS = 500
const START_SPREAD_MS = 1500
/** Hints of one message, at most. */
const PAGE_COUNT = 256
/** A peer that takes so long, beside what sending takes, has other worries. */
const HINT_TIMEOUT_MS = 5000
/** So large an entry goes alone: if it takes too long, nothing else fails with it. */
const ALONE_SIZE_MIN = 64 * 1024
const RETRY_MIN_MS = 1000
const RETRY_MAX_MS = 30_000
/** What nobody asks for anything is not asked again sooner. */
const STALE_RETRY_MS = 250

export interface HintReplayOptions {
  readonly self: NodeId
  readonly hints: HintStore
  readonly numbers: PeerNumbers
  readonly store: PartitionedStore
  readonly peers: Peers
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly table: () => RingTable
  /** Whether the peer is there and answers in time. */
  readonly isSendable: (peer: NodeId) => boolean
  readonly onNewerEpoch: (peer: NodeId, epoch: number) => void
}

export interface HintReplayStats {
  /** Hints that were acknowledged. */
  readonly delivered: number
  /** Hints that became hints for others. */
  readonly rerouted: number
}

/** All hints of a peer, once. */
interface Pass {
  readonly number: number
  /** Why the first message of those failed that the peer did not take. */
  failure: unknown
}

export class HintReplay {
  readonly #options: HintReplayOptions
  /** Numbers of peers whose hints are being replayed, or are about to be. */
  readonly #running = new Set<number>()
  /** Those that were asked for again meanwhile. */
  readonly #again = new Set<number>()
  /** Hints that were dealt with, whichever way. */
  #settled = 0
  #delivered = 0
  #rerouted = 0
  #isStopped = false

  constructor(options: HintReplayOptions) {
    this.#options = options
  }

  get stats(): HintReplayStats {
    return { delivered: this.#delivered, rerouted: this.#rerouted }
  }

  /** Begins to replay the hints of the peer, soon, unless that is under way. */
  start(number: number): void {
    if (this.#running.has(number)) {
      this.#again.add(number)
      return
    }
    this.#running.add(number)
    void this.#run(number)
  }

  /** Nothing more is sent. */
  stop(): void {
    this.#isStopped = true
  }

  /** Never rejects. */
  async #run(number: number): Promise<void> {
    const { clock, random, logger, hints } = this.#options
    let retryMs = RETRY_MIN_MS
    await delay(clock, START_MIN_MS + random.next() * START_SPREAD_MS, { background: true })
    while (this.#isWanted(number)) {
      this.#again.delete(number)
      try {
        const before = this.#settled
        const isEmpty = await this.#pass(number)
        hints.end(number, isEmpty)
        if (isEmpty && !this.#again.has(number)) break
        retryMs = RETRY_MIN_MS
        // Nothing could be done, or all was and more comes: there is no hurry.
        if (isEmpty || this.#settled === before) await delay(clock, retryMs, { background: true })
      } catch (error) {
        hints.end(number, false)
        const what = 'hints could not be replayed; they are kept'
        if (error instanceof KvError) logger.debug(what, { error, retryMs })
        else logger.error(`${what}; this is a bug`, { error, retryMs })
        await delay(clock, retryMs, { background: true })
        retryMs = Math.min(2 * retryMs, RETRY_MAX_MS)
      }
    }
    this.#running.delete(number)
    this.#again.delete(number)
  }

  /** While it is a member it must be there; what is for others is only moved. */
  #isWanted(number: number): boolean {
    const { numbers, table, isSendable } = this.#options
    const peer = numbers.nodeAt(number)
    if (this.#isStopped || peer === undefined) return false
    const isMember = table().ring.members.some(({ nodeId }) => nodeId === peer)
    return !isMember || isSendable(peer)
  }

  /**
   * Goes through all hints of the peer once; true when there is none, not even in a batch that was
   * not visible yet. Rejects, at its end, when the peer did not take some of them.
   */
  async #pass(number: number): Promise<boolean> {
    const { hints } = this.#options
    const pass: Pass = { number, failure: undefined }
    let isEmpty = true
    for (let after: Uint8Array | undefined, done = false; !done; ) {
      if (!this.#isWanted(number)) return false
      const chunk = await hints.page(number, after, PAGE_COUNT)
      done = chunk.done
      after = chunk.keys.at(-1)
      if (chunk.keys.length === 0) break
      isEmpty = false
      const keys = chunk.keys.map(hintedKey)
      await hints.begin(number, keys)
      await this.#replay(pass, keys)
    }
    if (pass.failure !== undefined) throw pass.failure
    return isEmpty && !(await hints.reveal(number))
  }

  async #replay(pass: Pass, keys: readonly Uint8Array[]): Promise<void> {
    const { number } = pass
    const peer = this.#options.numbers.nodeAt(number)!
    const moved: Uint8Array[] = []
    const missing: Uint8Array[] = []
    let entries: StoredEntry[] = []
    let bytes = 0
    for (const engineKey of keys) {
      if (!this.#options.table().isOwner(enginePartition(engineKey), peer)) {
        moved.push(engineKey)
        continue
      }
      const stored = await this.#read(number, engineKey)
      if (stored === undefined) {
        missing.push(engineKey)
        continue
      }
      const size = engineKey.length + stored.length
      if (size >= ALONE_SIZE_MIN) {
        moved.push(...(await this.#send(pass, peer, [{ engineKey, stored }])))
        continue
      }
      entries.push({ engineKey, stored })
      bytes += size
      if (bytes < MESSAGE_SIZE_TARGET) continue
      moved.push(...(await this.#send(pass, peer, entries)))
      entries = []
      bytes = 0
    }
    if (entries.length > 0) moved.push(...(await this.#send(pass, peer, entries)))
    this.#settled += missing.length
    await this.#options.hints.settle(number, missing)
    await this.#reroute(number, peer, moved)
  }

  /** Undefined when there is nothing to send: what is damaged, others must heal. */
  async #read(number: number, engineKey: Uint8Array): Promise<Uint8Array | undefined> {
    const { store, hints } = this.#options
    try {
      const stored = await store.readStored(engineKey)
      if (stored !== undefined) checkStored(stored)
      return stored
    } catch (error) {
      if (!(error instanceof DecodeError || error instanceof CorruptionError)) throw error
      await hints.mark(number, [enginePartition(engineKey)])
      return undefined
    }
  }

  /** Resolves to the keys that the peer does not own, once the others are acknowledged. */
  async #send(pass: Pass, peer: NodeId, entries: readonly StoredEntry[]): Promise<Uint8Array[]> {
    const { hints, clock, onNewerEpoch } = this.#options
    const answer = await this.#ask(pass, peer, entries)
    if (answer === undefined) return []
    if (answer.status !== ReplicaStatus.applied) {
      if (answer.status === ReplicaStatus.staleEpoch) onNewerEpoch(peer, answer.epoch)
      await delay(clock, STALE_RETRY_MS, { background: true })
      throw new UnavailableError('the rings of the two nodes differ: the hints are sent again')
    }
    const refused = new Set(answer.refused)
    const delivered = entries.filter((_, index) => !refused.has(index))
    this.#delivered += delivered.length
    this.#settled += delivered.length
    await hints.settle(
      pass.number,
      delivered.map(({ engineKey }) => engineKey),
    )
    if (answer.pauseMs > 0) await delay(clock, answer.pauseMs, { background: true })
    return entries.filter((_, index) => refused.has(index)).map(({ engineKey }) => engineKey)
  }

  /** Undefined when the peer did not take the message, and others may do better. */
  async #ask(
    pass: Pass,
    peer: NodeId,
    entries: readonly StoredEntry[],
  ): Promise<ReplicaAnswer | undefined> {
    const { peers, table, logger } = this.#options
    const body = encodeEntries({ epoch: table().ring.epoch, entries })
    const timeoutMs = HINT_TIMEOUT_MS + sendingMs(body.length)
    try {
      return decodeAnswer(await peers.request(peer, 'bulk', PeerMessage.hints, body, timeoutMs))
    } catch (error) {
      if (isOfPeer(error)) throw error
      const fields = { error, peer, entries: entries.length, bytes: body.length }
      logger.warn('a peer did not take hints; they are kept, and others go on', fields)
      pass.failure ??= error
      return undefined
    }
  }

  /** Makes hints for the present owners of what is not the peer's. */
  async #reroute(number: number, peer: NodeId, keys: readonly Uint8Array[]): Promise<void> {
    if (keys.length === 0) return
    const { self, hints, numbers, table } = this.#options
    const current = table()
    const rerouted: Uint8Array[] = []
    const puts: StorePut[] = []
    const others = new Set<number>()
    for (const engineKey of keys) {
      const owners = otherOwners(current, enginePartition(engineKey), self)
      // By our own ring it is the peer's: one of the two rings is behind, so it stays for now.
      if (owners.includes(peer)) continue
      const ownerNumbers = owners.map(owner => numbers.numberOf(owner))
      if (ownerNumbers.includes(undefined)) continue
      for (const owner of ownerNumbers as number[]) {
        const put = hints.put(owner, engineKey)
        if (put !== undefined) puts.push(put)
        others.add(owner)
      }
      rerouted.push(engineKey)
    }
    this.#rerouted += rerouted.length
    this.#settled += rerouted.length
    await hints.settle(number, rerouted, puts, 'sync')
    for (const other of others) this.start(other)
  }
}

/** Nothing else would fare better, or it is a bug. */
function isOfPeer(error: unknown): boolean {
  return (
    !(error instanceof KvError) ||
    error instanceof UnavailableError ||
    error instanceof ClosedError ||
    error instanceof OverloadedError
  )
}

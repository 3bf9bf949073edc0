/**
 * A write as replication sees it: told by the writer of what is really written, it says what goes
 * into the batch, duties and hints, and passes the stored forms on to the queues of the peers.
 *
 * Small writes decide in the moment of their submission: a peer that can be sent to is owed by the
 * log, another one gets a hint in the same batch. Large ones owe all peers by the log, and those
 * that cannot be sent to get their hints right after the batch, which holds the log until then.
 *
 * In the place of what has lost against a stored form the writer gives that form, so that it is
 * owed and sent (versioned-writer.ts says why). What it leaves out, because this node or others owe
 * the winner already, is sent all the same when somebody counts who has it.
 */
import { yieldToEventLoop } from '../clock.ts'
import { DutyRuns } from './duty-format.ts'
import type { Reservation } from './duty-ledger.ts'
import { enginePartition } from './partition.ts'
import type { BatchDuties } from './partitioned-store.ts'
import type { ReplicaPeer } from './replica-peer.ts'
import type { OwedEntry, OwedWrite } from './replica-queue.ts'
import type { Replication } from './replication.ts'
import type { StorePut } from './store.ts'
import type { WriteAcks } from './write-acks.ts'
import type { LargeDuties, WriteExtra } from './write-duties.ts'

/** Bytes of hints in the batch of a write; more come right after it. */
const HINT_BYTES_MAX = 256 * 1024
/** Entries that are pushed between two turns of the event loop. */
const ENTRIES_PER_TURN = 512

const NO_PUTS: readonly StorePut[] = []

export interface ReplicatedWriteOptions {
  /** Undefined when nobody waits for peers. */
  readonly acks: WriteAcks | undefined
  /** Its client waits for peers: more of it is pushed where much waits already. */
  readonly isPatient: boolean
  readonly nowMs: number
}

export class ReplicatedWrite implements OwedWrite, BatchDuties {
  readonly acks: WriteAcks | undefined
  isCancelled = false
  wasSent = false
  readonly large: LargeDuties
  readonly #replication: Replication
  readonly #options: ReplicatedWriteOptions
  /** What was asked for and not submitted yet. */
  readonly #left = new Map<Uint8Array, Uint8Array>()
  /** Keys of a large write that lost against what is there, which nobody else may owe. */
  readonly #lost: Uint8Array[] = []
  #reservation: Reservation | undefined
  /** What of a large write is being pushed. */
  #pushing: Promise<void> | undefined

  constructor(replication: Replication, options: ReplicatedWriteOptions) {
    this.#replication = replication
    this.#options = options
    this.acks = options.acks
    const runs = new DutyRuns(replication.table.ring.epoch)
    this.large = {
      add: key => {
        this.#reservation ??= replication.ledger.reserve()
        const owners = replication.ownersOf(enginePartition(key))
        runs.add(owners.map(({ number }) => number))
      },
      lost: (key, stored) => {
        this.asked([key], [stored])
        this.#lost.push(key)
      },
      get logData() {
        return runs.encoded
      },
      submitted: (keys, stored) => {
        this.#pushing = this.#pushAll(keys, stored)
      },
      failed: () => this.failed(),
    }
  }

  asked(keys: readonly Uint8Array[], stored: readonly Uint8Array[]): void {
    if (this.acks === undefined) return
    for (const [index, key] of keys.entries()) this.#left.set(key, stored[index]!)
  }

  submitting(keys: readonly Uint8Array[], stored: readonly Uint8Array[]): WriteExtra {
    const { ledger } = this.#replication
    const runs = new DutyRuns(this.#replication.table.ring.epoch)
    const puts: StorePut[] = []
    const late = new Map<ReplicaPeer, OwedEntry[]>()
    const floor = ledger.holdHere()
    let hintBytes = 0
    for (const [index, engineKey] of keys.entries()) {
      if (this.acks !== undefined) this.#left.delete(engineKey)
      const numbers: number[] = []
      for (const peer of this.#replication.ownersOf(enginePartition(engineKey))) {
        const entry = this.#entry(engineKey, stored[index]!, floor, true)
        if (this.#canPush(peer)) {
          numbers.push(peer.number)
          peer.push(entry)
          continue
        }
        this.acks?.failed(peer.nodeId)
        // Nobody announces that it has room again.
        if (peer.isSendable) this.#replication.replay(peer)
        hintBytes += engineKey.length
        if (hintBytes <= HINT_BYTES_MAX) {
          const put = this.#replication.hints.put(peer.number, engineKey)
          if (put !== undefined) puts.push(put)
          continue
        }
        numbers.push(peer.number)
        const entries = late.get(peer)
        if (entries === undefined) late.set(peer, [entry])
        else entries.push(entry)
      }
      runs.add(numbers)
    }
    for (const [peer, entries] of late) this.#hintLate(peer, entries)
    this.#replication.watch()
    return { logData: runs.encoded, puts: puts.length === 0 ? NO_PUTS : puts }
  }

  /**
   * The node has written its own part. Sends what lost here, for the sake of the answers; resolves
   * once everything of a large write is on its way.
   */
  async written(): Promise<void> {
    await this.#pushing
    const floor = this.#left.size === 0 ? 0 : this.#replication.ledger.holdHere()
    for (const [engineKey, stored] of this.#left) {
      for (const peer of this.#replication.ownersOf(enginePartition(engineKey))) {
        if (this.#canPush(peer)) peer.push(this.#entry(engineKey, stored, floor, false))
        else this.acks?.failed(peer.nodeId)
      }
    }
    this.#left.clear()
    this.acks?.seal()
  }

  /** Resolves once hints stand for what a large write lost against; undefined: nothing did. */
  oweLost(): Promise<void> | undefined {
    return this.#lost.length === 0 ? undefined : this.#replication.oweByHints(this.#lost)
  }

  /**
   * The node could not write its own part. What its engine refused at once leaves the queues again
   * before anything of it was sent: then the write is nowhere.
   */
  failed(): void {
    this.isCancelled = true
    this.#reservation?.release()
  }

  #canPush(peer: ReplicaPeer): boolean {
    return peer.isSendable && !peer.isOverfull(this.#options.isPatient)
  }

  #entry(engineKey: Uint8Array, stored: Uint8Array, floor: number, isDuty: boolean): OwedEntry {
    return { engineKey, stored, floor, sinceMs: this.#options.nowMs, isDuty, write: this }
  }

  /** Their hints are made once the write is in the log, in the order of submissions. */
  #hintLate(peer: ReplicaPeer, entries: readonly OwedEntry[]): void {
    const reservation = this.#replication.ledger.reserve()
    void yieldToEventLoop().then(() => {
      this.#replication.giveUp(peer, [entries])
      reservation.release()
    })
  }

  async #pushAll(keys: readonly Uint8Array[], stored: readonly Uint8Array[]): Promise<void> {
    const reservation = this.#reservation
    const floor = reservation?.floor ?? this.#replication.ledger.holdHere()
    const late = new Map<ReplicaPeer, OwedEntry[]>()
    // A peer is sent all of a large write or none: what is full now was not when it began.
    const isPushed = new Map<ReplicaPeer, boolean>()
    for (const [index, engineKey] of keys.entries()) {
      if (index % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) await yieldToEventLoop()
      if (this.isCancelled) break
      for (const peer of this.#replication.ownersOf(enginePartition(engineKey))) {
        const entry = this.#entry(engineKey, stored[index]!, floor, true)
        const mayPush = isPushed.get(peer) ?? this.#canPush(peer)
        isPushed.set(peer, mayPush)
        if (mayPush && peer.isSendable) {
          peer.push(entry)
          continue
        }
        this.acks?.failed(peer.nodeId)
        const entries = late.get(peer)
        if (entries === undefined) late.set(peer, [entry])
        else entries.push(entry)
      }
    }
    for (const [peer, entries] of late) this.#replication.giveUp(peer, [entries])
    this.#replication.watch()
    reservation?.release()
  }
}

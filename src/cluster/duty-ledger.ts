/**
 * From where on the log must be kept: from the oldest write on that somebody is owed and that no
 * hint stands for. There is a hold on the log while something is owed. It moves on in memory as
 * writes are acknowledged, and the sequence is recorded now and then; the log goes once that is, so
 * that a restart sees whether it has all that was owed.
 *
 *   record := form u8 (1: something may be owed, 2: nothing) | sequence u64, big-endian
 *
 * Invariants:
 *  1. Every duty in the log whose write was not acknowledged, nor hinted durably, lies at or behind
 *     the hold.
 *  2. What lies before the recorded sequence is owed to nobody.
 *  3. A write that is owed comes behind a record that something may be; while that is the last one,
 *     the log goes back to its sequence, unless the hold was broken.
 */
import { assert } from '../assert.ts'
import { CorruptionError } from '../errors.ts'
import { NodeKey, nodeKey } from './partition.ts'
import type { Store } from './store.ts'

const OWED_FORM = 1
const NOTHING_OWED_FORM = 2
const RECORD_SIZE = 9

export interface DutyRecord {
  /** Nothing before it is owed. */
  readonly sequence: number
  /** Whether anything behind it may be. */
  readonly isOwed: boolean
}

/** The log of the engine, as far as duties need it; its Db satisfies it. */
export interface DutyLog {
  /** The last sequence that is visible; what is submitted from now on gets a greater one. */
  readonly sequence: number
  holdWal(fromSequence: number): LogHold
}

export interface LogHold {
  readonly sequence: number
  readonly broken: boolean
  advance(sequence: number): void
  release(): void
}

/** A claim on the log while something is written that is not in a queue yet. */
export interface Reservation {
  readonly floor: number
  release(): void
}

export class DutyLedger {
  readonly #log: DutyLog
  readonly #store: Store
  /** Undefined while nothing is owed. */
  #hold: LogHold | undefined
  readonly #reservations = new Set<Reservation>()
  /** Nothing before it is owed. */
  #sequence: number
  #isOwed = false
  /** The last that was submitted; undefined when that one failed. */
  #recorded: DutyRecord | undefined
  #recording: Promise<void> | undefined

  /** Nothing before `sequence` is owed, nor behind it yet, and that is recorded. */
  constructor(log: DutyLog, store: Store, sequence: number) {
    this.#log = log
    this.#store = store
    this.#sequence = sequence
    this.#recorded = { sequence, isOwed: false }
  }

  /** The log gave up what is owed: it has grown beyond its limit. What is in memory is not lost. */
  get isBroken(): boolean {
    return this.#hold?.broken === true
  }

  /** Whether something is being written that is in no queue. */
  get hasReservations(): boolean {
    return this.#reservations.size > 0
  }

  /** Holds the log from now on: what is submitted next has sequences greater than the result. */
  holdHere(): number {
    const { sequence } = this.#log
    this.#hold ??= this.#log.holdWal(sequence + 1)
    if (!this.#isOwed) {
      this.#isOwed = true
      this.#sequence = Math.max(this.#sequence, sequence + 1)
      // Comes before what is submitted next. A failure is noted, and made good by record().
      this.#submit('none').catch(() => undefined)
    }
    return sequence
  }

  /** `floor` is of something that is held already. @defaultValue holds from now on */
  reserve(floor = this.holdHere()): Reservation {
    const reservation = { floor, release: () => void this.#reservations.delete(reservation) }
    this.#reservations.add(reservation)
    return reservation
  }

  /**
   * What is owed begins later, or nothing is; `oldest` is the floor of the oldest write in the
   * queues, if any. The log is let go once that is recorded.
   */
  advance(oldest: number | undefined): void {
    let floor = oldest
    for (const reservation of this.#reservations) {
      floor = Math.min(floor ?? reservation.floor, reservation.floor)
    }
    if (this.isBroken) this.#hold = undefined
    this.#isOwed = floor !== undefined
    if (floor === undefined) {
      this.#sequence = this.#log.sequence + 1
      return
    }
    this.#hold ??= this.#log.holdWal(this.#log.sequence + 1)
    this.#sequence = Math.max(this.#sequence, floor + 1)
  }

  /** Records from where on something is owed, unless that is known. Rejects as the store does. */
  async record(durability: 'sync' | 'none' = 'none'): Promise<void> {
    await this.#recording
    const recorded = this.#recorded
    if (recorded?.isOwed === this.#isOwed) {
      if (!recorded.isOwed || this.#sequence <= recorded.sequence) return
    }
    await this.#submit(durability)
  }

  /** Submits at once, so that records are in the order of what they say. */
  async #submit(durability: 'sync' | 'none'): Promise<void> {
    const record = { sequence: this.#sequence, isOwed: this.#isOwed }
    this.#recorded = record
    const writing = writeDutyRecord(this.#store, record, durability)
    const recording = writing.catch(() => undefined)
    this.#recording = recording
    try {
      await writing
    } catch (error) {
      if (this.#recorded === record) this.#recorded = undefined
      throw error
    } finally {
      if (this.#recording === recording) this.#recording = undefined
    }
    if (this.#recorded === record) this.#letGo(record)
  }

  #letGo({ sequence, isOwed }: DutyRecord): void {
    const hold = this.#hold
    if (hold === undefined) return
    if (isOwed) {
      if (sequence > hold.sequence) hold.advance(sequence)
      return
    }
    hold.release()
    this.#hold = undefined
  }
}

/** Nothing was ever owed when nothing is recorded. Rejects with CorruptionError. */
export async function readDutyRecord(store: Store, path: string): Promise<DutyRecord> {
  const record = await store.read(nodeKey(NodeKey.duties))
  if (record === undefined) return { sequence: 0, isOwed: false }
  const isOwed = record[0] === OWED_FORM
  if (record.length !== RECORD_SIZE || !(isOwed || record[0] === NOTHING_OWED_FORM)) {
    throw new CorruptionError({ path: `${path}/duties record`, offset: 0 }, 'not a duties record')
  }
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength)
  return { sequence: view.getUint32(1) * 2 ** 32 + view.getUint32(5), isOwed }
}

export function writeDutyRecord(
  store: Store,
  { sequence, isOwed }: DutyRecord,
  durability: 'sync' | 'none',
): Promise<void> {
  assert(Number.isSafeInteger(sequence), 'a sequence is an integer')
  const value = new Uint8Array(RECORD_SIZE)
  const view = new DataView(value.buffer)
  value[0] = isOwed ? OWED_FORM : NOTHING_OWED_FORM
  view.setUint32(1, Math.floor(sequence / 2 ** 32))
  view.setUint32(5, sequence % 2 ** 32)
  const put = { type: 'put', key: nodeKey(NodeKey.duties), value, expiryMs: 0 } as const
  return store.write([put], { durability })
}

/**
 * From where on the log must be kept: from the oldest write on that somebody is owed and that no
 * hint stands for. There is a hold on the log while something is owed. It moves on in memory as
 * writes are acknowledged, and the sequence is recorded now and then, so that a restart need not
 * look at all that the log has.
 *
 *   record := form u8 (1) | sequence u64, big-endian
 *
 * Invariants:
 *  1. Every duty in the log whose write was not acknowledged, nor hinted durably, lies at or behind
 *     the hold.
 *  2. What lies before the recorded sequence is owed to nobody.
 */
import { assert } from '../assert.ts'
import { CorruptionError } from '../errors.ts'
import { NodeKey, nodeKey } from './partition.ts'
import type { Store } from './store.ts'

const DUTIES_FORM = 1
const RECORD_SIZE = 9

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
  #recorded: number
  #recording: Promise<void> | undefined

  /** Nothing before `sequence` is owed. */
  constructor(log: DutyLog, store: Store, sequence: number) {
    this.#log = log
    this.#store = store
    this.#sequence = sequence
    this.#recorded = sequence
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
    return sequence
  }

  /** `floor` is of something that is held already. @defaultValue holds from now on */
  reserve(floor = this.holdHere()): Reservation {
    const reservation = { floor, release: () => void this.#reservations.delete(reservation) }
    this.#reservations.add(reservation)
    return reservation
  }

  /** Moves the hold on; `oldest` is the floor of the oldest write in the queues, if any. */
  advance(oldest: number | undefined): void {
    let floor = oldest
    for (const reservation of this.#reservations) {
      floor = Math.min(floor ?? reservation.floor, reservation.floor)
    }
    if (this.isBroken) this.#hold = undefined
    if (floor === undefined) {
      this.#hold?.release()
      this.#hold = undefined
      this.#sequence = this.#log.sequence + 1
      return
    }
    this.#hold ??= this.#log.holdWal(this.#log.sequence + 1)
    this.#sequence = Math.max(this.#sequence, floor + 1)
    if (floor + 1 > this.#hold.sequence) this.#hold.advance(floor + 1)
  }

  /** Records from where on something is owed, unless that is known. Rejects as the store does. */
  async record(durability: 'sync' | 'none' = 'none'): Promise<void> {
    await this.#recording
    const sequence = this.#sequence
    if (sequence <= this.#recorded) return
    this.#recorded = sequence
    this.#recording = writeDutyRecord(this.#store, sequence, durability).finally(() => {
      this.#recording = undefined
    })
    await this.#recording
  }
}

/** The sequence from which on the log may have duties; 0 when nothing is recorded. */
export async function readDutyRecord(store: Store, path: string): Promise<number> {
  const record = await store.read(nodeKey(NodeKey.duties))
  if (record === undefined) return 0
  if (record.length !== RECORD_SIZE || record[0] !== DUTIES_FORM) {
    throw new CorruptionError({ path: `${path}/duties record`, offset: 0 }, 'not a duties record')
  }
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength)
  return view.getUint32(1) * 2 ** 32 + view.getUint32(5)
}

export function writeDutyRecord(
  store: Store,
  sequence: number,
  durability: 'sync' | 'none',
): Promise<void> {
  assert(Number.isSafeInteger(sequence), 'a sequence is an integer')
  const value = new Uint8Array(RECORD_SIZE)
  const view = new DataView(value.buffer)
  value[0] = DUTIES_FORM
  view.setUint32(1, Math.floor(sequence / 2 ** 32))
  view.setUint32(5, sequence % 2 ** 32)
  const put = { type: 'put', key: nodeKey(NodeKey.duties), value, expiryMs: 0 } as const
  return store.write([put], { durability })
}

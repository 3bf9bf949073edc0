/**
 * Duties: which peers are owed a write. They go into the log with the write, in the same batch, so
 * that the obligation to replicate is as durable as the write itself; see duty-recovery.ts for how
 * they come back.
 *
 *   duties := form u8 (1) | ring epoch varint | run*
 *   run    := operation count varint | peer count u8 | peer number u16 * peer count
 *
 * Runs cover the operations of the batch from the first on; those behind the last run (hints, that
 * go with a write) are owed to nobody. The epoch tells who reads it by a later ring that others may
 * be owed it, too. Integers are little-endian. Golden bytes: PROTOCOL.md.
 */
import { ByteReader, ByteWriter, DecodeError } from '../bytes.ts'

const DUTIES_FORM = 1

/** So many operations, one after another, that are owed to the same peers. */
export interface DutyRun {
  readonly count: number
  /** Numbers of peers; see peer-numbers.ts. */
  readonly peers: readonly number[]
}

export interface Duties {
  /** Of the ring by which the peers were chosen. */
  readonly epoch: number
  readonly runs: readonly DutyRun[]
}

/** Puts runs together operation by operation; equal neighbours become one run. */
export class DutyRuns {
  readonly epoch: number
  readonly runs: DutyRun[] = []
  #isOwed = false

  constructor(epoch: number) {
    this.epoch = epoch
  }

  /** Undefined when nobody is owed anything. */
  get encoded(): Uint8Array | undefined {
    return this.#isOwed ? encodeDuties(this) : undefined
  }

  /** The next operation is owed to these. Takes over the array, which may come again. */
  add(peers: readonly number[]): void {
    if (peers.length > 0) this.#isOwed = true
    const last = this.runs.at(-1)
    if (last !== undefined && isSame(last.peers, peers)) {
      this.runs[this.runs.length - 1] = { count: last.count + 1, peers: last.peers }
    } else {
      this.runs.push({ count: 1, peers })
    }
  }
}

export function encodeDuties({ epoch, runs }: Duties): Uint8Array {
  const writer = new ByteWriter(16)
  writer.uint8(DUTIES_FORM).varint(epoch)
  for (const { count, peers } of runs) {
    writer.varint(count).uint8(peers.length)
    for (const number of peers) writer.uint16(number)
  }
  return writer.written.slice()
}

/** Throws DecodeError. */
export function decodeDuties(bytes: Uint8Array): Duties {
  const reader = new ByteReader(bytes)
  const form = reader.uint8()
  if (form !== DUTIES_FORM) throw new DecodeError(`unknown form ${form} of duties`, 0)
  const epoch = reader.varint()
  const runs: DutyRun[] = []
  while (reader.remaining > 0) {
    const count = reader.varint()
    const peers = Array.from({ length: reader.uint8() }, () => reader.uint16())
    runs.push({ count, peers })
  }
  return { epoch, runs }
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a === b || (a.length === b.length && a.every((number, index) => number === b[index]))
}

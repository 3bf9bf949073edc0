/**
 * The snapshots that are alive: sequences whose view compaction must preserve.
 *
 * Invariant: `sequences` holds each live sequence once, ascending.
 */
import { InvalidArgumentError } from '../errors.ts'
import type { Snapshot } from '../key-value-store.ts'

export class Snapshots {
  readonly #counts = new Map<number, number>()
  /** Rebuilt on demand: jobs are rare, snapshots are taken for every scan. */
  #sorted: Float64Array | undefined
  /** Called when nobody reads at some sequence any more: what only it kept may go. */
  onForgotten: (() => void) | undefined

  /** Keeps what is visible at `sequence` until the snapshot is released. */
  take(sequence: number): EngineSnapshot {
    this.#counts.set(sequence, (this.#counts.get(sequence) ?? 0) + 1)
    this.#sorted = undefined
    return new EngineSnapshot(this, sequence)
  }

  /** Live sequences, ascending, each once. Do not change it. */
  get sequences(): Float64Array {
    this.#sorted ??= Float64Array.from(this.#counts.keys()).sort()
    return this.#sorted
  }

  get count(): number {
    let sum = 0
    for (const count of this.#counts.values()) sum += count
    return sum
  }

  /** The oldest live sequence, or Infinity. */
  get oldest(): number {
    return this.sequences[0] ?? Number.POSITIVE_INFINITY
  }

  /** Called by EngineSnapshot.release, once. */
  forget(sequence: number): void {
    const count = this.#counts.get(sequence) ?? 0
    if (count > 1) {
      this.#counts.set(sequence, count - 1)
      return
    }
    this.#counts.delete(sequence)
    this.#sorted = undefined
    this.onForgotten?.()
  }
}

export class EngineSnapshot implements Snapshot {
  readonly owner: Snapshots
  readonly sequence: number
  #released = false

  constructor(owner: Snapshots, sequence: number) {
    this.owner = owner
    this.sequence = sequence
  }

  get released(): boolean {
    return this.#released
  }

  release(): void {
    if (this.#released) return
    this.#released = true
    this.owner.forget(this.sequence)
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/** The sequence to read at for a caller's snapshot. Throws InvalidArgumentError for a wrong one. */
export function snapshotSequence(snapshot: Snapshot, owner: Snapshots): number {
  if (!(snapshot instanceof EngineSnapshot) || snapshot.owner !== owner) {
    throw new InvalidArgumentError('snapshot must come from the snapshot() of this database')
  }
  if (snapshot.released) {
    throw new InvalidArgumentError('snapshot was released: take a new one with snapshot()')
  }
  return snapshot.sequence
}

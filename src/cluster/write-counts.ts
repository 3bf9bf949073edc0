/**
 * How many writes to each partition have become visible: while the number stays the same, what was
 * read of the partition in a snapshot is still what is there.
 */
export class WriteCounts {
  readonly #counts: Uint32Array

  constructor(partitionCount: number) {
    this.#counts = new Uint32Array(partitionCount)
  }

  /** Of a partition; wraps around. */
  of(partition: number): number {
    return this.#counts[partition] ?? 0
  }

  /** Counts writes that are over, by the names of their engine keys (last-of-keys.ts). */
  add(names: Iterable<string>): void {
    for (const name of names) {
      const partition = name.charCodeAt(0) * 256 + name.charCodeAt(1)
      if (partition < this.#counts.length) this.#counts[partition]! += 1
    }
  }
}

/**
 * The live snapshots cut the sequences into stripes: stripe 0 is all up to the oldest snapshot,
 * stripe 1 all above it up to the second oldest, and so on; the last one is the newest state. A
 * reader sees the newest in its stripe or below, so of each stripe only the newest matters.
 *
 * Snapshots ascend wherever they are passed.
 */

/** The number of snapshots that do not know the sequence. */
export function stripeOf(snapshots: Float64Array, sequence: number): number {
  let low = 0
  let high = snapshots.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (snapshots[middle]! < sequence) low = middle + 1
    else high = middle
  }
  return low
}

/** The newest of each stripe. `sequences` fall, and so does the result. */
export function newestOfStripes(
  sequences: readonly number[],
  snapshots: Float64Array,
): readonly number[] {
  const kept: number[] = []
  for (let index = 0; index < sequences.length; ) {
    const sequence = sequences[index]!
    kept.push(sequence)
    const stripe = stripeOf(snapshots, sequence)
    if (stripe === 0) break
    index = firstAtOrBelow(sequences, index + 1, snapshots[stripe - 1]!)
  }
  return kept
}

/** The first place from `from` on with a sequence of at most `bound`; the length when none is. */
function firstAtOrBelow(sequences: readonly number[], from: number, bound: number): number {
  let low = from
  let high = sequences.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sequences[middle]! > bound) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * Copies of keys and values, most of which are short: a loop over words beats the call of
 * Uint8Array.set, which makes garbage, and for shared memory goes byte by byte where the two do
 * not stand alike in their words. With values of 100 bytes an entry gets into an arena in 115 ns
 * instead of 141 (bench/skiplist.bench.ts).
 */

/** Bytes up to which that is so. */
const LOOP_MAX = 200
const IS_LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1

/**
 * Copies `source[start, end)` to `target` at `at`. `words` are those of the same memory as
 * `target`, from its first byte on, as many as are whole.
 */
export function copyWords(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  words: Uint32Array,
  at: number,
): void {
  if (end - start > LOOP_MAX || !IS_LITTLE_ENDIAN) {
    target.set(source.subarray(start, end), at)
    return
  }
  let from = start
  let to = at
  while ((to & 3) !== 0 && from < end) target[to++] = source[from++]!
  for (; from < end - 3; from += 4, to += 4) {
    words[to >>> 2] =
      source[from]! |
      (source[from + 1]! << 8) |
      (source[from + 2]! << 16) |
      (source[from + 3]! << 24)
  }
  while (from < end) target[to++] = source[from++]!
}

/**
 * Work on many bytes in slices of a few tenths of a millisecond, with a turn of the event loop
 * between two: a value may have 64 MiB, and copying that takes 30 ms, summing it up 20.
 */
import { yieldToEventLoop } from '../clock.ts'
import type { Hasher } from '../hash.ts'

/** Values and blocks of more bytes are worked on in slices. */
export const LARGE_SIZE_MIN = 1024 * 1024
/** Bytes copied between two turns; memory that is touched for the first time takes longest. */
const COPY_SLICE = 512 * 1024
/** Bytes summed up between two turns. */
const SUM_SLICE = 1024 * 1024

/**
 * So many bytes, of whatever was there before: for who overwrites all of them. Filling 16 MiB with
 * zeros takes 4 ms where the memory was used before.
 */
export function uninitialized(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.allocUnsafeSlow(size).buffer)
}

/** Copies `source[start, end)` to `target` from `at` on. Neither may change until it resolves. */
export async function copyInSlices(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): Promise<void> {
  for (let from = start; from < end; from += COPY_SLICE) {
    if (from > start) await yieldToEventLoop()
    target.set(source.subarray(from, Math.min(from + COPY_SLICE, end)), at + from - start)
  }
}

/** The XXH32 of `bytes[start, end)`, which must not change until it resolves. */
export async function sumInSlices(
  hasher: Hasher,
  bytes: Uint8Array,
  start: number,
  end: number,
  seed: number,
): Promise<number> {
  const stream = hasher.stream32(seed)
  for (let from = start; from < end; from += SUM_SLICE) {
    if (from > start) await yieldToEventLoop()
    stream.update(bytes, from, Math.min(from + SUM_SLICE, end))
  }
  return stream.digest()
}

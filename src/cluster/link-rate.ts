/**
 * How long what goes over a link may take for its size alone. A limit of time that ignores the size
 * takes every peer for slow that is sent something large.
 */

/**
 * Bytes in a second that a link between nodes is counted on for: a third of a link of 100 Mbit/s,
 * on which two peers are sent a write at the same time. Over a slower one large values are late for
 * the call, and come all the same: a link is not silent while it takes bytes (peer-stream.ts).
 */
export const LINK_BYTES_PER_SECOND = 4 * 1024 * 1024

/** Milliseconds that so many bytes take on the slowest link that is counted on. */
export function sendingMs(bytes: number): number {
  return (bytes / LINK_BYTES_PER_SECOND) * 1000
}

/** Bytes of a value: with its key it must fit a frame, with a margin (peer-limits.ts). */
export const REPLICATED_VALUE_SIZE_MAX = 24 * 1024 * 1024

/** Milliseconds that an answer may take for its size alone, of which nobody knows before. */
export const LARGEST_ANSWER_MS = sendingMs(REPLICATED_VALUE_SIZE_MAX)

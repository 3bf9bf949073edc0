/**
 * A read that gave fewer bytes than were asked for: either the file has come to be shorter than the
 * format promises, which is damage and stays, or the system gave less than there is, which is an
 * error of the disk and may be over at the next try.
 */
import { CorruptionError, IoError, type KvError } from '../errors.ts'
import type { File } from './file-system.ts'

/** The error for `actual` of `wanted` bytes at `offset`; `what` is wrong if it is too short. */
export function shortRead(
  file: File,
  offset: number,
  wanted: number,
  actual: number,
  what: string,
): KvError {
  const { path } = file
  if (file.sizeSync() < offset + wanted) {
    const sums = { expected: `${wanted} bytes`, actual: `${actual} bytes` }
    return new CorruptionError({ path, offset, ...sums }, what)
  }
  return new IoError(
    `${path}: a read at ${offset} returned ${actual} of ${wanted} bytes that the file has; ` +
      'nothing is known to be damaged: try again, and check the disk if it comes back',
  )
}

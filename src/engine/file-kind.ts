/**
 * What stands under a name where a file should be. Looks without opening: to open a FIFO is to wait
 * for its other end, for ever if need be, and a device may do anything then.
 */
import { statSync } from 'node:fs'

/** Undefined for a file, and where there is nothing. Symbolic links are followed. */
export function strangerAt(path: string): string | undefined {
  const status = statSync(path, { throwIfNoEntry: false })
  if (status === undefined || status.isFile()) return undefined
  if (status.isDirectory()) return 'a directory'
  if (status.isFIFO()) return 'a FIFO (named pipe)'
  if (status.isSocket()) return 'a socket'
  return 'a device'
}

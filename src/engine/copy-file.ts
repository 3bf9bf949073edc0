/** Copies files with synchronous calls: for maintenance threads. */
import type { Hasher } from '../hash.ts'
import type { File, FileSystem } from './file-system.ts'
import { addProgress, type JobControl, throwIfCancelled } from './maintenance-job.ts'
import { shortRead } from './short-read.ts'

/** Bytes read and written at once. */
const PIECE_SIZE = 1024 * 1024

export interface CopiedFile {
  readonly size: number
  /** XXH32 (seed 0) of all bytes. */
  readonly checksum: number
}

/**
 * Copies `source` to the new file `target` and syncs that; its name is for the caller to sync.
 * Throws as the file system does, EEXIST when the target is there, AbortedError when cancelled.
 * What was written by then stays, for the caller to remove.
 */
export function copyFileSync(
  fileSystem: FileSystem,
  source: string,
  target: string,
  hasher: Hasher,
  control: JobControl,
): CopiedFile {
  const from = fileSystem.openSync(source)
  try {
    const to = fileSystem.createSync(target)
    try {
      const copied = digestSync(from, hasher, control, (bytes, length, position) => {
        to.writeSync(bytes, 0, length, position)
      })
      to.syncSync()
      return copied
    } finally {
      to.closeSync()
    }
  } finally {
    from.closeSync()
  }
}

/** Reads the file to its end, piece by piece, and gives each to `take`, which borrows it. */
export function digestSync(
  file: File,
  hasher: Hasher,
  control: JobControl,
  take?: (bytes: Uint8Array, length: number, position: number) => void,
): CopiedFile {
  const bytes = new Uint8Array(PIECE_SIZE)
  const stream = hasher.stream32(0)
  let size = 0
  for (;;) {
    throwIfCancelled(control)
    const length = file.readSync(bytes, 0, bytes.length, size)
    if (length === 0) {
      if (size < file.sizeSync()) throw shortRead(file, size, 1, 0, 'the file has become shorter')
      return { size, checksum: stream.digest() }
    }
    stream.update(bytes, 0, length)
    take?.(bytes, length, size)
    size += length
    addProgress(control, length)
  }
}

/** Copies `source` to the new file `target` and syncs that; its name is for the caller to sync. */
export function copyBytesSync(fileSystem: FileSystem, source: string, target: string): void {
  const from = fileSystem.openSync(source)
  try {
    const to = fileSystem.createSync(target)
    try {
      const bytes = new Uint8Array(PIECE_SIZE)
      let position = 0
      for (;;) {
        const length = from.readSync(bytes, 0, bytes.length, position)
        if (length === 0 && position < from.sizeSync()) {
          throw shortRead(from, position, 1, 0, 'the file has become shorter')
        }
        if (length === 0) break
        to.writeSync(bytes, 0, length, position)
        position += length
      }
      to.syncSync()
    } finally {
      to.closeSync()
    }
  } finally {
    from.closeSync()
  }
}

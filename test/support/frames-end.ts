/** Where the frames of a segment end, and the zeros that the writer puts behind them begin. */
import { readWalHeaderSync, scanWalSegment } from '../../src/engine/wal-check.ts'
import { WAL_HEADER_SIZE } from '../../src/engine/wal-format.ts'
import { loadHasher } from '../../src/hash.ts'
import type { MemoryFileSystem } from './memory-file-system.ts'

/** Bytes from the start of the sound segment at `path`, whose name is its number. */
export async function framesEnd(disk: MemoryFileSystem, path: string): Promise<number> {
  const fileNumber = Number.parseInt(path.slice(path.lastIndexOf('/') + 1), 10)
  const file = disk.openSync(path)
  try {
    const header = readWalHeaderSync(file, fileNumber)
    if (header === undefined) throw new Error(`${path} has no header`)
    let end = WAL_HEADER_SIZE
    const onFrame = (offset: number, size: number) => {
      end = offset + size
    }
    const { databaseId } = header
    const [hasher, size] = [await loadHasher(), file.sizeSync()]
    await scanWalSegment({ file, fileNumber, size, databaseId, hasher, onFrame })
    return end
  } finally {
    file.closeSync()
  }
}

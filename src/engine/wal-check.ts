/**
 * Reads one WAL segment as far as it goes and on behind damage, for those who want all of it:
 * verify lists what is damaged, repair takes every frame that is whole.
 */
import { CorruptionError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { fileSeed } from './file-seed.ts'
import type { File } from './file-system.ts'
import {
  type DecodedWalHeader,
  decodeWalHeader,
  WAL_HEADER_SIZE,
  walFrameSize,
} from './wal-format.ts'
import { WAL_PIECE_SIZE, type WalDamage, WalSegmentReader, type WalVisitor } from './wal-reader.ts'

/** Bytes of a segment that are no whole frame. */
export interface WalGap extends WalDamage {
  readonly offset: number
  readonly length: number
}

export interface ScannedSegment {
  readonly frames: number
  readonly entries: number
  /** The largest sequence of any entry; `after` when there is none. */
  readonly lastSequence: number
  readonly gaps: readonly WalGap[]
}

export interface WalScanOptions {
  readonly file: File
  readonly fileNumber: number
  /** Bytes to read: of a segment that is being written to, those that were written. */
  readonly size: number
  readonly databaseId: Uint8Array
  readonly hasher: Hasher
  /** No entry has a sequence up to this one. @defaultValue 0 */
  readonly after?: number
  /** Called before the ops of a frame, with its place. May throw to end the scan. */
  readonly onFrame?: (offset: number, size: number) => void
}

/** The header of the segment, or undefined when it is damaged. */
export function readWalHeaderSync(file: File, fileNumber: number): DecodedWalHeader | undefined {
  const bytes = new Uint8Array(WAL_HEADER_SIZE)
  const count = file.readSync(bytes, 0, WAL_HEADER_SIZE, 0)
  return decodeWalHeader(bytes.subarray(0, count), fileNumber)
}

/**
 * Delivers the ops of every whole frame. Frames that do not follow each other in sequence are
 * left out: they are another file's.
 */
export async function scanWalSegment(
  options: WalScanOptions,
  visitor?: WalVisitor,
): Promise<ScannedSegment> {
  const { file, fileNumber, size, databaseId, hasher, onFrame, after = 0 } = options
  const seed = fileSeed(databaseId, fileNumber)
  const reader = new WalSegmentReader(file, size, seed, hasher, WAL_PIECE_SIZE)
  const gaps: WalGap[] = []
  let frames = 0
  let entries = 0
  let lastSequence = after
  for (let state = reader.next(); state !== 'end'; state = reader.next()) {
    if (state === 'more') {
      await reader.fill()
      continue
    }
    if (state === 'damaged') {
      const { offset } = reader
      const next = await reader.findPromise(-1)
      const length = (next < 0 ? size : next) - offset
      gaps.push({ offset, length, ...(reader.damage ?? { what: 'damaged' }) })
      if (next < 0) break
      reader.skipTo(next)
      continue
    }
    const { firstSequence } = reader.frame
    if (firstSequence <= lastSequence) {
      gaps.push({ offset: reader.offset, length: 0, what: 'sequences run backwards' })
      continue
    }
    const frameSize = walFrameSize(reader.frame.payloadLength)
    onFrame?.(reader.offset - frameSize, frameSize)
    try {
      await deliver(reader, fileNumber, visitor)
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error
      gaps.push({ offset: error.offset, length: 0, what: error.what })
      continue
    }
    frames++
    entries += reader.entryCount
    lastSequence = Math.max(lastSequence, firstSequence + reader.entryCount - 1)
  }
  return { frames, entries, lastSequence, gaps }
}

async function deliver(
  reader: WalSegmentReader,
  fileNumber: number,
  visitor: WalVisitor = COUNTING,
): Promise<void> {
  const { opCount, payloadLength } = reader.frame
  const ready = visitor.beginFrame?.(fileNumber, opCount, payloadLength)
  if (ready !== undefined) await ready
  while (!reader.visitOps(visitor)) await visitor.resume?.()
}

const COUNTING: WalVisitor = { op: () => false }

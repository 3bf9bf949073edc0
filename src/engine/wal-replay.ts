/**
 * Replays the write-ahead log after a restart and judges what it finds, strictly: a torn tail was
 * never acknowledged and is dropped, everything else that is not as it was written is corruption.
 *
 * Verdict on the first frame that is not whole, at offset X of segment F:
 *
 *   | a later segment was used, that is, is longer than its header      | corruption |
 *   | X is below what the next header records of F                      | corruption |
 *   | X is below the length at which F was cleanly closed               | corruption |
 *   | behind X stands a frame header of F that promises more than X     | corruption |
 *   | none of these                                                     | torn tail  |
 *
 * A segment without a valid header was never used if it is no longer than a header, since nothing
 * follows a header that is not durable: power was lost while it was created. It is passed over,
 * unless another segment names it as its predecessor. A longer one is corruption.
 *
 * What was read may be in the page cache only, put there by a process whose sync failed. So the
 * caller makes it durable elsewhere (flushes it) before it writes to a new segment, and never
 * appends to an old one.
 */
import { assert } from '../assert.ts'
import { equalBytes } from '../bytes.ts'
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { formatDatabaseId } from './database-id.ts'
import { formatFileName } from './file-names.ts'
import { fileSeed } from './file-seed.ts'
import { type File, type FileSystem, joinPath } from './file-system.ts'
import { shortRead } from './short-read.ts'
import type { ClosedWal } from './version-edit.ts'
import {
  type DecodedWalHeader,
  decodeWalHeader,
  WAL_HEADER_SIZE,
  WAL_VERSION,
} from './wal-format.ts'
import { WAL_PIECE_SIZE, WalSegmentReader, type WalVisitor } from './wal-reader.ts'

export interface WalReplayOptions {
  readonly fileSystem: FileSystem
  readonly directory: string
  readonly databaseId: Uint8Array
  readonly hasher: Hasher
  /** Numbers of all segments in the directory, in any order. */
  readonly fileNumbers: readonly number[]
  /** The oldest segment that is still needed; older ones are not read. 0 for all there are. */
  readonly logNumber: number
  /** The last segment of a database that was closed, and its length then. */
  readonly closed?: ClosedWal | undefined
  /** @defaultValue 1 MiB */
  readonly pieceSize?: number
}

/** A tail that was dropped. */
export interface WalTornTail {
  readonly path: string
  readonly offset: number
  readonly length: number
  /** What the reader met at `offset`. */
  readonly what: string
}

export interface WalReplayResult {
  /**
   * The newest segment whose header is durable, for WalSegmentOptions.previous; 0 when there is
   * none. One that was created and never used may have its header in the page cache only, put there
   * by a process that was killed before it synced it: a power loss would take it.
   */
  readonly newestNumber: number
  /** The largest sequence of any entry; 0 when there is none. */
  readonly lastSequence: number
  readonly segmentCount: number
  readonly frameCount: number
  readonly entryCount: number
  /** Bytes of whole frames. */
  readonly size: number
  readonly tornTail: WalTornTail | undefined
  /** Segments that were created and never used. */
  readonly unused: readonly number[]
}

interface Segment {
  readonly fileNumber: number
  readonly file: File
  readonly size: number
  readonly header: DecodedWalHeader | undefined
}

interface LinkedSegment extends Segment {
  readonly header: DecodedWalHeader
}

/**
 * Delivers every op that is still needed, in the order of sequences. Throws CorruptionError, and
 * then what was delivered is worth nothing; rejects with what the visitor throws.
 */
export async function replayWal(
  options: WalReplayOptions,
  visitor: WalVisitor,
): Promise<WalReplayResult> {
  const segments: Segment[] = []
  try {
    const needed = options.fileNumbers.filter(fileNumber => fileNumber >= options.logNumber)
    for (const fileNumber of needed.sort((a, b) => a - b)) {
      segments.push(openSegment(options, fileNumber))
    }
    const linked = linkSegments(options, segments)
    const replay = new WalReplay(options, visitor, linked)
    for (let index = 0; index < linked.length; index++) await replay.segment(index)
    const unused = segments.filter(segment => !linked.some(other => other.file === segment.file))
    return replay.result(unused.map(segment => segment.fileNumber))
  } finally {
    for (const segment of segments) segment.file.closeSync()
  }
}

function openSegment(options: WalReplayOptions, fileNumber: number): Segment {
  const path = segmentPath(options, fileNumber)
  const file = options.fileSystem.openSync(path)
  try {
    const size = file.sizeSync()
    const bytes = new Uint8Array(Math.min(size, WAL_HEADER_SIZE))
    const count = file.readSync(bytes, 0, bytes.length, 0)
    if (count !== bytes.length) {
      throw shortRead(file, 0, bytes.length, count, 'the file has become shorter')
    }
    const header = decodeWalHeader(bytes, fileNumber)
    if (header === undefined) {
      if (size > WAL_HEADER_SIZE) throw damagedHeader(path)
    } else {
      checkHeader(options, path, header)
    }
    return { fileNumber, file, size, header }
  } catch (error) {
    file.closeSync()
    throw error
  }
}

function checkHeader(options: WalReplayOptions, path: string, header: DecodedWalHeader): void {
  if (header.readerVersion > WAL_VERSION) {
    throw new VersionMismatchError(
      `${path}: needs a reader of version ${header.readerVersion}, this build has ${WAL_VERSION}`,
    )
  }
  if (equalBytes(header.databaseId, options.databaseId)) return
  const expected = formatDatabaseId(options.databaseId)
  const actual = formatDatabaseId(header.databaseId)
  throw new CorruptionError({ path, offset: 16, expected, actual }, 'belongs to another database')
}

/** The segments that make up the log, oldest first: the newest one and its predecessors. */
function linkSegments(options: WalReplayOptions, segments: readonly Segment[]): LinkedSegment[] {
  const { logNumber, closed } = options
  const linked: LinkedSegment[] = []
  let current = segments.findLast(segment => segment.header !== undefined)
  while (current !== undefined) {
    const { header } = current
    if (header === undefined) throw damagedHeader(current.file.path)
    linked.unshift({ ...current, header })
    const { fileNumber } = header.previous
    if (fileNumber === 0 || fileNumber < logNumber) break
    current = segments.find(segment => segment.fileNumber === fileNumber)
    if (current === undefined) throw missingSegment(options, fileNumber)
  }
  for (const required of [logNumber, closed?.fileNumber ?? 0]) {
    if (required === 0 || required < logNumber) continue
    if (linked.some(segment => segment.fileNumber === required)) continue
    throw missingSegment(options, required)
  }
  for (const segment of segments) {
    if (segment.size <= WAL_HEADER_SIZE) continue
    if (linked.some(other => other.fileNumber === segment.fileNumber)) continue
    const place = { path: segment.file.path, offset: 0 }
    throw new CorruptionError(place, 'holds frames, but no later segment names it as predecessor')
  }
  return linked
}

class WalReplay {
  readonly #options: WalReplayOptions
  readonly #visitor: WalVisitor
  readonly #segments: readonly LinkedSegment[]
  /** Segments before this one were followed by others, so they are complete. */
  readonly #lastUsed: number
  /**
   * The chain value reached; undefined before the first frame of a log with a retired beginning.
   */
  #chain: number | undefined
  #lastSequence = 0
  #frameCount = 0
  #entryCount = 0
  #size = 0
  #tornTail: WalTornTail | undefined

  constructor(options: WalReplayOptions, visitor: WalVisitor, segments: readonly LinkedSegment[]) {
    this.#options = options
    this.#visitor = visitor
    this.#segments = segments
    this.#lastUsed = segments.findLastIndex(segment => segment.size > WAL_HEADER_SIZE)
  }

  result(unused: readonly number[]): WalReplayResult {
    const { logNumber } = this.#options
    // Frames, and the MANIFEST's word, come after the sync of the header.
    const isDurable = ({ size, fileNumber }: Segment) =>
      size > WAL_HEADER_SIZE || fileNumber <= logNumber
    return {
      newestNumber: this.#segments.findLast(isDurable)?.fileNumber ?? 0,
      lastSequence: this.#lastSequence,
      segmentCount: this.#segments.length,
      frameCount: this.#frameCount,
      entryCount: this.#entryCount,
      size: this.#size,
      tornTail: this.#tornTail,
      unused,
    }
  }

  /** Replays segment `index`; called for each in turn. */
  async segment(index: number): Promise<void> {
    const { databaseId, hasher, pieceSize = WAL_PIECE_SIZE } = this.#options
    const segment = this.#segments[index]!
    const { file, size, fileNumber, header } = segment
    if (header.previous.length === 0) this.#chain = 0
    const seed = fileSeed(databaseId, fileNumber)
    const reader = new WalSegmentReader(file, size, seed, hasher, pieceSize)
    this.#checkLink(index, reader.offset)
    let state = reader.next()
    for (; state === 'frame' || state === 'more'; state = reader.next()) {
      if (state === 'more') {
        await reader.fill()
        continue
      }
      this.#checkFrame(index, reader)
      const { opCount, payloadLength, firstSequence } = reader.frame
      const ready = this.#visitor.beginFrame?.(fileNumber, opCount, payloadLength)
      if (ready !== undefined) await ready
      while (!reader.visitOps(this.#visitor)) await this.#visitor.resume?.()
      const { entryCount } = reader
      if (entryCount > 0) this.#lastSequence = firstSequence + entryCount - 1
      this.#entryCount += entryCount
      this.#frameCount++
      this.#chain = reader.chain
      this.#checkLink(index, reader.offset)
    }
    this.#size += reader.offset - WAL_HEADER_SIZE
    if (state === 'damaged') await this.#judge(index, reader)
    this.#checkLength(index, reader.offset)
  }

  /** A whole frame continues the one before. Only another file's frames would not. */
  #checkFrame(index: number, reader: WalSegmentReader): void {
    const { file, header } = this.#segments[index]!
    const { previousChain, firstSequence } = reader.frame
    const place = { path: file.path, offset: reader.offset }
    if (this.#chain !== undefined && previousChain !== this.#chain) {
      throw new CorruptionError(
        { ...place, expected: `chain ${this.#chain}`, actual: `chain ${previousChain}` },
        'the frame that ends here does not follow the one before it: frames are missing',
      )
    }
    if (firstSequence <= this.#lastSequence || firstSequence < header.firstSequence) {
      throw new CorruptionError(
        {
          ...place,
          expected: `a sequence above ${Math.max(this.#lastSequence, header.firstSequence - 1)}`,
          actual: `${firstSequence}`,
        },
        'sequences run backwards in the frame that ends here',
      )
    }
  }

  /** At the place that the next header records, the chain is the one it records. */
  #checkLink(index: number, offset: number): void {
    const next = this.#segments[index + 1]
    if (next === undefined || this.#chain === undefined) return
    const { length, chain } = next.header.previous
    if (offset !== length || this.#chain === chain) return
    const expected = `chain ${chain}`
    throw new CorruptionError(
      { path: this.#segments[index]!.file.path, offset, expected, actual: `chain ${this.#chain}` },
      'the frames up to here are not those that the next segment follows',
    )
  }

  /** Returns when the damage is a torn tail. */
  async #judge(index: number, reader: WalSegmentReader): Promise<void> {
    const { file, size, fileNumber } = this.#segments[index]!
    const { offset } = reader
    const damage = reader.damage
    assert(damage !== undefined, 'the reader says what is wrong')
    const fail = (reason: string): never => {
      const { expected, actual } = damage
      const place = { path: file.path, offset, expected, actual }
      throw new CorruptionError(place, `${damage.what}, although ${reason}`)
    }
    const { closed } = this.#options
    if (index < this.#lastUsed) fail('a later segment was written')
    const next = this.#segments[index + 1]
    if (offset < (next?.header.previous.length ?? 0)) {
      fail('the next segment records that this was durable')
    }
    if (closed?.fileNumber === fileNumber && offset < closed.length) {
      fail(`the database was closed when the file had ${closed.length} bytes`)
    }
    const promise = await reader.findPromise(offset)
    if (promise >= 0) fail(`the frame at ${promise} was written when this was durable`)
    this.#tornTail = { path: file.path, offset, length: size - offset, what: damage.what }
  }

  /** What others recorded of the length of this segment is there, and no more than that. */
  #checkLength(index: number, length: number): void {
    const { file, fileNumber } = this.#segments[index]!
    const { closed } = this.#options
    const next = this.#segments[index + 1]?.header.previous.length ?? 0
    if (length < next) {
      throw new CorruptionError(
        { path: file.path, offset: length, expected: `${next} bytes`, actual: `${length}` },
        'the segment ends before what the next one records of it',
      )
    }
    if (closed?.fileNumber !== fileNumber || closed.length === length) return
    throw new CorruptionError(
      { path: file.path, offset: length, expected: `${closed.length} bytes`, actual: `${length}` },
      'the segment does not end where it did when the database was closed',
    )
  }
}

function segmentPath(options: WalReplayOptions, fileNumber: number): string {
  return joinPath(options.directory, formatFileName('wal', fileNumber))
}

function damagedHeader(path: string): CorruptionError {
  return new CorruptionError({ path, offset: 0 }, 'the header of this WAL segment is damaged')
}

function missingSegment(options: WalReplayOptions, fileNumber: number): CorruptionError {
  return new CorruptionError(
    { path: segmentPath(options, fileNumber), offset: 0 },
    'this WAL segment is needed and missing, or no later one names it as predecessor',
  )
}

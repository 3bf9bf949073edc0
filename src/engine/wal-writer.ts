/**
 * Writes one WAL segment: one positional write a frame, syncs apart from it, and the bookkeeping
 * of what is written, what is durable, and the chain that links the frames.
 *
 * Invariants:
 *  1. Header and name are durable before the first frame is written.
 *  2. The segment before is durable to its end before the first frame is written, so whatever this
 *     segment acknowledges, nothing before it can be missing.
 *  3. One append at a time; syncs may overlap appends, never each other: a sync that failed takes
 *     the error with it, and one beside it would wrongly report success.
 *  4. After a failed write or sync nothing is written or believed any more.
 *  5. Zeros are written only behind a frame, and together with it or before it.
 *
 * A file that grows with every frame makes each sync a commit of the file system's own journal.
 * So zeros are written ahead of the frames, a quarter MiB at a time, and most syncs have nothing
 * but data to write: on ext4 a lone durable writer gets 1.3 times the commits.
 */
import { assert } from '../assert.ts'
import { toError } from '../errors.ts'
import { formatFileName } from './file-names.ts'
import { fileSeed, placeSeed } from './file-seed.ts'
import { type File, type FileSystem, joinPath } from './file-system.ts'
import { encodeWalHeader, WAL_HEADER_SIZE, type WalPosition } from './wal-format.ts'
import type { WalFrameBuilder, WalFramePlace } from './wal-frame.ts'

/** A segment that is empty, and whose name is durable. After a crash nobody misses it. */
export interface PreparedSegment {
  readonly fileNumber: number
  readonly file: File
}

/** Makes the file of a segment; none of it on the calling thread. */
export async function prepareSegment(
  fileSystem: FileSystem,
  directory: string,
  fileNumber: number,
): Promise<PreparedSegment> {
  const file = await fileSystem.create(joinPath(directory, formatFileName('wal', fileNumber)))
  try {
    await fileSystem.syncDirectory(directory)
  } catch (error) {
    file.closeSync()
    throw error
  }
  return { fileNumber, file }
}

export interface WalSegmentOptions {
  readonly databaseId: Uint8Array
  /** No entry written to the segment may have a smaller sequence. */
  readonly firstSequence: number
  /**
   * What the segment follows: the writer in use until now, which may still be written to until the
   * first append here; or the number of the newest segment that recovery read, 0 for none. Nothing
   * may be appended here before all that recovery read is durable elsewhere: a recovered segment
   * may still lose what only the page cache held.
   */
  readonly previous: WalWriter | number
  /** Zeros are written up to the next multiple of this many bytes. @defaultValue 0, for none */
  readonly paddingSize?: number
}

/** Bytes of a frame that is summed up at once: about half a millisecond. */
const SUM_AT_ONCE_MAX = 2 * 1024 * 1024
/** Of frames larger than this share of the padding four times as much is written. */
const LARGE_FRAME_SHARE = 1 / 4
const LARGE_FRAME_FACTOR = 4

/** The paddingSize for segments of this many bytes: small against them, and 256 KiB at most. */
export function paddingFor(segmentSize: number): number {
  return Math.min(256 * 1024, segmentSize >>> 6)
}

export class WalWriter {
  readonly fileNumber: number
  readonly #file: File
  readonly #seed: number
  readonly #firstSequence: number
  /** Set until the first append, if the segment follows one of this process. */
  #previous: WalWriter | undefined
  readonly #paddingSize: number
  /** Bytes of the file, whether frames or zeros. */
  #fileSize = WAL_HEADER_SIZE
  #zeros = new Uint8Array(0)
  #written: WalPosition
  #synced: WalPosition
  #appending = false
  /** The sync under way. Never rejects: see #failure. */
  #syncing: Promise<void> | undefined
  #failure: Error | undefined

  /** Use begin(). */
  private constructor(
    { file, fileNumber }: PreparedSegment,
    options: WalSegmentOptions,
    chain: number,
  ) {
    const { databaseId, firstSequence, previous, paddingSize = 0 } = options
    this.#paddingSize = paddingSize
    this.fileNumber = fileNumber
    this.#file = file
    this.#seed = fileSeed(databaseId, fileNumber)
    this.#firstSequence = firstSequence
    this.#previous = previous instanceof WalWriter ? previous : undefined
    this.#written = { fileNumber, length: WAL_HEADER_SIZE, chain }
    this.#synced = this.#written
  }

  /**
   * Gives the segment its header, durably; closes the file when that fails. The header records of
   * the segment before what is durable now. That one may still be written to and synced meanwhile:
   * the first frame links to its end.
   */
  static async begin(segment: PreparedSegment, options: WalSegmentOptions): Promise<WalWriter> {
    const { file, fileNumber } = segment
    const { databaseId, firstSequence } = options
    const previous =
      options.previous instanceof WalWriter
        ? options.previous.#endForNext()
        : { fileNumber: options.previous, length: 0, chain: 0 }
    const header = encodeWalHeader({ fileNumber, databaseId, firstSequence, previous })
    try {
      await file.write(header, 0, header.length, 0)
      await file.sync()
    } catch (error) {
      file.closeSync()
      throw error
    }
    return new WalWriter(segment, options, previous.chain)
  }

  get path(): string {
    return this.#file.path
  }

  /** Bytes written, header included. */
  get size(): number {
    return this.#written.length
  }

  /** How far the segment is known to be durable. */
  get synced(): WalPosition {
    return this.#synced
  }

  /** The first error of a write or sync, after which every call fails with it. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /**
   * Writes the frame; not durable before a later sync(). The builder is borrowed until the promise
   * settles: nothing may be added to it, reading it is fine.
   */
  async append(builder: WalFrameBuilder, firstSequence: number): Promise<void> {
    const place = this.#begin(firstSequence)
    this.#appending = true
    let length: number
    try {
      const isLong = builder.size > SUM_AT_ONCE_MAX
      length = isLong ? await builder.finishInSlices(place) : builder.finish(place)
      const end = this.#written.length + length
      const zeros = this.#zerosBehind(end, length)
      if (zeros !== undefined) await this.#file.write(zeros, 0, zeros.length, end)
      await this.#file.write(builder.bytes, 0, length, this.#written.length)
    } catch (error) {
      throw this.#fail(error)
    } finally {
      this.#appending = false
    }
    this.#end(builder, length)
  }

  /** Hands the frame to the operating system within the call; see append. */
  appendSync(builder: WalFrameBuilder, firstSequence: number): void {
    const length = builder.finish(this.#begin(firstSequence))
    try {
      const end = this.#written.length + length
      const zeros = this.#zerosBehind(end, length)
      if (zeros !== undefined) this.#file.writeSync(zeros, 0, zeros.length, end)
      this.#file.writeSync(builder.bytes, 0, length, this.#written.length)
    } catch (error) {
      throw this.#fail(error)
    }
    this.#end(builder, length)
  }

  /** Resolves once everything that was written before the call is durable. */
  async sync(): Promise<void> {
    const target = this.#written.length
    while (this.#failure === undefined && this.#synced.length < target) {
      this.#syncing ??= this.#syncWritten()
      await this.#syncing
    }
    this.#checkUsable()
  }

  /** Closes the file; does not sync. Idempotent. */
  close(): void {
    this.#file.closeSync()
  }

  async #syncWritten(): Promise<void> {
    const covered = this.#written
    try {
      await this.#file.sync()
      if (this.#failure === undefined) this.#synced = covered
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#syncing = undefined
    }
  }

  /** What a frame at the end of the segment needs to know. */
  #begin(firstSequence: number): WalFramePlace {
    this.#checkUsable()
    assert(!this.#appending, 'frames are appended one after another')
    assert(firstSequence >= this.#firstSequence, 'sequences only rise')
    if (this.#previous !== undefined) this.#follow(this.#previous)
    return {
      firstSequence,
      syncedUpTo: this.#synced.length,
      previousChain: this.#written.chain,
      seed: placeSeed(this.#seed, this.#written.length),
    }
  }

  /** The zeros to write at `end`, behind a frame of `length` bytes; undefined for none. */
  #zerosBehind(end: number, length: number): Uint8Array | undefined {
    if (this.#paddingSize === 0 || end <= this.#fileSize) return undefined
    const isLarge = length > this.#paddingSize * LARGE_FRAME_SHARE
    const size = this.#paddingSize * (isLarge ? LARGE_FRAME_FACTOR : 1)
    this.#fileSize = Math.ceil(end / size) * size
    const count = this.#fileSize - end
    if (this.#zeros.length < count) this.#zeros = new Uint8Array(size)
    return this.#zeros.subarray(0, count)
  }

  #end(builder: WalFrameBuilder, length: number): void {
    this.#written = {
      fileNumber: this.fileNumber,
      length: this.#written.length + length,
      chain: builder.chain,
    }
  }

  /** What the header of the next segment records of this one. */
  #endForNext(): WalPosition {
    assert(this.#previous === undefined, 'at most one segment is created ahead')
    return this.#synced
  }

  /** Takes over the chain of the segment before, which ends here. */
  #follow(previous: WalWriter): void {
    assert(!previous.#appending, 'the segment before is written to its end')
    assert(previous.#synced === previous.#written, 'the segment before is durable to its end')
    this.#written = { ...this.#written, chain: previous.#written.chain }
    this.#synced = this.#written
    this.#previous = undefined
  }

  #checkUsable(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  #fail(error: unknown): Error {
    this.#failure ??= toError(error)
    return this.#failure
  }
}

/**
 * Writes one WAL segment: one positional write a frame, syncs apart from it, and the bookkeeping
 * of what is written, what is durable, and the chain that links the frames.
 *
 * Invariants:
 *  1. Header and name are durable before the first frame is written.
 *  2. The segment before is durable to its end, zeros included, before anything is written behind
 *     the header, so whatever this segment acknowledges, nothing before it can be missing.
 *  3. One append at a time; syncs may overlap appends, never each other: a sync that failed takes
 *     the error with it, and one beside it would wrongly report success.
 *  4. After a failed write or sync nothing is written or believed any more; but see 6.
 *  5. A frame is written over zeros only, which reserve() has put there before.
 *  6. When there is no room for those zeros no frame is in danger: what was written stays as it
 *     was, a sync of it is believed, and the same zeros may be written once there is room.
 *
 * A full disk is met while zeros are written, never in the midst of a frame, of which nobody could
 * tell then what is there. (etcd allocates its segments ahead for the same reason; RocksDB, which
 * meets it in a record, must flush and begin another log.) Besides, a file that grows with every
 * frame makes each sync a commit of the file system's own journal. So the zeros are written a
 * quarter MiB at a time, and most syncs have nothing but data to write: on ext4 a lone durable
 * writer gets 1.3 times the commits.
 *
 * Where each write takes new space, as on file systems that copy on write, a frame can still meet
 * the end of it; then 4 holds.
 */
import { assert } from '../assert.ts'
import { toError } from '../errors.ts'
import { formatFileName } from './file-names.ts'
import { fileSeed, placeSeed } from './file-seed.ts'
import { type File, type FileSystem, joinPath } from './file-system.ts'
import { isShortage } from './io-failure.ts'
import {
  encodeWalHeader,
  WAL_FRAME_HEADER_SIZE,
  WAL_HEADER_SIZE,
  type WalPosition,
  walFrameSize,
} from './wal-format.ts'
import type { WalFrameBuilder, WalFramePlace } from './wal-frame.ts'

/** A segment that is empty, and whose name is durable. After a crash nobody misses it. */
export interface PreparedSegment {
  readonly fileNumber: number
  readonly file: File
}

/**
 * Makes the file of a segment; none of it on the calling thread. `takeBack` gets its name when it
 * was made and the name could not be made durable. A name that is taken is not this call's to
 * remove.
 */
export async function prepareSegment(
  fileSystem: FileSystem,
  directory: string,
  fileNumber: number,
  takeBack?: (name: string) => void,
): Promise<PreparedSegment> {
  const name = formatFileName('wal', fileNumber)
  const file = await fileSystem.create(joinPath(directory, name))
  try {
    await fileSystem.syncDirectory(directory)
  } catch (error) {
    file.closeSync()
    takeBack?.(name)
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
  /**
   * Zeros are written up to the next multiple of this many bytes. @defaultValue 0, for none: then
   * nothing has to be reserved.
   */
  readonly paddingSize?: number
}

/** Bytes of a frame that is summed up at once: about half a millisecond. */
const SUM_AT_ONCE_MAX = 2 * 1024 * 1024
/** Of frames larger than this share of the padding four times as much is written. */
const LARGE_FRAME_SHARE = 1 / 4
const LARGE_FRAME_FACTOR = 4

/**
 * Zeros for small frames are written so many bytes at a time. What one call writes, Linux keeps as
 * one piece of its cache, and a small write walks all blocks of the piece it falls into: behind
 * 256 KiB at once a put of `interval` costs a twentieth more, behind 1 MiB half as much again.
 */
const ZEROS_AT_ONCE_MAX = 64 * 1024

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
  /** Up to here the file is frames, then zeros. */
  #reserved = WAL_HEADER_SIZE
  #zeros = new Uint8Array(0)
  /** The zeros that were to be written last found no room. */
  #isFull = false
  /** Zeros were written that no sync has covered: after a power loss anything may stand there. */
  #hasLooseZeros = false
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

  /** Whether there is room for a frame whose builder has `size` bytes. */
  hasReserved(size: number): boolean {
    return this.#paddingSize === 0 || this.#frameEnd(size) <= this.#reserved
  }

  /**
   * Makes room for a frame whose builder has `size` bytes. Rejects as the system does. After a
   * shortage (io-failure.ts) everything is as it was, and it may be tried again; after another
   * error nothing is written any more. One call at a time.
   */
  async reserve(size: number): Promise<void> {
    this.#checkUsable()
    if (this.#previous !== undefined) this.#follow(this.#previous)
    const zerosSize = this.#zerosSize(size)
    const end = this.#reservedEnd(size, zerosSize)
    while (this.#reserved < end) {
      const zeros = this.#zerosOf(Math.min(zerosSize, end - this.#reserved))
      try {
        await this.#file.write(zeros, 0, zeros.length, this.#reserved)
      } catch (error) {
        throw this.#notReserved(error)
      }
      this.#hasZeros(zeros.length)
    }
  }

  /**
   * reserve() within the call, for small frames; returns whether it succeeded. False also without a
   * try when there was no room lately. Why it failed, reserve() tells.
   */
  tryReserveSync(size: number): boolean {
    if (this.hasReserved(size)) return true
    if (this.#isFull || this.#failure !== undefined) return false
    if (this.#previous !== undefined) this.#follow(this.#previous)
    const end = this.#reservedEnd(size, this.#zerosSize(size))
    while (this.#reserved < end) {
      const zeros = this.#zerosOf(Math.min(ZEROS_AT_ONCE_MAX, end - this.#reserved))
      try {
        this.#file.writeSync(zeros, 0, zeros.length, this.#reserved)
      } catch (error) {
        this.#notReserved(error)
        return false
      }
      this.#hasZeros(zeros.length)
    }
    return true
  }

  /**
   * Writes the frame; not durable before a later sync(). The builder is borrowed until the promise
   * settles: nothing may be added to it, reading it is fine. Requires that room was reserved.
   */
  async append(builder: WalFrameBuilder, firstSequence: number): Promise<void> {
    const place = this.#begin(builder, firstSequence)
    this.#appending = true
    let length: number
    try {
      const isLong = builder.size > SUM_AT_ONCE_MAX
      length = isLong ? await builder.finishInSlices(place) : builder.finish(place)
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
    const length = builder.finish(this.#begin(builder, firstSequence))
    try {
      this.#file.writeSync(builder.bytes, 0, length, this.#written.length)
    } catch (error) {
      throw this.#fail(error)
    }
    this.#end(builder, length)
  }

  /** Resolves once everything that was written before the call is durable. */
  async sync(): Promise<void> {
    const target = this.#written.length
    while (this.#failure === undefined && (this.#synced.length < target || this.#hasLooseZeros)) {
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
    this.#hasLooseZeros = false
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
  #begin(builder: WalFrameBuilder, firstSequence: number): WalFramePlace {
    this.#checkUsable()
    assert(this.hasReserved(builder.size), 'room for the frame was reserved')
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

  /** Where a frame at the end of the segment would end, by the bytes of its builder. */
  #frameEnd(size: number): number {
    return this.#written.length + walFrameSize(size - WAL_FRAME_HEADER_SIZE)
  }

  /** Zeros are written up to a multiple of so many bytes, and so many at once. */
  #zerosSize(size: number): number {
    const isLarge = size > this.#paddingSize * LARGE_FRAME_SHARE
    return this.#paddingSize * (isLarge ? LARGE_FRAME_FACTOR : 1)
  }

  #reservedEnd(size: number, zerosSize: number): number {
    if (this.hasReserved(size)) return this.#reserved
    return Math.ceil(this.#frameEnd(size) / zerosSize) * zerosSize
  }

  #zerosOf(count: number): Uint8Array {
    if (this.#zeros.length < count) this.#zeros = new Uint8Array(count)
    return this.#zeros.subarray(0, count)
  }

  #hasZeros(count: number): void {
    this.#reserved += count
    this.#hasLooseZeros = true
    this.#isFull = false
  }

  #notReserved(error: unknown): unknown {
    if (!isShortage(error)) return this.#fail(error)
    this.#hasLooseZeros = true
    this.#isFull = true
    return error
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
    const isDurable = previous.#synced === previous.#written && !previous.#hasLooseZeros
    assert(isDurable, 'the segment before is durable to its end')
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

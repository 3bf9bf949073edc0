/**
 * The changes of a database in the order of their sequences, batch by batch as they were committed:
 * from held segments of the log, and when those end, live. Everything is read from the files, also
 * what was just written (it is in the page cache), so a slow reader makes nobody wait and nothing
 * queue up: it only holds segments, within `heldWalSizeMax`.
 *
 * Invariants:
 *  1. Sequences are delivered without a gap, each once. Where the log has a gap, the feed fails
 *     with ChangesGoneError instead of passing over it.
 *  2. Nothing is delivered that a crash could take back: of the active segment only what a sync has
 *     covered, whatever durability the write asked for, and nothing after a sync that failed.
 *  3. What was delivered is visible to reads that begin after it.
 *  4. One batch at a time is in memory, in the buffer of its frame and as objects.
 *  5. No turn of the event loop puts more together than takes a millisecond, however large a value.
 */

import { copyBytes } from '../bytes.ts'
import { type Clock, yieldToEventLoop } from '../clock.ts'
import { AbortedError, ClosedError, CorruptionError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { type ChangeBatch, ChangeBatches } from './change-batch.ts'
import type { ExpiryClock } from './expiry-clock.ts'
import { formatFileName } from './file-names.ts'
import { fileSeed } from './file-seed.ts'
import { type File, type FileSystem, joinPath } from './file-system.ts'
import type { EntryKind } from './internal-key.ts'
import { ioFailure, ReportingFile } from './io-failure.ts'
import { LoopTurns } from './loop-turns.ts'
import { copyInSlices, LARGE_SIZE_MIN, uninitialized } from './slices.ts'
import type { TreeState } from './tree-state.ts'
import { WAL_HEADER_SIZE } from './wal-format.ts'
import type { EngineWalHold } from './wal-hold.ts'
import type { WalProgress } from './wal-progress.ts'
import { WalSegmentReader } from './wal-reader.ts'
import { changesGone, type WalSegments } from './wal-segments.ts'

/** Bytes read at once. */
const PIECE_SIZE = 64 * 1024
/** Ops and bytes that are put into a batch between two turns of the event loop: under 1 ms. */
const OPS_PER_TURN = 500
const BYTES_PER_TURN = 512 * 1024

export interface ChangesOptions {
  /**
   * The last sequence that the reader has: `lastSequence` of the last batch that it took, or 0 for
   * all there ever was. @defaultValue the newest: what is written from now on
   */
  readonly after?: number
  /** Ends the feed with AbortedError, at once. */
  readonly signal?: AbortSignal | undefined
}

/** A large value whose copy has still to be filled: bytes[start, end) of the frame at hand. */
interface LargeCopy {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  readonly copy: Uint8Array
}

/** What `Db.changes` gives. Holds the log until it has ended; loops end it by themselves. */
export interface ChangeFeed extends AsyncIterableIterator<ChangeBatch, undefined> {
  /** The last sequence that was delivered: `after` of whoever goes on later. */
  readonly sequence: number
  /** Ends the feed: a call of next() that waits gets the end. Idempotent. */
  close(): Promise<void>
  return(): Promise<IteratorResult<ChangeBatch, undefined>>
  [Symbol.asyncIterator](): ChangeFeed
  [Symbol.asyncDispose](): Promise<void>
}

export interface ChangeFeedParts {
  readonly fileSystem: FileSystem
  readonly directory: string
  readonly databaseId: Uint8Array
  readonly hasher: Hasher
  readonly clock: Clock
  readonly expiry: ExpiryClock
  readonly state: TreeState
  readonly segments: WalSegments
  readonly progress: WalProgress
  /** Bytes of the active segment that are known to be durable. */
  readonly durableSize: () => number
}

interface OpenSegment {
  readonly fileNumber: number
  readonly file: File
  readonly reader: WalSegmentReader
  /** Bytes that the reader may read. */
  size: number
  /** Whether the frame at hand has ops that were not looked at. */
  inFrame: boolean
}

export class EngineChangeFeed implements ChangeFeed {
  readonly #parts: ChangeFeedParts
  readonly #hold: EngineWalHold
  readonly #signal: AbortSignal | undefined
  readonly #onAbort: () => void
  readonly #onEnd: (feed: EngineChangeFeed) => void
  readonly #batches: ChangeBatches
  readonly #turns: LoopTurns
  /** The next sequence to deliver. */
  #next: number
  #segment: OpenSegment | undefined
  /** The batch that was completed last, until it is delivered. */
  #batch: ChangeBatch | undefined
  #opsInTurn = 0
  #bytesInTurn = 0
  /** Of the op that was looked at last. */
  #large: LargeCopy | undefined
  /** Calls of next() are answered one after another. Never rejects. */
  #working: Promise<unknown> = Promise.resolve()
  /** Why it ends: undefined when the reader asked for it. */
  #ending: { readonly error: Error | undefined } | undefined
  #released = false

  /** Throws ChangesGoneError. `onEnd` is called once. */
  constructor(
    parts: ChangeFeedParts,
    after: number,
    signal: AbortSignal | undefined,
    onEnd: (feed: EngineChangeFeed) => void,
  ) {
    this.#parts = parts
    this.#next = after + 1
    this.#hold = parts.segments.hold(this.#next)
    this.#batches = new ChangeBatches(parts.expiry, {
      withLogDataOnly: false,
      copy: (bytes, start, end) => this.#copy(bytes, start, end),
    })
    this.#turns = new LoopTurns(parts.clock)
    this.#onEnd = onEnd
    this.#signal = signal
    // At once, whoever reads: a feed that nobody asks any more must not hold the log.
    this.#onAbort = () => void this.end(aborted(signal))
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  get sequence(): number {
    return this.#next - 1
  }

  next(): Promise<IteratorResult<ChangeBatch, undefined>> {
    const result = this.#working.then(() => this.#answer())
    this.#working = result.catch(() => undefined)
    return result
  }

  async return(): Promise<IteratorResult<ChangeBatch, undefined>> {
    await this.close()
    return { done: true, value: undefined }
  }

  close(): Promise<void> {
    return this.end(undefined)
  }

  /** Ends the feed: whoever waits for the next batch gets the error, or the end. */
  async end(error: Error | undefined): Promise<void> {
    this.#ending ??= { error }
    this.#parts.progress.step()
    await this.#working
    this.#release()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #answer(): Promise<IteratorResult<ChangeBatch, undefined>> {
    const { progress, state } = this.#parts
    try {
      // Whoever asks for the next one has taken the last.
      this.#hold.advance(this.#next)
      for (;;) {
        if (this.#hasEnded()) return { done: true, value: undefined }
        const seen = progress.count
        // Whatever made the database fail happened before it was read to the end.
        const { failure } = state
        const value = await this.#read()
        if (value !== undefined) {
          this.#next = value.lastSequence + 1
          await this.#turns.count(value.operations.length)
          return { done: false, value }
        }
        if (failure !== undefined) throw failure
        await progress.past(seen)
      }
    } catch (error) {
      this.#release()
      throw ioFailure(error, 'the log cannot be read')
    }
  }

  /** Throws why the feed cannot go on. */
  #hasEnded(): boolean {
    if (this.#ending?.error !== undefined) throw this.#ending.error
    if (this.#ending !== undefined || this.#released) return true
    this.#checkHold()
    return false
  }

  #checkHold(): void {
    if (this.#hold.broken) throw changesGone(this.#next, this.#parts.segments.oldestSequence)
  }

  /** The next batch, or undefined when it cannot be given out yet. */
  async #read(): Promise<ChangeBatch | undefined> {
    while (this.#batch === undefined) {
      const segment = this.#segment ?? this.#open()
      if (segment === undefined) return undefined
      if (segment.inFrame) {
        await this.#visit(segment)
        continue
      }
      const found = segment.reader.next()
      if (found === 'more') await segment.reader.fill()
      else if (found === 'frame') segment.inFrame = this.#isWanted(segment)
      else if (!this.#goOn(segment, found === 'damaged')) return undefined
    }
    const batch = this.#batch
    if (batch.sequence > this.#next) throw this.#gap(batch.sequence)
    if (batch.lastSequence > this.#parts.state.visibleSequence) return undefined
    this.#batch = undefined
    return batch
  }

  /** Undefined as long as the segment is not begun, for want of room. */
  #open(): OpenSegment | undefined {
    this.#checkHold()
    const { fileSystem, directory, databaseId, hasher, segments, durableSize } = this.#parts
    const { fileNumber } = segments.at(this.#next)
    if (fileNumber === segments.active.fileNumber && durableSize() === 0) return undefined
    const path = joinPath(directory, formatFileName('wal', fileNumber))
    const file = new ReportingFile(fileSystem.openSync(path))
    const seed = fileSeed(databaseId, fileNumber)
    const size = WAL_HEADER_SIZE
    const reader = new WalSegmentReader(file, size, seed, hasher, PIECE_SIZE)
    this.#segment = { fileNumber, file, reader, size, inFrame: false }
    return this.#segment
  }

  /** Whether a sequence of the frame at hand may be one to deliver: log data has none. */
  #isWanted({ reader }: OpenSegment): boolean {
    return reader.frame.firstSequence + reader.frame.opCount > this.#next
  }

  /** Puts together the next batch of the frame, or as much of it as one turn takes. */
  async #visit(segment: OpenSegment): Promise<void> {
    this.#opsInTurn = 0
    this.#bytesInTurn = 0
    const done = segment.reader.visitOps(this)
    segment.inFrame = !done
    const large = this.#large
    if (large !== undefined) {
      this.#large = undefined
      await copyInSlices(large.bytes, large.start, large.end, large.copy, 0)
    }
    if (!done && this.#batch === undefined) await yieldToEventLoop()
  }

  /** For the batches: a large copy is filled between two turns, while the frame stays as it is. */
  #copy(bytes: Uint8Array, start: number, end: number): Uint8Array {
    if (end - start <= LARGE_SIZE_MIN) return copyBytes(bytes, start, end)
    const copy = uninitialized(end - start)
    this.#large = { bytes, start, end, copy }
    return copy
  }

  /** For the reader of the segment only. Pauses behind each batch that is wanted. */
  op(
    kind: EntryKind,
    sequence: number,
    keyBytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueBytes: Uint8Array,
    valueStart: number,
    valueEnd: number,
    more: boolean,
  ): boolean {
    const batch = this.#batches.add(
      kind,
      sequence,
      keyBytes,
      keyStart,
      keyEnd,
      valueBytes,
      valueStart,
      valueEnd,
      more,
    )
    if (batch !== undefined && batch.lastSequence >= this.#next) {
      this.#batch = batch
      return true
    }
    this.#opsInTurn++
    this.#bytesInTurn += valueEnd - keyStart
    return this.#opsInTurn >= OPS_PER_TURN || this.#bytesInTurn >= BYTES_PER_TURN
  }

  /** Behind the last frame that may be read: whether there is more now, here or further on. */
  #goOn(segment: OpenSegment, isDamaged: boolean): boolean {
    const { segments, durableSize } = this.#parts
    const { fileNumber, reader } = segment
    this.#checkHold()
    const isActive = fileNumber === segments.active.fileNumber
    const complete = segments.complete(fileNumber)
    // The hold goes by what was delivered: a segment that was delivered whole may be gone by now.
    if (!isActive && complete === undefined) return this.#leave(segment)
    const size = complete?.size ?? durableSize()
    if (!isDamaged && size > segment.size) {
      segment.size = size
      reader.grow(size)
      return true
    }
    // What recovery dropped as a torn tail is passed over, if it was no more than that.
    if (isDamaged && !segments.isRecovered(fileNumber)) throw damaged(segment)
    if (complete === undefined) return false
    if (complete.lastSequence >= this.#next) throw this.#gap(complete.lastSequence + 1)
    return this.#leave(segment)
  }

  #leave(segment: OpenSegment): boolean {
    segment.file.closeSync()
    this.#segment = undefined
    return true
  }

  #gap(oldest: number): Error {
    return changesGone(this.#next, oldest)
  }

  #release(): void {
    if (this.#released) return
    this.#released = true
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#segment?.file.closeSync()
    this.#segment = undefined
    this.#batch = undefined
    this.#hold.release()
    this.#onEnd(this)
  }
}

function aborted(signal: AbortSignal | undefined): AbortedError {
  const cause = signal?.reason
  return new AbortedError('the change feed was aborted by its signal', { cause })
}

function damaged({ file, reader }: OpenSegment): CorruptionError {
  const { what = 'no frame', expected, actual } = reader.damage ?? {}
  return new CorruptionError({ path: file.path, offset: reader.offset, expected, actual }, what)
}

/** The feeds of a database. */
export class ChangeFeeds {
  readonly #parts: ChangeFeedParts
  readonly #feeds = new Set<EngineChangeFeed>()

  constructor(parts: ChangeFeedParts) {
    this.#parts = parts
  }

  /** Begins behind the sequence `after`. Throws ChangesGoneError. */
  follow(after: number, signal: AbortSignal | undefined): ChangeFeed {
    const feed = new EngineChangeFeed(this.#parts, after, signal, ended => {
      this.#feeds.delete(ended)
    })
    this.#feeds.add(feed)
    return feed
  }

  /** Ends all of them with ClosedError. */
  async close(): Promise<void> {
    const error = new ClosedError('the database is closed')
    await Promise.all([...this.#feeds].map(feed => feed.end(error)))
  }
}

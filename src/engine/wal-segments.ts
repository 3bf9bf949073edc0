/**
 * Which segments of the log are on disk, which sequences they hold, and how long they stay: until
 * their memtable is flushed, and until nobody holds them for reading any more.
 *
 * Invariants:
 *  1. The segments have every sequence from `oldestSequence` on, each in one segment, without a gap
 *     (but for what a torn tail took, which readers notice).
 *  2. A segment that recovery needs is never removed, whatever the holds; nor is one that it may
 *     come to need after a power loss, as the MANIFEST that says otherwise may not be durable.
 *  3. Segments that only holds keep never take more than `heldSizeMax` bytes: above that the holds
 *     of the oldest are broken, so a reader that died never fills the disk.
 */
import { assert } from '../assert.ts'
import { equalBytes } from '../bytes.ts'
import { ChangesGoneError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { EventStream } from './event-stream.ts'
import { formatFileName } from './file-names.ts'
import { type File, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import type { ObsoleteFiles } from './obsolete-files.ts'
import { readWalHeaderSync } from './wal-check.ts'
import { EngineWalHold } from './wal-hold.ts'

/** A segment that takes no more frames. */
export interface CompleteSegment {
  readonly fileNumber: number
  /** Of its entries; a segment without any has a last sequence below its first. */
  readonly firstSequence: number
  readonly lastSequence: number
  /** Bytes of the file. */
  readonly size: number
}

/** The segment that takes the next frame. */
export interface ActiveSegment {
  readonly fileNumber: number
  readonly firstSequence: number
}

export interface WalSegmentsParts {
  readonly obsoleteFiles: ObsoleteFiles
  readonly events: EventStream
  readonly logger: Logger
  /** Bytes that holds may keep. */
  readonly heldSizeMax: number
  readonly active: ActiveSegment
  /** Those before it that are to be kept although recovery needs them no more; oldest first. */
  readonly kept: readonly CompleteSegment[]
  /** Those behind them that recovery needs until retireRecovered(). */
  readonly needed: readonly CompleteSegment[]
  /** Until retireRecovered() nobody knows what of the MANIFEST is durable. @defaultValue false */
  readonly isUnsure?: boolean
}

export interface WalHoldStats {
  /** Holds in force, those of change feeds included. */
  readonly count: number
  /** What is on disk for their sake only. */
  readonly segments: number
  readonly bytes: number
  /** Bytes above which the oldest holds are broken. */
  readonly bytesMax: number
  /** The smallest sequence that is held; undefined when none is. */
  readonly oldestSequence: number | undefined
  /** Holds that were broken. */
  readonly broken: number
}

export class WalSegments {
  readonly #parts: WalSegmentsParts
  /** Complete segments, oldest first: those that nobody but holds needs, then the others. */
  readonly #held: CompleteSegment[]
  readonly #needed: CompleteSegment[]
  #active: ActiveSegment
  readonly #holds = new Set<EngineWalHold>()
  #heldBytes = 0
  #brokenCount = 0
  #isUnsure: boolean

  constructor(parts: WalSegmentsParts) {
    this.#parts = parts
    this.#isUnsure = parts.isUnsure ?? false
    this.#active = parts.active
    this.#held = [...parts.kept]
    this.#needed = [...parts.needed]
    for (const { size } of parts.kept) this.#heldBytes += size
  }

  get stats(): WalHoldStats {
    const oldest = this.#oldestHeld()
    return {
      count: this.#holds.size,
      segments: this.#held.length,
      bytes: this.#heldBytes,
      bytesMax: this.#parts.heldSizeMax,
      oldestSequence: oldest === Number.POSITIVE_INFINITY ? undefined : oldest,
      broken: this.#brokenCount,
    }
  }

  /** The first sequence that the log has, or will have. */
  get oldestSequence(): number {
    const oldest = this.#held[0] ?? this.#needed[0] ?? this.#active
    return oldest.firstSequence
  }

  get active(): ActiveSegment {
    return this.#active
  }

  /** The segment of that number while it is on disk, if it is complete. */
  complete(fileNumber: number): CompleteSegment | undefined {
    const isIt = (segment: CompleteSegment) => segment.fileNumber === fileNumber
    return this.#held.find(isIt) ?? this.#needed.find(isIt)
  }

  /** Whether an earlier process wrote the segment, so that its end may be torn. */
  isRecovered(fileNumber: number): boolean {
    return fileNumber < this.#parts.active.fileNumber
  }

  /** The segment with the sequence, or that will have it. Requires oldestSequence or later. */
  at(sequence: number): ActiveSegment {
    assert(sequence >= this.oldestSequence, 'the log begins at or before what is asked for')
    const has = (segment: CompleteSegment) => segment.lastSequence >= sequence
    return this.#held.find(has) ?? this.#needed.find(has) ?? this.#active
  }

  /** The active segment is complete, with sequences to `lastSequence`, and another follows it. */
  rotated(size: number, lastSequence: number, fileNumber: number): void {
    this.#needed.push({ ...this.#active, size, lastSequence })
    this.#active = { fileNumber, firstSequence: lastSequence + 1 }
  }

  /** Recovery needs the segment no more: the MANIFEST says so, durably. Called oldest first. */
  retire(fileNumber: number): void {
    const segment = this.#needed.shift()
    assert(segment?.fileNumber === fileNumber, 'segments retire in their order')
    this.#held.push(segment)
    this.#heldBytes += segment.size
    this.#trim()
  }

  /** Recovery came to its end: it needs nothing any more of what was there before. */
  retireRecovered(): void {
    this.#isUnsure = false
    this.#trim()
    for (const segment of [...this.#needed]) this.retire(segment.fileNumber)
  }

  /** Throws ChangesGoneError when the log begins after `sequence`; 0 stands for the first, 1. */
  hold(fromSequence: number): EngineWalHold {
    const sequence = Math.max(1, fromSequence)
    const { oldestSequence } = this
    if (sequence < oldestSequence) throw changesGone(sequence, oldestSequence)
    const hold = new EngineWalHold(sequence, changed => {
      if (changed.state !== 'held') this.#holds.delete(changed)
      this.#trim()
    })
    this.#holds.add(hold)
    return hold
  }

  /**
   * The hold that opening asked for: broken at once where the log begins later. Segments that it
   * does not keep go.
   */
  holdFromOpening(fromSequence: number | 'oldest'): EngineWalHold {
    const sequence = fromSequence === 'oldest' ? this.oldestSequence : Math.max(1, fromSequence)
    let hold: EngineWalHold
    if (sequence >= this.oldestSequence) hold = this.hold(sequence)
    else {
      hold = new EngineWalHold(sequence, () => undefined)
      this.#break(hold, 'missing')
    }
    this.#trim()
    return hold
  }

  #oldestHeld(): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const { sequence } of this.#holds) oldest = Math.min(oldest, sequence)
    return oldest
  }

  #trim(): void {
    if (this.#held.length === 0 || this.#isUnsure) return
    let oldestHeld = this.#oldestHeld()
    for (let segment = this.#held[0]; segment !== undefined; segment = this.#held[0]) {
      if (oldestHeld <= segment.lastSequence) {
        if (this.#heldBytes <= this.#parts.heldSizeMax) return
        this.#breakUpTo(segment.lastSequence)
        oldestHeld = this.#oldestHeld()
      }
      this.#held.shift()
      this.#heldBytes -= segment.size
      this.#parts.obsoleteFiles.remove(formatFileName('wal', segment.fileNumber))
    }
  }

  #breakUpTo(lastSequence: number): void {
    for (const hold of [...this.#holds])
      if (hold.sequence <= lastSequence) this.#break(hold, 'size')
  }

  #break(hold: EngineWalHold, reason: 'size' | 'missing'): void {
    const { logger, events } = this.#parts
    const { sequence } = hold
    hold.break()
    this.#holds.delete(hold)
    this.#brokenCount++
    const heldBytes = this.#heldBytes
    logger.warn('a hold on the log was broken: its reader must start over', {
      sequence,
      reason,
      heldBytes,
    })
    if (events.active) events.emit({ type: 'walHoldBroken', sequence, reason, heldBytes })
  }
}

export function changesGone(sequence: number, oldest: number): ChangesGoneError {
  return new ChangesGoneError(
    `the log begins at sequence ${oldest}, and ${sequence} was asked for: ` +
      'copy the state anew and follow the changes from there',
  )
}

/**
 * The complete segments of a recovered log that lead up to the active one, which follows segment
 * `previous`, without a gap, oldest first, from the one with `sequence` on. What is older, or
 * cannot be told, is not among them.
 */
export function findKeptSegments(
  fileSystem: FileSystem,
  directory: string,
  databaseId: Uint8Array,
  active: ActiveSegment,
  previous: number,
  sequence: number,
): readonly CompleteSegment[] {
  const kept: CompleteSegment[] = []
  const read = (fileNumber: number) => {
    const found = fileNumber === 0 ? undefined : readSegment(fileSystem, directory, fileNumber)
    return found !== undefined && equalBytes(found.databaseId, databaseId) ? found : undefined
  }
  let next = { firstSequence: active.firstSequence, previous: { fileNumber: previous } }
  while (next.firstSequence > sequence) {
    const found = read(next.previous.fileNumber)
    if (found === undefined) break
    const { fileNumber, firstSequence, size } = found
    kept.unshift({ fileNumber, firstSequence, size, lastSequence: next.firstSequence - 1 })
    next = found
  }
  return kept
}

/** Header and size; undefined when the file is missing or has no valid header. */
function readSegment(fileSystem: FileSystem, directory: string, fileNumber: number) {
  let file: File
  try {
    file = fileSystem.openSync(joinPath(directory, formatFileName('wal', fileNumber)))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
  try {
    const header = readWalHeaderSync(file, fileNumber)
    return header && { ...header, size: file.sizeSync() }
  } finally {
    file.closeSync()
  }
}

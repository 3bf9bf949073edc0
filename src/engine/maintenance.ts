/**
 * Long work on an open database beside its reads and writes. Each operation has a thread of its
 * own, can be aborted, tells how far it is, and ends early when the database is closed.
 *
 * Invariants:
 *  1. Files that an operation reads are held (obsolete-files.ts) until it has ended.
 *  2. close() returns when no operation is under way any more; none starts after it.
 */

import { type ByteRange, describe } from '../arguments.ts'
import { AbortedError, ClosedError, InvalidArgumentError } from '../errors.ts'
import type { KeyRange } from '../key-value-store.ts'
import type { Random } from '../random.ts'
import type { BackupResult } from './backup-job.ts'
import type { CheckpointResult } from './checkpoint-job.ts'
import type { Compactor } from './compactor.ts'
import { DATABASE_ID_SIZE } from './database-id.ts'
import { formatFileName } from './file-names.ts'
import type { Flusher } from './flusher.ts'
import { ioFailure } from './io-failure.ts'
import type { LostRange } from './job.ts'
import type { BackgroundHost } from './job-runner.ts'
import {
  type MaintenanceOptions,
  type Operation,
  operate,
  unlessAborted,
} from './maintenance-operation.ts'
import { snapshotEdit } from './manifest-state.ts'
import { ManualCompaction } from './manual-compaction.ts'
import type { LiveFiles, VerifyReport } from './verify-job.ts'
import type { Version } from './version.ts'
import type { VersionEdit } from './version-edit.ts'
import type { WriteQueue } from './write-queue.ts'
import type { WriteRoom } from './write-room.ts'

export interface CheckpointOptions extends MaintenanceOptions {
  /**
   * Copies the tables even where hard links would do, so that damage to one database's files never
   * concerns the other. @defaultValue false
   */
  readonly copy?: boolean
}

export interface BackupOptions extends MaintenanceOptions {
  /** How many backups the directory keeps, this one included. @defaultValue 1 */
  readonly keep?: number
}

/** More than anybody keeps: each is read at the next backup. */
const BACKUPS_KEPT_MAX = 1000

/** What the database consists of at one moment. */
interface Moment {
  readonly directory: string
  /** The second directory, if there is one. */
  readonly coldDirectory: string | undefined
  /** A number that no file has. */
  readonly manifestNumber: number
  readonly snapshot: VersionEdit
}

/** The keys to compact, all of them by default. */
export interface CompactOptions extends KeyRange, MaintenanceOptions {
  /**
   * Rewrites also the tables of the last level in which nothing is known to be dead, for what is
   * not counted there: old versions that were kept for snapshots. @defaultValue false
   */
  readonly rewrite?: boolean
  /**
   * For damage that other copies of the data make up for: blocks that cannot be read are left
   * out, and gone, once this has resolved. It gets the keys of which versions may be lost; older
   * versions of them may come to light, and what a deletion hid. When it rejects nothing changes,
   * and the compaction fails. Without it damage fails the compaction. Implies `rewrite`.
   */
  readonly onLost?: (lost: readonly LostRange[]) => Promise<void>
}

export interface MaintenanceParts {
  readonly host: BackgroundHost
  readonly flusher: Flusher
  readonly compactor: Compactor
  readonly writes: WriteQueue
  readonly room: WriteRoom
  readonly random: Random
}

export class Maintenance {
  readonly #parts: MaintenanceParts
  readonly #running = new Set<Promise<unknown>>()
  readonly #closing = new AbortController()

  constructor(parts: MaintenanceParts) {
    this.#parts = parts
  }

  checkpoint(target: string, options: CheckpointOptions): Promise<CheckpointResult> {
    const databaseId = this.#parts.random.bytes(DATABASE_ID_SIZE)
    return this.#copy(databaseId, options, (moment, { control, thread }) => {
      const { copy = false } = options
      return thread().run('checkpoint', { ...moment, target, databaseId, copy, control })
    })
  }

  async backup(target: string, options: BackupOptions): Promise<BackupResult> {
    const { databaseId } = this.#parts.host.manifest
    const keep = checkKeep(options.keep === undefined ? 1 : options.keep)
    const result = await this.#copy(databaseId, options, (moment, { control, thread }) => {
      const { directory, coldDirectory, snapshot } = moment
      return thread().run('backup', {
        directory,
        coldDirectory,
        snapshot,
        target,
        databaseId,
        keep,
        control,
      })
    })
    for (const { path, what } of result.findings) {
      this.#parts.host.logger.warn('a backup was made, but not all was removed', { path, what })
    }
    return result
  }

  /** Works on what was written before the call: all of it in tables, which stay until it ends. */
  #copy<Result>(
    databaseId: Uint8Array,
    options: MaintenanceOptions,
    work: (moment: Moment, operation: Operation) => Promise<Result>,
  ): Promise<Result> {
    return this.#operate(options, async operation => {
      const { host } = this.#parts
      await unlessAborted(operation.signal, this.#flush(operation.signal))
      const { manifest, directory } = host
      // From here to the hold nothing is awaited: no table of the state can go.
      const manifestNumber = manifest.reserveFileNumbers(1)
      const { state } = manifest
      const release = this.#holdTables(state.version)
      try {
        const snapshot = snapshotEdit({
          ...state,
          // All tables are in one directory there.
          features: 0,
          databaseId,
          nextFileNumber: manifestNumber + 1,
          wallMsMax: Math.floor(host.expiry.nowMs),
          logNumber: 0,
          closedWal: undefined,
        })
        const coldDirectory = host.tier?.path
        return await work({ directory, coldDirectory, manifestNumber, snapshot }, operation)
      } finally {
        release()
      }
    })
  }

  compact(range: ByteRange, options: CompactOptions): Promise<void> {
    return this.#operate(options, async ({ signal, control }) => {
      const { host, compactor } = this.#parts
      await unlessAborted(signal, this.#flush(signal))
      const smallest = range.gte ?? range.gt
      const largest = range.lte ?? range.lt
      const { onLost, rewrite = onLost !== undefined } = options
      const { lastSequence } = host.state
      const manual = new ManualCompaction({ smallest, largest, rewrite, onLost }, lastSequence)
      const onStep = () => {
        const { doneBytes, totalBytes } = manual.progress(host.state.version)
        control.progress[0] = doneBytes
        control.progress[1] = totalBytes
      }
      onStep()
      try {
        await unlessAborted(signal, compactor.runManual(manual, onStep))
      } finally {
        compactor.stopManual(manual)
      }
    })
  }

  verify(options: MaintenanceOptions): Promise<VerifyReport> {
    return this.#operate(options, async ({ signal, control, thread }) => {
      const { directory } = this.#parts.host
      // Where the log could not be begun yet the MANIFEST of this process is not there.
      await unlessAborted(signal, this.#parts.room.begin())
      const { live, release } = this.#holdAll()
      try {
        return await thread().run('verify', { directory, live, control })
      } finally {
        release()
      }
    })
  }

  /** Ends all operations early and waits for them. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort(new ClosedError('the database is closed'))
    await Promise.allSettled(this.#running)
  }

  /** Puts all that was written before the call into tables. Begins no step once it is aborted. */
  async #flush(signal: AbortSignal): Promise<void> {
    const { flusher, writes, room } = this.#parts
    const drain = () => flusher.drain()
    for (const step of [() => room.begin(), drain, () => writes.freeze(), drain]) {
      // Nobody waits for it any more (unlessAborted): close() may be over after this step.
      if (signal.aborted) throw new AbortedError('the work was aborted')
      await step()
    }
  }

  /** Everything that the database consists of now, kept until it is released. */
  #holdAll(): { readonly live: LiveFiles; readonly release: () => void } {
    const { host, room } = this.#parts
    const { manifest, state, obsoleteFiles } = host
    const tables = [...manifest.version.tables()]
    const { wal } = room
    const segments = [{ fileNumber: wal.fileNumber, size: wal.size }]
    for (const { walNumber, walSize } of state.frozen) {
      segments.unshift({ fileNumber: walNumber, size: walSize })
    }
    const names = [
      formatFileName('manifest', manifest.fileNumber),
      ...tables.map(({ table }) => formatFileName('table', table.fileNumber)),
      ...segments.map(({ fileNumber }) => formatFileName('wal', fileNumber)),
    ]
    const live = {
      databaseId: manifest.databaseId,
      manifest: { fileNumber: manifest.fileNumber, size: manifest.size },
      tables,
      segments,
    }
    return { live, release: obsoleteFiles.hold(names) }
  }

  #holdTables(version: Version): () => void {
    const names: string[] = []
    for (const { table } of version.tables()) names.push(formatFileName('table', table.fileNumber))
    return this.#parts.host.obsoleteFiles.hold(names)
  }

  async #operate<Result>(
    options: MaintenanceOptions,
    work: (operation: Operation) => Promise<Result>,
  ): Promise<Result> {
    const { executor, clock } = this.#parts.host
    const running = operate({ executor, clock, closing: this.#closing.signal }, options, work)
    this.#running.add(running)
    try {
      return await running
    } catch (error) {
      throw ioFailure(error, `long work on ${this.#parts.host.directory} failed`)
    } finally {
      this.#running.delete(running)
    }
  }
}

function checkKeep(keep: number): number {
  if (Number.isSafeInteger(keep) && keep >= 1 && keep <= BACKUPS_KEPT_MAX) return keep
  throw new InvalidArgumentError(
    `keep must be an integer from 1 to ${BACKUPS_KEPT_MAX}, got ${describe(keep)}`,
  )
}

/** The door of the engine: an embedded, durable, ordered key-value store in one directory. */

export type { BackupResult } from './backup-job.ts'
export {
  BATCH_RANGES_MAX,
  type DeleteRangeOperation,
  type EmbeddedOperation,
} from './batch-operations.ts'
export type { Compression } from './block-compression.ts'
export type { ChangeBatch, SequenceRange } from './change-batch.ts'
export type { ChangeFeed, ChangesOptions } from './change-feed.ts'
export type { CheckpointResult } from './checkpoint-job.ts'
export { Db } from './db.ts'
export type {
  BackgroundErrorEvent,
  CompactionBeginEvent,
  CompactionEndEvent,
  DbEvent,
  FlushBeginEvent,
  FlushEndEvent,
  OpenedEvent,
  PoisonedEvent,
  StallBeginEvent,
  StallEndEvent,
  StallReason,
  TableDeletedEvent,
  WalDeletedEvent,
  WalHoldBrokenEvent,
  WalRotatedEvent,
} from './db-event.ts'
export type { BatchOptions, CommitOptions, SyncReadOptions } from './db-parts.ts'
export type { DbRatios, DbStats, LevelStats } from './db-stats.ts'
export type { DestroyReport } from './destroy.ts'
export type { DumpedSection, DumpItem, DumpOptions, DumpSink } from './dump-item.ts'
export type { DbEventListener } from './event-stream.ts'
export type { DirectoryLock, File, FileSystem } from './file-system.ts'
export type { Finding } from './finding.ts'
export { InlineExecutor } from './inline-executor.ts'
export type { Executor, Job, JobResult, LostRange } from './job.ts'
export type { BackupOptions, CheckpointOptions, CompactOptions } from './maintenance.ts'
export type { MaintenanceOptions, Progress } from './maintenance-operation.ts'
export { nodeFileSystem } from './node-file-system.ts'
export {
  dumpFile,
  type OfflineEnvironment,
  type OfflineOptions,
  type RestoreOptions,
  repairDirectory,
  repairInEnvironment,
  restoreBackup,
  restoreInEnvironment,
  verifyDirectory,
  verifyInEnvironment,
} from './offline.ts'
export { destroy, hasDatabase, open, openInEnvironment } from './open.ts'
export {
  type DbEnvironment,
  type DbOptions,
  type DbTuning,
  OPEN_FILES_MAX_DEFAULT,
} from './options.ts'
export type { PreparedWrite } from './prepared-write.ts'
export type { LeapEntry, LeapRead, LeapStep, RangeChunk, RangeRead } from './range-read.ts'
export type { SeekableScan } from './range-scan.ts'
export type { RepairReport } from './repair-job.ts'
export type { RestoreResult } from './restore-job.ts'
export type { ReasonStats, StallStats } from './stalls.ts'
export type { VerifyReport } from './verify-job.ts'
export type { VersionEdit } from './version-edit.ts'
export type { WalHold } from './wal-hold.ts'
export type { WalHoldStats } from './wal-segments.ts'
export type { EngineOperation } from './write-group.ts'
export type { WriteRefusal } from './write-refusal.ts'

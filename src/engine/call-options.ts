/** Names of the options that only calls of the engine take: what is misspelt is refused. */
import { RANGE_MEMBERS, WRITE_OPTIONS } from '../option-names.ts'

type Names = ReadonlySet<string>

/** A call that does not wait is ended by nothing. */
export const SYNC_READ_OPTIONS: Names = new Set(['snapshot'])
export const BATCH_OPTIONS: Names = new Set([...WRITE_OPTIONS, 'logData'])
/** Of the hot paths of writing. */
export const COMMIT_OPTIONS: Names = new Set(['durability', 'logData'])
/** Of a prepared write. */
export const DURABILITY_OPTIONS: Names = new Set(['durability'])
export const CHANGES_OPTIONS: Names = new Set(['after', 'signal'])
export const DUMP_OPTIONS: Names = new Set(['entries', 'signal'])
export const MAINTENANCE_OPTIONS: Names = new Set(['signal', 'onProgress'])
export const CHECKPOINT_OPTIONS: Names = new Set([...MAINTENANCE_OPTIONS, 'copy'])
export const BACKUP_OPTIONS: Names = new Set([...MAINTENANCE_OPTIONS, 'keep'])
export const RESTORE_OPTIONS: Names = new Set([...MAINTENANCE_OPTIONS, 'backup'])
export const COMPACT_OPTIONS: Names = new Set([
  ...RANGE_MEMBERS,
  ...MAINTENANCE_OPTIONS,
  'rewrite',
  'onLost',
])
/** Of work on a closed database. */
export const OFFLINE_OPTIONS: Names = new Set([
  ...MAINTENANCE_OPTIONS,
  'coldDirectory',
  'coldDirectoryLost',
])

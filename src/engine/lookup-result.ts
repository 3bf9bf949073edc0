/**
 * The answer of a point lookup: a reused object instead of a new one for each read.
 *
 * The value is borrowed: valueBytes[valueStart, valueEnd) is valid until the next call into the
 * engine that may load a block or change the memtable, that is, until the end of the synchronous
 * slice at the latest.
 */
import { NO_SEQUENCE } from './internal-key.ts'

export class LookupResult {
  /** An EntryKind. Meaningful only after a lookup that found something. */
  kind = 0
  sequence = NO_SEQUENCE
  valueBytes: Uint8Array = new Uint8Array(0)
  valueStart = 0
  valueEnd = 0
}

/** An internal entry as plain fields, for readers that go through blocks without a cursor. */
import { NO_SEQUENCE } from './internal-key.ts'

export class EntryFields {
  /** User key: keyBytes[keyStart, keyEnd). Borrowed, as the value is. */
  keyBytes: Uint8Array = new Uint8Array(0)
  keyStart = 0
  keyEnd = 0
  sequence = NO_SEQUENCE
  /** An EntryKind. */
  kind = 0
  /** Value: valueBytes[valueStart, valueEnd). */
  valueBytes: Uint8Array = new Uint8Array(0)
  valueStart = 0
  valueEnd = 0
}

/**
 * What the engine knows of an SSTable without opening it: recorded in the MANIFEST when the table
 * is added, and enough to route reads, pick compactions and check the file when it is opened.
 */
export interface TableMetadata {
  readonly fileNumber: number
  /** Bytes of the whole file. */
  readonly size: number
  /** User keys, inclusive. No entry, and no key that a range tombstone covers, lies beyond. */
  readonly smallestKey: Uint8Array
  readonly largestKey: Uint8Array
  readonly smallestSequence: number
  readonly largestSequence: number
  readonly entryCount: number
  /** Entries of kind delete. */
  readonly tombstoneCount: number
  /** Range tombstones as fragments (range-fragment.ts); they are not among the entries. */
  readonly rangeTombstoneCount: number
  /** Entries of kind putExpiring. */
  readonly expiringCount: number
  /** Milliseconds since the Unix epoch at which the last expiring entry expires; 0 for none. */
  readonly expiryMax: number
  /** Bytes of keys and values before prefix compression and without tags. */
  readonly rawSize: number
  /** XXH32 (seed 0) of the whole file, for copies and scrubs. */
  readonly fileChecksum: number
}

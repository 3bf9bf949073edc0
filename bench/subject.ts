/**
 * What compare.ts asks of a product: the smallest interface through which each can be used in its
 * own quickest idiomatic way. Loops over entries live inside the subject, because how a product
 * hands out a thousand entries is part of the product.
 *
 * Every method takes and returns bytes. A method that a product does not have is left out, and
 * its cell in the table stays empty.
 */

export type SubjectName = 'duramen' | 'classic-level' | 'lmdb' | 'map' | 'write-loop'

export const SUBJECT_NAMES: readonly SubjectName[] = [
  'duramen',
  'classic-level',
  'lmdb',
  'map',
  'write-loop',
]

export interface ScanTotal {
  readonly entries: number
  readonly bytes: number
}

export interface SubjectOptions {
  readonly directory: string
  /** Memory for caches and write buffers together, in bytes, where the product can be told. */
  readonly memoryBudget: number
  /** Bytes of log that may build up before the product empties it into its tables. */
  readonly logSize?: number
}

export interface Subject {
  /** Settings that matter to a reader of the table, in one line. */
  readonly settings: string

  /** Resolves once the write would survive power loss. */
  putDurable?(key: Buffer, value: Buffer): Promise<unknown>
  /** Resolves once the operating system has the write: only power loss may take it. */
  putFast?(key: Buffer, value: Buffer): Promise<unknown>
  /** Resolves once the write is visible; a crash of the process may take it. */
  putUnwritten?(key: Buffer, value: Buffer): Promise<unknown>
  deleteFast?(key: Buffer): Promise<unknown>
  /** All entries at once. */
  batch?(keys: readonly Buffer[], values: readonly Buffer[], durable: boolean): Promise<unknown>
  getSync?(key: Buffer): Uint8Array | undefined
  get?(key: Buffer): Promise<Uint8Array | undefined>
  /** Every entry in order, a page at a time where the product has pages. */
  scanAll?(): Promise<ScanTotal>
  /** Every entry in order, one by one with `for await`. */
  scanEach?(): Promise<ScanTotal>
  /** At most `limit` entries from this key on. */
  scanFrom?(key: Buffer, limit: number): Promise<ScanTotal>
  close(): Promise<void>
}

export type SubjectFactory = (options: SubjectOptions) => Promise<Subject>

/** The iterators of the abstract-level adapter: over entries, keys and values. */
import { AbstractIterator, AbstractKeyIterator, AbstractValueIterator } from './level-base.ts'
import { formatted, type LevelData, type LevelFormat, userKey } from './level-key.ts'
import { LevelReader, type LevelReaderOptions, type LevelSource } from './level-reader.ts'

/** What abstract-level passes to the private method that makes an iterator. */
export interface LevelIteratorOptions extends LevelReaderOptions {
  readonly keyEncoding: LevelFormat
  readonly valueEncoding: LevelFormat
  readonly keys?: boolean | undefined
}

type LevelEntry = [LevelData | undefined, LevelData | undefined]

export class LevelEntryIterator<TDatabase, K, V> extends AbstractIterator<TDatabase, K, V> {
  readonly #reader: LevelReader<LevelEntry>

  constructor(database: TDatabase, source: LevelSource, options: LevelIteratorOptions) {
    super(database, abstractOptions(options))
    const { keyEncoding, valueEncoding, keys, values } = options
    this.#reader = new LevelReader(source, options, (chunk, index) => [
      keys === false ? undefined : formatted(userKey(chunk.keys[index]!), keyEncoding),
      values === false ? undefined : formatted(chunk.values[index]!, valueEncoding),
    ])
  }

  protected _next(): Promise<LevelEntry | undefined> {
    return this.#reader.next()
  }

  protected _nextv(size: number): Promise<LevelEntry[]> {
    return this.#reader.nextv(size)
  }

  protected _all(): Promise<LevelEntry[]> {
    return this.#reader.all(this.limit - this.count)
  }

  protected _seek(target: LevelData): void {
    this.#reader.seek(target)
  }

  protected async _close(): Promise<void> {
    this.#reader.close()
  }
}

export class LevelKeyIterator<TDatabase, K> extends AbstractKeyIterator<TDatabase, K> {
  readonly #reader: LevelReader<LevelData>

  constructor(database: TDatabase, source: LevelSource, options: LevelIteratorOptions) {
    super(database, abstractOptions(options))
    const { keyEncoding } = options
    const keysOnly = { ...options, values: false }
    this.#reader = new LevelReader(source, keysOnly, (chunk, index) =>
      formatted(userKey(chunk.keys[index]!), keyEncoding),
    )
  }

  protected _next(): Promise<LevelData | undefined> {
    return this.#reader.next()
  }

  protected _nextv(size: number): Promise<LevelData[]> {
    return this.#reader.nextv(size)
  }

  protected _all(): Promise<LevelData[]> {
    return this.#reader.all(this.limit - this.count)
  }

  protected _seek(target: LevelData): void {
    this.#reader.seek(target)
  }

  protected async _close(): Promise<void> {
    this.#reader.close()
  }
}

export class LevelValueIterator<TDatabase, K, V> extends AbstractValueIterator<TDatabase, K, V> {
  readonly #reader: LevelReader<LevelData>

  constructor(database: TDatabase, source: LevelSource, options: LevelIteratorOptions) {
    super(database, abstractOptions(options))
    const { valueEncoding } = options
    const withValues = { ...options, values: true }
    this.#reader = new LevelReader(source, withValues, (chunk, index) =>
      formatted(chunk.values[index]!, valueEncoding),
    )
  }

  protected _next(): Promise<LevelData | undefined> {
    return this.#reader.next()
  }

  protected _nextv(size: number): Promise<LevelData[]> {
    return this.#reader.nextv(size)
  }

  protected _all(): Promise<LevelData[]> {
    return this.#reader.all(this.limit - this.count)
  }

  protected _seek(target: LevelData): void {
    this.#reader.seek(target)
  }

  protected async _close(): Promise<void> {
    this.#reader.close()
  }
}

/**
 * The same object, as the constructors of abstract-level declare it: they take the options that a
 * user gave to iterator(), but are called with those options after encoding.
 */
function abstractOptions(options: LevelIteratorOptions): object {
  return options
}

/** A server's store in memory, as kvcli sees it; batches go through a FickleStore. */

import { compareBytes } from '../../src/bytes.ts'
import type { RemoteStore } from '../../src/cli/remote-store.ts'
import type {
  BatchOperation,
  BytesInput,
  Entry,
  KeyRange,
  Scan,
  ScanOptions,
  WriteOptions,
} from '../../src/key-value-store.ts'
import { FickleStore } from './fickle-store.ts'

const latin1 = (bytes: BytesInput): string => {
  return (typeof bytes === 'string' ? Buffer.from(bytes) : Buffer.from(bytes)).toString('latin1')
}
const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'latin1')

export class MemoryRemote implements RemoteStore {
  readonly fickle: FickleStore
  readonly writes: WriteOptions[] = []
  readonly batches: (readonly BatchOperation[])[] = []
  readonly scans: ScanOptions[] = []
  /** Resolves before each page of a scan. */
  onPage: () => Promise<void> = () => Promise.resolve()
  openScans = 0

  constructor(fickle = new FickleStore()) {
    this.fickle = fickle
    fickle.answerAlways()
  }

  /** Keys and values, one character a byte. */
  get data(): Map<string, string> {
    return this.fickle.data
  }

  batch(operations: readonly BatchOperation[], options: WriteOptions = {}): Promise<void> {
    this.writes.push(options)
    this.batches.push(operations)
    return this.fickle.batch(operations, options)
  }

  get(key: BytesInput): Promise<Uint8Array | undefined> {
    const value = this.data.get(latin1(key))
    return Promise.resolve(value === undefined ? undefined : bytesOf(value))
  }

  entries(options: ScanOptions = {}): Scan<Entry> {
    this.scans.push(options)
    return this.#scan(options, ([key, value]) => [bytesOf(key), bytesOf(value)])
  }

  keys(options: ScanOptions = {}): Scan<Uint8Array> {
    return this.#scan(options, ([key]) => bytesOf(key))
  }

  values(options: ScanOptions = {}): Scan<Uint8Array> {
    return this.#scan(options, ([, value]) => bytesOf(value))
  }

  count(range: KeyRange = {}): Promise<number> {
    return Promise.resolve(this.#select(range).length)
  }

  #select({ gt, gte, lt, lte }: KeyRange): [string, string][] {
    const found = [...this.data].filter(([key]) => {
      const compare = (bound: BytesInput): number =>
        compareBytes(bytesOf(key), bytesOf(latin1(bound)))
      if (gt !== undefined && compare(gt) <= 0) return false
      if (gte !== undefined && compare(gte) < 0) return false
      if (lt !== undefined && compare(lt) >= 0) return false
      return lte === undefined || compare(lte) <= 0
    })
    return found.sort(([a], [b]) => compareBytes(bytesOf(a), bytesOf(b)))
  }

  #scan<T>(options: ScanOptions, itemOf: (entry: [string, string]) => T): Scan<T> {
    const rest = this.#select(options)
    const { onPage } = this
    const close = (): Promise<void> => {
      if (open) this.openScans--
      open = false
      return Promise.resolve()
    }
    let open = true
    this.openScans++
    const scan: Scan<T> = {
      async nextBatch(countMax) {
        await onPage()
        return rest.splice(0, countMax).map(itemOf)
      },
      async next() {
        const [value] = await scan.nextBatch(1)
        return value === undefined ? { done: true, value: undefined } : { done: false, value }
      },
      close,
      [Symbol.asyncIterator]: () => scan,
      [Symbol.asyncDispose]: close,
    }
    return scan
  }

  getMany(): Promise<never> {
    throw new Error('nobody asks for this')
  }

  put(): Promise<never> {
    throw new Error('nobody asks for this')
  }

  delete(): Promise<never> {
    throw new Error('nobody asks for this')
  }

  ping(): Promise<number> {
    return Promise.resolve(1)
  }

  stats(): Promise<Record<string, unknown>> {
    return Promise.resolve({})
  }

  /** What replicas are owed: each answer once, the last again and again. */
  hints: (readonly object[])[] = [[]]

  admin(): Promise<Record<string, unknown>> {
    const members = this.hints.length > 1 ? this.hints.shift() : this.hints[0]
    return Promise.resolve({ members })
  }

  ringMap(): Promise<never> {
    throw new Error('nobody asks for this')
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

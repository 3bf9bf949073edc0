/**
 * What kvcli talks to, in memory: a sorted list of entries behind the interface of the SDK's
 * client. It remembers the options of each call, can be told to fail or to hang, and respects the
 * caller's signal, as the client does.
 */
import { compareBytes } from '../../src/bytes.ts'
import type { RemoteStore } from '../../src/cli/remote-store.ts'
import { encodeRing, initRing, type Ring } from '../../src/cluster/index.ts'
import { AbortedError, ClosedError, InvalidArgumentError } from '../../src/errors.ts'
import type {
  BatchOperation,
  BytesInput,
  CallOptions,
  Entry,
  KeyRange,
  Scan,
  ScanOptions,
} from '../../src/key-value-store.ts'
import { PagedScan } from '../../src/paged-scan.ts'

/** One call, as the store saw it. */
export interface StoreCall {
  readonly name: string
  readonly options: Readonly<Record<string, unknown>>
}

/** A version later than any that a test makes. */
const LATE = Buffer.alloc(16, 0x7f).toString('base64')

export class MemoryStore implements RemoteStore {
  /** Ascending by key. */
  entriesKept: Entry[] = []
  readonly calls: StoreCall[] = []
  readonly batchSizes: number[] = []
  openScans = 0
  closed = false
  /** What the next call rejects with, once. */
  failNext: Error | undefined
  /** While true calls settle only when their signal fires. */
  hanging = false
  ringKept: Ring = initRing(
    { nodeId: '11'.repeat(16), clientAddress: '127.0.0.1:7700', peerAddress: '' },
    { clusterId: 'cc'.repeat(16), partitionCount: 1024 },
  )
  adminKept: Record<string, Readonly<Record<string, unknown>>[]> = {
    changes: [
      {
        watch: 'w',
        after: 1,
        changes: [{ type: 'put', key: 'aw==', value: 'dg==', valueBytes: 1, version: LATE }],
      },
    ],
    hints: [{ members: [] }],
    slowlog: [{ fromMs: 100, total: 0, operations: [] }],
    trace: [{ partition: 1, epoch: 1, agreed: true, replicas: [] }],
  }
  statsKept: Readonly<Record<string, unknown>> = { node: { id: 'abc', uptimeMs: 1500 } }

  static with(entries: Readonly<Record<string, string | Uint8Array>>): MemoryStore {
    const store = new MemoryStore()
    for (const [key, value] of Object.entries(entries)) store.set(toBytes(key), toBytes(value))
    return store
  }

  /** The value as the test wants to see it; undefined when absent. */
  text(key: string): string | undefined {
    const value = this.#find(toBytes(key))
    return value === undefined ? undefined : Buffer.from(value).toString()
  }

  get keyTexts(): string[] {
    return this.entriesKept.map(([key]) => Buffer.from(key).toString())
  }

  set(key: Uint8Array, value: Uint8Array): void {
    this.#remove(key)
    const after = this.entriesKept.findIndex(([other]) => compareBytes(other, key) > 0)
    const at = after < 0 ? this.entriesKept.length : after
    this.entriesKept.splice(at, 0, [Uint8Array.from(key), Uint8Array.from(value)])
  }

  async ping(options?: CallOptions): Promise<void> {
    await this.#called('ping', options)
  }

  async get(key: BytesInput, options?: CallOptions): Promise<Uint8Array | undefined> {
    await this.#called('get', options)
    return this.#find(toKey(key))
  }

  async getMany(
    keys: readonly BytesInput[],
    options?: CallOptions,
  ): Promise<(Uint8Array | undefined)[]> {
    await this.#called('getMany', options)
    return keys.map(key => this.#find(toKey(key)))
  }

  async put(key: BytesInput, value: BytesInput, options?: CallOptions): Promise<void> {
    const bytes = toKey(key)
    await this.#called('put', options)
    this.set(bytes, toBytes(value))
  }

  async delete(key: BytesInput, options?: CallOptions): Promise<void> {
    await this.#called('delete', options)
    this.#remove(toKey(key))
  }

  async batch(operations: readonly BatchOperation[], options?: CallOptions): Promise<void> {
    await this.#called('batch', options)
    let size = 0
    for (const operation of operations) {
      const key = toKey(operation.key)
      size += key.length
      if (operation.type === 'del') {
        this.#remove(key)
      } else {
        const value = toBytes(operation.value)
        size += value.length
        this.set(key, value)
      }
    }
    this.batchSizes.push(size)
  }

  async count(range: KeyRange = {}, options?: CallOptions): Promise<number> {
    await this.#called('count', { ...range, ...options })
    return this.#select(range).length
  }

  async stats(options?: CallOptions): Promise<Readonly<Record<string, unknown>>> {
    await this.#called('stats', options)
    return this.statsKept
  }

  async ringMap(options?: CallOptions): Promise<Uint8Array> {
    await this.#called('ringMap', options)
    return encodeRing(this.ringKept)
  }

  /** Answers what `adminKept` holds for the command, the last of a list again and again. */
  async admin(
    command: Readonly<Record<string, unknown>>,
    options?: CallOptions,
  ): Promise<Readonly<Record<string, unknown>>> {
    await this.#called('admin', { ...command, ...options })
    const answers = this.adminKept[String(command['command'])]
    const answer = answers === undefined || answers.length < 2 ? answers?.[0] : answers.shift()
    if (answer === undefined) throw new InvalidArgumentError('this server knows no such command')
    return answer
  }

  entries(options: ScanOptions = {}): Scan<Entry> {
    return this.#scan('entries', options, entry => entry)
  }

  keys(options: ScanOptions = {}): Scan<Uint8Array> {
    return this.#scan('keys', options, ([key]) => key)
  }

  values(options: ScanOptions = {}): Scan<Uint8Array> {
    return this.#scan('values', options, ([, value]) => value)
  }

  async close(): Promise<void> {
    this.closed = true
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #scan<T>(name: string, options: ScanOptions, pick: (entry: Entry) => T): Scan<T> {
    const selected = this.#select(options)
    if (options.reverse === true) selected.reverse()
    let at = 0
    this.openScans++
    const source = {
      next: async (countMax: number) => {
        await this.#called(name, options)
        const items = selected.slice(at, at + countMax).map(pick)
        at += items.length
        return { items, done: at >= selected.length }
      },
      close: () => {
        this.openScans--
      },
    }
    return new PagedScan(source, options.limit ?? Number.MAX_SAFE_INTEGER, options.signal)
  }

  #select({ gt, gte, lt, lte }: KeyRange): Entry[] {
    const holds = (bound: BytesInput | undefined, test: (order: number) => boolean) => {
      const bytes = bound === undefined ? undefined : toBytes(bound)
      return (key: Uint8Array) => bytes === undefined || test(compareBytes(key, bytes))
    }
    const conditions = [
      holds(gt, order => order > 0),
      holds(gte, order => order >= 0),
      holds(lt, order => order < 0),
      holds(lte, order => order <= 0),
    ]
    return this.entriesKept.filter(([key]) => conditions.every(holdsFor => holdsFor(key)))
  }

  #find(key: Uint8Array): Uint8Array | undefined {
    return this.entriesKept.find(([other]) => compareBytes(other, key) === 0)?.[1]
  }

  #remove(key: Uint8Array): void {
    this.entriesKept = this.entriesKept.filter(([other]) => compareBytes(other, key) !== 0)
  }

  async #called(name: string, options: CallOptions = {}): Promise<void> {
    this.calls.push({ name, options: { ...options } })
    if (this.closed) throw new ClosedError('the client is closed')
    const failure = this.failNext
    this.failNext = undefined
    if (failure !== undefined) throw failure
    const { signal } = options
    if (signal?.aborted === true) throw new AbortedError('aborted', { outcome: 'rejected' })
    if (!this.hanging) return
    await new Promise((_, reject) => {
      signal?.addEventListener('abort', () => {
        reject(new AbortedError('aborted', { outcome: 'unknown' }))
      })
    })
  }
}

function toBytes(input: BytesInput): Uint8Array {
  return typeof input === 'string' ? Buffer.from(input) : input
}

function toKey(input: BytesInput): Uint8Array {
  const key = toBytes(input)
  if (key.length === 0) throw new InvalidArgumentError('a key has 1 to 65535 bytes, got 0')
  return key
}

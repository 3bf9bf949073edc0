/**
 * A RequestHandler over a map, for testing the front doors without an engine.
 *
 * It keeps what the interface asks for: answers at once, or in a later tick when `later` is set;
 * copies what it keeps; scans a frozen state, ordered by key, or "unordered" in the order of a hash
 * of the key, with a cursor that names the last key it gave.
 */
import { compareBytes } from '../../src/bytes.ts'
import { AbortedError } from '../../src/errors.ts'
import { xxh32 } from '../../src/hash.ts'
import type {
  HandlerOperation,
  HandlerPut,
  HandlerScan,
  MaybePromise,
  RequestContext,
  RequestHandler,
  ScanPage,
  ScanSession,
} from '../../src/net/request-handler.ts'

interface Stored {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

export interface MemoryHandlerOptions {
  /** Answers everything with a promise that settles in a later microtask. */
  readonly later?: boolean
}

export class MemoryHandler implements RequestHandler {
  readonly #entries = new Map<string, Stored>()
  readonly #later: boolean
  /** Every context that came, newest last. */
  lastContext: RequestContext | undefined
  /** Calls by method name. */
  readonly calls = new Map<string, number>()
  openScans = 0
  /** What stands for a ring: doors hand it on as it is. */
  ringKept = Uint8Array.of(0, 1, 2, 255)

  constructor(options: MemoryHandlerOptions = {}) {
    this.#later = options.later ?? false
  }

  get size(): number {
    return this.#entries.size
  }

  clear(): void {
    this.#entries.clear()
  }

  #called(name: string, context?: RequestContext): void {
    this.calls.set(name, (this.calls.get(name) ?? 0) + 1)
    if (context !== undefined) this.lastContext = { ...context }
  }

  #answer<T>(value: T): MaybePromise<T> {
    return this.#later ? Promise.resolve(value) : value
  }

  get(key: Uint8Array, context: RequestContext): MaybePromise<Uint8Array | undefined> {
    this.#called('get', context)
    return this.#answer(this.#entries.get(nameOf(key))?.value)
  }

  getMany(
    keys: readonly Uint8Array[],
    context: RequestContext,
    bytesMax: number,
  ): MaybePromise<(Uint8Array | undefined)[]> {
    this.#called('getMany', context)
    const values: (Uint8Array | undefined)[] = []
    let size = 0
    for (const key of keys) {
      const value = this.#entries.get(nameOf(key))?.value
      values.push(value)
      size += value?.length ?? 0
      if (size >= bytesMax) break
    }
    return this.#answer(values)
  }

  #store(operation: HandlerOperation): void {
    const name = nameOf(operation.key)
    if (operation.type === 'del') {
      this.#entries.delete(name)
      return
    }
    this.#entries.set(name, {
      key: Uint8Array.from(operation.key),
      value: Uint8Array.from(operation.value),
    })
  }

  put(put: HandlerPut, context: RequestContext): MaybePromise<void> {
    this.#called('put', context)
    this.#store(put)
    return this.#answer(undefined)
  }

  delete(key: Uint8Array, context: RequestContext): MaybePromise<void> {
    this.#called('delete', context)
    this.#store({ type: 'del', key })
    return this.#answer(undefined)
  }

  batch(operations: readonly HandlerOperation[], context: RequestContext): MaybePromise<void> {
    this.#called('batch', context)
    for (const operation of operations) this.#store(operation)
    return this.#answer(undefined)
  }

  /** The entries of a scan, in its order, after its cursor. */
  select(scan: HandlerScan): Stored[] {
    const { gt, gte, lt, lte, cursor } = scan
    const inRange = [...this.#entries.values()].filter(
      ({ key }) =>
        (gt === undefined || compareBytes(key, gt) > 0) &&
        (gte === undefined || compareBytes(key, gte) >= 0) &&
        (lt === undefined || compareBytes(key, lt) < 0) &&
        (lte === undefined || compareBytes(key, lte) <= 0),
    )
    if (scan.order === 'ordered') {
      const sign = scan.reverse ? -1 : 1
      return inRange.sort((a, b) => sign * compareBytes(a.key, b.key))
    }
    return inRange
      .filter(({ key }) => cursor === undefined || compareHashed(key, cursor) > 0)
      .sort((a, b) => compareHashed(a.key, b.key))
  }

  openScan(scan: HandlerScan, context: RequestContext): MaybePromise<ScanSession> {
    this.#called('openScan', context)
    this.openScans++
    const session = new MemoryScan(this.select(scan), scan, this.#later, () => {
      this.openScans--
    })
    return this.#answer<ScanSession>(session)
  }

  async count(scan: HandlerScan, context: RequestContext): Promise<number> {
    this.#called('count', context)
    await Promise.resolve()
    if (context.cancelled === true) throw new AbortedError('nobody waits')
    return this.select(scan).length
  }

  stats(): MaybePromise<Readonly<Record<string, unknown>>> {
    this.#called('stats')
    return this.#answer({ keys: this.#entries.size })
  }

  ring(): MaybePromise<Uint8Array> {
    this.#called('ring')
    return this.#answer(this.ringKept)
  }
}

class MemoryScan implements ScanSession {
  readonly #entries: readonly Stored[]
  readonly #scan: HandlerScan
  readonly #later: boolean
  readonly #onClose: () => void
  #position = 0
  #closed = false

  constructor(entries: readonly Stored[], scan: HandlerScan, later: boolean, onClose: () => void) {
    this.#entries = entries
    this.#scan = scan
    this.#later = later
    this.#onClose = onClose
  }

  next(entriesMax: number, bytesMax: number): MaybePromise<ScanPage> {
    const page: Stored[] = []
    let size = 0
    while (this.#position < this.#entries.length && page.length < entriesMax && size < bytesMax) {
      const entry = this.#entries[this.#position++]!
      page.push(entry)
      size += entry.key.length + entry.value.length
    }
    const result: ScanPage = {
      keys: page.map(entry => entry.key),
      values: this.#scan.keysOnly ? [] : page.map(entry => entry.value),
      cursor: this.#scan.order === 'unordered' ? page.at(-1)?.key : undefined,
      done: this.#position >= this.#entries.length,
    }
    return this.#later ? Promise.resolve(result) : result
  }

  close(): void {
    if (!this.#closed) this.#onClose()
    this.#closed = true
  }
}

/** Bytes as a string, one character a byte. */
function nameOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function compareHashed(a: Uint8Array, b: Uint8Array): number {
  return xxh32(a, 0, a.length, 0) - xxh32(b, 0, b.length, 0) || compareBytes(a, b)
}

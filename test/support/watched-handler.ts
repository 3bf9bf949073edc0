/** A handler that passes all on to another, and counts from which clients some keys came. */
import type { ClientIdentity } from '../../src/fair-queue.ts'
import type {
  HandlerOperation,
  HandlerPut,
  HandlerScan,
  MaybePromise,
  RequestContext,
  RequestHandler,
  ScanSession,
} from '../../src/net/request-handler.ts'

export class WatchedHandler implements RequestHandler {
  readonly #inner: RequestHandler
  readonly #prefix: Buffer
  readonly #clients = new Set<ClientIdentity | undefined>()

  /** Watches keys that begin with `prefix`. */
  constructor(inner: RequestHandler, prefix: string) {
    this.#inner = inner
    this.#prefix = Buffer.from(prefix)
  }

  /** How many clients (connections, that is) have put or got a watched key. */
  get watchedClients(): number {
    return this.#clients.size
  }

  #watch(key: Uint8Array, { client }: RequestContext): void {
    const { length } = this.#prefix
    if (this.#prefix.equals(key.subarray(0, length))) this.#clients.add(client)
  }

  get(key: Uint8Array, context: RequestContext): MaybePromise<Uint8Array | undefined> {
    this.#watch(key, context)
    return this.#inner.get(key, context)
  }

  put(put: HandlerPut, context: RequestContext): MaybePromise<void> {
    this.#watch(put.key, context)
    return this.#inner.put(put, context)
  }

  getMany(
    keys: readonly Uint8Array[],
    context: RequestContext,
    bytesMax: number,
  ): MaybePromise<(Uint8Array | undefined)[]> {
    return this.#inner.getMany(keys, context, bytesMax)
  }

  delete(key: Uint8Array, context: RequestContext): MaybePromise<void> {
    return this.#inner.delete(key, context)
  }

  batch(operations: readonly HandlerOperation[], context: RequestContext): MaybePromise<void> {
    return this.#inner.batch(operations, context)
  }

  openScan(scan: HandlerScan, context: RequestContext): MaybePromise<ScanSession> {
    return this.#inner.openScan(scan, context)
  }

  count(scan: HandlerScan, context: RequestContext): MaybePromise<number> {
    return this.#inner.count(scan, context)
  }

  stats(context: RequestContext): MaybePromise<Readonly<Record<string, unknown>>> {
    return this.#inner.stats(context)
  }

  ring(context: RequestContext): MaybePromise<Uint8Array> {
    return this.#inner.ring(context)
  }
}

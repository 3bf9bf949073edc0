/** The scans of a client: how their pages are fetched, and which are open. */
import { UnavailableError } from '../errors.ts'
import type { Call, CallSpec } from './call.ts'
import type { ClientConnection } from './client-connection.ts'
import type { ResolvedClientOptions } from './client-options.ts'
import type { OpenedScan, RemoteScan, RemoteScanOptions, ScanSource } from './remote-scan.ts'
import type { Request } from './request.ts'
import type { HandlerScan } from './request-handler.ts'
import type { Requester } from './requester.ts'
import type { PageReply } from './response-body.ts'
import { decodeDone, decodePageResult } from './result.ts'

export class ClientScans implements ScanSource {
  readonly #requester: Requester
  readonly #options: ResolvedClientOptions
  readonly #open = new Set<RemoteScan<unknown>>()
  #scanId = 0

  constructor(requester: Requester, options: ResolvedClientOptions) {
    this.#requester = requester
    this.#options = options
  }

  add(scan: RemoteScan<unknown>): void {
    this.#open.add(scan)
  }

  ended(scan: RemoteScan<unknown>): void {
    this.#open.delete(scan)
  }

  /** Ends every scan within this call; who reads on gets this error. */
  closeAll(error: Error): void {
    for (const scan of [...this.#open]) scan.end(error)
  }

  open(scan: HandlerScan, limit: number, options: RemoteScanOptions): Promise<OpenedScan> {
    this.#scanId = (this.#scanId + 1) >>> 0
    const scanId = this.#scanId
    const { pageEntries: entriesMax, pageBytes: bytesMax } = options
    const request: Request = { type: 'scanOpen', scan, scanId, limit, entriesMax, bytesMax }
    const spec = this.#pageSpec(request, options, undefined)
    return new Promise((resolve, reject) => {
      // Declared first: a call may fail before `start` returns.
      let call: Call<PageReply> | undefined
      call = this.#requester.start(
        spec,
        page => {
          const connection = call?.connection
          if (connection === undefined) reject(new UnavailableError('the connection is gone'))
          else resolve({ page, connection, scanId })
        },
        error => {
          // The server may have opened it all the same.
          if (call?.connection !== undefined) this.#close(call.connection, scanId)
          reject(error)
        },
      )
    })
  }

  next(opened: OpenedScan, options: RemoteScanOptions): Promise<PageReply> {
    const { pageEntries: entriesMax, pageBytes: bytesMax } = options
    const request: Request = { type: 'scanNext', scanId: opened.scanId, entriesMax, bytesMax }
    return new Promise((resolve, reject) => {
      this.#requester.start(this.#pageSpec(request, options, opened.connection), resolve, reject)
    })
  }

  #pageSpec(
    request: Request,
    options: RemoteScanOptions,
    connection: ClientConnection | undefined,
  ): CallSpec<PageReply> {
    return {
      request,
      decode: decodePageResult,
      deadlineMs: this.#options.clock.monotonicMs() + options.timeoutMs,
      idempotent: true,
      write: false,
      consistency: this.#options.consistency,
      signal: options.signal,
      connection,
    }
  }

  close(opened: OpenedScan): void {
    this.#close(opened.connection, opened.scanId)
  }

  #close(connection: ClientConnection, scanId: number): void {
    if (!connection.hasReservedRoom) return
    this.#requester.start<void>(
      {
        request: { type: 'scanClose', scanId },
        decode: decodeDone,
        deadlineMs: this.#options.clock.monotonicMs() + this.#options.timeoutMs,
        idempotent: true,
        write: false,
        connection,
      },
      () => undefined,
      error => this.#options.logger.debug('closing a scan failed', { scanId, error }),
    )
  }
}

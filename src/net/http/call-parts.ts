/**
 * What a call needs of a request and of the way to answer it: what node:http has of both, and the
 * direct lane (direct-lane.ts) of its own.
 */
import type { IncomingMessage } from 'node:http'
import type { HttpSocket } from './http-connection.ts'

export interface RequestHead {
  readonly method?: string | undefined
  readonly url?: string | undefined
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[]
  readonly httpVersionMinor: number
}

/** What comes behind the head: a stream, or the bytes where they came with it. */
export type RequestBody = IncomingMessage | Buffer

export interface CallResponse {
  /** Set to false before the head is written, the connection ends with this response. */
  shouldKeepAlive: boolean
  /** Null while those before it are not out. */
  readonly socket: HttpSocket | null
  readonly writableNeedDrain: boolean
  writeHead(status: number, headers: string[]): unknown
  writeContinue(): void
  write(chunk: string | Uint8Array, taken?: () => void): boolean
  end(chunk?: string | Uint8Array, encoding?: BufferEncoding): unknown
  /** `close`: all of it was taken. */
  once(event: 'close' | 'drain', listener: () => void): unknown
  removeListener(event: 'drain', listener: () => void): unknown
}

/**
 * The body of a request, whole, within a limit that is checked before anything is kept: by its
 * Content-Length when it has one, else as it comes.
 *
 * A body that is refused is still read for a moment and dropped: a connection that is closed with
 * input left unread is reset, and the client may never see why.
 */

import type { IncomingMessage } from 'node:http'
import type { HttpCall } from './http-call.ts'
import { HttpError } from './http-error.ts'

/** Of a refused body so much more is read and dropped, for so long. */
const LINGER_BYTES_MAX = 64 * 1024 * 1024
const LINGER_MS_MAX = 2000
const NOTHING = Buffer.alloc(0)

export interface BodyLimit {
  readonly sizeMax: number
  /** What to do about a body that is longer. */
  readonly advice: string
}

/**
 * Calls `then` with the body, in memory of its own, once it is there; not at all when the client
 * goes before, or was answered with an error. What `then` throws is answered.
 */
export function withBody(call: HttpCall, limit: BodyLimit, then: (body: Buffer) => void): void {
  const { body } = call
  if (body instanceof Uint8Array) {
    then(body)
    return
  }
  const { contentLength, isChunked } = call.fields
  const declared = contentLength === undefined ? undefined : Number(contentLength)
  if (declared === undefined && !isChunked) {
    then(NOTHING)
    return
  }
  if (declared !== undefined && declared > limit.sizeMax) {
    refuse(call, body, tooLarge(declared, limit))
    return
  }
  if (declared === 0) {
    then(NOTHING)
    return
  }
  if (call.expectsContinue) call.response.writeContinue()
  new BodyReader(call, body, limit, then).start()
}

class BodyReader {
  readonly #call: HttpCall
  readonly #request: IncomingMessage
  readonly #limit: BodyLimit
  readonly #then: (body: Buffer) => void
  #chunks: Buffer[] = []
  #size = 0

  constructor(
    call: HttpCall,
    request: IncomingMessage,
    limit: BodyLimit,
    then: (body: Buffer) => void,
  ) {
    this.#call = call
    this.#request = request
    this.#limit = limit
    this.#then = then
  }

  start(): void {
    const request = this.#request
    request.on('data', this.#take)
    request.once('end', this.#end)
    request.once('close', this.#release)
  }

  readonly #take = (chunk: Buffer): void => {
    const size = this.#size + chunk.length
    if (size > this.#limit.sizeMax) {
      this.#refuse(tooLarge(undefined, this.#limit))
    } else if (!this.#call.connection.share.reserve(chunk.length)) {
      const { admission, limits } = this.#call.context
      const why = `requests of ${limits.receiveBytesMax} bytes have come in part`
      this.#refuse(admission.overloaded(why))
    } else {
      this.#size = size
      this.#chunks.push(chunk)
    }
  }

  readonly #end = (): void => {
    const chunks = this.#chunks
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, this.#size)
    this.#release()
    try {
      this.#then(body)
    } catch (error) {
      this.#call.fail(error)
    }
  }

  #refuse(error: Error): void {
    this.#stop()
    this.#release()
    refuse(this.#call, this.#request, error)
  }

  #stop(): void {
    this.#request.removeListener('data', this.#take)
    this.#request.removeListener('end', this.#end)
  }

  /** Also when the client is gone; then its connection has given back everything. */
  readonly #release = (): void => {
    this.#chunks = []
    const { connection } = this.#call
    if (this.#size > 0 && !connection.isClosed) connection.share.release(this.#size)
    this.#size = 0
  }
}

function tooLarge(size: number | undefined, { sizeMax, advice }: BodyLimit): HttpError {
  const has = size === undefined ? 'has more' : `has ${size}`
  const message = `the body ${has}, this server takes up to ${sizeMax} bytes: ${advice}`
  return new HttpError('HTTP_BODY_TOO_LARGE', message)
}

/** Answers before the body is over; the connection ends. */
function refuse(call: HttpCall, request: IncomingMessage, error: Error): void {
  const { response, connection, context } = call
  response.shouldKeepAlive = false
  if (call.expectsContinue) {
    call.fail(error)
    return
  }
  // The answer goes out whole, and the response ends once the rest of the body was dropped.
  call.lingers = true
  call.fail(error)
  let dropped = 0
  const over = (): void => {
    cancel()
    request.removeListener('data', drop)
    request.removeListener('end', over)
    connection.socket.removeListener('close', over)
    response.end()
  }
  const drop = (chunk: Buffer): void => {
    dropped += chunk.length
    if (dropped > LINGER_BYTES_MAX) over()
  }
  const cancel = context.clock.setTimer(LINGER_MS_MAX, over, { background: true })
  request.on('data', drop)
  request.once('end', over)
  connection.socket.once('close', over)
}

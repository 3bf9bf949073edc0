/**
 * One method per operation: decodes its body, checks it against the limits, calls the handler and
 * says how the result is encoded. Throws DecodeError for a malformed body, KvError for the rest.
 */
import { DecodeError, utf8Encode } from '../bytes.ts'
import { AbortedError, InvalidArgumentError, VersionMismatchError } from '../errors.ts'
import { SERVER_KEY_SIZE_MAX } from '../key-value-store.ts'
import { versionTimeMs } from '../write-version.ts'
import type { Share } from './admission.ts'
import { BatchDecoder } from './batch-decoder.ts'
import { FRAME_OVERHEAD_MAX } from './limits.ts'
import { Opcode, PROTOCOL_VERSION_MAX, RequestFlag } from './opcode.ts'
import type { OutputBuffer } from './output-buffer.ts'
import type { RequestHeader } from './request.ts'
import {
  decodeAdmin,
  decodeBatch,
  decodeCount,
  decodeGetMany,
  decodeKey,
  decodeNothing,
  decodePing,
  decodePut,
  decodeScanNext,
  decodeScanOpen,
  decodeUint32Body,
} from './request-body.ts'
import type { HandlerEntry, HandlerOperation, MaybePromise } from './request-handler.ts'
import {
  encodeBytesReply,
  encodeCountReply,
  encodeDoneReply,
  encodeEntryReply,
  encodeTimeReply,
  encodeValueReply,
  encodeValuesReply,
} from './response-body.ts'
import type { ServerContext } from './server-context.ts'
import type { ServerRequest } from './server-request.ts'
import type { SessionScans } from './session-scans.ts'

/** A longer BATCH is decoded over several turns. */
const BATCH_AT_ONCE_SIZE_MAX = 16 * 1024
/** Operations decoded between two looks at the clock. */
const OPERATIONS_PER_LOOK = 64

/** Appends the reply to `request` that carries `value`. May throw a KvError instead. */
export type EncodeReply<T> = (output: OutputBuffer, request: ServerRequest, value: T) => void

/** How operations answer; implemented by the session. */
export interface Responder {
  /** True when the client understands a time in replies to writes. */
  readonly tellsTime: boolean
  /** What the connection holds of the server's budgets. */
  readonly share: Share
  /** Replies with the result, now or when it comes. */
  answer<T>(request: ServerRequest, result: MaybePromise<T>, encode: EncodeReply<T>): void
  /** Gives up the waiting request `id`, if there is one. */
  cancel(id: number): void
  /** Throws when a body of `size` bytes is too much for a frame, or for this reader now. */
  checkReply(size: number): void
  /** The message at hand from `start` on, in memory of its own. */
  takeMessage(start: number): Uint8Array
  /** Undefined when a page may be produced, else a promise to look again after. */
  whenWritable(): Promise<void> | undefined
}

/** A write whose version lies so far from the server's time tells the client about it. */
const TIME_TOLERANCE_MS = 20

export class Operations {
  readonly #context: ServerContext
  readonly #responder: Responder
  readonly #scans: SessionScans
  readonly #encodeValue: EncodeReply<Uint8Array | undefined>
  readonly #encodeEntry: EncodeReply<HandlerEntry | undefined>
  readonly #encodeRing: EncodeReply<Uint8Array>
  readonly #encodeValues: EncodeReply<(Uint8Array | undefined)[]>
  readonly #encodeWritten: EncodeReply<void>

  constructor(context: ServerContext, responder: Responder, scans: SessionScans) {
    this.#context = context
    this.#responder = responder
    this.#scans = scans
    const bodySizeMax = context.limits.frameSizeMax - FRAME_OVERHEAD_MAX
    this.#encodeValue = (output, request, value) => {
      if (value !== undefined) responder.checkReply(value.length)
      encodeValueReply(output, request.id, value)
    }
    this.#encodeEntry = (output, request, entry) => {
      if (entry !== undefined) responder.checkReply(entry.value.length)
      encodeEntryReply(output, request.id, entry && { ...entry, version: entry.version })
    }
    this.#encodeRing = (output, request, ring) => {
      responder.checkReply(ring.length)
      encodeBytes(output, request, ring)
    }
    this.#encodeWritten = (output, request) => {
      const { version } = request
      const timeMs = version === undefined || !responder.tellsTime ? 0 : context.timeMs()
      const awayMs = version === undefined ? 0 : Math.abs(versionTimeMs(version) - timeMs)
      if (timeMs === 0 || awayMs <= TIME_TOLERANCE_MS) encodeDone(output, request)
      else encodeTimeReply(output, request.opcode, request.id, timeMs)
    }
    this.#encodeValues = (output, request, values) => {
      responder.checkReply(8 + (values[0]?.length ?? 0))
      encodeValuesReply(output, request.id, values, bodySizeMax)
    }
  }

  /** Begins the request whose header is `header` and whose message ends at `end`. */
  begin(request: ServerRequest, header: RequestHeader, bytes: Uint8Array, end: number): void {
    const { handler } = this.#context
    const { share } = this.#responder
    const at = header.bodyStart
    switch (header.opcode) {
      case Opcode.get: {
        share.check(request.size)
        const key = checkKey(decodeKey(bytes, at, end))
        this.#responder.answer(request, handler.get(key, request), this.#encodeValue)
        break
      }
      case Opcode.put: {
        share.check(request.size)
        const put = decodePut(bytes, at, end, (header.flags & RequestFlag.ttl) !== 0)
        this.#checkPut(put.key, put.value)
        if ((header.flags & RequestFlag.ttl) !== 0) checkTtl(put.ttlMs)
        this.#responder.answer(request, handler.put(put, request), this.#encodeWritten)
        break
      }
      case Opcode.delete: {
        share.check(request.size)
        const key = checkKey(decodeKey(bytes, at, end))
        this.#responder.answer(request, handler.delete(key, request), this.#encodeWritten)
        break
      }
      case Opcode.scanNext:
        this.#scans.next(request, decodeScanNext(bytes, at, end))
        break
      default:
        this.#beginRare(request, header, bytes, end)
    }
  }

  #beginRare(request: ServerRequest, header: RequestHeader, bytes: Uint8Array, end: number): void {
    const at = header.bodyStart
    const { limits } = this.#context
    switch (header.opcode) {
      case Opcode.hello:
        throw new DecodeError('HELLO comes once', at)
      case Opcode.ping:
        this.#responder.answer(request, decodePing(bytes, at, end), encodeBytes)
        break
      case Opcode.getEntry: {
        this.#responder.share.check(request.size)
        this.#getEntry(request, checkKey(decodeKey(bytes, at, end)))
        break
      }
      case Opcode.getMany:
        this.#responder.share.check(request.size)
        this.#getMany(request, decodeGetMany(bytes, at, end, limits.getManyKeysMax))
        break
      case Opcode.batch:
        this.#responder.share.check(request.size)
        this.#batch(request, this.#responder.takeMessage(at))
        break
      case Opcode.scanOpen:
        this.#responder.share.check(request.size)
        this.#scans.open(request, decodeScanOpen(bytes, at, end))
        break
      case Opcode.scanClose:
        this.#scans.close(decodeUint32Body(bytes, at, end))
        this.#responder.answer(request, undefined, encodeDone)
        break
      case Opcode.count: {
        this.#responder.share.check(request.size)
        const { scan } = decodeCount(bytes, at, end)
        const result = this.#context.handler.count({ ...scan, keysOnly: true }, request)
        this.#responder.answer(request, result, encodeCount)
        break
      }
      case Opcode.stats:
        decodeNothing(bytes, at, end)
        this.#responder.answer(request, this.#stats(request), encodeBytes)
        break
      case Opcode.ringMap:
        decodeNothing(bytes, at, end)
        this.#responder.answer(request, this.#context.handler.ring(request), this.#encodeRing)
        break
      case Opcode.admin:
        this.#responder.share.check(request.size)
        this.#responder.answer(request, this.#admin(request, bytes, at, end), this.#encodeRing)
        break
      case Opcode.cancel:
        this.#responder.cancel(decodeUint32Body(bytes, at, end))
        this.#responder.answer(request, undefined, encodeDone)
        break
      default:
        throw new VersionMismatchError(
          `opcode ${header.opcode} is not known in protocol version ${PROTOCOL_VERSION_MAX}`,
        )
    }
  }

  #getEntry(request: ServerRequest, key: Uint8Array): void {
    const { handler } = this.#context
    if (handler.entry === undefined) {
      throw new VersionMismatchError('this server knows neither expiry nor version of its values')
    }
    this.#responder.answer(request, handler.entry(key, request), this.#encodeEntry)
  }

  #getMany(request: ServerRequest, keys: readonly Uint8Array[]): void {
    const { handler, limits } = this.#context
    for (const key of keys) checkKey(key)
    const bytesMax = Math.floor(limits.frameSizeMax / 2)
    const result = keys.length === 0 ? [] : handler.getMany(keys, request, bytesMax)
    this.#responder.answer(request, result, this.#encodeValues)
  }

  #batch(request: ServerRequest, body: Uint8Array): void {
    if (body.length > BATCH_AT_ONCE_SIZE_MAX) {
      this.#responder.answer(request, this.#batchInTurns(request, body), this.#encodeWritten)
      return
    }
    const { handler, limits } = this.#context
    const operations = decodeBatch(body, 0, body.length, limits.batchOperationsMax)
    for (const operation of operations) this.#checkOperation(operation)
    const result = operations.length === 0 ? undefined : handler.batch(operations, request)
    this.#responder.answer(request, result, this.#encodeWritten)
  }

  /** Decodes and checks a large BATCH while others have their turns, then hands it over whole. */
  async #batchInTurns(request: ServerRequest, body: Uint8Array): Promise<void> {
    const { handler, limits, turns } = this.#context
    const decoder = new BatchDecoder(body, limits.batchOperationsMax)
    const { operations } = decoder
    const client = request.client
    let pause = turns.begin(client)
    for (let hasMore = true; hasMore; ) {
      if (pause !== undefined) await pause
      if (request.cancelled) throw new AbortedError('nobody waits for this batch any more')
      const checkedCount = operations.length
      hasMore = decoder.decodeMore(OPERATIONS_PER_LOOK)
      for (let at = checkedCount; at < operations.length; at++)
        this.#checkOperation(operations[at]!)
      pause = turns.isOver ? turns.pause(client) : undefined
    }
    if (operations.length > 0) await handler.batch(operations, request)
  }

  #checkOperation(operation: HandlerOperation): void {
    if (operation.type === 'put') this.#checkPut(operation.key, operation.value)
    else checkKey(operation.key)
  }

  #checkPut(key: Uint8Array, value: Uint8Array): void {
    checkKey(key)
    const { valueSizeMax } = this.#context.limits
    if (value.length <= valueSizeMax) return
    throw new InvalidArgumentError(
      `the value has ${value.length} bytes, this server takes up to ${valueSizeMax} ` +
        '(kvd serve --max-value-size): store it in parts, or raise the limit of the server',
    )
  }

  async #admin(
    request: ServerRequest,
    bytes: Uint8Array,
    at: number,
    end: number,
  ): Promise<Uint8Array> {
    const command = decodeAdmin(bytes, at, end)
    const { handler } = this.#context
    if (handler.admin === undefined) {
      throw new InvalidArgumentError(`this server knows no command '${command['command']}'`)
    }
    return utf8Encode(JSON.stringify(await handler.admin(command, request)))
  }

  #stats(request: ServerRequest): MaybePromise<Uint8Array> {
    const net = this.#context.snapshot()
    function toJson(stats: Readonly<Record<string, unknown>>): Uint8Array {
      return utf8Encode(JSON.stringify({ ...stats, net }))
    }
    const stats = this.#context.handler.stats(request)
    return stats instanceof Promise ? stats.then(toJson) : toJson(stats)
  }
}

function checkKey(key: Uint8Array): Uint8Array {
  if (key.length >= 1 && key.length <= SERVER_KEY_SIZE_MAX) return key
  throw new InvalidArgumentError(`a key has 1 to ${SERVER_KEY_SIZE_MAX} bytes, got ${key.length}`)
}

function checkTtl(ttlMs: number): void {
  if (ttlMs < 1) throw new InvalidArgumentError('a time to live is at least 1 ms')
}

function encodeDone(output: OutputBuffer, request: ServerRequest): void {
  encodeDoneReply(output, request.opcode, request.id)
}

function encodeBytes(output: OutputBuffer, request: ServerRequest, body: Uint8Array): void {
  encodeBytesReply(output, request.opcode, request.id, body)
}

function encodeCount(output: OutputBuffer, request: ServerRequest, count: number): void {
  encodeCountReply(output, request.id, count)
}

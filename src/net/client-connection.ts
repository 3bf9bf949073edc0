/**
 * The client's side of one connection: HELLO, requests in flight by id, replies in any order.
 *
 *   dialing --connected--> greeting --HELLO--> ready --GOAWAY, close--> draining --> closed
 *
 * A request id is a slot in its lower half and a generation in its upper half. A slot is free again
 * as soon as its call is settled, whether by its reply or by its deadline; a reply that comes later
 * carries an old generation and is dropped.
 *
 * Invariants:
 *  1. All requests of a tick leave in one write.
 *  2. A call in a slot is settled, or handed back by `closed`, exactly once.
 *  3. A connection that says nothing for three ping intervals is dead, whatever TCP believes.
 */
import { assert } from '../assert.ts'
import { copyBytes, DecodeError } from '../bytes.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import { InvalidArgumentError, type KvError, ProtocolError, UnavailableError } from '../errors.ts'
import { VERSION_SIZE } from '../write-version.ts'
import { CallOptionsView, type PendingCall } from './call.ts'
import { formatAddress, type NodeAddress } from './connection-url.ts'
import type { Connector, Wire } from './connector.ts'
import { describeForeignServer } from './foreign-bytes.ts'
import { FrameDecoder } from './frame.ts'
import { FRAME_OVERHEAD_MAX, HELLO_FRAME_SIZE_MAX } from './limits.ts'
import type { NodeHealth } from './node-health.ts'
import {
  FEATURES_SUPPORTED,
  Opcode,
  PROTOCOL_VERSION_MAX,
  PROTOCOL_VERSION_MIN,
  STATUS_ERROR_MIN,
} from './opcode.ts'
import { OutputBuffer } from './output-buffer.ts'
import { ReplyHeader } from './reply-header.ts'
import { encodeRequest, type Request } from './request.ts'
import { decodeHelloReply, type HelloReply } from './response-body.ts'
import { decodeErrorBody, remoteError } from './status-error.ts'
import { TlsError } from './tls/index.ts'
import type { WriteClock } from './write-clock.ts'

const HELLO_ID = 1
const SLOT_COUNT_MAX = 0x8000
const GENERATION_MAX = 0xffff
/** Slots that only calls bound to this connection may take: further pages of scans. */
const RESERVED_SLOT_COUNT_MAX = 160
/** With more than this unsent, further calls wait in the queue instead. */
const SEND_BYTES_MAX = 4 * 1024 * 1024
const NOTHING = new Uint8Array(0)

export type ClientConnectionState = 'dialing' | 'greeting' | 'ready' | 'draining' | 'closed'

export interface ClientConnectionOptions {
  readonly clock: Clock
  readonly connector: Connector
  readonly clientName: string
  readonly credentials: Uint8Array
  readonly connectTimeoutMs: number
  readonly pingIntervalMs: number
  readonly inFlightMax: number
  /** Hears of the servers' time, and writes the versions of stamped calls. */
  readonly writeClock: WriteClock
}

/** What a connection tells its pool. */
export interface ClientConnectionOwner {
  /** The server has said who it is; the error for which nothing must be asked of it, if any. */
  refusalOf(hello: HelloReply): KvError | undefined
  ready(connection: ClientConnection): void
  /** The server is going away; no further calls are taken. */
  draining(connection: ClientConnection): void
  /** A reply came. The body is borrowed until this returns. */
  replied(call: PendingCall, status: number, bytes: Uint8Array, start: number, end: number): void
  /** Slots or output are free again. */
  roomy(): void
  /** The server tells its new ring, unasked. The bytes are the callee's own. */
  ringPushed(connection: ClientConnection, ring: Uint8Array): void
  /** Exactly once. Hands back the calls that had no reply. */
  closed(connection: ClientConnection, calls: readonly PendingCall[], error: KvError): void
}

export class ClientConnection {
  readonly address: NodeAddress
  /** Of the node, over all its connections. */
  readonly health: NodeHealth
  readonly #options: ClientConnectionOptions
  readonly #owner: ClientConnectionOwner
  readonly #output = new OutputBuffer()
  readonly #decoder = new FrameDecoder(HELLO_FRAME_SIZE_MAX)
  readonly #header = new ReplyHeader()
  readonly #callOptions = new CallOptionsView()
  readonly #version = new Uint8Array(VERSION_SIZE)
  readonly #wire: Wire
  #state: ClientConnectionState = 'dialing'
  #hello: HelloReply | undefined
  #slots: (PendingCall | undefined)[] = []
  #generations = new Uint16Array(0)
  #freeSlots = new Uint16Array(0)
  #freeCount = 0
  #greetedMs = 0
  #flushCount = 0
  #flushScheduled = false
  #backlogged = false
  #receivedMs: number
  #reservedCount = 0
  #ended = false
  #cancelTimer: CancelTimer | undefined
  #failure: KvError | undefined

  constructor(
    address: NodeAddress,
    options: ClientConnectionOptions,
    health: NodeHealth,
    owner: ClientConnectionOwner,
  ) {
    this.address = address
    this.health = health
    this.#options = options
    this.#owner = owner
    this.#receivedMs = options.clock.monotonicMs()
    this.#cancelTimer = options.clock.setTimer(options.connectTimeoutMs, () => {
      this.destroy(this.#unavailable(`no answer within ${options.connectTimeoutMs} ms`))
    })
    this.#wire = options.connector.dial(address, {
      opened: () => this.#opened(),
      received: chunk => this.#received(chunk),
      drained: () => this.#drained(),
      closed: error => this.#wireClosed(error),
    })
  }

  get state(): ClientConnectionState {
    return this.#state
  }

  /** What the server said of itself; undefined until it has. */
  get hello(): HelloReply | undefined {
    return this.#hello
  }

  /** When the server last said anything, in monotonic milliseconds. */
  get receivedMs(): number {
    return this.#receivedMs
  }

  get inFlightCount(): number {
    return this.#slots.length - this.#freeCount
  }

  /** True when any call may be sent now. */
  get hasRoom(): boolean {
    return (
      this.#state === 'ready' &&
      this.#freeCount > this.#reservedCount &&
      this.#output.length + (this.#backlogged ? this.#wire.backlogBytes : 0) < SEND_BYTES_MAX
    )
  }

  /** True when a call that is bound to this connection may be sent now. */
  get hasReservedRoom(): boolean {
    const alive = this.#state === 'ready' || this.#state === 'draining'
    return alive && !this.#ended && this.#freeCount > 0
  }

  /** Calls encoded since fewer flushes than this have left. */
  wasFlushed(call: PendingCall): boolean {
    return call.flushMark < this.#flushCount
  }

  #unavailable(
    what: string,
    options?: { cause?: unknown; isStranger?: boolean; isTls?: boolean },
  ): UnavailableError {
    return new UnavailableError(`${formatAddress(this.address)}: ${what}`, options)
  }

  #opened(): void {
    if (this.#state !== 'dialing') return
    this.#state = 'greeting'
    this.#greetedMs = this.#options.clock.monotonicMs()
    encodeRequest(this.#output, HELLO_ID, this.#callOptions, {
      type: 'hello',
      versionMin: PROTOCOL_VERSION_MIN,
      versionMax: PROTOCOL_VERSION_MAX,
      features: FEATURES_SUPPORTED,
      clientName: this.#options.clientName,
      credentials: this.#options.credentials,
    })
    this.#flush()
  }

  /** Sends the call. Requires room; throws InvalidArgumentError when no frame can hold it. */
  send(call: PendingCall, nowMs: number): void {
    assert(this.#freeCount > 0, 'the pool asked for room first')
    const slot = this.#freeSlots[this.#freeCount - 1]!
    const generation = this.#generations[slot]! + 1
    const id = (slot | (generation << 16)) >>> 0
    const { spec } = call
    const options = this.#callOptions
    options.budgetMs = Math.max(1, Math.ceil(spec.deadlineMs - nowMs))
    options.consistency = spec.consistency
    options.durability = spec.durability
    options.version = spec.version
    if (call.versionMs >= 0) {
      this.#options.writeClock.encode(call, this.#version)
      options.version = this.#version
    }
    const before = this.#output.length
    encodeRequest(this.#output, id, options, spec.request)
    const size = this.#output.length - before
    if (size > this.#hello!.frameSizeMax) {
      this.#output.truncate(before)
      throw new InvalidArgumentError(describeOversize(spec.request, size, this.#hello!))
    }
    this.#freeCount--
    this.#generations[slot] = generation === GENERATION_MAX ? 0 : generation
    this.#slots[slot] = call
    call.id = id
    call.connection = this
    call.state = 'sent'
    call.flushMark = this.#flushCount
    call.sentMs = nowMs
    this.#scheduleFlush()
  }

  /** Frees the slot of a call that was sent here and has no reply yet. */
  abandon(call: PendingCall): void {
    const slot = call.id & 0xffff
    if (this.#slots[slot] !== call) return
    this.#freeSlot(slot)
  }

  #freeSlot(slot: number): void {
    this.#slots[slot] = undefined
    this.#freeSlots[this.#freeCount++] = slot
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    // Runs after this tick's callers have had their turn.
    process.nextTick(() => {
      this.#flushScheduled = false
      if (this.#state !== 'closed') this.#flush()
    })
  }

  #flush(): void {
    if (this.#output.length === 0) return
    this.#flushCount++
    const taken = this.#wire.write(this.#output.written)
    this.#backlogged = !taken
    if (taken) this.#output.reset()
    else this.#output.release()
  }

  #drained(): void {
    this.#backlogged = false
    this.#owner.roomy()
  }

  #received(chunk: Uint8Array): void {
    if (this.#state === 'closed') return
    this.#receivedMs = this.#options.clock.monotonicMs()
    this.health.heard()
    try {
      this.#decoder.push(chunk)
      while (this.#decoder.next()) this.#take()
    } catch (error) {
      if (!(error instanceof DecodeError) && !(error instanceof ProtocolError)) throw error
      this.destroy(this.#malformed(error, chunk))
      return
    }
    this.#owner.roomy()
    this.#finishDraining()
  }

  /** Bytes that are no reply: of another protocol, or damaged on the way. */
  #malformed(error: Error, chunk: Uint8Array): KvError {
    if (this.#hello !== undefined)
      return this.#unavailable(`bad reply: ${error.message}`, { cause: error })
    const what = describeForeignServer(chunk)
    return new ProtocolError(`${formatAddress(this.address)} is ${what}`, { cause: error })
  }

  #take(): void {
    const { bytes, start, end } = this.#decoder
    const header = this.#header
    header.decode(bytes, start, end)
    if (this.#state === 'greeting') {
      this.#takeHello(bytes, end)
      return
    }
    if (header.id === 0) {
      this.#takePush(bytes, end)
      return
    }
    const slot = header.id & 0xffff
    const call = this.#slots[slot]
    if (call === undefined || call.id !== header.id) return
    this.#freeSlot(slot)
    if (header.status < STATUS_ERROR_MIN) {
      this.health.replied(this.#receivedMs - call.sentMs, this.#receivedMs)
    } else {
      this.health.refused(this.#receivedMs)
    }
    this.#owner.replied(call, header.status, bytes, header.bodyStart, end)
  }

  #takeHello(bytes: Uint8Array, end: number): void {
    const { status, opcode, id, bodyStart } = this.#header
    if (status >= STATUS_ERROR_MIN) {
      this.#refused(status, bytes, bodyStart, end)
      return
    }
    if (opcode !== Opcode.hello || id !== HELLO_ID) {
      throw new ProtocolError('the first reply does not answer HELLO')
    }
    const hello = decodeHelloReply(bytes, bodyStart, end)
    const refusal = this.#owner.refusalOf(hello)
    if (refusal !== undefined) {
      this.destroy(refusal)
      return
    }
    this.#hello = hello
    this.#decoder.frameSizeMax = hello.frameSizeMax + FRAME_OVERHEAD_MAX
    const { inFlightMax, clock, pingIntervalMs, writeClock } = this.#options
    writeClock.greeted(hello.wallMs, clock.monotonicMs() - this.#greetedMs)
    const slotCount = Math.min(hello.inFlightMax, inFlightMax, SLOT_COUNT_MAX)
    this.#reservedCount = Math.min(RESERVED_SLOT_COUNT_MAX, Math.floor(slotCount / 4))
    this.#slots = new Array<PendingCall | undefined>(slotCount).fill(undefined)
    this.#generations = new Uint16Array(slotCount)
    this.#freeSlots = new Uint16Array(slotCount)
    for (let slot = 0; slot < slotCount; slot++) this.#freeSlots[slot] = slotCount - 1 - slot
    this.#freeCount = slotCount
    this.#state = 'ready'
    this.#cancelTimer?.()
    this.#cancelTimer = clock.setTimer(pingIntervalMs, () => this.#keepAlive(), BACKGROUND)
    this.#owner.ready(this)
  }

  #takePush(bytes: Uint8Array, end: number): void {
    const { status, opcode, bodyStart } = this.#header
    if (status >= STATUS_ERROR_MIN) this.#refused(status, bytes, bodyStart, end)
    else if (opcode === Opcode.goaway) this.drain()
    else if (opcode === Opcode.ringMap) {
      this.#owner.ringPushed(this, copyBytes(bytes, bodyStart, end))
    }
  }

  /** The server turns the whole connection away, and closes it. */
  #refused(status: number, bytes: Uint8Array, start: number, end: number): void {
    const error = remoteError(status, decodeErrorBody(bytes, start, end))
    error.message = `${formatAddress(this.address)}: ${error.message}`
    this.destroy(error)
  }

  /** Takes no further calls, and closes once those in flight have their replies. */
  drain(): void {
    if (this.#state !== 'ready') return
    this.#state = 'draining'
    this.#owner.draining(this)
    this.#finishDraining()
  }

  #finishDraining(): void {
    if (this.#state !== 'draining' || this.#ended || this.inFlightCount > 0) return
    this.#ended = true
    this.#flush()
    this.#wire.end()
  }

  /** Looks whether the server is still there, and asks it when it was silent. */
  #keepAlive(): void {
    const { clock, pingIntervalMs } = this.#options
    const silentMs = clock.monotonicMs() - this.#receivedMs
    if (silentMs > 3 * pingIntervalMs) {
      this.destroy(this.#unavailable(`silent for ${Math.round(silentMs)} ms`))
      return
    }
    if (silentMs >= pingIntervalMs - 1) this.ping()
    this.#cancelTimer = clock.setTimer(pingIntervalMs, () => this.#keepAlive(), BACKGROUND)
  }

  /** A PING that nobody waits for: id 0xffffffff is never a call's, so its reply is dropped. */
  ping(): void {
    if (this.#state !== 'ready') return
    this.#callOptions.budgetMs = this.#options.pingIntervalMs
    this.#callOptions.version = undefined
    encodeRequest(this.#output, PING_ID, this.#callOptions, { type: 'ping', payload: NOTHING })
    this.#scheduleFlush()
  }

  /** Closes now, failing what is in flight with `error`. */
  destroy(error: KvError): void {
    if (this.#state === 'closed') return
    this.#failure ??= error
    this.#wire.destroy()
    this.#wireClosed(undefined)
  }

  #wireClosed(cause: Error | undefined): void {
    if (this.#state === 'closed') return
    const wasGreeting = this.#state === 'greeting'
    this.#state = 'closed'
    this.#cancelTimer?.()
    this.#decoder.dispose()
    const why = cause?.message ?? (wasGreeting ? NO_GREETING : CLOSED)
    const isStranger = wasGreeting && cause === undefined
    const isTls = cause instanceof TlsError
    const error = this.#failure ?? this.#unavailable(why, { cause, isStranger, isTls })
    const calls = this.#slots.filter(call => call !== undefined)
    this.#slots = []
    this.#freeCount = 0
    this.#owner.closed(this, calls, error)
  }
}

/** Which limit it is, whose, and what to do. */
function describeOversize(request: Request, size: number, hello: HelloReply): string {
  const { frameSizeMax, valueSizeMax } = hello
  if (request.type === 'put' && request.value.length > valueSizeMax) {
    return (
      `the value has ${request.value.length} bytes, this server takes up to ${valueSizeMax} ` +
      '(kvd serve --max-value-size): store it in parts, or raise the limit of the server'
    )
  }
  const advice =
    request.type === 'batch' ? 'divide the batch' : 'ask for less at a time, or store it in parts'
  return (
    `the ${request.type} takes ${size} bytes as a message, this server takes up to ` +
    `${frameSizeMax}: ${advice}`
  )
}

const CLOSED = 'the server closed the connection'
const NO_GREETING =
  'something listens there, and closed the connection without a word: it may be no Duramen, or ' +
  'its port for nodes, not that for clients; or it speaks TLS: kvs://'
const BACKGROUND = { background: true }
/** Slot 0xffff does not exist. */
const PING_ID = 0xffff_ffff

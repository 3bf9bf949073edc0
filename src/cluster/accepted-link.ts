/**
 * A link that another node dialled: its requests and messages come in, answers go out.
 *
 *   accepted --handshake--> open --> closed
 *
 * Invariants:
 *  1. Before the handshake is over nothing but the handshake is read, and next to nothing kept.
 *  2. What is being answered is bounded in number, what waits to be taken in bytes. At the limit of
 *     the first a request is answered KV_OVERLOADED; at that of the second nothing more is read.
 *  3. What may have waited for longer than its sender does, while this process stood still, is not
 *     begun.
 *  4. A handler that fails costs its request and nothing else.
 */
import {
  KvError,
  OverloadedError,
  ProtocolError,
  TimeoutError,
  UnavailableError,
} from '../errors.ts'
import {
  type AcceptedEvents,
  type AcceptedWire,
  encodeErrorBody,
  errorBodyOf,
  statusOfError,
} from '../net/index.ts'
import {
  HANDSHAKE_FRAME_SIZE_MAX,
  PEER_HEADER_SIZE,
  PeerFrame,
  type PeerFrameHeader,
  writePeerFrame,
} from './peer-frame.ts'
import { type HandshakeState, PeerHandshake } from './peer-handshake.ts'
import { decodeRefusal, encodeRefusal, type Hello, NO_PROOF, refusalError } from './peer-hello.ts'
import type { PeerLinkContext } from './peer-link-context.ts'
import { PeerStream, type StreamOwner } from './peer-stream.ts'
import type { PeerContext } from './peers.ts'
import type { NodeId } from './ring-member.ts'

/** What KV_OVERLOADED tells another node to wait. */
const RETRY_AFTER_MS = 50
/** A dialler pings; so a link that is silent for so much longer has no other end. */
const SILENCE_FACTOR = 2

export interface AcceptedLinkOwner {
  opened(link: AcceptedLink, peer: Hello): void
  /** The other node refuses this one, and has proven to know the secret. */
  refused(link: AcceptedLink, peer: NodeId, code: number, message: string): void
  /** Exactly once. */
  closed(link: AcceptedLink, error: Error | undefined): void
}

export class AcceptedLink implements StreamOwner, AcceptedEvents {
  readonly remoteAddress: string
  readonly #context: PeerLinkContext
  readonly #owner: AcceptedLinkOwner
  readonly #stream: PeerStream
  readonly #handshake: PeerHandshake
  readonly #acceptedMs: number
  #peer: Hello | undefined
  #endedMs: number | undefined
  #inFlight = 0
  #epochHeard = 0

  constructor(context: PeerLinkContext, wire: AcceptedWire, owner: AcceptedLinkOwner) {
    this.#context = context
    this.#owner = owner
    this.remoteAddress = wire.remoteAddress
    this.#acceptedMs = context.clock.monotonicMs()
    this.#stream = new PeerStream({ ...context, frameSizeMax: HANDSHAKE_FRAME_SIZE_MAX }, this)
    this.#stream.attachPausable(wire, context.limits.answersPauseBytes)
    this.#handshake = new PeerHandshake('acceptor', {
      secret: context.secret,
      // The lane is the dialler's to choose; an acceptor's says nothing.
      own: context.hello('urgent'),
      expected: undefined,
      judge: peer => context.judge(peer),
      write: (type, code, body) => this.#write(type, code, 0, body),
    })
  }

  /** What the other node said of itself; undefined until the link is open. */
  get peer(): Hello | undefined {
    return this.#peer
  }

  /** Answers that the other node has not taken. */
  get backlogBytes(): number {
    return this.#stream.backlogBytes
  }

  /** Requests that are being answered. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** What the other node says it is, proven or not. */
  get claimed(): Hello | undefined {
    return this.#handshake.claimed
  }

  received(bytes: Uint8Array, size: number): void {
    this.#stream.received(bytes, size)
  }

  drained(): void {
    this.#stream.drained()
  }

  /** Nobody asks any more, so nobody needs the answers. */
  ended(): void {
    this.#stream.fail(undefined)
  }

  frame(header: PeerFrameHeader, bytes: Uint8Array, end: number, skipped: boolean): void {
    const peer = this.#peer
    if (peer === undefined) {
      this.#step(this.#handshake.take(header, bytes, end))
      return
    }
    if (header.epoch > this.#epochHeard) {
      this.#epochHeard = header.epoch
      this.#context.heard(peer.nodeId, header.epoch)
    }
    switch (header.type) {
      case PeerFrame.request:
      case PeerFrame.message:
        this.#asked(peer, header, bytes, end, skipped)
        return
      case PeerFrame.ping:
        this.#write(PeerFrame.pong, 0, header.id, NOTHING)
        return
      case PeerFrame.refusal:
        this.#refusedBy(peer, header, bytes, end)
        return
      default:
        throw new ProtocolError(`node ${peer.nodeId} sent a frame of type ${header.type}`)
    }
  }

  #step(state: HandshakeState): void {
    if (state.type === 'waiting') return
    if (state.type === 'open') {
      this.#peer = state.peer
      this.#stream.frameSizeMax = this.#context.limits.frameSizeMax
      this.#context.stats.linksOpened++
      this.#owner.opened(this, state.peer)
      return
    }
    this.#context.stats.handshakesFailed++
    const { code, message } = state
    const claimed = this.#handshake.claimed
    if (state.by === 'them' && state.isProven && claimed !== undefined) {
      this.#owner.refused(this, claimed.nodeId, code, message)
    }
    this.#end(refusalError(code, message))
  }

  #refusedBy(peer: Hello, header: PeerFrameHeader, bytes: Uint8Array, end: number): void {
    const { code, message } = decodeRefusal(header.code, bytes, header.bodyStart, end)
    this.#owner.refused(this, peer.nodeId, code, message)
    this.#end(refusalError(code, message))
  }

  #asked(
    peer: Hello,
    header: PeerFrameHeader,
    bytes: Uint8Array,
    end: number,
    skipped: boolean,
  ): void {
    const { clock, handlers, stats, limits, pauses } = this.#context
    // Id 0: nobody waits for an answer.
    const id = header.type === PeerFrame.request ? header.id : 0
    const { code: kind, budgetMs, epoch, bodyStart } = header
    if (id === 0) stats.messagesReceived++
    else stats.requestsReceived++
    const handler = handlers[kind]
    if (handler === undefined || skipped || this.#inFlight >= limits.inFlightMax) {
      stats.dropped++
      this.#fail(id, kind, this.#objection(kind, skipped))
      return
    }
    const deadlineMs = pauses.deadlineMs(clock.monotonicMs(), budgetMs)
    if (deadlineMs === undefined) {
      stats.dropped++
      this.#fail(id, kind, new UnavailableError('this node stood still: ask again'))
      return
    }
    const context: PeerContext = { from: peer.nodeId, deadlineMs, epoch }
    let answer: Uint8Array | Promise<Uint8Array>
    try {
      answer = handler(bytes.subarray(bodyStart, end), context)
    } catch (error) {
      this.#fail(id, kind, error)
      return
    }
    if (answer instanceof Promise) void this.#answerLater(id, kind, answer)
    else this.#answer(id, kind, answer)
  }

  /** Why a request is not begun. */
  #objection(kind: number, skipped: boolean): KvError {
    if (this.#context.handlers[kind] === undefined) {
      return new ProtocolError(`this node does not know messages of kind ${kind}: upgrade it`)
    }
    const what = skipped
      ? 'this node has no memory for a message of this size'
      : `${this.#inFlight} requests of this link are being answered`
    return new OverloadedError(what, RETRY_AFTER_MS)
  }

  async #answerLater(id: number, kind: number, answer: Promise<Uint8Array>): Promise<void> {
    this.#inFlight++
    try {
      const body = await answer
      this.#inFlight--
      this.#answer(id, kind, body)
    } catch (error) {
      this.#inFlight--
      this.#fail(id, kind, error)
    }
  }

  #answer(id: number, kind: number, body: Uint8Array): void {
    if (id === 0) return
    const { frameSizeMax, answersBytesMax } = this.#context.limits
    const size = PEER_HEADER_SIZE + body.length
    if (size > frameSizeMax) {
      this.#fail(id, kind, new ProtocolError(`an answer of ${size} bytes fits in no frame`))
      return
    }
    const { backlogBytes } = this.#stream
    if (backlogBytes > 0 && backlogBytes + size > answersBytesMax) {
      const message = `${backlogBytes} bytes of answers were not taken yet`
      this.#fail(id, kind, new OverloadedError(message, RETRY_AFTER_MS))
      return
    }
    this.#write(PeerFrame.reply, 0, id, body)
  }

  #fail(id: number, kind: number, error: unknown): void {
    if (!(error instanceof KvError)) {
      const stack = error instanceof Error ? error.stack : undefined
      const fields = { kind, peer: this.#peer?.nodeId, error, stack }
      this.#context.logger.error('a message of another node met a bug of this one', fields)
    } else if (id === 0) {
      const fields = { kind, peer: this.#peer?.nodeId, error }
      this.#context.logger.debug('a message of another node was not taken', fields)
    }
    if (id === 0) return
    this.#write(PeerFrame.error, statusOfError(error), id, encodeErrorBody(errorBodyOf(error)))
  }

  #write(type: number, code: number, id: number, body: Uint8Array): void {
    if (this.#stream.isClosed || this.#stream.isEnding) return
    writePeerFrame(this.#stream.output, type, code, id, this.#context.epoch(), body)
    this.#stream.written()
  }

  /** Called every so often. */
  sweep(nowMs: number): void {
    const { handshakeTimeoutMs, silentMaxMs, lingerMs } = this.#context.limits
    const silenceMs = this.#stream.silentMs(nowMs)
    if (this.#endedMs !== undefined) {
      if (nowMs - this.#endedMs > lingerMs) this.#stream.fail(undefined)
    } else if (this.#peer === undefined) {
      if (nowMs - this.#acceptedMs <= handshakeTimeoutMs) return
      this.#context.stats.handshakesFailed++
      this.#stream.fail(new TimeoutError('it did not prove in time that it is a node'))
    } else if (silenceMs > silentMaxMs * SILENCE_FACTOR) {
      this.#stream.fail(new TimeoutError(`it said nothing for ${Math.round(silenceMs)} ms`))
    }
  }

  /** This node was not running for so long: nobody else is to blame for the silence. */
  forgive(ms: number): void {
    this.#stream.forgive(ms)
  }

  /** Tells the other node why, and closes. */
  refuse(code: number, message: string): void {
    const body = encodeRefusal({ code, message, proof: NO_PROOF })
    this.#write(PeerFrame.refusal, code, 0, body)
    this.#end(refusalError(code, message))
  }

  #end(error: KvError): void {
    if (this.#endedMs !== undefined) return
    this.#endedMs = this.#context.clock.monotonicMs()
    this.#stream.end(error)
  }

  /** Closes now. */
  destroy(error: KvError | undefined): void {
    this.#stream.fail(error)
  }

  /** The wire is closed. */
  closed(error: Error | undefined): void {
    this.#stream.wireClosed(error)
  }

  streamClosed(error: Error | undefined): void {
    this.#owner.closed(this, error)
  }
}

const NOTHING = new Uint8Array(0)

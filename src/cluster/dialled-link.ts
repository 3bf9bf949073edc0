/**
 * A link that this node dialled: requests and messages go out, answers come in.
 *
 *   dialling --connected--> greeting --handshake--> open --> closed
 *
 * Invariants:
 *  1. A request is answered, or fails by its deadline or by the end of the link, exactly once.
 *  2. With nothing from the other node for `pingAfterMs` it is pinged, and after `silentMaxMs` in
 *     which it took nothing either the link is closed, whatever TCP believes.
 */
import {
  ClosedError,
  InvalidArgumentError,
  KvError,
  OverloadedError,
  ProtocolError,
  TimeoutError,
  UnavailableError,
} from '../errors.ts'
import { type Connector, decodeErrorBody, type NodeAddress, remoteError } from '../net/index.ts'
import { PeerCalls } from './peer-calls.ts'
import {
  BUDGET_SIZE,
  beginPeerFrame,
  HANDSHAKE_FRAME_SIZE_MAX,
  PEER_HEADER_SIZE,
  PeerFrame,
  type PeerFrameHeader,
  writePeerFrame,
  writePeerRequest,
} from './peer-frame.ts'
import { type HandshakeState, type Objection, PeerHandshake } from './peer-handshake.ts'
import {
  decodeRefusal,
  encodeRefusal,
  type Hello,
  NO_PROOF,
  PeerRefusal,
  refusalError,
} from './peer-hello.ts'
import type { PeerLimits } from './peer-limits.ts'
import type { PeerLinkContext } from './peer-link-context.ts'
import { PeerStream, type StreamOwner } from './peer-stream.ts'
import type { Lane } from './peers.ts'
import type { NodeId } from './ring-member.ts'

/** Why a dialled link ended. */
export interface LinkEnd {
  readonly error: KvError
  /** The other node refused it; proven when it knows the secret. */
  readonly refusal: (Objection & { readonly isProven: boolean }) | undefined
  /** Who is there, as it says itself, instead of who was expected. */
  readonly other: NodeId | undefined
}

export interface DialledLinkOwner {
  opened(link: DialledLink, peer: Hello): void
  /** Exactly once. */
  closed(link: DialledLink, end: LinkEnd): void
}

export interface Dialling {
  readonly connector: Connector
  readonly address: NodeAddress
  readonly lane: Lane
  /** Undefined: whoever is there. */
  readonly expected: NodeId | undefined
}

export class DialledLink implements StreamOwner {
  readonly #context: PeerLinkContext
  readonly #limits: PeerLimits
  readonly #owner: DialledLinkOwner
  readonly #stream: PeerStream
  readonly #handshake: PeerHandshake
  readonly #calls: PeerCalls
  readonly #name: string
  readonly #dialledMs: number
  #peer: Hello | undefined
  #refusal: LinkEnd['refusal']
  #other: NodeId | undefined
  #endedMs: number | undefined
  #epochHeard = 0
  #pingedMs = 0
  #pingId = 0

  constructor(context: PeerLinkContext, dialling: Dialling, owner: DialledLinkOwner) {
    const { clock } = context
    this.#context = context
    this.#limits = context.limits
    this.#owner = owner
    this.#dialledMs = clock.monotonicMs()
    const { host, port } = dialling.address
    this.#name = `node ${dialling.expected ?? 'unknown'} at ${host}:${port}`
    this.#calls = new PeerCalls(clock, this.#name)
    this.#stream = new PeerStream({ ...context, frameSizeMax: HANDSHAKE_FRAME_SIZE_MAX }, this)
    this.#handshake = new PeerHandshake('dialler', {
      secret: context.secret,
      own: context.hello(dialling.lane),
      expected: dialling.expected,
      judge: peer => context.judge(peer),
      write: (type, code, body) => this.#write(type, code, 0, body),
    })
    const stream = this.#stream
    const wire = dialling.connector.dial(dialling.address, {
      opened: () => this.#connected(),
      received: chunk => stream.received(chunk, chunk.length),
      drained: () => stream.drained(),
      closed: error => stream.wireClosed(error),
    })
    stream.attach(wire)
  }

  /** What the other node said of itself; undefined until the link is open. */
  get peer(): Hello | undefined {
    return this.#peer
  }

  get isOpen(): boolean {
    return this.#peer !== undefined && !this.#stream.isEnding && !this.#stream.isClosed
  }

  get backlogBytes(): number {
    return this.#stream.backlogBytes
  }

  /** When anything came last, in monotonic milliseconds. */
  get receivedMs(): number {
    return this.#stream.receivedMs
  }

  /** As PeerStream.isReceivingLarge. */
  isReceivingLarge(nowMs: number): boolean {
    return this.#stream.isReceivingLarge(nowMs)
  }

  get pendingCount(): number {
    return this.#calls.count
  }

  #connected(): void {
    this.#stream.receivedMs = this.#context.clock.monotonicMs()
    this.#handshake.begin()
  }

  /** False when it was dropped. */
  send(kind: number, body: Uint8Array): boolean {
    if (!this.isOpen || this.#objection(body) !== undefined) {
      this.#context.stats.dropped++
      return false
    }
    this.#context.stats.messagesSent++
    writePeerRequest(this.#stream.output, kind, 0, this.#context.epoch(), 0, body)
    this.#stream.written()
    return true
  }

  request(kind: number, body: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const objection = this.isOpen ? this.#objection(body) : this.#notOpen()
    if (objection !== undefined) {
      this.#context.stats.dropped++
      return Promise.reject(objection)
    }
    this.#context.stats.requestsSent++
    const id = this.#calls.nextId()
    const budgetMs = Math.max(1, timeoutMs)
    const { output } = this.#stream
    writePeerRequest(output, kind, id, this.#context.epoch(), budgetMs, body)
    const answer = this.#calls.wait(id, timeoutMs)
    this.#stream.written()
    return answer
  }

  #notOpen(): UnavailableError {
    return new UnavailableError(`${this.#name} is not connected`)
  }

  /** Why this cannot be sent now. */
  #objection(body: Uint8Array): KvError | undefined {
    const size = PEER_HEADER_SIZE + BUDGET_SIZE + body.length
    const { frameSizeMax, laneBytesMax } = this.#limits
    if (size > frameSizeMax) {
      return new InvalidArgumentError(
        `a message of ${size} bytes does not fit in frames between nodes, ${frameSizeMax} bytes`,
      )
    }
    const { backlogBytes } = this.#stream
    // One that is larger than the limit alone may still go when nothing waits.
    if (backlogBytes === 0 || backlogBytes + size <= laneBytesMax) return undefined
    return new UnavailableError(`${backlogBytes} bytes wait for ${this.#name} already`)
  }

  frame(header: PeerFrameHeader, bytes: Uint8Array, end: number, skipped: boolean): void {
    if (this.#peer === undefined) {
      this.#step(this.#handshake.take(header, bytes, end))
      return
    }
    if (header.epoch > this.#epochHeard) {
      this.#epochHeard = header.epoch
      this.#context.heard(this.#peer.nodeId, header.epoch)
    }
    switch (header.type) {
      case PeerFrame.reply:
        this.#replied(header, bytes, end, skipped)
        return
      case PeerFrame.error:
        this.#failed(header, bytes, end, skipped)
        return
      case PeerFrame.pong:
        return
      case PeerFrame.refusal:
        this.#refused(decodeRefusal(header.code, bytes, header.bodyStart, end), true)
        return
      default:
        throw new ProtocolError(`${this.#name} answered with a frame of type ${header.type}`)
    }
  }

  #replied({ id, bodyStart }: PeerFrameHeader, bytes: Uint8Array, end: number, skipped: boolean) {
    if (!this.#calls.has(id)) return
    if (skipped) this.#calls.failed(id, this.#noMemory())
    else this.#calls.answered(id, bytes.slice(bodyStart, end))
  }

  #failed(
    { id, code, bodyStart }: PeerFrameHeader,
    bytes: Uint8Array,
    end: number,
    skipped: boolean,
  ) {
    if (!this.#calls.has(id)) return
    if (skipped) this.#calls.failed(id, this.#noMemory())
    else this.#calls.failed(id, remoteError(code, decodeErrorBody(bytes, bodyStart, end)))
  }

  #noMemory(): OverloadedError {
    return new OverloadedError(`no memory for the answer of ${this.#name}`, 100)
  }

  #step(state: HandshakeState): void {
    if (state.type === 'waiting') return
    if (state.type === 'open') {
      this.#peer = state.peer
      this.#stream.frameSizeMax = this.#limits.frameSizeMax
      this.#context.stats.linksOpened++
      this.#owner.opened(this, state.peer)
      return
    }
    this.#context.stats.handshakesFailed++
    if (state.by === 'them') {
      this.#refused(state, state.isProven)
      return
    }
    if (state.code === PeerRefusal.otherNode) this.#other = this.#handshake.claimed?.nodeId
    this.#end(refusalError(state.code, `${this.#name} is refused: ${state.message}`))
  }

  #refused({ code, message }: Objection, isProven: boolean): void {
    this.#refusal = { code, message, isProven }
    // What only a node of the cluster can know is believed of nobody else.
    const isGuess = !isProven && (code === PeerRefusal.removed || code === PeerRefusal.superseded)
    const why = isGuess ? 'refuses without a proof' : 'refuses'
    const shown = isGuess ? PeerRefusal.protocol : code
    this.#end(refusalError(shown, `${this.#name} ${why}: ${message}`))
  }

  #write(type: number, code: number, id: number, body: Uint8Array): void {
    if (this.#stream.isClosed || this.#stream.isEnding) return
    writePeerFrame(this.#stream.output, type, code, id, this.#context.epoch(), body)
    this.#stream.written()
  }

  /** Called every so often. */
  sweep(nowMs: number): void {
    const { handshakeTimeoutMs, pingAfterMs, silentMaxMs, lingerMs } = this.#limits
    const silentMs = this.#stream.silentMs(nowMs)
    if (this.#endedMs !== undefined) {
      if (nowMs - this.#endedMs > lingerMs) this.#stream.fail(undefined)
    } else if (this.#peer === undefined) {
      if (nowMs - this.#dialledMs <= handshakeTimeoutMs) return
      this.#stream.fail(new TimeoutError(`${this.#name} did not answer in time`))
    } else if (silentMs > silentMaxMs) {
      this.#stream.fail(new TimeoutError(`${this.#name} said nothing for ${silentMaxMs} ms`))
    } else if (nowMs - Math.max(this.#stream.receivedMs, this.#pingedMs) >= pingAfterMs) {
      this.ping(nowMs)
    }
  }

  /** Asks for a sign of life. Requires that the link is open. */
  ping(nowMs: number): void {
    if (!this.isOpen) return
    this.#pingedMs = nowMs
    const id = ++this.#pingId
    beginPeerFrame(this.#stream.output, PeerFrame.ping, 0, id, this.#context.epoch(), 0)
    this.#stream.written()
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
    this.#calls.failAll(broken(this.#name, error))
    this.#stream.end(error)
  }

  /** Closes now. */
  destroy(error: KvError): void {
    this.#stream.fail(error)
  }

  streamClosed(error: Error | undefined): void {
    const cause =
      error instanceof KvError
        ? error
        : new UnavailableError(`${this.#name}: ${error?.message ?? 'the connection was closed'}`, {
            cause: error,
          })
    this.#calls.failAll(broken(this.#name, cause))
    this.#owner.closed(this, { error: cause, refusal: this.#refusal, other: this.#other })
  }
}

function broken(name: string, cause: KvError): ClosedError {
  return new ClosedError(`the link to ${name} broke before it answered: ${cause.message}`, {
    cause,
  })
}

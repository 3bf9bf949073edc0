/**
 * One wire between two nodes, as frames: what the two ends of a link have in common.
 *
 * Invariants:
 *  1. All frames of a tick leave in one write.
 *  2. A frame's length is checked before anything is allocated, and what frames in the making take
 *     is charged to a budget that all wires of the node share. One that it refuses is handed out as
 *     `skipped`: only its header is there.
 *  3. Whatever goes wrong ends this wire and nothing else; `streamClosed` is called once.
 *  4. Frames of an accepted wire are worked on for half a millisecond at most before others have
 *     their turn, and not at all while the other node does not take its answers.
 */
import { DecodeError } from '../bytes.ts'
import { type Clock, yieldToEventLoop } from '../clock.ts'
import { InternalError, KvError, ProtocolError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { FrameDecoder, OutputBuffer, type ReceiveBudget, type Wire } from '../net/index.ts'
import type { PeerFlusher } from './peer-flusher.ts'
import { PeerFrameHeader } from './peer-frame.ts'
import type { PeerStats } from './peer-link-context.ts'

const SLICE_MS = 0.5
const FRAMES_PER_LOOK = 16
/** Many links of a large cluster carry no more than gossip, and grow when they do. */
const OUTPUT_SIZE_START = 2048
/** Within a tick more than this is not gathered: it leaves at once. */
const GATHERED_MAX = 256 * 1024
/** A frame from so many bytes on holds up what comes behind it. */
const LARGE_FRAME_SIZE = 64 * 1024
/** While it comes at all: a link that stands still for so long does not bring it. */
const ARRIVING_MS = 500

/** A wire that can be asked to wait. */
interface PausableWire extends Wire {
  pause(): void
  resume(): void
}

export interface StreamParts {
  readonly clock: Clock
  readonly logger: Logger
  readonly flusher: PeerFlusher
  readonly budget: ReceiveBudget
  readonly stats: Pick<PeerStats, 'bytesSent' | 'bytesReceived'>
  readonly frameSizeMax: number
}

/** What a stream tells the link it belongs to. */
export interface StreamOwner {
  /** A frame; its body is bytes[header.bodyStart, end), borrowed until this returns. */
  frame(header: PeerFrameHeader, bytes: Uint8Array, end: number, skipped: boolean): void
  /** Exactly once, with what ended it. */
  streamClosed(error: Error | undefined): void
}

export class PeerStream {
  readonly output = new OutputBuffer(OUTPUT_SIZE_START)
  /** True while the flusher has it. */
  flushScheduled = false
  /** When anything came last. */
  receivedMs: number
  readonly #parts: StreamParts
  readonly #owner: StreamOwner
  readonly #decoder: FrameDecoder
  readonly #header = new PeerFrameHeader()
  #wire: Wire | undefined
  #pausable: PausableWire | undefined
  /** Above so many bytes that the other node has not taken nothing of it is read. */
  #outputPauseBytes = Number.POSITIVE_INFINITY
  #paused = false
  #backlogged = false
  /** Bytes given to the wire so far. */
  #sentBytes = 0
  /** Of these, what the wire had passed on at the last look. */
  #takenBytes = 0
  /** Some waited at the last look. */
  #hadBacklog = false
  /** When it was seen last that the other node takes what waits. */
  #takenMs = Number.NEGATIVE_INFINITY
  #ending = false
  #closed = false
  #failure: KvError | undefined
  /** Whether any frame made sense. */
  #understood = false

  constructor(parts: StreamParts, owner: StreamOwner) {
    this.#parts = parts
    this.#owner = owner
    this.#decoder = new FrameDecoder(parts.frameSizeMax, parts.budget)
    this.receivedMs = parts.clock.monotonicMs()
  }

  /** Gives it its wire, whose events it gets from now on. */
  attach(wire: Wire): void {
    this.#wire = wire
  }

  /** Gives it a wire that need not be read while more than `outputPauseBytes` wait to be taken. */
  attachPausable(wire: PausableWire, outputPauseBytes: number): void {
    this.#wire = this.#pausable = wire
    this.#outputPauseBytes = outputPauseBytes
  }

  /** The handshake is over: frames may be longer from now on. */
  set frameSizeMax(size: number) {
    this.#decoder.frameSizeMax = size
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** True once nothing more is to be sent or read. */
  get isEnding(): boolean {
    return this.#ending
  }

  /** Bytes that the other node has not taken. */
  get backlogBytes(): number {
    return this.output.length + this.#wireBacklog
  }

  get #wireBacklog(): number {
    return this.#backlogged ? this.#wire!.backlogBytes : 0
  }

  /**
   * Milliseconds without a sign of life; to be asked every so often. While something large goes
   * out no answer can come, a ping being behind it; so it is one that some of what waits was taken.
   * (That bytes are taken at once says nothing: a socket with room takes them for the dead, too.)
   */
  silentMs(nowMs: number): number {
    const waiting = this.#wireBacklog
    const taken = this.#sentBytes - waiting
    if (this.#hadBacklog && taken > this.#takenBytes) this.#takenMs = nowMs
    this.#takenBytes = taken
    this.#hadBacklog = waiting > 0
    return nowMs - Math.max(this.receivedMs, this.#takenMs)
  }

  /** This node was not running for so long: nobody else is to blame for the silence. */
  forgive(ms: number): void {
    this.receivedMs += ms
    this.#takenMs += ms
  }

  /** Something large has come in part, and more of it came just now: the rest waits behind it. */
  isReceivingLarge(nowMs: number): boolean {
    const isLarge = this.#decoder.frameSize >= LARGE_FRAME_SIZE
    return isLarge && nowMs - this.receivedMs < ARRIVING_MS
  }

  /** What was written into `output` leaves at the end of the tick, or now if it is much. */
  written(): void {
    if (this.output.length > GATHERED_MAX) this.flush()
    else this.#parts.flusher.schedule(this)
  }

  flush(): void {
    const { output } = this
    if (output.length === 0 || this.#closed || this.#wire === undefined) return
    this.#parts.stats.bytesSent += output.length
    this.#sentBytes += output.length
    this.#backlogged = !this.#wire.write(output.written)
    if (this.#backlogged) output.release()
    else output.reset()
  }

  /** The wire brought bytes[0, size), borrowed until this returns. */
  received(bytes: Uint8Array, size: number): void {
    if (this.#closed || this.#ending) return
    this.receivedMs = this.#parts.clock.monotonicMs()
    this.#parts.stats.bytesReceived += size
    this.#contain(() => {
      this.#decoder.push(bytes, size)
      this.#process()
    })
  }

  drained(): void {
    this.#backlogged = false
    if (this.#paused) this.#contain(() => this.#process())
  }

  #contain(handle: () => void): void {
    try {
      handle()
    } catch (error) {
      if (error instanceof DecodeError) this.fail(this.#malformed(error))
      else if (error instanceof KvError) this.fail(error)
      else this.#failWithBug(error)
    }
  }

  #malformed({ message }: DecodeError): ProtocolError {
    if (this.#understood) return new ProtocolError(message)
    const what = 'what came first is nothing that a node says'
    return new ProtocolError(`${what}: is it the port for nodes, or that for clients? (${message})`)
  }

  #failWithBug(error: unknown): void {
    const stack = error instanceof Error ? error.stack : undefined
    this.#parts.logger.error('a link is closed because of a bug', { error, stack })
    this.fail(new InternalError('this node met a bug of its own; its log has the details'))
  }

  #process(): void {
    const { clock } = this.#parts
    const endMs = clock.monotonicMs() + SLICE_MS
    let count = 0
    while (!this.#ending && !this.#closed) {
      if (this.backlogBytes > this.#outputPauseBytes) {
        // Goes on when the other node has taken its answers.
        this.flush()
        if (this.backlogBytes > this.#outputPauseBytes) {
          this.#wait()
          return
        }
      }
      if (!this.#decoder.next()) break
      const { bytes, start, end, skipped } = this.#decoder
      this.#header.decode(bytes, start, end)
      this.#understood = true
      this.#owner.frame(this.#header, bytes, end, skipped)
      if (this.#pausable === undefined || ++count % FRAMES_PER_LOOK !== 0) continue
      if (clock.monotonicMs() < endMs) continue
      this.#wait()
      void this.#goOnLater()
      return
    }
    if (this.#paused && !this.#closed) {
      this.#paused = false
      this.#pausable?.resume()
    }
  }

  /** Reads nothing more until #process has been through what is there. */
  #wait(): void {
    if (!this.#decoder.keep()) {
      this.fail(new ProtocolError('memory for what other nodes sent is short, and it sends on'))
      return
    }
    if (this.#paused) return
    this.#paused = true
    this.#pausable?.pause()
  }

  async #goOnLater(): Promise<void> {
    await yieldToEventLoop()
    if (!this.#closed && this.#paused) this.#contain(() => this.#process())
  }

  /** Sends what was written, then closes. */
  end(failure?: KvError): void {
    if (this.#ending || this.#closed) return
    this.#failure ??= failure
    this.flush()
    this.#ending = true
    this.#wire?.end()
    if (this.#paused) this.#pausable?.resume()
  }

  /** Closes now. */
  fail(failure: KvError | undefined): void {
    if (this.#closed) return
    this.#failure ??= failure
    this.#wire?.destroy()
    this.wireClosed(undefined)
  }

  wireClosed(error: Error | undefined): void {
    if (this.#closed) return
    this.#closed = true
    this.#decoder.dispose()
    this.output.reset()
    this.#owner.streamClosed(this.#failure ?? error)
  }
}

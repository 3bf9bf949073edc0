/**
 * What the conversations of all protocols have in common on the side of their input: bytes are cut
 * into requests, and requests are begun in slices of time, so that one client with a long pipeline
 * does not keep the others waiting.
 *
 *   receive --> begun, one after the other --blocked, or the slice is over: hasInput--> process
 *
 * Invariants:
 *  1. While `blocked`, no request is begun.
 *  2. A run of requests ends after SLICE_MS, with input left over: the connection goes on with it
 *     when others have had their turn.
 */
import type { Share } from './admission.ts'
import { AnsweredRun } from './answered-run.ts'
import type { ConversationSink } from './conversation.ts'
import { FirstBytes } from './first-bytes.ts'
import { OutputBuffer } from './output-buffer.ts'
import type { ServerContext } from './server-context.ts'

/** Output is handed to the socket during a long run of requests once it exceeds this. */
export const FLUSH_BYTES = 64 * 1024
/** Requests of one connection are begun for so long before others have their turn. */
const SLICE_MS = 0.5
/** Requests between two looks at the clock. */
const REQUESTS_PER_LOOK = 8
/** What an idle connection holds for its replies. */
const OUTPUT_CAPACITY = 1024

/** What cuts the input into requests. */
export interface RequestDecoder {
  /** Bytes that were not looked at. */
  readonly pending: number
  /** True when the input ends within a request. */
  readonly incomplete: boolean
  push(bytes: Uint8Array, size: number): void
  /** Copies what was lent. False when there is no memory for it. */
  keep(): boolean
  /** Finds the next request; throws for what is none. */
  next(): boolean
}

export abstract class RequestLoop {
  readonly output = new OutputBuffer(OUTPUT_CAPACITY)
  readonly share: Share
  readonly context: ServerContext
  readonly sink: ConversationSink
  /** When the last complete request arrived, in monotonic milliseconds. */
  lastRequestMs: number
  /** When the incomplete request at the end of the input began; undefined when there is none. */
  frameBeganMs: number | undefined
  /** When the bytes at hand arrived, in monotonic milliseconds. */
  receivedMs: number
  readonly answered: AnsweredRun
  protected readonly firstBytes = new FirstBytes()

  abstract readonly open: boolean
  abstract readonly ending: boolean
  abstract readonly blocked: boolean
  protected abstract readonly decoder: RequestDecoder
  /** Begins the request that the decoder has found. */
  protected abstract begin(nowMs: number): void
  /** The input cannot be cut into requests any more, because of `error`. */
  protected abstract failInput(error: unknown): void

  constructor(context: ServerContext, sink: ConversationSink, nowMs: number) {
    this.context = context
    this.sink = sink
    this.share = context.admission.share()
    this.answered = new AnsweredRun(context)
    this.lastRequestMs = this.receivedMs = nowMs
  }

  get remoteAddress(): string {
    return this.sink.remoteAddress
  }

  get hasInput(): boolean {
    return this.decoder.pending > 0
  }

  /** See Conversation. */
  receive(bytes: Uint8Array, size: number, nowMs: number): void {
    if (this.ending) return
    if (!this.open) this.firstBytes.remember(bytes, size)
    this.receivedMs = nowMs
    this.decoder.push(bytes, size)
    this.process(nowMs)
  }

  keepInput(): boolean {
    return this.decoder.keep()
  }

  describeFirstBytes(): string {
    return this.firstBytes.describe()
  }

  process(nowMs: number): void {
    const endMs = nowMs + SLICE_MS
    const { clock } = this.context
    let count = 0
    this.beginRun()
    try {
      this.resumeRun()
      while (!this.ending && !this.blocked && this.decoder.next()) {
        this.lastRequestMs = nowMs
        this.frameBeganMs = undefined
        this.begin(nowMs)
        if (this.output.length > FLUSH_BYTES) this.sink.flush()
        if (++count % REQUESTS_PER_LOOK === 0 && clock.monotonicMs() >= endMs) break
      }
    } catch (error) {
      this.failInput(error)
    }
    this.endRun()
    this.frameBeganMs = this.decoder.incomplete ? (this.frameBeganMs ?? nowMs) : undefined
    this.answered.end(this.receivedMs)
  }

  /** A run of requests is about to begin. */
  protected beginRun(): void {}

  /** What was put off in an earlier run may begin. */
  protected resumeRun(): void {}

  /** A run of requests is over. */
  protected endRun(): void {}
}

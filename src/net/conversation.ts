/**
 * What a connection carries: a protocol, spoken with one client. Bytes come in through `receive`,
 * replies gather in `output`; sockets, turns and time limits are the connection's business. The
 * binary protocol's is session.ts, that of Redis clients resp/resp-session.ts.
 *
 *   receive --> begun, answered in `output` --blocked, or time over: hasInput--> process, later
 *
 * Nothing that a client sends throws out of a conversation: it is answered with an error, or ends
 * the conversation.
 */
import type { KvError } from '../errors.ts'
import type { Share } from './admission.ts'
import type { Access } from './auth/index.ts'
import type { LoadKind } from './load-meter.ts'
import type { OutputBuffer } from './output-buffer.ts'
import type { ServerContext } from './server-context.ts'

/** What a conversation needs of its connection. */
export interface ConversationSink {
  /** Bytes handed to the socket that the peer has not taken. */
  readonly backlogBytes: number
  /** `host:port` of the other end. */
  readonly remoteAddress: string
  /** Hands `output` to the socket now. */
  flush(): void
  /** Something was written to `output` outside `receive`: flush at the end of this tick. */
  scheduleFlush(): void
  /** Cuts the connection. */
  destroy(): void
}

export interface Conversation {
  readonly output: OutputBuffer
  readonly share: Share
  /** Named in the log. */
  readonly clientName: string
  /** True once the client may ask for anything. */
  readonly open: boolean
  /** What its user may do. */
  readonly access: Access
  /** When it became a stranger again, in monotonic milliseconds; 0: it is one from the start. */
  readonly strangeSinceMs: number
  /** True once nothing more will be read. */
  readonly ending: boolean
  /** Why it ended early; undefined when it did not. */
  readonly failure: string | undefined
  /** Requests that wait for their answer. */
  readonly waitingCount: number
  /** True while no further request may begin. */
  readonly blocked: boolean
  /** True when bytes arrived that were not looked at: blocked, or it is the turn of others. */
  readonly hasInput: boolean
  /** When the last complete request arrived, in monotonic milliseconds. */
  readonly lastRequestMs: number
  /** When the incomplete request at the end of the input began; undefined when there is none. */
  readonly frameBeganMs: number | undefined
  /** A client that is silent for so long is disconnected. */
  readonly idleTimeoutMs: number
  /**
   * Takes bytes[0, size), borrowed until `hasInput` is false or `keepInput` was called. Requires
   * that `hasInput` was false.
   */
  receive(bytes: Uint8Array, size: number, nowMs: number): void
  /** Copies what was received and not looked at. False when there is no memory for it. */
  keepInput(): boolean
  /** Begins requests until the input or the time is used up, or it is blocked. */
  process(nowMs: number): void
  /** Fails requests whose deadline passed. */
  sweep(nowMs: number): void
  /** The peer took what waited. */
  outputDrained(): void
  /** Tells the client to go elsewhere, if the protocol has a word for it. */
  goAway(graceMs: number): void
  /** Tells the client of a new ring, if the protocol has a word for it. */
  pushRing(ring: Uint8Array): void
  /** Ends the conversation with an error that concerns all of it. */
  refuse(error: KvError): void
  /** No more input will come; what waits is still answered. */
  endInput(): void
  /** What the client sent before it was admitted, for the log. */
  describeFirstBytes(): string
  /** Nobody is there any more: releases everything. */
  dispose(): void
}

/** A protocol that a server speaks. */
export interface ServerProtocol {
  /** Begins a conversation with a client that has just connected. */
  converse(context: ServerContext, sink: ConversationSink, nowMs: number): Conversation
  /** What the number means that durations are recorded under. */
  operationName(operation: number): string
  /** What such an operation does to data. */
  kindOf(operation: number): LoadKind | undefined
  /** The number of what takes as long as it is told to, and says nothing of the server. */
  readonly untimed?: number
  /** How many requests came of each kind, where ServerStats does not count them. */
  requestsByName?(): Record<string, number>
}

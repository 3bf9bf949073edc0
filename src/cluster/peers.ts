/**
 * What the parts of a node need of its connections to the other members: messages out, messages
 * in. Implemented by the peer links over TCP, and in tests by whatever carries bytes.
 *
 * Three lanes a peer, so that small and urgent messages never wait behind large ones: `urgent` for
 * gossip and agreement, `data` for what a client waits for, `bulk` for hints and repair.
 */
import type { NodeId } from './ring-member.ts'

export type Lane = 'urgent' | 'data' | 'bulk'

/** Kinds of messages, append-only. One that a node does not know is answered with KV_PROTOCOL. */
export const PeerMessage = {
  /** Membership (SWIM): 1 to 15. */
  probe: 1,
  probeRequest: 2,
  gossip: 3,
  fullState: 4,
  clock: 5,
  boots: 6,
  /** Ring and forming: 16 to 31. */
  ringFetch: 16,
  epochPrepare: 17,
  epochAccept: 18,
  epochCommit: 19,
  join: 20,
  /** Writes: 32 to 47. */
  replicate: 32,
  hints: 33,
  forwardWrite: 34,
  hintReport: 35,
  /** Reads: 48 to 63. */
  readVersions: 48,
  readStored: 49,
  forwardRead: 50,
  scanOpen: 51,
  scanNext: 52,
  scanClose: 53,
  readRepair: 54,
  count: 55,
  /** Anti-entropy: 64 to 79. */
  treeRoots: 64,
  treeLeaves: 65,
  treeKeys: 66,
  treePush: 67,
  purge: 68,
  repairRun: 69,
} as const

/** What is known of a message from a peer besides its body. */
export interface PeerContext {
  readonly from: NodeId
  /** Monotonic milliseconds after which nobody waits for the answer; Infinity when nobody does. */
  readonly deadlineMs: number
  /** The epoch of the sender's ring. */
  readonly epoch: number
}

/**
 * Answers a request, or takes a message that wants no answer, in which case what it returns is
 * dropped. The body is borrowed until it returns. A KvError that it throws reaches the peer as one
 * with the same code and text.
 */
export type PeerHandler = (
  body: Uint8Array,
  context: PeerContext,
) => Uint8Array | Promise<Uint8Array>

export interface Peers {
  readonly self: NodeId

  /** Says who answers messages of a kind. Once a kind, before the links are started. */
  handle(kind: number, handler: PeerHandler): void

  /**
   * Sends without waiting. False when it was dropped: no link is open, or too much waits on it. The
   * body is copied.
   */
  send(peer: NodeId, lane: Lane, kind: number, body: Uint8Array): boolean

  /**
   * Resolves to the answer, the caller's own. The body is copied. Rejects with UnavailableError
   * when the peer certainly did not get it (no link, queue full), with TimeoutError when
   * `timeoutMs` has passed, with ClosedError when the link broke meanwhile, and with the error that
   * the peer answered. After a TimeoutError or ClosedError the request may have taken effect.
   */
  request(
    peer: NodeId,
    lane: Lane,
    kind: number,
    body: Uint8Array,
    timeoutMs: number,
  ): Promise<Uint8Array>

  /** True while a link of the data lane is open and authenticated. */
  isLinked(peer: NodeId): boolean

  /** Calls back whenever isLinked changes for a peer; returns how to stop that. */
  onLink(listener: (peer: NodeId, isLinked: boolean) => void): () => void

  /**
   * True while it is linked and gives signs of life: it may answer what it is asked now. False soon
   * after it was asked something and all its links fell silent.
   */
  isAnswering(peer: NodeId): boolean

  /** Calls back when a linked peer has fallen silent, or is no longer; returns how to stop. */
  onAnswering(listener: (peer: NodeId) => void): () => void

  /** Bytes that wait on the lane of this peer. */
  backlogBytes(peer: NodeId, lane: Lane): number

  /**
   * True while a large answer of the peer arrives on the lane: what else it answers there comes
   * behind it, and is not late for that.
   */
  isReceivingLarge(peer: NodeId, lane: Lane): boolean
}

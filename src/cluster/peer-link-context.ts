/** What all links of a node share. */
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { SharedSecret } from '../secret.ts'
import type { PeerFlusher } from './peer-flusher.ts'
import type { Objection } from './peer-handshake.ts'
import type { Hello } from './peer-hello.ts'
import type { PeerLimits, PeerReceiveBudget } from './peer-limits.ts'
import type { Lane, PeerHandler } from './peers.ts'
import type { ProcessPauses } from './process-pauses.ts'
import type { NodeId } from './ring-member.ts'

export interface PeerLinkContext {
  readonly clock: Clock
  readonly logger: Logger
  readonly secret: SharedSecret
  readonly limits: PeerLimits
  readonly flusher: PeerFlusher
  readonly budget: PeerReceiveBudget
  /** By kind of message. */
  readonly handlers: readonly (PeerHandler | undefined)[]
  readonly stats: PeerStats
  readonly pauses: ProcessPauses
  /** The epoch of this node's ring. */
  epoch(): number
  /** What this node says of itself, with a challenge of its own. */
  hello(lane: Lane): Hello
  /** What speaks against a node that knows the secret. */
  judge(peer: Hello): Objection | undefined
  /** A node sent a frame of an epoch above all that it sent before on this link. */
  heard(peer: NodeId, epoch: number): void
}

/** Counters over all links since the start. */
export interface PeerStats {
  /** Links that came to be open, dialled and accepted. */
  linksOpened: number
  /** Handshakes that failed, whoever refused. */
  handshakesFailed: number
  /** Accepted wires that were ended before their handshake, as there were too many. */
  turnedAway: number
  requestsSent: number
  requestsReceived: number
  messagesSent: number
  messagesReceived: number
  /** Of frames, handshakes included. */
  bytesSent: number
  bytesReceived: number
  /** Not sent or not taken, because a limit was reached. */
  dropped: number
}

export function newPeerStats(): PeerStats {
  return {
    linksOpened: 0,
    handshakesFailed: 0,
    turnedAway: 0,
    requestsSent: 0,
    requestsReceived: 0,
    messagesSent: 0,
    messagesReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    dropped: 0,
  }
}

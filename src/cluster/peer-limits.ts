/** How much links between nodes may hold, and how long they wait. Tests make them small. */

const MIB = 1024 * 1024

export interface PeerLimits {
  /** A longer frame ends the link. Must hold the largest entry. @defaultValue 32 MiB */
  readonly frameSizeMax: number
  /** Bytes that wait on a lane; what would exceed it is refused or dropped. @defaultValue 4 MiB */
  readonly laneBytesMax: number
  /** Answers that a node has not taken; above it nothing of it is read. @defaultValue 4 MiB */
  readonly answersPauseBytes: number
  /** An answer that would exceed it becomes KV_OVERLOADED. @defaultValue 32 MiB */
  readonly answersBytesMax: number
  /** Bytes of frames in the making, over all links. @defaultValue 128 MiB */
  readonly receiveBytesMax: number
  /** Requests of a link that are being answered; one more: KV_OVERLOADED. @defaultValue 4096 */
  readonly inFlightMax: number
  /** Accepted wires without a finished handshake; one more ends the oldest. @defaultValue 64 */
  readonly strangersMax: number
  /** Accepted links in all; one more is refused. @defaultValue 4096 */
  readonly acceptedMax: number
  /** Nodes that are no members and are dialled all the same. @defaultValue 64 */
  readonly guestsMax: number
  /** From dialling, or being accepted, to a finished handshake. @defaultValue 4 s */
  readonly handshakeTimeoutMs: number
  /** A dialled link that brought nothing for so long is probed. @defaultValue 1 s */
  readonly pingAfterMs: number
  /** A node that is asked and says nothing for so long is not counted on. @defaultValue 1 s */
  readonly silentAfterMs: number
  /** And a link without a sign of life for so long is closed. @defaultValue 4 s */
  readonly silentMaxMs: number
  /** After the last word a wire is closed for good. @defaultValue 1 s */
  readonly lingerMs: number
  /** Between two attempts to dial; grows from the first to the second, with jitter. */
  readonly redialMinMs: number
  readonly redialMaxMs: number
  /** Times are looked at so often. @defaultValue 250 ms */
  readonly sweepMs: number
  /** The operating system probes a silent node from then on. @defaultValue 30 s */
  readonly keepAliveMs: number
}

export const DEFAULT_PEER_LIMITS: PeerLimits = Object.freeze({
  frameSizeMax: 32 * MIB,
  laneBytesMax: 4 * MIB,
  answersPauseBytes: 4 * MIB,
  answersBytesMax: 32 * MIB,
  receiveBytesMax: 128 * MIB,
  inFlightMax: 4096,
  strangersMax: 64,
  acceptedMax: 4096,
  guestsMax: 64,
  handshakeTimeoutMs: 4000,
  pingAfterMs: 1000,
  silentAfterMs: 1000,
  silentMaxMs: 4000,
  lingerMs: 1000,
  redialMinMs: 50,
  redialMaxMs: 5000,
  sweepMs: 250,
  keepAliveMs: 30_000,
})

/** Bytes of incomplete frames that all links of a node share. */
export class PeerReceiveBudget {
  readonly #sizeMax: number
  #size = 0

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax
  }

  get size(): number {
    return this.#size
  }

  reserve(size: number): boolean {
    if (this.#size + size > this.#sizeMax) return false
    this.#size += size
    return true
  }

  release(size: number): void {
    this.#size -= size
  }
}

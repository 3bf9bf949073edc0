/**
 * Sockets whose handshake is not over: nobody has accepted them yet, so no limit of the server
 * holds for them. A flood takes the place of the one that waits longest.
 */
const PENDING_MAX = 512

interface Place {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/** A socket below TLS. */
interface Pending extends Place {
  write(bytes: Uint8Array): unknown
  destroy(): unknown
  prependOnceListener(event: 'close', listener: () => void): unknown
}

export class TlsHandshakes {
  readonly #pending = new Map<string, Pending>()
  /** Of the socket that closed last: the encrypted one over it closes right behind it. */
  #closedLast = 'unknown:0'

  get count(): number {
    return this.#pending.size
  }

  begun(socket: Pending): void {
    // Looked at now: a socket that is closed does not tell any more.
    const name = addressOf(socket)
    if (this.#pending.size >= PENDING_MAX) {
      for (const longest of this.#pending.values()) {
        longest.destroy()
        break
      }
    }
    this.#pending.set(name, socket)
    // First of all listeners: the encrypted socket over it is one, and is told of in its turn.
    socket.prependOnceListener('close', () => {
      this.#closedLast = name
      if (this.#pending.get(name) === socket) this.#pending.delete(name)
    })
  }

  /** The encrypted socket over one that has begun. */
  done(socket: Place): void {
    this.#pending.delete(addressOf(socket))
  }

  /** `host:port` of an encrypted socket that came to nothing, while it is told of that. */
  addressOf(socket: Place): string {
    return socket.remoteAddress === undefined ? this.#closedLast : addressOf(socket)
  }

  /** Says something below the encrypted socket, if that is open still. */
  answerPlain(socket: Place, answer: Uint8Array): void {
    this.#pending.get(addressOf(socket))?.write(answer)
  }

  destroyAll(): void {
    for (const socket of this.#pending.values()) socket.destroy()
  }
}

/** The other end may be gone already, and then nobody knows where it was. */
export function addressOf({ remoteAddress, remotePort }: Place): string {
  return `${remoteAddress ?? 'unknown'}:${remotePort ?? 0}`
}

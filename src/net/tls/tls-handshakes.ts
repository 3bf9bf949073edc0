/**
 * Sockets whose handshake is not over: nobody has accepted them yet, so no limit of the server
 * holds for them. A flood takes the place of the one that waits longest.
 */
const PENDING_MAX = 512

interface Pending {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
  destroy(): unknown
  once(event: 'close', listener: () => void): unknown
}

export class TlsHandshakes {
  readonly #pending = new Map<string, Pending>()

  get count(): number {
    return this.#pending.size
  }

  begun(socket: Pending): void {
    const name = nameOf(socket)
    if (this.#pending.size >= PENDING_MAX) {
      for (const longest of this.#pending.values()) {
        longest.destroy()
        break
      }
    }
    this.#pending.set(name, socket)
    socket.once('close', () => this.#pending.delete(name))
  }

  /** The encrypted socket over one that has begun. */
  done(socket: Pick<Pending, 'remoteAddress' | 'remotePort'>): void {
    this.#pending.delete(nameOf(socket))
  }

  destroyAll(): void {
    for (const socket of this.#pending.values()) socket.destroy()
  }
}

function nameOf({ remoteAddress, remotePort }: Pick<Pending, 'remoteAddress' | 'remotePort'>) {
  return `${remoteAddress}:${remotePort}`
}

/**
 * How a server is reached: over TCP, or over whatever a test puts in its place. The counterpart of
 * connector.ts: what one side writes, the other one's `received` gets.
 */
import { createServer, type Socket } from 'node:net'
import type { Wire } from './connector.ts'
import { bind, closeListener } from './listener.ts'
import { PiecewiseWriter } from './piecewise-writer.ts'
import type { ListenAddress } from './server-options.ts'
import { READ_SIZE_MAX, readShared } from './shared-read.ts'

/** A stream of bytes from and to one client. */
export interface AcceptedWire extends Wire {
  /** `host:port` of the other end, for the log. */
  readonly remoteAddress: string
  /** Nothing is received until `resume`. */
  pause(): void
  resume(): void
}

/** What an accepted wire tells. Nothing is told before `accept` has returned, or after `closed`. */
export interface AcceptedEvents {
  /** bytes[0, size), borrowed until this returns. */
  received(bytes: Uint8Array, size: number): void
  /** Everything written was taken. */
  drained(): void
  /** The other end has finished; what is written to it still arrives. */
  ended(): void
  /** Exactly once, also after `destroy`; with the error that closed it, if it was one. */
  closed(error: Error | undefined): void
}

export interface AcceptOptions extends ListenAddress {
  /** The operating system probes a client that was silent for so many milliseconds. */
  readonly keepAliveMs: number
  /** Accepting failed; the listener goes on. */
  readonly failed: (error: Error) => void
}

export interface Listening {
  /** The port is the one that the system chose when 0 was asked for. */
  readonly address: ListenAddress
  /** Accepts nothing more. Resolves once the port is free and every accepted wire is closed. */
  close(): Promise<void>
}

/** Takes a wire, or turns it away with undefined: then it is destroyed and tells nothing. */
export type Accept = (wire: AcceptedWire) => AcceptedEvents | undefined

export interface Acceptor {
  /**
   * Resolves once connections are accepted. Rejects with LockedError when another program listens
   * there, with InvalidArgumentError when the address cannot be listened on.
   */
  listen(options: AcceptOptions, accept: Accept): Promise<Listening>
}

/** Accepts over TCP. All its sockets are read into one buffer; see shared-read.ts. */
export function tcpAcceptor(): Acceptor {
  const buffer = new Uint8Array(READ_SIZE_MAX)
  return {
    async listen(options, accept) {
      const listener = createServer({ allowHalfOpen: true }, socket => {
        acceptSocket(socket, options.keepAliveMs, buffer, accept)
      })
      const address = await bind(listener, options)
      listener.on('error', options.failed)
      return { address, close: () => closeListener(listener) }
    },
  }
}

function acceptSocket(
  accepted: Socket,
  keepAliveMs: number,
  buffer: Uint8Array,
  accept: Accept,
): void {
  // The client may be gone already, and then nobody knows where it was.
  const remoteAddress = `${accepted.remoteAddress ?? 'unknown'}:${accepted.remotePort ?? 0}`
  const socket = readShared(accepted, buffer, (bytes, size) => events?.received(bytes, size))
  socket.setNoDelay(true)
  socket.setKeepAlive(true, keepAliveMs)
  const wire = new AcceptedSocket(socket, remoteAddress)
  const events = accept(wire)
  if (events === undefined) socket.destroy()
  else wire.tell(events)
}

export class AcceptedSocket implements AcceptedWire {
  readonly remoteAddress: string
  readonly #socket: Socket
  readonly #writer: PiecewiseWriter

  constructor(socket: Socket, remoteAddress: string) {
    this.#socket = socket
    this.#writer = new PiecewiseWriter(socket)
    this.remoteAddress = remoteAddress
  }

  /** Tells what the socket does from now on, but for what it receives. */
  tell(events: AcceptedEvents): void {
    let failure: Error | undefined
    this.#writer.drained = () => events.drained()
    this.#socket.on('end', () => events.ended())
    this.#socket.on('error', error => {
      failure = error
    })
    this.#socket.on('close', () => events.closed(failure))
  }

  get backlogBytes(): number {
    return this.#writer.backlogBytes
  }

  write(bytes: Uint8Array): boolean {
    return this.#writer.write(bytes)
  }

  end(): void {
    this.#writer.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }
}

/** How a client reaches a server: over TCP, or over whatever a test puts in its place. */
import { connect, type Socket } from 'node:net'
import type { NodeAddress } from './connection-url.ts'
import { PiecewiseWriter } from './piecewise-writer.ts'

/** The operating system probes a silent server from then on. */
const KEEP_ALIVE_MS = 30_000

/** A stream of bytes to one server. */
export interface Wire {
  /** Bytes written that were not taken yet. */
  readonly backlogBytes: number
  /** True when the bytes were taken at once, so that their memory may be used again. */
  write(bytes: Uint8Array): boolean
  /** Finishes what was written, then closes. */
  end(): void
  /** Closes now. `closed` is still called. */
  destroy(): void
}

/** What a wire tells. Nothing is told before `dial` has returned, or after `closed`. */
export interface WireEvents {
  opened(): void
  /** The chunk is borrowed until this returns. */
  received(chunk: Uint8Array): void
  /** Everything written was taken. */
  drained(): void
  /** Exactly once; with the error that closed it, if it was one. */
  closed(error: Error | undefined): void
}

export interface Connector {
  /** Begins to connect. */
  dial(address: NodeAddress, events: WireEvents): Wire
}

/** Connects over TCP. */
export function tcpConnector(): Connector {
  return { dial: dialTcp }
}

function dialTcp(address: NodeAddress, events: WireEvents): Wire {
  const socket = connect({ host: address.host, port: address.port, noDelay: true })
  return wireOver(socket, 'connect', events, error => error)
}

/** The wire over a socket that begins to connect; `explain` says what an error of it means. */
export function wireOver(
  socket: Socket,
  openedEvent: 'connect' | 'secureConnect',
  events: WireEvents,
  explain: (error: Error) => Error,
): Wire {
  let failure: Error | undefined
  const writer = new PiecewiseWriter(socket, () => events.drained())
  socket.setKeepAlive(true, KEEP_ALIVE_MS)
  socket.on(openedEvent, () => events.opened())
  // A plain view: Buffer's own slice does not copy.
  socket.on('data', (chunk: Buffer) => {
    events.received(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))
  })
  socket.on('error', error => {
    failure = explain(error)
  })
  socket.on('close', () => events.closed(failure))
  return {
    get backlogBytes() {
      return writer.backlogBytes
    },
    write: bytes => writer.write(bytes),
    end: () => writer.end(),
    destroy() {
      socket.destroy()
    },
  }
}

/**
 * Reading accepted sockets into one buffer that all of them share.
 *
 * By default Node allocates 64 KiB for every read, cuts that to what came, wraps it and passes it
 * through a stream. `new Socket({ onread })` reads into a buffer of ours instead; but
 * net.createServer has no such option for the sockets that it accepts. So the handle of an accepted
 * socket is moved into a Socket that is made with `onread`.
 *
 * The option is documented; the handle (`_handle`, and the option that takes one) is not, though
 * all of Node's own servers pass it on like this. So nothing here depends on it:
 *  1. A socket without a handle is used as Node gave it, with its 'data' events.
 *  2. A moved one whose `onread` is not honoured has 'data' events like any other socket.
 */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'

/** As much as Node reads at once by itself. */
export const READ_SIZE_MAX = 64 * 1024

/** Gets what came, bytes[0, size), borrowed until it returns. */
export type OnBytes = (bytes: Uint8Array, size: number) => void

/** The types lack `onread` here, though Node has it from 12.10 on. */
interface MovedSocketOptions extends SocketConstructorOpts {
  readonly handle: object
  readonly onread: OnReadOpts
}

/**
 * Begins to read `accepted`, if possible into `buffer`, which any number of sockets may share.
 * Returns the socket to use from now on. Requires that it was accepted in this tick, so that
 * nothing of it was read yet.
 */
export function readShared(accepted: Socket, buffer: Uint8Array, onBytes: OnBytes): Socket {
  const socket = moved(accepted, buffer, onBytes) ?? accepted
  socket.on('data', (chunk: Uint8Array) => {
    // A plain view: Buffer's own slice does not copy.
    onBytes(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length), chunk.length)
  })
  return socket
}

function moved(accepted: Socket, buffer: Uint8Array, onBytes: OnBytes): Socket | undefined {
  const source: { _handle?: unknown } = accepted as object
  const handle = source._handle
  if (typeof handle !== 'object' || handle === null) return undefined
  const onread = {
    buffer,
    callback(size: number): boolean {
      onBytes(buffer, size)
      return true
    },
  }
  const { allowHalfOpen } = accepted
  const options: MovedSocketOptions = { handle, onread, allowHalfOpen }
  const socket = new Socket(options)
  // What is left of the accepted one is a stream without a socket; closing it closes nothing.
  source._handle = null
  accepted.destroy()
  return socket
}

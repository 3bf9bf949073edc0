/** What a hostile client does around the bytes that it sends, whatever the door. */
import { connect, type Socket } from 'node:net'
import { yieldToEventLoop } from '../../src/clock.ts'
import type { Random } from '../../src/random.ts'

const IDLE_MS_MAX = 50
/**
 * A process that had no processor for a while finds its timers due before it has read what came
 * meanwhile: the server, which is in the same process, has its turns before its client gives up.
 */
const IDLE_TURNS_MIN = 20

/** Sends the bytes in pieces, reads what comes or not, and leaves in one way or another. */
export function converse(port: number, bytes: Uint8Array, random: Random): Promise<void> {
  return new Promise(resolve => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: random.below(2) === 0 })
    socket.setTimeout(IDLE_MS_MAX, () => void giveUp(socket))
    socket.on('error', () => undefined)
    socket.on('close', () => resolve())
    if (random.below(4) > 0) socket.resume()
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + random.below([3, 100, 10_000][random.below(3)]!)
      socket.write(bytes.subarray(at, at + size))
      at += size
    }
    if (random.below(3) === 0) socket.destroy()
    else socket.end()
  })
}

async function giveUp(socket: Socket): Promise<void> {
  for (let turn = 0; turn < IDLE_TURNS_MIN; turn++) await yieldToEventLoop()
  socket.destroy()
}

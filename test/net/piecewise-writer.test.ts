// What is proved: bytes leave in order and all before the end, whatever the socket takes at once;
// something long is seen to move while it goes out; and who has to wait is told when all was taken.
// Method: a stream that takes what it is given at once or later, as a seed says, in place of the
// socket: it counts and gathers writes as a socket does, being made of the same class of Node.
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Writable } from 'node:stream'
import { describe, test } from 'node:test'
import { PiecewiseWriter } from '../../src/net/piecewise-writer.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'

const PIECE = 256 * 1024

class FakeSocket extends Writable {
  readonly taken: Uint8Array[] = []
  /** What it was given and has not taken. */
  waiting: (() => void) | undefined
  readonly #takesAtOnce: () => boolean

  constructor(takesAtOnce: () => boolean) {
    super({ highWaterMark: 16 * 1024 })
    this.#takesAtOnce = takesAtOnce
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#take([chunk], done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#take(
      chunks.map(({ chunk }) => chunk),
      done,
    )
  }

  #take(chunks: Uint8Array[], done: () => void): void {
    const take = () => {
      for (const chunk of chunks) this.taken.push(Uint8Array.from(chunk))
      done()
    }
    if (this.#takesAtOnce()) take()
    else this.waiting = take
  }

  /** Takes what waits. */
  proceed(): void {
    const take = this.waiting
    this.waiting = undefined
    take?.()
  }
}

/** What callbacks of a stream wait for. */
const tick = () => new Promise<void>(resolve => setImmediate(resolve))

function isQuiet(socket: FakeSocket): boolean {
  return socket.waiting === undefined && (!socket.writableEnded || socket.writableFinished)
}

function randomBytes(random: Random): Uint8Array {
  const size = random.below(random.below(4) === 0 ? 4 * PIECE : 20_000) + 1
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at += 97) bytes[at] = random.below(256)
  return bytes
}

describe('writing in pieces', () => {
  test('keeps the order, tells when all was taken, and ends after it', async t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 20; round++) {
      const atOnce = random.below(100)
      const socket = new FakeSocket(() => random.below(100) < atOnce)
      let isAllowed = false
      let isOwed = false
      const writer = new PiecewiseWriter(socket as unknown as Socket, () => {
        assert.ok(isAllowed, 'nobody is told who did not have to wait')
        assert.equal(writer.backlogBytes, 0)
        isAllowed = isOwed = false
      })
      const written: Uint8Array[] = []
      for (let step = 0; step < 30; step++) {
        if (random.below(3) === 0) {
          socket.proceed()
          await tick()
        } else {
          written.push(randomBytes(random))
          if (!writer.write(written.at(-1)!)) isAllowed = true
          if (writer.backlogBytes >= socket.writableHighWaterMark) isOwed = true
        }
      }
      const isEnded = random.below(2) === 0
      if (isEnded) writer.end()
      for (let turn = 0; turn < 1000 && !(isQuiet(socket) && writer.backlogBytes === 0); turn++) {
        socket.proceed()
        await tick()
      }
      assert.equal(Buffer.concat(written).compare(Buffer.concat(socket.taken)), 0)
      assert.equal(writer.backlogBytes, 0)
      assert.equal(socket.writableFinished, isEnded)
      // An end may be all that is heard of it: nobody writes any more.
      if (!isEnded) assert.equal(isOwed, false)
    }
  })

  test('shows something long move, piece by piece, behind something short as well', async () => {
    for (const before of [0, 100]) {
      const socket = new FakeSocket(() => false)
      const writer = new PiecewiseWriter(socket as unknown as Socket)
      if (before > 0) writer.write(new Uint8Array(before))
      assert.equal(writer.write(new Uint8Array(3 * PIECE)), false)
      let left = writer.backlogBytes
      assert.equal(left, 3 * PIECE + before)
      while (left > 0) {
        socket.proceed()
        await tick()
        assert.ok(writer.backlogBytes < left && writer.backlogBytes >= left - PIECE)
        left = writer.backlogBytes
      }
    }
  })

  test('gives up what waits with the socket', async () => {
    const socket = new FakeSocket(() => false)
    const writer = new PiecewiseWriter(socket as unknown as Socket)
    writer.write(new Uint8Array(3 * PIECE))
    writer.end()
    socket.destroy()
    await tick()
    assert.ok(writer.backlogBytes <= PIECE)
    assert.deepEqual(socket.taken, [])
  })
})

// Goal: whatever way TCP cuts a stream, the decoder hands out the same messages; nothing a peer
// sends makes it allocate more than arrived, or throw anything but ProtocolError.
// Method: properties over messages and cuts; the two bad lengths; a budget that runs dry.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ProtocolError } from '../../src/errors.ts'
import { FrameDecoder } from '../../src/net/frame.ts'
import type { ReceiveBudget } from '../../src/net/receive-buffer.ts'
import { printSeed } from '../support/seed.ts'

const message = fc.uint8Array({ minLength: 8, maxLength: 3000, size: 'max' })

function frame(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + body.length)
  new DataView(bytes.buffer).setUint32(0, body.length, true)
  bytes.set(body, 4)
  return bytes
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts))
}

/** Cuts a stream at the given places, each taken modulo the length. */
function cut(stream: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [...new Set(places.map(place => place % (stream.length + 1)))].sort(
    (a, b) => a - b,
  )
  const ends = [...sorted, stream.length]
  return ends.map((end, index) => stream.slice(index === 0 ? 0 : ends[index - 1], end))
}

class CountingBudget implements ReceiveBudget {
  readonly #max: number
  reserved = 0
  reservedMax = 0

  constructor(max: number) {
    this.#max = max
  }

  reserve(size: number): boolean {
    if (this.reserved + size > this.#max) return false
    this.reserved += size
    this.reservedMax = Math.max(this.reservedMax, this.reserved)
    return true
  }

  release(size: number): void {
    this.reserved -= size
    assert.ok(this.reserved >= 0)
  }
}

interface Decoded {
  readonly skipped: boolean
  readonly body: Uint8Array
}

function decodeAll(decoder: FrameDecoder, chunks: readonly Uint8Array[]): Decoded[] {
  const messages: Decoded[] = []
  for (const chunk of chunks) {
    decoder.push(chunk)
    while (decoder.next()) {
      const { bytes, start, end, skipped } = decoder
      messages.push({ skipped, body: bytes.slice(start, end) })
    }
  }
  return messages
}

describe('FrameDecoder', () => {
  test('hands out the same messages however the stream is cut', t => {
    const seed = printSeed(t)
    const places = fc.array(fc.nat(), { maxLength: 40 })
    fc.assert(
      fc.property(fc.array(message, { maxLength: 12 }), places, (bodies, at) => {
        const budget = new CountingBudget(1_000_000)
        const decoder = new FrameDecoder(3000, budget)
        const decoded = decodeAll(decoder, cut(concat(bodies.map(frame)), at))
        assert.deepEqual(
          decoded.map(({ body }) => Buffer.from(body)),
          bodies.map(body => Buffer.from(body)),
        )
        assert.equal(decoder.incomplete, false)
        decoder.dispose()
        assert.equal(budget.reserved, 0)
      }),
      { seed },
    )
  })

  test('byte by byte', () => {
    const stream = concat([frame(new Uint8Array(8).fill(1)), frame(new Uint8Array(20).fill(2))])
    const decoder = new FrameDecoder(100)
    const chunks = [...stream].map(byte => Uint8Array.of(byte))
    assert.deepEqual(
      decodeAll(decoder, chunks).map(({ body }) => body.length),
      [8, 20],
    )
  })

  test('does not copy a message that lies in one chunk', () => {
    const stream = concat([frame(new Uint8Array(8)), frame(new Uint8Array(9))])
    const decoder = new FrameDecoder(100)
    decoder.push(stream)
    while (decoder.next()) assert.equal(decoder.bytes, stream)
  })

  test('no prefix of a frame is a message', () => {
    const whole = frame(new Uint8Array(64).fill(7))
    for (let size = 0; size < whole.length; size++) {
      const decoder = new FrameDecoder(100)
      assert.deepEqual(decodeAll(decoder, [whole.slice(0, size)]), [])
      assert.equal(decoder.incomplete, size > 0)
    }
  })

  for (const length of [0, 7, 101, 0x7fff_ffff, 0xffff_ffff]) {
    test(`refuses the length ${length}, whole or cut`, () => {
      const head = new Uint8Array(4)
      new DataView(head.buffer).setUint32(0, length, true)
      for (const chunks of [[head], [head.slice(0, 3), head.slice(3)]]) {
        assert.throws(() => decodeAll(new FrameDecoder(100), chunks), ProtocolError)
      }
    })
  }

  test('allocates for what came, not for what was promised', () => {
    const budget = new CountingBudget(Number.POSITIVE_INFINITY)
    const decoder = new FrameDecoder(16 << 20, budget)
    const head = frame(new Uint8Array(0))
    new DataView(head.buffer).setUint32(0, 16 << 20, true)
    decodeAll(decoder, [head, new Uint8Array(5000)])
    assert.ok(budget.reserved <= 16_384, `${budget.reserved} bytes for 5,000`)
  })

  test('skips a frame that the budget refuses, and goes on with the next', t => {
    const seed = printSeed(t)
    const places = fc.array(fc.nat(), { minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 8 }), places, (bodies, at) => {
        const budget = new CountingBudget(1500)
        const decoder = new FrameDecoder(3000, budget)
        const decoded = decodeAll(decoder, cut(concat(bodies.map(frame)), at))
        assert.equal(decoded.length, bodies.length)
        decoded.forEach(({ skipped, body }, index) => {
          const expected = skipped ? bodies[index]!.subarray(0, 28) : bodies[index]!
          assert.deepEqual(Buffer.from(body), Buffer.from(expected))
        })
        assert.ok(budget.reservedMax <= 1500)
        decoder.dispose()
        assert.equal(budget.reserved, 0)
      }),
      { seed },
    )
  })

  test('garbage ends in ProtocolError or silence, never in another error', t => {
    const seed = printSeed(t)
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 })), chunks => {
        const decoder = new FrameDecoder(1000)
        try {
          decodeAll(
            decoder,
            chunks.map(chunk => Uint8Array.from(chunk)),
          )
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error))
        }
      }),
      { seed, numRuns: 500 },
    )
  })

  test('a lent buffer may be used again once what is left of it was kept', t => {
    const lent = new Uint8Array(64 * 1024)
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 8 }),
        fc.infiniteStream(fc.nat(3)),
        (bodies, draws) => {
          const decoder = new FrameDecoder(4096)
          const stream = concat(bodies.map(frame))
          lent.set(stream)
          decoder.push(lent, stream.length)
          for (const body of bodies) {
            if (draws.next().value === 0) {
              decoder.keep()
              lent.fill(0xee)
            }
            assert.ok(decoder.next())
            assert.deepEqual(decoder.bytes.slice(decoder.start, decoder.end), body)
          }
          assert.equal(decoder.next(), false)
          assert.equal(decoder.pending, 0)
        },
      ),
      { seed: printSeed(t) },
    )
  })

  test('a message that was taken stays as it was, and frees its budget', () => {
    const budget = new CountingBudget(1_000_000)
    const decoder = new FrameDecoder(5000, budget)
    const bodies = [10, 3000, 900, 12].map((size, index) => new Uint8Array(size).fill(index + 1))
    const lent = new Uint8Array(100)
    const taken: Uint8Array[] = []
    const stream = concat(bodies.map(frame))
    for (let at = 0; at < stream.length; at += lent.length) {
      lent.set(stream.subarray(at, at + lent.length))
      decoder.push(lent, Math.min(lent.length, stream.length - at))
      while (decoder.next()) {
        const before = budget.reserved
        taken.push(decoder.takeMessage(decoder.start + 2))
        assert.ok(before === 0 || budget.reserved === 0)
      }
      lent.fill(0xee)
    }
    assert.deepEqual(
      taken,
      bodies.map(body => body.subarray(2).slice()),
    )
  })

  test('what is kept is charged until it is used up, and refused without a budget for it', () => {
    const budget = new CountingBudget(100)
    const stream = concat([frame(new Uint8Array(40)), frame(new Uint8Array(40))])
    const decoder = new FrameDecoder(1000, budget)
    decoder.push(stream)
    assert.ok(decoder.next() && decoder.keep() && decoder.keep())
    assert.equal(budget.reserved, 44)
    const other = new FrameDecoder(1000, budget)
    other.push(stream)
    assert.equal(other.keep(), false)
    assert.equal(budget.reserved, 44)
    assert.ok(decoder.next() && !decoder.next())
    assert.equal(budget.reserved, 0)
    const third = new FrameDecoder(1000, budget)
    third.push(stream.subarray(0, 60))
    assert.ok(third.next() && third.keep())
    assert.equal(budget.reserved, 16)
    third.dispose()
    assert.equal(budget.reserved, 0)
  })
})

// Goal: requests and replies survive a round trip, and no bytes whatever make a decoder read out of
// bounds, allocate beyond its input, or throw anything but DecodeError.
// Method: round trips of arbitrary messages; every prefix and every flipped bit of samples.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { DecodeError } from '../../src/bytes.ts'
import { OutputBuffer } from '../../src/net/output-buffer.ts'
import { decodeRequest, encodeRequest } from '../../src/net/request.ts'
import { decodeResponse, encodeResponse } from '../../src/net/response.ts'
import { errorBody, request, requestId, requestOptions, response } from '../support/messages.ts'
import { printSeed } from '../support/seed.ts'

type Decode = (bytes: Uint8Array, start: number, end: number) => unknown

/** Decodes damaged bytes; only DecodeError may come out. True when it was noticed. */
function decodesSafely(decode: Decode, bytes: Uint8Array): void {
  try {
    decode(bytes, 4, bytes.length)
  } catch (error) {
    assert.ok(
      error instanceof DecodeError,
      `${String(error)} from ${Buffer.from(bytes).toString('hex')}`,
    )
  }
}

/** Every prefix, and every bit flipped, of a frame. */
function damage(decode: Decode, frame: Uint8Array): void {
  for (let size = 4; size < frame.length; size++) decodesSafely(decode, frame.slice(0, size))
  for (let bit = 32; bit < frame.length * 8; bit++) {
    const damaged = Uint8Array.from(frame)
    damaged[bit >> 3]! ^= 1 << (bit & 7)
    decodesSafely(decode, damaged)
  }
}

describe('requests', () => {
  test('survive a round trip', t => {
    const seed = printSeed(t)
    fc.assert(
      fc.property(requestId, requestOptions, request, (id, options, message) => {
        const output = new OutputBuffer(16)
        encodeRequest(output, id, options, message)
        const bytes = output.written
        assert.equal(Buffer.from(bytes).readUInt32LE(0), bytes.length - 4)
        const decoded = decodeRequest(bytes, 4, bytes.length)
        assert.deepEqual(decoded, { id, options, request: message })
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('damaged ones are refused or mean something else, never more', t => {
    const seed = printSeed(t)
    fc.assert(
      fc.property(requestId, requestOptions, request, (id, options, message) => {
        const output = new OutputBuffer(16)
        encodeRequest(output, id, options, message)
        damage(decodeRequest, output.written)
      }),
      { seed, numRuns: 60 },
    )
  })

  test('noise behind a valid opcode is refused or means something', t => {
    const seed = printSeed(t)
    const noise = fc.tuple(fc.integer({ min: 0, max: 21 }), fc.uint8Array({ maxLength: 200 }))
    fc.assert(
      fc.property(noise, ([opcode, rest]) => {
        decodesSafely(decodeRequest, Uint8Array.of(0, 0, 0, 0, opcode, 0, 0, 0, 1, ...rest))
      }),
      { seed, numRuns: 3000 },
    )
  })
})

describe('replies', () => {
  test('survive a round trip', t => {
    const seed = printSeed(t)
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), response, (anyId, { opcode, response: message }) => {
        const id = message.type === 'goaway' ? 0 : anyId
        const output = new OutputBuffer(16)
        encodeResponse(output, opcode, id, message)
        const bytes = output.written
        assert.equal(Buffer.from(bytes).readUInt32LE(0), bytes.length - 4)
        assert.deepEqual(decodeResponse(bytes, 4, bytes.length), { opcode, id, response: message })
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('damaged ones are refused or mean something else, never more', t => {
    const seed = printSeed(t)
    fc.assert(
      fc.property(response, ({ opcode, response: message }) => {
        const output = new OutputBuffer(16)
        encodeResponse(output, opcode, 1, message)
        damage(decodeResponse, output.written)
      }),
      { seed, numRuns: 60 },
    )
  })

  test('an error message that is too long is cut between characters', () => {
    fc.assert(
      fc.property(errorBody, fc.constantFrom('ä', '漢', '🌲', 'x'), (body, letter) => {
        const output = new OutputBuffer(16)
        const message = letter.repeat(3000)
        encodeResponse(output, 5, 1, { type: 'error', status: 24, ...body, message })
        const { response: decoded } = decodeResponse(output.written, 4, output.length)
        assert.ok(decoded.type === 'error')
        assert.ok(message.startsWith(decoded.message) && decoded.message.length > 500)
      }),
      { numRuns: 20 },
    )
  })
})

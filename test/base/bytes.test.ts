// Goal: what is written is read back equal, and bytes from outside are never read past their end.
// Method: properties over random input, against BigInt and Buffer where they know the answer, and
// every prefix of an encoded record.
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import fc from 'fast-check'
import {
  ByteReader,
  ByteWriter,
  compareBytes,
  compareRanges,
  copyBytes,
  DecodeError,
  equalBytes,
  readUint64,
  UINT32_MAX,
  utf8Decode,
  utf8Encode,
  VARINT32_SIZE_MAX,
  varintSize,
  writeUint64,
  writeVarint,
} from '../../src/bytes.ts'
import { printSeed } from '../support/seed.ts'

const bytes = (maxLength = 40) => fc.uint8Array({ maxLength })
/** Close to the powers of two, where encodings change their length. */
const edgeyUint32 = fc.oneof(
  fc.nat(UINT32_MAX),
  fc
    .tuple(fc.nat(32), fc.integer({ min: -2, max: 2 }))
    .map(([power, offset]) => Math.min(UINT32_MAX, Math.max(0, 2 ** power + offset))),
)
const edgeySafeInteger = fc.oneof(
  fc.maxSafeNat(),
  fc
    .tuple(fc.nat(53), fc.integer({ min: -2, max: 2 }))
    .map(([power, offset]) => Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, 2 ** power + offset))),
)

function check<T>(context: TestContext, arbitrary: fc.Arbitrary<T>, holds: (input: T) => void) {
  const property = fc.property(arbitrary, input => holds(input))
  fc.assert(property, { seed: printSeed(context), numRuns: 500 })
}

describe('comparison', () => {
  test('is that of Buffer', context => {
    // Few different bytes, so that equal prefixes are common, and 0x7f, 0x80 beside each other.
    const few = fc.array(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), { maxLength: 6 })
    check(context, fc.tuple(few, few), ([a, b]) => {
      const [left, right] = [Uint8Array.from(a), Uint8Array.from(b)]
      assert.equal(Math.sign(compareBytes(left, right)), Buffer.compare(left, right))
      assert.equal(equalBytes(left, right), Buffer.compare(left, right) === 0)
    })
  })

  test('of ranges looks at nothing else', context => {
    check(context, fc.tuple(bytes(8), bytes(8), bytes(8)), ([a, b, around]) => {
      const left = Uint8Array.from([...around, ...a, 1])
      const right = Uint8Array.from([9, ...b, ...around])
      const found = compareRanges(
        left,
        around.length,
        around.length + a.length,
        right,
        1,
        1 + b.length,
      )
      assert.equal(Math.sign(found), Buffer.compare(a, b))
    })
  })
})

describe('text', () => {
  test('round-trips, byte order mark and all', context => {
    check(context, fc.string({ unit: 'grapheme' }), text => {
      assert.equal(utf8Decode(utf8Encode(text)), text)
      assert.deepEqual(utf8Encode(text), new Uint8Array(Buffer.from(text)))
    })
    assert.equal(utf8Decode(utf8Encode('\ufeffkey')), '\ufeffkey')
  })

  test('that is no UTF-8 is replaced, not refused', () => {
    assert.equal(utf8Decode(Uint8Array.of(0x61, 0xff, 0x62)), 'a\ufffdb')
  })
})

describe('varints', () => {
  test('have the documented bytes', () => {
    const examples: [number, number[]][] = [
      [0, [0]],
      [127, [0x7f]],
      [128, [0x80, 0x01]],
      [300, [0xac, 0x02]],
      [UINT32_MAX, [0xff, 0xff, 0xff, 0xff, 0x0f]],
    ]
    for (const [value, expected] of examples) {
      const target = new Uint8Array(VARINT32_SIZE_MAX)
      assert.equal(writeVarint(target, 0, value), expected.length)
      assert.deepEqual([...target.subarray(0, expected.length)], expected)
    }
  })

  test('round-trip, in the size that was told', context => {
    check(context, edgeyUint32, value => {
      const target = new Uint8Array(VARINT32_SIZE_MAX + 1).fill(0xee)
      const end = writeVarint(target, 1, value)
      assert.equal(end - 1, varintSize(value))
      const reader = new ByteReader(target, 1)
      assert.equal(reader.varint(), value)
      assert.equal(reader.offset, end)
    })
  })

  test('beyond 32 bits, or without an end, are refused', () => {
    const broken = [
      [0xff, 0xff, 0xff, 0xff, 0x10],
      [0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
      [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
      [0x80],
      [],
    ]
    for (const input of broken) {
      assert.throws(() => new ByteReader(Uint8Array.from(input)).varint(), DecodeError)
    }
    for (const value of [-1, UINT32_MAX + 1, Number.NaN]) {
      assert.throws(() => writeVarint(new Uint8Array(9), 0, value), { name: 'AssertionError' })
    }
  })
})

describe('64-bit numbers', () => {
  test('are little-endian and exact up to 2^53 - 1', context => {
    check(context, edgeySafeInteger, value => {
      const view = new DataView(new ArrayBuffer(9))
      writeUint64(view, 1, value)
      assert.equal(view.getBigUint64(1, true), BigInt(value))
      assert.equal(readUint64(view, 1), value)
    })
  })

  test('above are told apart when read and refused when written', context => {
    const large = fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n })
    check(context, large, value => {
      const view = new DataView(new ArrayBuffer(8))
      view.setBigUint64(0, value, true)
      assert.equal(readUint64(view, 0), -1)
      assert.throws(() => new ByteReader(new Uint8Array(view.buffer)).uint64(), DecodeError)
    })
    const view = new DataView(new ArrayBuffer(8))
    for (const value of [-1, 0.5, 2 ** 53, Number.NaN]) {
      assert.throws(() => writeUint64(view, 0, value), { name: 'AssertionError' })
    }
  })
})

describe('reader and writer', () => {
  type NumberKind = 'uint8' | 'uint16' | 'uint32' | 'uint64' | 'varint'
  type BytesKind = 'raw' | 'lengthPrefixed'
  type Field = { kind: NumberKind; value: number } | { kind: BytesKind; value: Uint8Array }

  const field: fc.Arbitrary<Field> = fc.oneof(
    fc.record({ kind: fc.constant('uint8' as const), value: fc.nat(0xff) }),
    fc.record({ kind: fc.constant('uint16' as const), value: fc.nat(0xffff) }),
    fc.record({ kind: fc.constant('uint32' as const), value: edgeyUint32 }),
    fc.record({ kind: fc.constant('uint64' as const), value: edgeySafeInteger }),
    fc.record({ kind: fc.constant('varint' as const), value: edgeyUint32 }),
    fc.record({ kind: fc.constant('raw' as const), value: bytes(300) }),
    fc.record({ kind: fc.constant('lengthPrefixed' as const), value: bytes(300) }),
  )

  function write(fields: readonly Field[], writer: ByteWriter): Uint8Array {
    for (const { kind, value } of fields) {
      if (typeof value === 'number') writer[kind as NumberKind](value)
      else writer[kind as BytesKind](value)
    }
    return writer.written
  }

  function read(fields: readonly Field[], reader: ByteReader): void {
    for (const { kind, value } of fields) {
      if (kind === 'raw') assert.deepEqual(reader.view(value.length), value)
      else assert.deepEqual(reader[kind](), value)
    }
    reader.expectEnd()
  }

  test('agree on any sequence of fields', context => {
    const writer = new ByteWriter(1)
    check(context, fc.array(field, { maxLength: 12 }), fields => {
      writer.reset()
      const written = write(fields, writer)
      assert.equal(writer.length, written.length)
      read(fields, new ByteReader(written))
      // The same in the middle of other bytes.
      const around = Uint8Array.from([1, 2, ...written, 3])
      read(fields, new ByteReader(around, 2, around.length - 1))
    })
  })

  test('every prefix ends in a DecodeError with its place', context => {
    check(context, fc.array(field, { minLength: 1, maxLength: 6 }), fields => {
      const written = write(fields, new ByteWriter())
      for (let size = 0; size < written.length; size++) {
        assert.throws(
          () => read(fields, new ByteReader(written, 0, size)),
          error => error instanceof DecodeError && error.offset <= size,
        )
      }
    })
  })

  test('bytes too many are refused, a length that lies too', () => {
    const reader = new ByteReader(Uint8Array.of(5, 1, 2))
    assert.throws(() => reader.expectEnd(), /3 bytes too many/)
    assert.throws(() => reader.lengthPrefixed(), /needs 5 bytes, 2 are left/)
  })

  test('a copy is the caller’s own, a view is not', () => {
    const source = Uint8Array.of(1, 2, 3, 4)
    const reader = new ByteReader(source)
    const copy = reader.copy(2)
    const view = reader.view(2)
    source.fill(9)
    assert.deepEqual(copy, Uint8Array.of(1, 2))
    assert.deepEqual(view, Uint8Array.of(9, 9))
    assert.equal(copy.buffer.byteLength, 2)
  })

  test('written numbers can be filled in later', () => {
    const writer = new ByteWriter(2).uint32(0).uint8(7)
    writer.setUint32(0, 0x01020304)
    assert.deepEqual(writer.written, Uint8Array.of(4, 3, 2, 1, 7))
    assert.throws(() => writer.setUint32(2, 0), { name: 'AssertionError' })
  })
})

// Goal: a copy is a copy also of a Buffer, whose own slice() shares its memory.
test('copyBytes shares nothing with a Buffer', () => {
  const source = Buffer.from([1, 2, 3, 4])
  const whole = copyBytes(source)
  const part = copyBytes(source, 1, 3)
  source.fill(9)
  assert.deepEqual(whole, Uint8Array.of(1, 2, 3, 4))
  assert.deepEqual(part, Uint8Array.of(2, 3))
})

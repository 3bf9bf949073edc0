// Goal: stored forms have the documented bytes, damage is noticed, and merging them is a rule that
// replicas can apply in any order.
// Method: golden bytes, every cut and every wrong flag, and algebraic laws over random forms.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { DecodeError, utf8Encode } from '../../src/bytes.ts'
import {
  checkStored,
  encodeTombstone,
  encodeValue,
  expiryMs,
  isTombstone,
  liveValue,
  mergeStored,
  storedTimeMs,
} from '../../src/cluster/versioned-value.ts'
import {
  encodeVersion,
  UINT48_MAX,
  versionCounter,
  versionTimeMs,
} from '../../src/write-version.ts'

const WRITER = Uint8Array.of(0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8)
const VERSION = encodeVersion(0x0123_4567_89ab, 0xcdef, WRITER)

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

describe('stored form', () => {
  test('has the documented bytes', () => {
    const version = '0123456789abcdefa1a2a3a4a5a6a7a8'
    assert.equal(hex(VERSION), version)
    assert.equal(hex(encodeValue(VERSION, utf8Encode('hi'), 0)), `0100${version}6869`)
    const expiring = encodeValue(VERSION, utf8Encode('hi'), 0x0123_4567_ffff)
    assert.equal(hex(expiring), `0102${version}01234567ffff6869`)
    assert.equal(hex(encodeTombstone(VERSION)), `0101${version}`)
  })

  test('gives back what was put in', () => {
    assert.equal(versionTimeMs(VERSION), 0x0123_4567_89ab)
    assert.equal(versionCounter(VERSION), 0xcdef)
    const plain = encodeValue(VERSION, utf8Encode('v'), 0)
    assert.deepEqual(liveValue(plain, UINT48_MAX), utf8Encode('v'))
    assert.equal(expiryMs(plain), 0)
    const expiring = encodeValue(VERSION, utf8Encode('v'), 1000)
    assert.deepEqual(liveValue(expiring, 999), utf8Encode('v'))
    assert.equal(liveValue(expiring, 1000), undefined)
    assert.equal(expiryMs(expiring), 1000)
    const tombstone = encodeTombstone(VERSION)
    assert.equal(liveValue(tombstone, 0), undefined)
    assert.equal(storedTimeMs(tombstone), 0x0123_4567_89ab)
    assert.ok(isTombstone(tombstone) && !isTombstone(plain))
  })

  test('of an empty value is a value', () => {
    assert.deepEqual(liveValue(encodeValue(VERSION, new Uint8Array(0), 0), 0), new Uint8Array(0))
  })

  test('is refused when cut, of another form or with unknown flags', () => {
    const expiring = encodeValue(VERSION, new Uint8Array(0), 1000)
    for (let size = 0; size < expiring.length; size++) {
      assert.throws(() => checkStored(expiring.subarray(0, size)), DecodeError, `${size} bytes`)
    }
    for (const form of [0, 2, 255]) {
      assert.throws(() => liveValue(expiring.with(0, form), 0), DecodeError)
    }
    for (let flags = 3; flags < 256; flags++) {
      assert.throws(() => liveValue(expiring.with(1, flags), 0), DecodeError)
    }
    assert.throws(() => checkStored(expiring.with(1, 1)), DecodeError, 'tombstone with a value')
  })
})

const storedForm: fc.Arbitrary<Uint8Array> = fc
  .record({
    timeMs: fc.integer({ min: 0, max: 2 }),
    counter: fc.integer({ min: 0, max: 1 }),
    writer: fc.uint8Array({ minLength: 8, maxLength: 8, max: 1 }),
    kind: fc.constantFrom('value', 'expiring', 'tombstone'),
    value: fc.uint8Array({ maxLength: 2, max: 1 }),
  })
  .map(({ timeMs, counter, writer, kind, value }) => {
    const version = encodeVersion(timeMs, counter, writer)
    if (kind === 'tombstone') return encodeTombstone(version)
    return encodeValue(version, value, kind === 'expiring' ? 5 : 0)
  })

describe('merge', () => {
  test('is commutative, associative and idempotent', () => {
    fc.assert(
      fc.property(storedForm, storedForm, storedForm, (a, b, c) => {
        assert.deepEqual(mergeStored(a, b), mergeStored(b, a))
        assert.deepEqual(mergeStored(mergeStored(a, b), c), mergeStored(a, mergeStored(b, c)))
        assert.deepEqual(mergeStored(a, a), a)
      }),
      { numRuns: 5000 },
    )
  })

  test('keeps the later version, then the tombstone, then the larger bytes', () => {
    const other = WRITER.with(7, 0xff)
    const value = (version: Uint8Array, text: string) => encodeValue(version, utf8Encode(text), 0)
    const ascending = [
      value(encodeVersion(1, 9, other), 'z'),
      value(encodeVersion(2, 0, other), 'z'),
      value(encodeVersion(2, 1, WRITER), 'z'),
      value(encodeVersion(2, 1, other), 'a'),
      value(encodeVersion(2, 1, other), 'b'),
      encodeTombstone(encodeVersion(2, 1, other)),
      value(encodeVersion(2, 2, WRITER), 'a'),
    ]
    for (const [index, winner] of ascending.entries()) {
      for (const loser of ascending.slice(0, index))
        assert.equal(mergeStored(loser, winner), winner)
    }
  })
})

// Goal: every key of abstract-level has a place in the engine, the empty one included, and in the
// same order. Method: all keys over a small alphabet up to a length, each against each.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareBytes, utf8Decode } from '../../src/bytes.ts'
import { dataBytes, formatted, storedKey, userKey } from '../../src/level-key.ts'

function allKeys(lengthMax: number): Uint8Array[] {
  const keys = [new Uint8Array(0)]
  for (let length = 1, from = 0; length <= lengthMax; length++) {
    const to = keys.length
    for (const key of keys.slice(from, to)) {
      for (const byte of [0, 1, 0xff]) keys.push(Uint8Array.of(...key, byte))
    }
    from = to
  }
  return keys
}

test('keys come back as they were, and keep their order', () => {
  const keys = allKeys(5)
  assert.equal(keys.length, 1 + 3 + 9 + 27 + 81 + 243)
  const stored = keys.map(key => storedKey(key))
  for (const [index, key] of keys.entries()) {
    assert.ok(stored[index]!.length > 0, 'the engine takes it')
    assert.deepEqual(userKey(stored[index]!), key)
    assert.equal(
      stored[index] === key,
      key.some(byte => byte !== 0),
      'others are stored as is',
    )
    for (const [other, otherKey] of keys.entries()) {
      const order = Math.sign(compareBytes(key, otherKey))
      assert.equal(Math.sign(compareBytes(stored[index]!, stored[other]!)), order)
    }
  }
})

test('texts, Buffers and views are the same bytes', () => {
  for (const text of ['', 'a', '\ufeffbom', 'é€😀', '\ud800']) {
    const bytes = dataBytes(text)
    assert.deepEqual(new Uint8Array(bytes), new TextEncoder().encode(text))
    assert.equal(formatted(bytes, 'utf8'), utf8Decode(bytes))
    assert.deepEqual(formatted(bytes, 'buffer'), Buffer.from(text))
    assert.equal(formatted(bytes, 'view'), bytes)
  }
})

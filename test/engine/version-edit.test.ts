// Goal: an edit reads back as it was written, and bytes that are none are refused with a typed
// error, never taken for something else and never with a crash.
// Method: random edits; every prefix, every changed byte; hand-made records of a later format.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ByteWriter, DecodeError } from '../../src/bytes.ts'
import {
  decodeVersionEdit,
  encodeVersionEdit,
  LEVEL_COUNT,
  type VersionEdit,
} from '../../src/engine/version-edit.ts'
import { VersionMismatchError } from '../../src/errors.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { randomNumber, randomTable } from '../support/random-table.ts'
import { printSeed } from '../support/seed.ts'

function encode(edit: VersionEdit): Uint8Array {
  const writer = new ByteWriter()
  encodeVersionEdit(edit, writer)
  return writer.written
}

function decode(bytes: Uint8Array): VersionEdit {
  return decodeVersionEdit(bytes, 0, bytes.length)
}

function randomEdit(random: Random): VersionEdit {
  const edit: Record<string, unknown> = {}
  const maybe = (name: string, make: () => unknown) => {
    if (random.below(2) === 0) edit[name] = make()
  }
  maybe('features', () => 2 ** 16 * random.below(2 ** 16))
  maybe('databaseId', () => random.bytes(16))
  for (const name of ['nextFileNumber', 'lastSequence', 'logNumber', 'wallMsMax']) {
    maybe(name, () => randomNumber(random))
  }
  maybe('closedWal', () => ({ fileNumber: randomNumber(random), length: randomNumber(random) }))
  maybe('removed', () =>
    Array.from({ length: 1 + random.below(4) }, () => ({
      level: random.below(LEVEL_COUNT),
      fileNumber: randomNumber(random),
    })),
  )
  maybe('added', () =>
    Array.from({ length: 1 + random.below(4) }, () => ({
      level: random.below(LEVEL_COUNT),
      table: randomTable(
        random,
        1 + random.below(2 ** 32),
        random.bytes(1 + random.below(300)).fill(1),
        random.bytes(1 + random.below(3) * 9000).fill(2),
      ),
    })),
  )
  return edit
}

describe('version edits', () => {
  test('read back as written', t => {
    const random = seededRandom(printSeed(t))
    for (let round = 0; round < 500; round++) {
      const edit = randomEdit(random)
      assert.deepEqual(decode(encode(edit)), edit)
    }
  })

  test('bytes that are no edit are refused', t => {
    const random = seededRandom(printSeed(t))
    let refused = 0
    for (let round = 0; round < 40; round++) {
      const bytes = encode(randomEdit(random))
      for (let index = 0; index < Math.min(bytes.length, 800); index++) {
        const changed = bytes.slice()
        changed[index]! ^= 1 + random.below(255)
        for (const wrong of [bytes.slice(0, index), changed]) {
          try {
            decode(wrong)
          } catch (error) {
            refused++
            const typed = error instanceof DecodeError || error instanceof VersionMismatchError
            assert.ok(typed, String(error))
          }
        }
      }
    }
    assert.ok(refused > 1000, `${refused} refused`)
  })

  test('an optional record of a later format is skipped, a required one refused', () => {
    const known = { logNumber: 7 }
    const record = (tag: number) => new Uint8Array([...encode(known), tag, 3, 1, 2, 3])
    assert.deepEqual(decode(record(128)), known)
    assert.deepEqual(decode(record(255)), known)
    assert.throws(() => decode(record(11)), VersionMismatchError)
    assert.throws(() => decode(record(127)), VersionMismatchError)
    assert.throws(() => decode(record(0)), DecodeError)
  })

  test('features that must be understood are refused, others are not', () => {
    assert.throws(() => decode(encode({ features: 2 })), VersionMismatchError)
    assert.throws(() => decode(encode({ features: 0x8000 })), VersionMismatchError)
    assert.deepEqual(decode(encode({ features: 0x1_0000 })), { features: 0x1_0000 })
  })
})

// Goal: a block gives back what was put in, in every way of asking, and no damaged block does harm.
// Method: random entries against a sorted array; golden bytes; every flipped byte of a stored block
// and every truncation must be refused, and damage behind a right checksum must not hurt either.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes, DecodeError } from '../../src/bytes.ts'
import { BlockAnswer, BlockReader, findInBlock } from '../../src/engine/block.ts'
import { BlockBuilder } from '../../src/engine/block-builder.ts'
import {
  BLOCK_TRAILER_SIZE,
  BlockCodec,
  checksumSeed,
  openSealedBlock,
  sealBlock,
} from '../../src/engine/block-codec.ts'
import { checkBlock } from '../../src/engine/block-format.ts'
import { Cursor } from '../../src/engine/cursor.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import { LookupResult } from '../../src/engine/lookup-result.ts'
import { CorruptionError, VersionMismatchError } from '../../src/errors.ts'
import { loadHasher, xxh32 } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { printSeed } from '../support/seed.ts'
import {
  compareEntries,
  entryAt,
  type ModelEntry,
  randomEntries,
  textEntry,
} from '../support/table-model.ts'

const hasher = await loadHasher()
const file = { path: 'db/000012.sst', fileNumber: 12 }

/** Holds the entry that a BlockReader shows. */
class Holder extends Cursor {
  override seekToFirst(): void {}
  override seekToLast(): void {}
  override seek(): void {}
  override next(): void {}
  override prev(): void {}
}

function tryAdd(builder: BlockBuilder, { key, sequence, kind, value }: ModelEntry): boolean {
  const print = xxh32(key, 0, key.length, 0) & 0xff
  return builder.tryAdd(print, key, 0, key.length, sequence, kind, value, 0, value.length)
}

/** As many of the entries as fit, as a block in a buffer of its own, behind `padding` bytes. */
function build(entries: ModelEntry[], padding = 0, sizeMax = 4091): [Uint8Array, ModelEntry[]] {
  const builder = new BlockBuilder(sizeMax)
  let count = 0
  while (count < entries.length && tryAdd(builder, entries[count]!)) count++
  builder.finish()
  assert.ok(builder.size <= sizeMax)
  const block = new Uint8Array(padding + builder.size)
  block.set(builder.bytes.subarray(0, builder.size), padding)
  return [block, entries.slice(0, count)]
}

function shown(reader: BlockReader, index: number): ModelEntry {
  const holder = new Holder()
  reader.show(index, holder)
  return entryAt(holder)
}

function find(block: Uint8Array, start: number, key: Uint8Array, maxSequence: number) {
  const result = new LookupResult()
  const hash = xxh32(key, 0, key.length, 0)
  const end = block.length
  const answer = findInBlock(block, start, end, hash, key, 0, key.length, maxSequence, result)
  const value = result.valueBytes.slice(result.valueStart, result.valueEnd)
  return { answer, entry: { key, sequence: result.sequence, kind: result.kind, value } }
}

function expectedFind(entries: ModelEntry[], key: Uint8Array, maxSequence: number) {
  const versions = entries.filter(entry => compareBytes(entry.key, key) === 0)
  const entry = versions.find(version => version.sequence <= maxSequence)
  if (entry !== undefined) return { answer: BlockAnswer.found, entry }
  const open = versions.length > 0 && versions.at(-1) === entries.at(-1)
  return { answer: open ? BlockAnswer.continues : BlockAnswer.absent, entry }
}

function checkAgainstModel(random: Random, entries: ModelEntry[]): void {
  const padding = random.below(9)
  const [block, kept] = build(entries, padding, 200 + random.below(4000))
  checkBlock(block, padding, block.length)
  const reader = new BlockReader()
  reader.open(block, padding, block.length)
  assert.equal(reader.count, kept.length)
  for (let index = kept.length - 1; index >= 0; index--) {
    assert.deepEqual(shown(reader, index), kept[index])
  }
  for (let round = 0; round < 40; round++) {
    const near = entries[random.below(entries.length)]!
    const key = near.key.slice(0, 1 + random.below(near.key.length + 1))
    if (random.next() < 0.3) key[key.length - 1] = random.below(256)
    const sequence = near.sequence + random.below(3) - 1
    const wanted = { key, sequence, kind: 1, value: key }
    const index = kept.findIndex(entry => compareEntries(entry, wanted) >= 0)
    assert.equal(reader.seek(key, 0, key.length, sequence), index < 0 ? kept.length : index)
    const expected = expectedFind(kept, key, sequence)
    const actual = find(block, padding, key, sequence)
    assert.equal(actual.answer, expected.answer)
    if (expected.entry !== undefined) assert.deepEqual(actual.entry, expected.entry)
  }
}

describe('block', () => {
  test('agrees with a sorted array', context => {
    const random = seededRandom(printSeed(context))
    for (let round = 0; round < 150; round++) {
      const shape = {
        count: 1 + random.below(200),
        keySpace: [1, 5, 1000][random.below(3)]!,
        keyLengthMax: [1, 16, 150][random.below(3)]!,
        valueLengthMax: [0, 8, 110][random.below(3)]!,
        sequenceMax: [1000, 2 ** 20, 2 ** 32][random.below(3)]!,
      }
      const entries = randomEntries(random, shape).filter(
        entry => entry.key.length + entry.value.length < 180,
      )
      if (entries.length > 0) checkAgainstModel(random, entries)
    }
  })

  test('keeps sequences of every width', () => {
    for (const sequence of [0, 1, 255, 2 ** 24, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
      const entries = [textEntry('a', sequence, 'x'), textEntry('b', 0, 'y')]
      const [block] = build(entries)
      checkBlock(block, 0, block.length)
      const reader = new BlockReader()
      reader.open(block, 0, block.length)
      assert.deepEqual([shown(reader, 0), shown(reader, 1)], entries)
      assert.deepEqual(find(block, 0, entries[0]!.key, sequence).entry, entries[0])
    }
  })

  test('has the documented bytes', () => {
    const [block] = build([textEntry('ka', 259, 'v1'), textEntry('kb', 258, '')])
    const prints = ['ka', 'kb'].map(key => xxh32(Buffer.from(key), 0, 2, 0) & 0xff)
    const hex = [
      '0200 0100 01 02010000000000 21000000',
      Buffer.from(prints).toString('hex'),
      '0000 0000 01 01',
      '0100 0200 01 00',
      '6b 61 62',
      '7631',
    ].join('')
    assert.equal(Buffer.from(block).toString('hex'), hex.replaceAll(' ', ''))
  })

  test('of one entry may be of any size', () => {
    const key = new Uint8Array(65_535).fill(7)
    const value = new Uint8Array(1_000_000).fill(9)
    const builder = new BlockBuilder(4091)
    const print = xxh32(key, 0, key.length, 0) & 0xff
    const entry = { key, sequence: 2 ** 45, kind: EntryKind.put, value }
    assert.equal(tryAdd(builder, entry), false)
    builder.buildAlone(print, key, 0, key.length, 2 ** 45, EntryKind.put, value, 0, value.length)
    const block = builder.bytes.slice(0, builder.size)
    checkBlock(block, 0, block.length)
    assert.deepEqual(find(block, 0, key, 2 ** 46), { answer: BlockAnswer.found, entry })
    assert.equal(find(block, 0, key, 5).answer, BlockAnswer.continues)
    builder.shrink()
    assert.ok(tryAdd(builder, textEntry('a', 1, 'b')))
  })

  test('tells keys apart whose fingerprint and length are the same', () => {
    const held = ['common-1', 'common-2', 'common-3']
    const [block] = build(held.map((key, index) => textEntry(key, index, key)))
    const print = (key: string): number => xxh32(Buffer.from(key), 0, key.length, 0) & 0xff
    let alike = 0
    for (let round = 0; alike < 300; round++) {
      // The same suffix behind another prefix, and another suffix behind the same prefix.
      const other = String(round % 1_000_000).padStart(6, '0')
      for (const key of [`${other}-${1 + (round % 3)}`, `common${other.slice(4)}`]) {
        if (key.length !== 8 || !held.some(one => print(one) === print(key))) continue
        alike++
        assert.equal(find(block, 0, Buffer.from(key), 9).answer, BlockAnswer.absent, key)
      }
    }
  })

  test('is cut before it exceeds its size', () => {
    const entries = Array.from({ length: 60 }, (_, index) =>
      textEntry(`key${String(index).padStart(13, '0')}`, index, 'v'.repeat(100)),
    )
    const [block, kept] = build(entries)
    assert.ok(block.length <= 4091)
    const [longer] = build(entries.slice(0, kept.length + 1), 0, 8192)
    assert.ok(longer.length > 4091, 'another entry would still have fit')
  })
})

describe('damaged block', () => {
  const entries = randomEntries(seededRandom(7), { count: 40, keySpace: 12 })
  const [block] = build(entries, 0, 900)
  const stored = new Uint8Array(block.length + BLOCK_TRAILER_SIZE)
  stored.set(block)
  sealBlock(stored, 0, block.length, BlockCodec.none, 12, 4096, hasher)

  test('is refused with any byte flipped', () => {
    assert.equal(openSealedBlock(stored, 0, stored.length, file, 4096, hasher), BlockCodec.none)
    for (let at = 0; at < stored.length; at++) {
      for (const bits of [1, 0x80, 0xff]) {
        const damaged = stored.slice()
        damaged[at]! ^= bits
        assert.throws(
          () => openSealedBlock(damaged, 0, damaged.length, file, 4096, hasher),
          (error: unknown) => error instanceof CorruptionError && error.offset === 4096,
        )
      }
    }
  })

  test('is refused at any shorter length, in another file or at another offset', () => {
    for (let size = 0; size < stored.length; size++) {
      assert.throws(() => openSealedBlock(stored, 0, size, file, 4096, hasher), CorruptionError)
    }
    const other = { path: 'x', fileNumber: 13 }
    assert.throws(() => openSealedBlock(stored, 0, stored.length, other, 4096, hasher))
    assert.throws(() => openSealedBlock(stored, 0, stored.length, file, 0, hasher))
    assert.throws(() => openSealedBlock(stored, 0, stored.length, file, 4096 + 2 ** 32, hasher))
  })

  test('of a codec from later times asks for a newer build', () => {
    const later = stored.slice()
    sealBlock(later, 0, block.length, 4 as BlockCodec, 12, 0, hasher)
    assert.throws(
      () => openSealedBlock(later, 0, later.length, file, 0, hasher),
      VersionMismatchError,
    )
  })

  test('does no harm even when its checksum is right', context => {
    const random = seededRandom(printSeed(context))
    let refused = 0
    for (let round = 0; round < 20_000; round++) {
      const damaged = block.slice()
      const changes = 1 + random.below(3)
      for (let change = 0; change < changes; change++) {
        const at = random.below(random.next() < 0.5 ? 16 : damaged.length)
        damaged[at] = random.below(256)
      }
      const end = random.next() < 0.2 ? random.below(damaged.length) : damaged.length
      try {
        checkBlock(damaged, 0, end)
      } catch (error) {
        assert.ok(error instanceof DecodeError)
        refused++
        continue
      }
      readEverything(damaged, end, entries)
    }
    assert.ok(refused > 5000, `only ${refused} were refused`)
  })

  test('seeds of checksums differ by file and offset', () => {
    const seeds = new Set<number>()
    for (let number = 0; number < 20; number++) {
      for (let offset = 0; offset < 20; offset++) seeds.add(checksumSeed(number, offset * 4096))
    }
    assert.equal(seeds.size, 400)
  })
})

/** Reads a block by every way; whatever comes out lies inside the block. */
function readEverything(block: Uint8Array, end: number, entries: ModelEntry[]): void {
  const reader = new BlockReader()
  reader.open(block, 0, end)
  const holder = new Holder()
  for (let index = 0; index < reader.count; index++) {
    reader.show(index, holder)
    assert.ok(holder.keyStart < holder.keyEnd && holder.keyEnd <= holder.keyBytes.length)
    assert.ok(holder.valueStart <= holder.valueEnd && holder.valueEnd <= end)
    assert.ok(Number.isSafeInteger(holder.sequence))
  }
  for (const { key, sequence } of entries.slice(0, 5)) {
    const place = reader.seek(key, 0, key.length, sequence)
    assert.ok(place >= 0 && place <= reader.count)
    const { answer, entry } = find(block, 0, key, sequence)
    if (answer === BlockAnswer.found) assert.ok(entry.value.length <= end)
  }
}

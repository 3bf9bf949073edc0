// Goal: the SSTable of FORMAT.md is what the writer writes and the reader reads, byte for byte.
// Method: the example's bytes are parsed out of the document and held against the writer; then the
// document's own numbers (offsets and texts in its comments) are held against those bytes.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { checksumSeed } from '../../src/engine/block-codec.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import { LevelCursor } from '../../src/engine/level-cursor.ts'
import { fragmentTombstones } from '../../src/engine/range-fragmenter.ts'
import { ReadAheadSource } from '../../src/engine/read-ahead-source.ts'
import { loadHasher, xxh32 } from '../../src/hash.ts'
import { checkComments, formatExample } from '../support/format-example.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import {
  entriesAhead,
  expiringValue,
  type ModelEntry,
  textEntry,
  writeTable,
} from '../support/table-model.ts'

const example = formatExample('sstable')
const lines = example.lines.map(line => ({ ...line, bytes: Buffer.from(line.bytes) }))
const documented = Buffer.from(example.bytes)
const entries: ModelEntry[] = [
  textEntry('apple', 7, 'red'),
  { key: bytesOf('apply'), sequence: 9, kind: EntryKind.delete, value: new Uint8Array(0) },
  {
    key: bytesOf('banana'),
    sequence: 8,
    kind: EntryKind.putExpiring,
    value: expiringValue(Date.UTC(2026, 0, 1), bytesOf('yellow')),
  },
]
const hasher = await loadHasher()
const disk = new MemoryFileSystem()
disk.makeDirectorySync('/db')
const options = { blockSize: 64, filterBitsPerKey: 10 }
const metadata = writeTable(disk, '/db', 12, entries, hasher, options)

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

describe('FORMAT.md, SSTable', () => {
  test('shows what the writer writes', () => {
    assert.equal(
      Buffer.from(disk.peek('/db/000012.sst')).toString('hex'),
      documented.toString('hex'),
    )
  })

  test('shows what the reader reads', () => {
    const directory = new MemoryFileSystem()
    directory.makeDirectorySync('/db')
    directory.plant('/db/000012.sst', documented)
    const cursor = new LevelCursor([metadata], new ReadAheadSource(directory, '/db', hasher))
    cursor.seekToFirst()
    assert.deepEqual(entriesAhead(cursor), entries)
  })

  test('names the offsets of its parts rightly', () => {
    let named = 0
    for (const { offset, comment } of lines) {
      const at = /^(?:block 2|filter|index|properties|footer) at (\d+):/.exec(comment)
      if (at === null) continue
      assert.equal(Number(at[1]), offset, comment)
      named++
    }
    assert.equal(named, 5)
  })

  test('quotes the texts that stand in the bytes', () => {
    for (const { bytes, comment } of lines) {
      for (const [, quoted] of comment.matchAll(
        /^(?:prefix|value|smallest key|largest key) "(\w+)"/g,
      )) {
        assert.ok(bytes.includes(quoted!), comment)
      }
    }
  })

  test('gives the rule of checksums', () => {
    const stored = documented.subarray(44, 91)
    const seed = (12n * 0x9e37_79b1n + 44n * 0x85eb_ca77n) % 2n ** 32n
    assert.equal(checksumSeed(12, 44), Number(seed))
    assert.equal(stored.readUInt32LE(43), xxh32(stored, 0, 43, Number(seed)))
    const footer = documented.subarray(265)
    assert.equal(footer.readUInt32LE(52), xxh32(footer, 0, 52, checksumSeed(12, 265)))
    assert.equal(metadata.fileChecksum, xxh32(documented, 0, documented.length, 0))
  })
})

describe('FORMAT.md, SSTable with ranges', () => {
  const example = formatExample('sstable-ranges')
  const ranges = [
    { start: bytesOf('apple'), end: bytesOf('banana'), sequences: [11] },
    { start: bytesOf('banana'), end: bytesOf('cherry\0'), sequences: [11, 10] },
  ]
  const rangeEntries = [textEntry('berry', 12, 'blue')]
  const tombstones = [
    { start: bytesOf('apple'), end: bytesOf('cherry\0'), sequences: [11] },
    { start: bytesOf('banana'), end: bytesOf('cherry\0'), sequences: [10] },
  ]
  const rangeDisk = new MemoryFileSystem()
  rangeDisk.makeDirectorySync('/db')
  const cut = fragmentTombstones(tombstones, Float64Array.of(10))
  const rangeMetadata = writeTable(rangeDisk, '/db', 13, rangeEntries, hasher, options, cut)

  test('shows what the fragmenter makes of its delete ranges', () => {
    assert.deepEqual(cut, ranges)
  })

  test('shows what the writer writes', () => {
    assert.deepEqual(rangeDisk.peek('/db/000013.sst'), example.bytes)
  })

  test('shows what the reader reads', () => {
    const directory = new MemoryFileSystem()
    directory.makeDirectorySync('/db')
    directory.plant('/db/000013.sst', example.bytes)
    const source = new ReadAheadSource(directory, '/db', hasher)
    assert.deepEqual(source.open(rangeMetadata).ranges, ranges)
    const cursor = new LevelCursor([rangeMetadata], source)
    cursor.seekToFirst()
    assert.deepEqual(entriesAhead(cursor), rangeEntries)
    source.close()
  })

  test('says of its own bytes what they are', () => {
    checkComments(example)
    for (const { offset, comment } of example.lines) {
      const at = /^(?:filter|index|ranges|properties|footer) at (\d+):/.exec(comment)
      if (at !== null) assert.equal(Number(at[1]), offset, comment)
    }
  })
})

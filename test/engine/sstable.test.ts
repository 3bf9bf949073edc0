// Goal: a table gives back what was written, and a damaged or foreign file is never believed.
// Method: random entries against a sorted array in a simulated file system; every byte of a small
// table flipped and every length cut; mismatches with the manifest's description, one by one.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes } from '../../src/bytes.ts'
import { BlockCodec } from '../../src/engine/block-codec.ts'
import { writeSeparator } from '../../src/engine/block-index-builder.ts'
import { BlockSource, type BlockView, readBlockSync } from '../../src/engine/block-source.ts'
import type { FileSystem } from '../../src/engine/file-system.ts'
import { LookupResult } from '../../src/engine/lookup-result.ts'
import { SstableReader } from '../../src/engine/sstable-reader.ts'
import { SstableWriter } from '../../src/engine/sstable-writer.ts'
import type { TableMetadata } from '../../src/engine/table-metadata.ts'
import { CorruptionError, KvError } from '../../src/errors.ts'
import { loadHasher, xxh32 } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import {
  addEntry,
  type ModelEntry,
  randomEntries,
  tableOptions,
  textEntry,
  writeTable,
} from '../support/table-model.ts'

const hasher = await loadHasher()

/** Reads each block from the file, every time. Tables are opened by the tests themselves. */
class PlainSource extends BlockSource {
  override open(): SstableReader {
    throw new Error('lookups are given an open table')
  }

  override fetch(reader: SstableReader, ordinal: number, view: BlockView): void {
    readBlockSync(reader, ordinal, view)
  }
}

const source = new PlainSource()

function openTable(fileSystem: FileSystem, metadata: TableMetadata): SstableReader {
  const name = `/db/${String(metadata.fileNumber).padStart(6, '0')}.sst`
  return SstableReader.openSync(fileSystem.openSync(name), metadata, hasher)
}

function newDisk(): MemoryFileSystem {
  const disk = new MemoryFileSystem()
  disk.makeDirectorySync('/db')
  return disk
}

function get(reader: SstableReader, key: Uint8Array, maxSequence: number): ModelEntry | undefined {
  const result = new LookupResult()
  const hash = xxh32(key, 0, key.length, 0)
  if (!reader.get(key, 0, key.length, hash, maxSequence, source, result)) return undefined
  const { kind, sequence, valueBytes, valueStart, valueEnd } = result
  return { key, kind, sequence, value: valueBytes.slice(valueStart, valueEnd) }
}

function expectedGet(
  entries: readonly ModelEntry[],
  key: Uint8Array,
  maxSequence: number,
): ModelEntry | undefined {
  return entries.find(entry => compareBytes(entry.key, key) === 0 && entry.sequence <= maxSequence)
}

function checkLookups(random: Random, reader: SstableReader, entries: ModelEntry[]): void {
  const shape = { count: 30, keySpace: 30 }
  const strangers = randomEntries(random, shape)
  for (let round = 0; round < 60; round++) {
    const pool = round % 4 === 0 ? strangers : entries
    const { key, sequence } = pool[random.below(pool.length)]!
    for (const maxSequence of [sequence, sequence - 1, Number.MAX_SAFE_INTEGER]) {
      assert.deepEqual(get(reader, key, maxSequence), expectedGet(entries, key, maxSequence))
    }
  }
}

describe('sstable', () => {
  test('agrees with a sorted array', context => {
    const random = seededRandom(printSeed(context))
    for (let round = 0; round < 40; round++) {
      const disk = newDisk()
      const entries = randomEntries(random, {
        count: 1 + random.below(600),
        keySpace: [1, 20, 500][random.below(3)]!,
        keyLengthMax: [2, 24, 300][random.below(3)]!,
        valueLengthMax: [10, 120, 6000][random.below(3)]!,
      })
      const metadata = writeTable(disk, '/db', 7 + round, entries, hasher, {
        blockSize: [128, 512, 4096, 65_536][random.below(4)]!,
        filterBitsPerKey: [0, 10][random.below(2)]!,
        codec: random.below(2) === 0 ? BlockCodec.none : BlockCodec.deflateRaw,
      })
      assert.equal(metadata.entryCount, entries.length)
      const reader = openTable(disk, metadata)
      checkLookups(random, reader, entries)
      reader.close()
    }
  })

  test('describes itself', () => {
    const disk = newDisk()
    const entries = randomEntries(seededRandom(3), { count: 300, keySpace: 100 })
    const metadata = writeTable(disk, '/db', 12, entries, hasher)
    const bytes = disk.peek('/db/000012.sst')
    const expiring = entries.filter(entry => entry.kind === 3)
    const expiries = expiring.map(({ value }) => new DataView(value.buffer).getUint32(0, true))
    const sequences = entries.map(entry => entry.sequence)
    assert.deepEqual(metadata, {
      fileNumber: 12,
      size: bytes.length,
      smallestKey: entries[0]!.key,
      largestKey: entries.at(-1)!.key,
      smallestSequence: Math.min(...sequences),
      largestSequence: Math.max(...sequences),
      entryCount: 300,
      rangeTombstoneCount: 0,
      tombstoneCount: entries.filter(entry => entry.kind === 2).length,
      expiringCount: expiring.length,
      expiryMax: Math.max(...expiries),
      rawSize: entries.reduce((sum, { key, value }) => sum + key.length + value.length, 0),
      fileChecksum: xxh32(bytes, 0, bytes.length, 0),
    })
  })

  test('keeps blocks within their size and holds big entries alone', () => {
    const disk = newDisk()
    const big = textEntry('key000500', 5, 'x'.repeat(3_000_000))
    const entries = Array.from({ length: 1000 }, (_, index) =>
      index === 500
        ? big
        : textEntry(`key${String(index).padStart(6, '0')}`, index, 'v'.repeat(90)),
    )
    const reader = openTable(disk, writeTable(disk, '/db', 1, entries, hasher))
    let oversize = 0
    for (let block = 0; block < reader.blockCount; block++) {
      if (reader.storedSize(block) > 4096) oversize++
    }
    assert.equal(oversize, 1)
    assert.deepEqual(get(reader, big.key, 10), big)
    assert.deepEqual(get(reader, entries[999]!.key, 2000), entries[999])
  })

  test('opens asynchronously as well', async () => {
    const disk = newDisk()
    const entries = randomEntries(seededRandom(3), { count: 100, keySpace: 50 })
    const metadata = writeTable(disk, '/db', 3, entries, hasher)
    const reader = await SstableReader.open(disk.openSync('/db/000003.sst'), metadata, hasher)
    checkLookups(seededRandom(4), reader, entries)
    assert.ok(reader.memorySize > 512)
  })

  test('is synced while it is written, at most 1 MiB at a time', () => {
    const disk = newDisk()
    const calls: string[] = []
    disk.onCall = (_index, kind) => void calls.push(kind)
    const entries = Array.from({ length: 300 }, (_, index) =>
      textEntry(`key${1000 + index}`, index, 'v'.repeat(10_000)),
    )
    writeTable(disk, '/db', 1, entries, hasher)
    const writing = calls.filter(kind => kind === 'write' || kind === 'sync')
    assert.deepEqual(writing, ['write', 'sync', 'write', 'sync', 'write', 'sync'])
  })

  test('refuses entries out of order', () => {
    const writer = new SstableWriter(newDisk(), '/db', 1, tableOptions, hasher)
    addEntry(writer, textEntry('b', 5, ''))
    assert.throws(() => addEntry(writer, textEntry('a', 9, '')), /internal order/)
    assert.throws(() => addEntry(writer, textEntry('b', 5, '')), /internal order/)
    assert.throws(() => addEntry(writer, textEntry('b', 6, '')), /internal order/)
    addEntry(writer, textEntry('b', 4, ''))
    writer.abandon()
  })

  test('closes its file only when nobody retains it', () => {
    const disk = newDisk()
    const reader = openTable(disk, writeTable(disk, '/db', 1, [textEntry('a', 1, 'b')], hasher))
    const closes: string[] = []
    disk.onCall = (_index, kind) => void (kind === 'close' && closes.push(kind))
    reader.retain()
    reader.close()
    reader.close()
    assert.equal(closes.length, 0)
    reader.release()
    assert.equal(closes.length, 1)
  })
})

describe('damaged sstable', () => {
  const disk = newDisk()
  const entries = randomEntries(seededRandom(11), { count: 60, keySpace: 40, valueLengthMax: 20 })
  const options = { blockSize: 256, filterBitsPerKey: 10 }
  const metadata = writeTable(disk, '/db', 12, entries, hasher, options)
  const whole = disk.peek('/db/000012.sst')

  /** Reads everything there is in the file with these bytes. */
  function readAll(bytes: Uint8Array): void {
    disk.plant('/db/000012.sst', bytes)
    const reader = openTable(disk, metadata)
    for (const { key, sequence } of entries) {
      assert.deepEqual(get(reader, key, sequence), expectedGet(entries, key, sequence))
    }
    reader.close()
  }

  test('is refused with any byte flipped', () => {
    readAll(whole)
    for (let at = 0; at < whole.length; at++) {
      const damaged = whole.slice()
      damaged[at]! ^= 1 << (at & 7)
      assert.throws(
        () => readAll(damaged),
        (error: unknown) => error instanceof CorruptionError && error.path === '/db/000012.sst',
        `byte ${at} of ${whole.length}`,
      )
    }
  })

  test('is refused at any shorter length, also when the manifest agrees', () => {
    for (let size = 0; size < whole.length; size++) {
      disk.plant('/db/000012.sst', whole.slice(0, size))
      assert.throws(() => openTable(disk, metadata), CorruptionError)
      assert.throws(() => openTable(disk, { ...metadata, size }), KvError)
    }
    assert.throws(() => readAll(Uint8Array.from([...whole, 0])), CorruptionError)
  })

  test('is refused when the manifest describes another', () => {
    disk.plant('/db/000012.sst', whole)
    const other = new Uint8Array([1])
    const differences: Partial<TableMetadata>[] = [
      { size: metadata.size + 1 },
      { entryCount: 61 },
      { tombstoneCount: metadata.tombstoneCount + 1 },
      { expiringCount: 1000 },
      { expiryMax: 1 },
      { rawSize: 5 },
      { smallestSequence: 0 },
      { largestSequence: 1 },
      { smallestKey: other },
      { largestKey: other },
    ]
    for (const difference of differences) {
      assert.throws(() => openTable(disk, { ...metadata, ...difference }), CorruptionError)
    }
    disk.plant('/db/000013.sst', whole)
    assert.throws(() => openTable(disk, { ...metadata, fileNumber: 13 }), /another table/)
    disk.removeSync('/db/000013.sst')
  })
})

describe('separator', () => {
  function separator(last: string, next: string): string {
    const bytes = Buffer.from(last)
    const target = new Uint8Array(bytes.length)
    const after = Buffer.from(next)
    const length = writeSeparator(bytes, bytes.length, after, 0, after.length, target)
    return Buffer.from(target.subarray(0, length)).toString()
  }

  for (const [last, next, expected] of [
    ['abcde', 'abz', 'abd'],
    ['abcde', 'abd', 'abce'],
    ['abc', 'abd', 'abc'],
    ['abc', 'abcd', 'abc'],
    ['abc', 'abc', 'abc'],
    ['a', 'b', 'a'],
    ['a~', 'b', 'a~'],
  ] as const) {
    test(`of ${last} and ${next} is ${expected}`, () => {
      assert.equal(separator(last, next), expected)
    })
  }

  test('stands between its neighbours and is never longer than the first', context => {
    const random = seededRandom(printSeed(context))
    for (let round = 0; round < 5000; round++) {
      const [a, b] = [0, 1].map(() =>
        random.bytes(1 + random.below(5)).map(byte => [0, 1, 254, 255][byte & 3]!),
      )
      const [last, next] = compareBytes(a!, b!) <= 0 ? [a!, b!] : [b!, a!]
      const target = new Uint8Array(last.length)
      const length = writeSeparator(last, last.length, next, 0, next.length, target)
      const middle = target.subarray(0, length)
      assert.ok(compareBytes(last, middle) <= 0)
      assert.ok(compareBytes(last, next) === 0 || compareBytes(middle, next) < 0)
    }
  })
})

// Goal: section WAL of FORMAT.md is true: its bytes are what the writer writes and recovery reads.
// Method: the examples are parsed out of the document and held against the code in both directions.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import { WalFrameBuilder } from '../../src/engine/wal-frame.ts'
import { replayWal } from '../../src/engine/wal-replay.ts'
import { loadHasher } from '../../src/hash.ts'
import { checkComments, formatExample } from '../support/format-example.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { createSegment } from '../support/wal-script.ts'

const hasher = await loadHasher()
const databaseId = Uint8Array.from({ length: 16 }, (_, index) => index)
const EXPIRY_MS = Date.UTC(2026, 0, 1)

async function write(): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem()
  disk.makeDirectorySync('/db')
  const options = { fileNumber: 3, databaseId, firstSequence: 1, previous: 0 }
  const first = await createSegment(disk, '/db', options)
  const builder = new WalFrameBuilder(hasher)
  builder.begin()
  builder.addPut(utf8Encode('ant'), utf8Encode('six legs'))
  builder.addDelete(utf8Encode('bee'))
  await first.append(builder, 1)
  await first.sync()
  builder.begin()
  builder.beginBatch(2)
  builder.addLogData(utf8Encode('note'))
  builder.addPutExpiring(utf8Encode('cat'), utf8Encode('purr'), EXPIRY_MS)
  await first.append(builder, 3)
  await first.sync()
  await createSegment(disk, '/db', { fileNumber: 5, databaseId, firstSequence: 4, previous: first })
  return disk
}

describe('FORMAT.md, WAL', () => {
  test('shows what the writer writes', async () => {
    const disk = await write()
    assert.deepEqual(disk.peek('/db/000003.wal'), formatExample('wal-3').bytes)
    assert.deepEqual(disk.peek('/db/000005.wal'), formatExample('wal-5').bytes)
  })

  test('shows what recovery reads', async () => {
    const disk = new MemoryFileSystem()
    disk.makeDirectorySync('/db')
    disk.plant('/db/000003.wal', formatExample('wal-3').bytes)
    disk.plant('/db/000005.wal', formatExample('wal-5').bytes)
    const ops: unknown[] = []
    const fileNumbers = [3, 5]
    const result = await replayWal(
      { fileSystem: disk, directory: '/db', databaseId, hasher, fileNumbers, logNumber: 3 },
      {
        op(kind, sequence, keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd, more) {
          const key = Buffer.from(keyBytes.subarray(keyStart, keyEnd)).toString()
          const value = Buffer.from(valueBytes.subarray(valueStart, valueEnd))
          ops.push([kind, sequence, key, value.toString('latin1'), more])
          return false
        },
      },
    )
    const expiry = Buffer.alloc(8)
    expiry.writeBigUInt64LE(BigInt(EXPIRY_MS))
    assert.deepEqual(ops, [
      [EntryKind.put, 1, 'ant', 'six legs', false],
      [EntryKind.delete, 2, 'bee', '', false],
      [EntryKind.logData, 3, '', 'note', true],
      [EntryKind.putExpiring, 3, 'cat', `${expiry.toString('latin1')}purr`, false],
    ])
    // The header of segment 5, which has nothing else, may not be durable.
    assert.equal(result.newestNumber, 3)
    assert.equal(result.tornTail, undefined)
  })

  test('shows a frame that deletes ranges', async () => {
    const example = formatExample('wal-6')
    const disk = new MemoryFileSystem()
    disk.makeDirectorySync('/db')
    const options = { fileNumber: 6, databaseId, firstSequence: 10, previous: 0 }
    const writer = await createSegment(disk, '/db', options)
    const builder = new WalFrameBuilder(hasher)
    builder.begin()
    builder.addDeleteRange(utf8Encode('ant'), utf8Encode('bee'))
    builder.addDeleteRange(utf8Encode('cat'), new Uint8Array(0))
    writer.appendSync(builder, 10)
    assert.deepEqual(disk.peek('/db/000006.wal'), example.bytes)
    const ops: string[] = []
    await replayWal(
      { fileSystem: disk, directory: '/db', databaseId, hasher, fileNumbers: [6], logNumber: 6 },
      {
        op(kind, sequence, keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd) {
          const key = Buffer.from(keyBytes.subarray(keyStart, keyEnd)).toString()
          const end = Buffer.from(valueBytes.subarray(valueStart, valueEnd)).toString()
          ops.push(`${kind} ${sequence} ${key} ${end}`)
          return false
        },
      },
    )
    assert.deepEqual(ops, ['4 10 ant bee', '4 11 cat '])
    checkComments(example)
  })

  test('says of its own bytes what they are', () => {
    checkComments(formatExample('wal-3'))
    checkComments(formatExample('wal-5'))
  })
})

// Goal: sections MANIFEST and CURRENT of FORMAT.md are true: their bytes are what is written and
// what recovery reads.
// Method: the examples are parsed out of the document and held against the code in both directions.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ByteWriter, utf8Encode } from '../../src/bytes.ts'
import { Manifest, type ManifestParts } from '../../src/engine/manifest.ts'
import { decodeManifest } from '../../src/engine/manifest-format.ts'
import { ObsoleteFiles } from '../../src/engine/obsolete-files.ts'
import type { TableMetadata } from '../../src/engine/table-metadata.ts'
import { decodeVersionEdit, encodeVersionEdit } from '../../src/engine/version-edit.ts'
import { loadHasher } from '../../src/hash.ts'
import { silentLogger } from '../../src/logger.ts'
import { checkComments, formatExample } from '../support/format-example.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'

const PATH = '/db/MANIFEST-000008'
const databaseId = Uint8Array.from({ length: 16 }, (_, index) => index)
const closedWal = { fileNumber: 5, length: 64 }
const table: TableMetadata = {
  fileNumber: 9,
  size: 1000,
  smallestSequence: 1,
  largestSequence: 3,
  entryCount: 3,
  tombstoneCount: 1,
  rangeTombstoneCount: 0,
  expiringCount: 1,
  expiryMax: Date.UTC(2026, 0, 1),
  rawSize: 31,
  fileChecksum: 0x1234_5678,
  smallestKey: utf8Encode('ant'),
  largestKey: utf8Encode('cat'),
}

const hasher = await loadHasher()

function newParts(): ManifestParts & { readonly fileSystem: MemoryFileSystem } {
  const fileSystem = new MemoryFileSystem()
  fileSystem.makeDirectorySync('/db')
  const obsoleteFiles = new ObsoleteFiles(fileSystem, '/db', silentLogger)
  return { fileSystem, directory: '/db', obsoleteFiles, hasher, verifyLock: () => undefined }
}

describe('FORMAT.md, MANIFEST and CURRENT', () => {
  test('show what is written', async () => {
    const parts = newParts()
    const manifest = Manifest.create(parts, databaseId)
    manifest.reserveFileNumbers(7)
    await manifest.append({ logNumber: 5, lastSequence: 3 })
    assert.equal(manifest.reserveFileNumbers(1), table.fileNumber)
    await manifest.append({ logNumber: 5, added: [{ level: 0, table }] })
    await manifest.append({ removed: [{ level: 0, fileNumber: table.fileNumber }], closedWal })
    assert.deepEqual(parts.fileSystem.peek(PATH), formatExample('manifest-8').bytes)
    assert.deepEqual(parts.fileSystem.peek('/db/CURRENT'), formatExample('current').bytes)
  })

  test('show what recovery reads', () => {
    const parts = newParts()
    parts.fileSystem.plant(PATH, formatExample('manifest-8').bytes)
    parts.fileSystem.plant('/db/CURRENT', formatExample('current').bytes)
    const manifest = Manifest.recover(parts)
    assert.deepEqual(manifest?.databaseId, databaseId)
    assert.equal(manifest.logNumber, 5)
    assert.equal(manifest.lastSequence, 3)
    assert.deepEqual(manifest.closedWal, closedWal)
    assert.equal(manifest.version.tableCount, 0)
    assert.equal(manifest.reserveFileNumbers(1), 10)
    const { edits } = decodeManifest(formatExample('manifest-8').bytes, PATH, 8)
    assert.deepEqual(edits[1]?.added, [{ level: 0, table }])
  })

  test('show the record of a table with ranges', () => {
    const { bytes, lines } = formatExample('manifest-ranges')
    const edit = decodeVersionEdit(bytes, 0, bytes.length)
    const [added] = edit.added!
    assert.equal(added?.level, 0)
    const { fileNumber, rangeTombstoneCount, smallestKey, largestKey } = added.table
    assert.deepEqual([fileNumber, rangeTombstoneCount], [13, 2])
    assert.deepEqual([smallestKey, largestKey], [utf8Encode('apple'), utf8Encode('cherry')])
    const writer = new ByteWriter()
    encodeVersionEdit(edit, writer)
    assert.deepEqual(writer.written, bytes)
    checkComments({ bytes, lines })
  })

  test('say of their own bytes what they are', () => {
    checkComments(formatExample('manifest-8'))
    checkComments(formatExample('current'))
    checkComments(formatExample('cold'))
    checkComments(formatExample('owner'))
    checkComments(formatExample('owner-without-home'))
  })
})

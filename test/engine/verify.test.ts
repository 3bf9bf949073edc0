// Goal: verify says nothing of sound files, open or closed, and finds every damage: whatever byte
// of whatever file of a database is changed, cut off or missing. It changes nothing, can be
// aborted, and what it counts is what there is.
// Method: a small database with tables of several levels, range tombstones, expiring keys and a
// log on a simulated disk; one damage at a time at every byte (seeded steps); semantic damage with
// right checksums through the writers themselves; once on the real disk with a real thread.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { FindingList } from '../../src/engine/finding.ts'
import {
  InlineExecutor,
  open,
  repairInEnvironment,
  type VerifyReport,
  verifyDirectory,
  verifyInEnvironment,
} from '../../src/engine/index.ts'
import { createJobControl } from '../../src/engine/maintenance-job.ts'
import { SstableWriter } from '../../src/engine/sstable-writer.ts'
import { checkTable } from '../../src/engine/table-check.ts'
import { KvError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { framesEnd } from '../support/frames-end.ts'
import { type CallKind, MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { systemError } from '../support/system-error.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const hasher = await loadHasher()

/** What a read-only file system refuses. */
const CHANGES: readonly CallKind[] = [
  'create',
  'makeDirectory',
  'rename',
  'remove',
  'link',
  'removeDirectory',
  'lock',
  'write',
]

function verifyClosed(disk: MemoryFileSystem, signal?: AbortSignal): Promise<VerifyReport> {
  const clock = new SimClock()
  const executor = new InlineExecutor({ fileSystem: disk, hasher, clock })
  const options = signal === undefined ? {} : { signal }
  return drive(
    clock,
    verifyInEnvironment('/db', options, {
      fileSystem: disk,
      executor,
      clock,
    }),
  )
}

/** Several levels, range tombstones, expiring keys, and a log that no table holds yet. */
async function sample(keys: number): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  const db = await openEngine(disk, { clock })
  for (let index = 0; index < keys; index++) {
    const key = `key-${(index * 7) % keys}`
    const ttl = index % 5 === 0 ? { ttlMs: 1e9 + index } : {}
    await drive(clock, db.put(key, `value ${index} ${'.'.repeat(index % 60)}`, ttl))
    if (index % 9 === 0) await drive(clock, db.delete(`key-${index}`))
  }
  // The snapshot keeps what the range hides, and so the range.
  const snapshot = db.snapshot()
  await drive(clock, db.deleteRange({ gte: 'key-10', lt: 'key-12' }))
  await drive(clock, db.compact())
  for (let index = 0; index < 90; index++) await drive(clock, db.put(`late-${index}`, `${index}`))
  await drive(clock, db.verify()).then(report => assert.deepEqual(report.findings, []))
  // As a kill leaves it: the log is not in tables, and the MANIFEST does not know of its end.
  const clone = disk.processCrashClone()
  snapshot.release()
  await db.close()
  return clone
}

describe('verify of a closed database', () => {
  test('finds nothing in sound files, and counts all of them', async () => {
    const disk = await sample(400)
    const report = await verifyClosed(disk)
    assert.deepEqual(report.findings, [])
    assert.equal(report.ok, true)
    const tables = disk.paths().filter(path => path.endsWith('.sst'))
    assert.equal(report.tables, tables.length)
    assert.ok(report.blocks > 20 && report.entries > 100, JSON.stringify(report))
    assert.ok(report.rangeTombstones > 0 && report.walFrames > 10, JSON.stringify(report))
    const bytes = disk.paths().filter(path => /sst|wal/.test(path))
    assert.equal(
      report.bytes,
      bytes.reduce((sum, path) => sum + disk.peek(path).length, 0),
    )
  })

  test('notices whatever byte is changed, whatever is cut off or missing', async t => {
    const disk = await sample(120)
    const random = seededRandom(printSeed(t))
    let damages = 0
    for (const path of disk.paths()) {
      if (path.endsWith('LOCK')) continue
      const bytes = disk.peek(path)
      // A segment that was made ahead says nothing: nobody misses it.
      if (bytes.length === 0) continue
      for (let at = random.below(11); at < bytes.length; at += 1 + random.below(41)) {
        const damaged = disk.processCrashClone()
        const copy = bytes.slice()
        copy[at] = copy[at]! ^ (1 << random.below(8))
        damaged.plant(path, copy)
        const report = await verifyClosed(damaged)
        const where = `${path}@${at}: ${JSON.stringify(report.findings)}`
        // Behind the last sync a damaged byte cannot be told from a write that a crash cut short.
        const isTail = path.endsWith('.wal') || path.includes('MANIFEST')
        assert.ok(report.findings.length > 0, where)
        assert.ok(isTail || !report.ok, where)
        assert.ok(isTail || report.findings.some(finding => finding.path === path), where)
        damages++
      }
      const end = path.endsWith('.wal') ? await framesEnd(disk, path) : bytes.length
      for (const length of [0, 1, end >> 1, end - 1]) {
        const cut = disk.processCrashClone()
        cut.plant(path, bytes.slice(0, length))
        assert.ok((await verifyClosed(cut)).findings.length > 0, `${path} cut to ${length}`)
      }
      const missing = disk.processCrashClone()
      missing.removeSync(path)
      assert.equal((await verifyClosed(missing)).ok, false, `${path} is missing`)
    }
    assert.ok(damages > 200, `${damages}`)
  })

  test('changes nothing, not even what the next open would remove', async () => {
    const disk = await sample(60)
    disk.plant('/db/000999.sst', utf8Encode('an output of a job that did not end'))
    const files = () => disk.paths().filter(path => !path.endsWith('LOCK'))
    const before = files().map(path => [path, disk.peek(path)])
    const report = await verifyClosed(disk)
    assert.equal(report.ok, true)
    assert.match(report.findings[0]!.what, /not part of the database/)
    assert.deepEqual(
      files().map(path => [path, disk.peek(path)]),
      before,
    )
  })

  test('says that there is no database, or no directory, or that it is open', async () => {
    const disk = new MemoryFileSystem()
    disk.makeDirectorySync('/db')
    assert.match((await verifyClosed(disk)).findings[0]!.what, /there is no database/)
    const isCode = (code: string) => (error: unknown) =>
      error instanceof KvError && error.code === code
    await assert.rejects(verifyClosed(new MemoryFileSystem()), isCode('KV_NOT_FOUND'))
    const db = await openEngine(disk)
    await assert.rejects(verifyClosed(disk), isCode('KV_LOCKED'))
    await db.close()
    const aborted = AbortSignal.abort()
    await assert.rejects(verifyClosed(disk, aborted), isCode('KV_ABORTED'))
  })
})

describe('a table whose checksums are right', () => {
  function table(entries: readonly [key: string, sequence: number][]) {
    const disk = new MemoryFileSystem()
    disk.makeDirectorySync('/db')
    const options = { blockSize: 128, filterBitsPerKey: 10 }
    const writer = new SstableWriter(disk, '/db', 3, options, hasher)
    const value = utf8Encode('x'.repeat(20))
    for (const [key, sequence] of entries) {
      const bytes = utf8Encode(key)
      writer.add(bytes, 0, bytes.length, sequence, 1, value, 0, value.length)
    }
    return { disk, metadata: writer.finish([]) }
  }
  const ENTRIES = Array.from({ length: 40 }, (_, index): [string, number] => [
    `key-${100 + index}`,
    1000 - index,
  ])

  function findingsOf(claim: object): string {
    const { disk, metadata } = table(ENTRIES)
    const findings = new FindingList()
    const parts = { hasher, findings, control: createJobControl() }
    checkTable(disk.openSync('/db/000003.sst'), { ...metadata, ...claim }, parts)
    return findings.findings.map(({ what }) => what).join('; ')
  }

  test('passes, versions of one key across blocks included', () => {
    assert.equal(findingsOf({}), '')
    const versions = Array.from({ length: 40 }, (_, index): [string, number] => ['k', 99 - index])
    const { disk, metadata } = table(versions)
    const findings = new FindingList()
    const parts = { hasher, findings, control: createJobControl() }
    const checked = checkTable(disk.openSync('/db/000003.sst'), metadata, parts)
    assert.deepEqual(findings.findings, [])
    assert.ok(checked.blocks > 5 && checked.entries === 40)
  })

  test('is found out when it is not what was recorded of it', () => {
    assert.match(findingsOf({ fileChecksum: 1 }), /another checksum/)
    assert.match(findingsOf({ size: 1 }), /size/)
    assert.match(findingsOf({ entryCount: 41 }), /entryCount/)
    assert.match(findingsOf({ largestSequence: 2000 }), /largestSequence/)
    assert.match(findingsOf({ smallestKey: utf8Encode('a') }), /smallestKey/)
  })
})

test('verify of an open database on the real disk, while it is written to', async t => {
  const directory = temporaryDirectory(t)
  const db = await open(directory, { memoryBudget: 1 * 1024 * 1024, durability: 'none' })
  const value = 'v'.repeat(500)
  for (let index = 0; index < 2000; index++) void db.put(`key-${index}`, value)
  await db.put('last', value)
  const seen: number[] = []
  const verified = db.verify({ onProgress: ({ doneBytes }) => seen.push(doneBytes) })
  for (let index = 0; index < 2000; index++) void db.put(`key-${index * 3}`, value)
  await db.put('last', value)
  const report = await verified
  assert.deepEqual(report.findings, [])
  assert.ok(report.walEntries + report.entries >= 2000, JSON.stringify(report))
  assert.equal(seen.at(-1), report.bytes)
  const refused = assert.rejects(db.verify(), { code: 'KV_CLOSED' })
  await db.close()
  await refused
  assert.equal((await verifyDirectory(directory)).ok, true)
})

test('a database on a read-only file system is verified, and not repaired', async () => {
  const disk = await sample(60)
  const expected = await verifyClosed(disk)
  const before = disk.paths()
  disk.onCall = (_index, kind, path) => {
    if (CHANGES.includes(kind)) throw systemError('EROFS', kind, path)
  }
  assert.deepEqual(await verifyClosed(disk), expected)
  const clock = new SimClock()
  const executor = new InlineExecutor({ fileSystem: disk, hasher, clock })
  const world = { fileSystem: disk, executor, clock, random: seededRandom(1) }
  await assert.rejects(drive(clock, repairInEnvironment('/db', {}, world)), {
    code: 'KV_IO',
    message: /^\/db cannot be worked on: EROFS.*make it writable, or work on a copy$/,
  })
  assert.deepEqual(disk.paths(), before)
})

test('a directory that cannot be locked is not verified', async () => {
  const disk = await sample(10)
  disk.onCall = (_index, kind, path) => {
    if (kind === 'lock') throw systemError('EACCES', kind, path)
  }
  await assert.rejects(verifyClosed(disk), {
    code: 'KV_IO',
    message: /must be able to read and write there$/,
  })
})

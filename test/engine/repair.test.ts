// Goal: a repaired database opens, holds every record whose bytes are whole, and none that never
// was; originals are kept, whatever was damaged, also when power is lost while it works; repair of
// a sound database changes nothing.
// Method: property test over seeds: a database of several levels with range tombstones, versions
// that snapshots keep, compressed blocks and a log; bytes changed and cut off, files deleted. What
// must be there is computed from the records and their places before the damage.
// DURAMEN_REPAIRS=1000 runs more.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes, utf8Decode } from '../../src/bytes.ts'
import { InlineExecutor, repairInEnvironment, verifyInEnvironment } from '../../src/engine/index.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import { loadHasher } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { readState } from '../support/crash-oracle.ts'
import { drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { type PlacedRecord, placedRecords } from '../support/placed-records.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const hasher = await loadHasher()
const RUNS = Number(process.env['DURAMEN_REPAIRS'] ?? 8)
const EXPIRY_SIZE = 8

function environment(disk: MemoryFileSystem) {
  const clock = new SimClock()
  const executor = new InlineExecutor({ fileSystem: disk, hasher, clock })
  return { fileSystem: disk, executor, clock, random: seededRandom(7) }
}

function repair(disk: MemoryFileSystem) {
  const world = environment(disk)
  return drive(world.clock, repairInEnvironment('/db', {}, world))
}

async function isSound(disk: MemoryFileSystem): Promise<boolean> {
  const world = environment(disk)
  return (await drive(world.clock, verifyInEnvironment('/db', {}, world))).ok
}

async function sample(random: Random): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  const compression = random.below(2) === 0 ? 'deflate' : 'none'
  const db = await openEngine(disk, { clock, options: { compression } })
  const keyCount = 30 + random.below(200)
  const key = () => `key-${random.below(keyCount)}`
  const snapshots = []
  const writes = 200 + random.below(400)
  for (let index = 0; index < writes; index++) {
    const draw = random.below(40)
    if (draw === 0) {
      const [gte, lt] = [key(), key()].sort((a, b) => (a < b ? -1 : 1))
      await drive(clock, db.deleteRange({ gte: gte!, lt: lt! }))
    } else if (draw === 1) snapshots.push(db.snapshot())
    else if (draw < 5) await drive(clock, db.delete(key()))
    else {
      const ttl = draw === 5 ? { ttlMs: 1e12 } : {}
      await drive(clock, db.put(key(), `${index}-${'x'.repeat(random.below(90))}`, ttl))
    }
  }
  // No output of a job that is under way: nobody could say what of it counts.
  await drive(clock, db.compact({ gte: 'zzz' }))
  for (let left = random.below(40); left > 0; left--)
    await drive(clock, db.put(key(), `late ${left}`))
  const clone = disk.processCrashClone()
  for (const snapshot of snapshots) snapshot.release()
  await drive(clock, db.close())
  return random.below(2) === 0 ? clone : disk
}

interface Hole {
  readonly path: string
  readonly start: number
  readonly end: number
}

function files(disk: MemoryFileSystem): string[] {
  return disk.paths().filter(path => /\.sst$|\.wal$|MANIFEST|CURRENT$/.test(path))
}

/** Damages a file, and says where. */
function damage(disk: MemoryFileSystem, random: Random): Hole[] {
  const paths = files(disk)
  const path = paths[random.below(paths.length)]!
  const bytes = disk.peek(path).slice()
  const isLog = path.endsWith('.wal')
  const draw = random.below(10)
  if (draw === 0 && !isLog) {
    disk.removeSync(path)
    disk.syncDirectorySync('/db')
    return [{ path, start: 0, end: bytes.length }]
  }
  if (draw === 1) {
    const length = random.below(bytes.length)
    disk.plant(path, bytes.slice(0, length))
    return [{ path, start: length, end: bytes.length }]
  }
  const start = random.below(bytes.length)
  const end = Math.min(bytes.length, start + (draw < 5 ? 1 : 1 + random.below(300)))
  for (let at = start; at < end; at++) bytes[at] = bytes[at]! ^ (1 + random.below(255))
  disk.plant(path, bytes)
  return [{ path, start, end }]
}

/** The newest intact version of each key, unless a delete or an intact range hides it. */
function expectedState(records: readonly PlacedRecord[], holes: readonly Hole[]) {
  const intact = records.filter(
    record =>
      !holes.some(
        hole => hole.path === record.path && hole.start < record.end && record.start < hole.end,
      ),
  )
  const ranges = intact.filter(record => record.kind === EntryKind.deleteRange)
  const newest = new Map<string, PlacedRecord>()
  for (const record of intact) {
    if (record.kind === EntryKind.deleteRange) continue
    const key = utf8Decode(record.key)
    if ((newest.get(key)?.sequence ?? -1) < record.sequence) newest.set(key, record)
  }
  const state = new Map<string, string>()
  for (const [key, record] of [...newest].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const isHidden = ranges.some(
      range =>
        range.sequence > record.sequence &&
        compareBytes(range.key, record.key) <= 0 &&
        compareBytes(record.key, range.value) < 0,
    )
    if (isHidden || record.kind === EntryKind.delete) continue
    const start = record.kind === EntryKind.putExpiring ? EXPIRY_SIZE : 0
    state.set(key, utf8Decode(record.value.subarray(start)))
  }
  return state
}

/** Both names of the database's identity are gone: then nobody can read the log. */
function losesIdentity(holes: readonly Hole[]): boolean {
  const hits = (pattern: RegExp, size: number) =>
    holes.some(({ path, start }) => pattern.test(path) && start < size)
  return hits(/MANIFEST/, 40) && hits(/\.wal$/, 64)
}

async function checkRepair(disk: MemoryFileSystem, expected: Map<string, string>, where: string) {
  const originals = new Map(files(disk).map(path => [path, disk.peek(path)]))
  const report = await repair(disk)
  for (const [path, bytes] of originals) {
    const copies = disk
      .paths()
      .filter(other => other.split('/').at(-1) === path.split('/').at(-1))
      .map(other => Buffer.from(disk.peek(other)).toString('hex'))
    assert.ok(copies.includes(Buffer.from(bytes).toString('hex')), `${where}: ${path} is gone`)
  }
  assert.ok(await isSound(disk), `${where}: ${JSON.stringify(report)}`)
  const again = await repair(disk.processCrashClone())
  assert.equal(again.changed, false, where)
  const db = await openEngine(disk, { options: { createIfMissing: false } })
  const state = await readState(db)
  assert.deepEqual(sorted(state), sorted(expected), where)
  await db.close()
  return report
}

async function checkRepairedAgain(
  disk: MemoryFileSystem,
  expected: Map<string, string>,
  where: string,
) {
  await repair(disk)
  assert.ok(await isSound(disk), where)
  const db = await openEngine(disk, { options: { createIfMissing: false } })
  assert.deepEqual(sorted(await readState(db)), sorted(expected), where)
  await db.close()
}

function sorted(state: ReadonlyMap<string, string>): Map<string, string> {
  return new Map([...state].sort(([a], [b]) => (a < b ? -1 : 1)))
}

describe('repair', () => {
  test('saves every record whose bytes are whole, and invents none', async t => {
    const seed = printSeed(t)
    const seen = { rebuilt: 0, salvaged: 0, gaps: 0 }
    for (let run = 0; run < RUNS; run++) {
      const random = seededRandom(seed + run)
      const disk = await sample(random)
      const records = await placedRecords(disk, '/db', hasher)
      assert.deepEqual((await repair(disk.processCrashClone())).changed, false)
      const holes: Hole[] = []
      for (let left = 1 + random.below(4); left > 0; left--) holes.push(...damage(disk, random))
      if (losesIdentity(holes)) continue
      const where = `seed ${seed + run}: ${JSON.stringify(holes)}`
      const report = await checkRepair(disk, expectedState(records, holes), where)
      if (report.manifest === 'rebuilt') seen.rebuilt++
      seen.salvaged += report.tablesSalvaged
      seen.gaps += report.logGaps
    }
    t.diagnostic(JSON.stringify(seen))
    assert.ok(RUNS < 50 || (seen.rebuilt > 3 && seen.salvaged > 3 && seen.gaps > 0))
  })

  test('is safe from power loss at any call, and can be made again', async t => {
    const seed = printSeed(t)
    for (let run = 0; run < Math.ceil(RUNS / 8); run++) {
      const random = seededRandom(seed + run)
      const disk = await sample(random)
      // Else a table that was removed long ago may come back with the crash.
      disk.syncDirectorySync('/db')
      const records = await placedRecords(disk, '/db', hasher)
      const holes = [...damage(disk, random), ...damage(disk, random)]
      if (losesIdentity(holes)) continue
      const expected = expectedState(records, holes)
      const originals = new Map(files(disk).map(path => [path, disk.peek(path)]))
      let calls = 0
      const trial = disk.processCrashClone()
      trial.onCall = () => calls++
      await repair(trial)
      const stops = new Set(Array.from({ length: 8 }, () => random.below(calls)))
      for (let last = 1; last <= 12; last += 2) stops.add(calls - last)
      const survivors: MemoryFileSystem[] = []
      const working = disk.processCrashClone()
      let index = 0
      working.onCall = () => {
        if (stops.has(index++)) survivors.push(working.crashClone(random, { keep: 'random' }))
      }
      await repair(working)
      for (const [number, survivor] of survivors.entries()) {
        const where = `seed ${seed + run}, survivor ${number}: ${JSON.stringify(holes)}`
        for (const [path, bytes] of originals) {
          const isThere = survivor
            .paths()
            .some(
              other =>
                other.endsWith(path.split('/').at(-1)!) &&
                Buffer.compare(survivor.peek(other), bytes) === 0,
            )
          assert.ok(isThere, `${where}: ${path} is gone`)
        }
        await checkRepairedAgain(survivor, expected, where)
      }
    }
  })

  test('leaves a directory without a database alone, and says so', async () => {
    const disk = new MemoryFileSystem()
    disk.makeDirectorySync('/db')
    await assert.rejects(repair(disk), { code: 'KV_NOT_FOUND' })
    await assert.rejects(repair(new MemoryFileSystem()), { code: 'KV_NOT_FOUND' })
    assert.deepEqual(files(disk), [])
  })
})

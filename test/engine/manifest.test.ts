// Goal: after any crash, failure or damage the recovered state is that after some edit, at least
// the last acknowledged one, or the damage is named; recovery itself changes nothing.
// Method: random edits against a list of the states after each; power loss and an error at every
// call of the disk; every cut and every changed byte of MANIFEST and CURRENT.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import type { FileSystem } from '../../src/engine/file-system.ts'
import { isShortage } from '../../src/engine/io-failure.ts'
import { Manifest, type ManifestParts } from '../../src/engine/manifest.ts'
import {
  encodeManifestFile,
  encodeManifestFileInSlices,
  encodeManifestHeader,
} from '../../src/engine/manifest-format.ts'
import { applyEdit, type ManifestState } from '../../src/engine/manifest-state.ts'
import { ObsoleteFiles } from '../../src/engine/obsolete-files.ts'
import { Feature, type LeveledTable, type VersionEdit } from '../../src/engine/version-edit.ts'
import { CorruptionError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { silentLogger } from '../../src/logger.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { type CallKind, MemoryFileSystem } from '../support/memory-file-system.ts'
import { randomTable } from '../support/random-table.ts'
import { printSeed } from '../support/seed.ts'
import { noteWaitingCalls } from '../support/waiting-calls.ts'

const DATABASE_ID = Uint8Array.from({ length: 16 }, (_, index) => 200 + index)
const CURRENT = '/db/CURRENT'

const hasher = await loadHasher()

function partsOn(fileSystem: FileSystem, rotationSizeMin = 600): ManifestParts {
  const obsoleteFiles = new ObsoleteFiles(fileSystem, '/db', silentLogger)
  return {
    fileSystem,
    directory: '/db',
    obsoleteFiles,
    hasher,
    rotationSizeMin,
    verifyLock: () => undefined,
  }
}

/** Of one level, numbered from 1 on. */
function manyTables(random: Random, count: number): LeveledTable[] {
  return Array.from({ length: count }, (_, index) => {
    const key = utf8Encode(String(index).padStart(8, '0'))
    return { level: 6, table: randomTable(random, index + 1, key, key) }
  })
}

function newDisk(): MemoryFileSystem {
  const disk = new MemoryFileSystem()
  disk.makeDirectorySync('/db')
  return disk
}

function tablePath(fileNumber: number): string {
  return `/db/${String(fileNumber).padStart(6, '0')}.sst`
}

function manifestPath(fileNumber: number): string {
  return `/db/MANIFEST-${String(fileNumber).padStart(6, '0')}`
}

/** Everything that recovery should bring back, as text. */
function describeState(manifest: Manifest): string {
  return stateText(manifest.state)
}

function stateText({
  databaseId,
  logNumber,
  lastSequence,
  wallMsMax,
  closedWal,
  version,
}: ManifestState): string {
  const tables = version.levels.map(level => level.map(table => table.fileNumber))
  return JSON.stringify([[...databaseId], logNumber, lastSequence, wallMsMax, closedWal, tables])
}

/** Makes random edits; the tables they add are put on the disk beforehand, durably. */
class EditScript {
  readonly #random: Random
  readonly #disk: MemoryFileSystem
  #tables: readonly LeveledTable[] = []
  #tablesBefore: readonly LeveledTable[] = []
  #logNumber = 0

  constructor(random: Random, disk: MemoryFileSystem) {
    this.#random = random
    this.#disk = disk
  }

  next(manifest: Manifest): VersionEdit {
    const random = this.#random
    const added: LeveledTable[] = []
    // A new database has a MANIFEST before it has tables.
    for (let count = manifest.fileNumber === 0 ? 0 : random.below(3); count > 0; count--) {
      const fileNumber = manifest.reserveFileNumbers(1)
      const table = randomTable(
        random,
        fileNumber,
        random.bytes(9).fill(1),
        random.bytes(9).fill(2),
      )
      this.#disk.plant(tablePath(fileNumber), new Uint8Array(table.size))
      added.push({ level: 0, table })
    }
    this.#tablesBefore = this.#tables
    const removed = this.#tables.filter(() => random.below(6) === 0)
    this.#tables = [...this.#tables.filter(table => !removed.includes(table)), ...added]
    this.#logNumber += random.below(2)
    return {
      added,
      removed: removed.map(({ level, table }) => ({ level, fileNumber: table.fileNumber })),
      logNumber: this.#logNumber,
      lastSequence: random.below(1000),
      wallMsMax: random.below(2) === 0 ? undefined : random.below(2 ** 32) * 1000,
      closedWal: random.below(8) > 0 ? undefined : { fileNumber: this.#logNumber, length: 64 },
    }
  }

  /** The last edit was refused. */
  refused(): void {
    this.#tables = this.#tablesBefore
  }
}

function recover(disk: FileSystem): Manifest {
  const manifest = Manifest.recover(partsOn(disk))
  assert.ok(manifest !== undefined, 'there is a database')
  return manifest
}

/** The state on the disk as text; undefined for no database. */
function recoveredState(disk: FileSystem): string | undefined {
  const manifest = Manifest.recover(partsOn(disk))
  return manifest === undefined ? undefined : describeState(manifest)
}

describe('Manifest', () => {
  test('every edit is there after reopening, through rotations', async t => {
    const random = seededRandom(printSeed(t))
    const disk = newDisk()
    const script = new EditScript(random, disk)
    assert.equal(Manifest.recover(partsOn(disk)), undefined)
    let manifest = Manifest.create(partsOn(disk), DATABASE_ID)
    const files = new Set<number>()
    for (let count = 0; count < 150; count++) {
      const version = await manifest.append(script.next(manifest))
      assert.equal(version, manifest.version)
      files.add(manifest.fileNumber)
      const manifests = disk.paths().filter(path => path.includes('MANIFEST'))
      assert.deepEqual(manifests, [manifestPath(manifest.fileNumber)])
      if (random.below(10) > 0) continue
      const before = describeState(manifest)
      const next = manifest.reserveFileNumbers(1)
      await manifest.close()
      manifest = recover(disk)
      assert.equal(describeState(manifest), before)
      assert.equal(manifest.tornTail, undefined)
      assert.ok(manifest.reserveFileNumbers(1) >= next, 'numbers only rise')
    }
    assert.ok(files.size > 5, 'the file was replaced now and then')
  })

  test('edits and rotations make no call that waits', async t => {
    const random = seededRandom(printSeed(t))
    const disk = newDisk()
    const seen: string[] = []
    const manifest = Manifest.create(partsOn(noteWaitingCalls(disk, seen)), DATABASE_ID)
    const script = new EditScript(random, disk)
    const files = new Set<number>()
    while (files.size < 3) {
      await manifest.append(script.next(manifest))
      files.add(manifest.fileNumber)
    }
    assert.deepEqual(seen, [])
    await manifest.close()
  })

  test('many tables are encoded in slices, to the same bytes, and edits wait for that', async t => {
    const random = seededRandom(printSeed(t))
    for (const count of [0, 1, 256, 257, 2000]) {
      const added = manyTables(random, count)
      const edit = { databaseId: DATABASE_ID, nextFileNumber: count + 1, lastSequence: 7, added }
      let turns = 0
      let isDone = false
      const countTurns = (): void => {
        turns++
        if (!isDone) setImmediate(countTurns)
      }
      setImmediate(countTurns)
      const encoded = await encodeManifestFileInSlices(DATABASE_ID, 9, edit, hasher)
      isDone = true
      assert.deepEqual(encoded, encodeManifestFile(DATABASE_ID, 9, edit))
      assert.ok(turns >= Math.ceil(count / 256) - 1, `${turns} turns for ${count} tables`)
    }
    const disk = newDisk()
    const manifest = Manifest.create(partsOn(disk), DATABASE_ID)
    const added = manyTables(random, 600)
    for (const { table } of added)
      disk.plant(tablePath(table.fileNumber), new Uint8Array(table.size))
    manifest.reserveFileNumbers(600)
    const order: number[] = []
    const edits = [{ logNumber: 1, added }, { logNumber: 2 }, { logNumber: 3 }]
    const appended = edits.map(edit => manifest.append(edit).then(() => order.push(edit.logNumber)))
    // A number that is given out meanwhile lies above those of the file all the same.
    const reserved = manifest.reserveFileNumbers(1)
    await Promise.all(appended)
    assert.deepEqual(order, [1, 2, 3])
    assert.equal(describeState(recover(disk)), describeState(manifest))
    assert.ok(manifest.reserveFileNumbers(1) > reserved)
  })

  test('appends made at once are applied one after another, in order', async () => {
    const disk = newDisk()
    const manifest = Manifest.create(partsOn(disk, 1 << 20), DATABASE_ID)
    const calls: string[] = []
    disk.onCall = (_index, kind, path) => {
      if (path === manifestPath(1)) calls.push(kind)
    }
    const order: number[] = []
    const logNumbers = [1, 2, 3, 4, 5]
    await Promise.all(
      logNumbers.map(logNumber => manifest.append({ logNumber }).then(() => order.push(logNumber))),
    )
    assert.deepEqual(order, logNumbers)
    assert.deepEqual(calls, ['create', ...logNumbers.flatMap(() => ['write', 'sync'])])
    assert.equal(recover(disk).logNumber, 5)
  })

  test('a file of another process that bears the next number is left alone', async () => {
    const disk = newDisk()
    const manifest = Manifest.create(partsOn(disk), DATABASE_ID)
    await manifest.append({ logNumber: 1 })
    await manifest.close()
    const recovered = recover(disk)
    const path = manifestPath(recovered.reserveFileNumbers(1) + 1)
    disk.plant(path, Uint8Array.of(1, 2, 3))
    await assert.rejects(recovered.append({ logNumber: 2 }), { code: 'EEXIST' })
    assert.deepEqual(disk.peek(path), Uint8Array.of(1, 2, 3))
  })

  test('recovery changes nothing, and the first edit after it starts a fresh file', async t => {
    const random = seededRandom(printSeed(t))
    const disk = newDisk()
    const script = new EditScript(random, disk)
    const manifest = Manifest.create(partsOn(disk, 1 << 20), DATABASE_ID)
    for (let count = 0; count < 10; count++) await manifest.append(script.next(manifest))
    const kinds = new Set<CallKind>()
    disk.onCall = (_index, kind) => kinds.add(kind)
    const recovered = recover(disk)
    for (const kind of kinds) assert.match(kind, /open|close|read|size|list/)
    const old = disk.peek(manifestPath(manifest.fileNumber))
    let replaced: Uint8Array | undefined
    disk.onCall = (_index, kind, path) => {
      if (kind === 'remove' && path === manifestPath(manifest.fileNumber))
        replaced = disk.peek(path)
    }
    await recovered.append({})
    assert.deepEqual(replaced, old)
    assert.notEqual(recovered.fileNumber, manifest.fileNumber)
  })

  test('a power loss at any call leaves the last acknowledged edit, or a later one', async t => {
    const seed = printSeed(t)
    for (let round = 0; round < 6; round++) {
      const random = seededRandom(seed + round)
      const disk = newDisk()
      const script = new EditScript(random, disk)
      const manifest = Manifest.create(partsOn(disk), DATABASE_ID)
      const states: string[] = []
      let acknowledged = -1
      const survivors: { clone: MemoryFileSystem; atLeast: number }[] = []
      const onCall = () => {
        const keep = (['random', 'random', 'nothing', 'all'] as const)[random.below(4)]!
        survivors.push({ clone: disk.crashClone(random, { keep }), atLeast: acknowledged })
      }
      for (let count = 0; count < 40; count++) {
        disk.onCall = undefined
        const edit = script.next(manifest)
        disk.onCall = onCall
        await manifest.append(edit)
        states.push(describeState(manifest))
        acknowledged = count
      }
      for (const { clone, atLeast } of survivors) {
        const state = recoveredState(clone)
        const expected = [states[atLeast], states[atLeast + 1]]
        assert.ok(expected.includes(state), `edit ${atLeast} was acknowledged, there is ${state}`)
        // Life goes on from there.
        if (state !== undefined) await recover(clone).append({ logNumber: 1000 })
      }
    }
  })

  test('after a failure every append fails with it, and the disk holds an edit that was', async t => {
    const seed = printSeed(t)
    const faults = ['EIO', 'ENOSPC', 'shortWrite', 'failedSync'] as const
    let failures = 0
    for (const fault of faults) {
      for (let nth = 0; nth < 60; nth++) {
        const random = seededRandom(seed)
        const memory = newDisk()
        const disk = new FailingFileSystem(memory)
        const kind = ['write', 'sync', 'create', 'rename', 'syncDirectory'] as const
        const script = new EditScript(random, memory)
        const manifest = Manifest.create(partsOn(disk), DATABASE_ID)
        const states: string[] = []
        // Tables of edits are planted, so calls are those of the MANIFEST alone.
        disk.fail(fault === 'EIO' || fault === 'ENOSPC' ? { fault, kind, nth } : { fault, nth })
        let failed: unknown
        for (let count = 0; count < 15; count++) {
          try {
            await manifest.append(script.next(manifest))
            states.push(describeState(manifest))
          } catch (error) {
            failed = error
            break
          }
        }
        if (failed === undefined || manifest.failure === undefined) continue
        failures++
        assert.equal(manifest.failure, failed)
        const { callCount } = memory
        await assert.rejects(manifest.append({}), failed as Error)
        assert.equal(memory.callCount, callCount, 'nothing is tried after a failure')
        const dark = memory.crashClone(random, { keep: 'random' })
        // The failed edit may be there whole; then it is none of the states that were.
        const index = Manifest.recover(partsOn(dark))?.logNumber ?? -1
        const last = states.length === 0 ? -1 : manifest.logNumber
        assert.ok(index >= last, `${fault} ${nth}`)
        await manifest.close()
      }
    }
    assert.ok(failures > 50, `${failures} failures`)
  })

  test('without room for an edit nothing changes, at any call, until there is room', async t => {
    const seed = printSeed(t)
    const kind = ['write', 'sync', 'create', 'syncDirectory'] as const
    const outcomes = { refused: 0, found: 0, failed: 0 }
    for (const fault of ['ENOSPC', 'shortWrite', 'full', 'EMFILE'] as const) {
      for (let nth = 0; nth < 40; nth++) {
        // Some lives are the same in each run: rare outcomes are surely among them.
        const random = seededRandom((nth % 4 === 1 ? 0 : seed) + nth)
        const memory = newDisk()
        const disk = new FailingFileSystem(memory)
        const parts = partsOn(disk)
        let manifest = Manifest.create(parts, DATABASE_ID)
        const script = new EditScript(random, memory)
        await manifest.append(script.next(manifest))
        if (random.below(2) === 0) {
          // Of one that was just recovered the first edit takes a file of its own.
          await manifest.close()
          manifest = Manifest.recover(parts)!
        }
        const rule = { fault, nth, forever: true }
        const report = disk.fail(
          fault === 'ENOSPC' || fault === 'EMFILE' ? { ...rule, kind } : rule,
        )
        let refusedState: string | undefined
        for (let count = 0; count < 30; count++) {
          if (random.below(8) === 0) report.remove()
          const edit = script.next(manifest)
          const before = describeState(manifest)
          try {
            await manifest.append(edit)
            refusedState = undefined
          } catch (error) {
            assert.equal(isShortage(error), true, String(error))
            // Which file is in force is not known.
            if (manifest.failure !== undefined) break
            assert.equal(describeState(manifest), before)
            outcomes.refused++
            // Only the first one can have reached the file in force.
            const nextFileNumber = manifest.reserveFileNumbers(1)
            const state = applyEdit(manifest.state, { ...edit, nextFileNumber })
            assert.ok(typeof state !== 'string', String(state))
            refusedState ??= stateText(state)
            script.refused()
          }
          await parts.obsoleteFiles.drain()
          const keep = (['random', 'nothing', 'all'] as const)[random.below(3)]!
          const found = recoveredState(memory.crashClone(random, { keep }))
          if (found === describeState(manifest)) continue
          assert.equal(found, refusedState, `${fault} ${nth}`)
          outcomes.found++
        }
        report.remove()
        if (manifest.failure !== undefined) {
          outcomes.failed++
          continue
        }
        await manifest.append({})
        await parts.obsoleteFiles.drain()
        const tables = memory.paths().filter(path => path.endsWith('.sst'))
        const known = manifest.version.levels.flat().map(table => tablePath(table.fileNumber))
        for (const path of known) assert.ok(tables.includes(path), `${path} is there`)
        assert.equal(recoveredState(memory), describeState(manifest))
        await manifest.close()
      }
    }
    t.diagnostic(JSON.stringify(outcomes))
    const { refused, found } = outcomes
    // It is 408 on average, with a standard deviation of 68.
    assert.ok(refused > 100 && found > 0, 'edits were refused, and some found after a crash')
  })

  test('the tables of an edit for which there was no room go once that is safe', async () => {
    for (const fault of ['full', 'shortWrite'] as const) {
      const memory = newDisk()
      const disk = new FailingFileSystem(memory)
      const parts = partsOn(disk)
      const manifest = Manifest.create(parts, DATABASE_ID)
      await manifest.append({})
      const tables = () => memory.paths().filter(path => path.endsWith('.sst'))
      const addTable = async () => {
        const fileNumber = manifest.reserveFileNumbers(1)
        const random = seededRandom(fileNumber)
        const table = randomTable(random, fileNumber, Uint8Array.of(1), Uint8Array.of(2))
        memory.plant(tablePath(fileNumber), new Uint8Array(table.size))
        const added = manifest.append({ added: [{ level: 0, table }] })
        await added.catch(() => undefined)
        await parts.obsoleteFiles.drain()
        return tablePath(fileNumber)
      }
      const rule = disk.fail({ fault, forever: true })
      const first = await addTable()
      assert.deepEqual(tables(), [first], 'recovery may find the edit')
      await addTable()
      assert.deepEqual(tables(), [first], 'of what never reached the file in force nothing stays')
      rule.remove()
      const third = await addTable()
      assert.deepEqual(tables(), [third])
      await manifest.close()
    }
  })

  test('a fresh file that cannot be made leaves the old one in force', async () => {
    for (const kind of ['create', 'write', 'sync', 'syncDirectory'] as const) {
      const memory = newDisk()
      const disk = new FailingFileSystem(memory)
      const manifest = Manifest.create(partsOn(disk, 100), DATABASE_ID)
      await manifest.append({ logNumber: 1 })
      const { fileNumber } = manifest
      let logNumber = 1
      const report = disk.fail({ fault: 'EMFILE', kind, path: path => path !== manifestPath(1) })
      for (let count = 0; report.injected === 0; count++) {
        assert.ok(count < 1000, 'it grows until a fresh file is due')
        await manifest.append({ logNumber: ++logNumber })
      }
      assert.equal(manifest.fileNumber, fileNumber, 'the old file goes on')
      assert.equal(recover(memory).logNumber, logNumber)
      for (let count = 0; manifest.fileNumber === fileNumber; count++) {
        assert.ok(count < 1000, 'it tries again')
        await manifest.append({ logNumber: ++logNumber })
      }
      assert.equal(recover(memory).logNumber, logNumber)
      const manifests = memory.paths().filter(path => path.includes('MANIFEST'))
      assert.deepEqual(manifests, [manifestPath(manifest.fileNumber)])
      await manifest.close()
    }
  })

  test('an edit that does not fit is a bug, and costs nothing', async () => {
    const disk = newDisk()
    const manifest = Manifest.create(partsOn(disk), DATABASE_ID)
    await manifest.append({ logNumber: 5 })
    await assert.rejects(manifest.append({ logNumber: 4 }), { name: 'AssertionError' })
    await assert.rejects(manifest.append({ removed: [{ level: 0, fileNumber: 9 }] }), {
      name: 'AssertionError',
    })
    await manifest.append({ logNumber: 6 })
    assert.equal(recover(disk).logNumber, 6)
  })
})

describe('damage', () => {
  /** A MANIFEST with a snapshot and some edits; the states after each, and where each ends. */
  async function build(seed: number) {
    const disk = newDisk()
    const script = new EditScript(seededRandom(seed), disk)
    const manifest = Manifest.create(partsOn(disk, 1 << 20), DATABASE_ID)
    const states: string[] = []
    const ends: number[] = []
    for (let count = 0; count < 8; count++) {
      await manifest.append(script.next(manifest))
      states.push(describeState(manifest))
      ends.push(manifest.size)
    }
    await manifest.close()
    const path = manifestPath(manifest.fileNumber)
    return { disk, path, bytes: disk.peek(path), states, ends }
  }

  test('a MANIFEST cut anywhere: the last whole edit, or corruption before the first', async t => {
    const { disk, path, bytes, states, ends } = await build(printSeed(t))
    for (let length = 0; length < bytes.length; length++) {
      disk.plant(path, bytes.slice(0, length))
      const whole = ends.findLastIndex(end => end <= length)
      if (whole < 0) {
        assert.throws(() => recover(disk), CorruptionError)
        continue
      }
      const manifest = recover(disk)
      assert.equal(describeState(manifest), states[whole])
      const torn = length - ends[whole]!
      assert.deepEqual(
        manifest.tornTail,
        torn === 0 ? undefined : { offset: ends[whole], length: torn },
      )
    }
  })

  test('a changed byte: corruption, or in the last edit a torn tail', async t => {
    const seed = printSeed(t)
    const random = seededRandom(seed)
    const { disk, path, bytes, states, ends } = await build(seed)
    const current = disk.peek(CURRENT)
    const last = ends.at(-2)!
    for (let offset = 0; offset < bytes.length; offset++) {
      const damaged = bytes.slice()
      damaged[offset]! ^= 1 + random.below(255)
      disk.plant(path, damaged)
      if (offset < last) {
        assert.throws(
          () => recover(disk),
          (error: unknown) => error instanceof CorruptionError && error.path === path,
          `byte ${offset}`,
        )
        continue
      }
      const manifest = recover(disk)
      assert.equal(describeState(manifest), states.at(-2))
      assert.deepEqual(manifest.tornTail, { offset: last, length: bytes.length - last })
      await manifest.append({ logNumber: 1000 })
      assert.equal(recover(disk).tornTail, undefined)
      disk.removeSync(manifestPath(manifest.fileNumber))
      disk.plant(path, bytes)
      disk.plant(CURRENT, current)
    }
  })

  test('a changed or cut CURRENT: corruption', async t => {
    const seed = printSeed(t)
    const random = seededRandom(seed)
    const { disk } = await build(seed)
    const bytes = disk.peek(CURRENT)
    for (let offset = 0; offset < bytes.length; offset++) {
      const damaged = bytes.slice()
      damaged[offset]! ^= 1 + random.below(255)
      for (const wrong of [damaged, bytes.slice(0, offset), Uint8Array.of(...bytes, 10)]) {
        disk.plant(CURRENT, wrong)
        assert.throws(() => recover(disk), { name: 'CorruptionError', path: CURRENT })
      }
    }
  })

  test('CURRENT gone although there is data: corruption, not a new database', async t => {
    const { disk } = await build(printSeed(t))
    disk.removeSync(CURRENT)
    assert.throws(() => recover(disk), { name: 'CorruptionError', path: CURRENT })
    const log = newDisk()
    log.plant('/db/000003.wal', new Uint8Array(65))
    assert.throws(() => Manifest.recover(partsOn(log)), { name: 'CorruptionError' })
    // As when all tables are in a second directory.
    const named = newDisk()
    const manifest = Manifest.create(partsOn(named), DATABASE_ID)
    await manifest.append({})
    named.removeSync(CURRENT)
    assert.equal(Manifest.recover(partsOn(named)), undefined, 'nothing was written')
    await Manifest.create(partsOn(named), DATABASE_ID).append({ features: Feature.coldDirectory })
    named.removeSync(CURRENT)
    assert.throws(() => recover(named), { name: 'CorruptionError', path: CURRENT })
  })

  test('what a crash during creation leaves is no database, and its numbers are not reused', () => {
    const disk = newDisk()
    disk.plant('/db/MANIFEST-000007', new Uint8Array(10))
    disk.plant('/db/000009.wal', new Uint8Array(64))
    disk.plant('/db/CURRENT.tmp', new Uint8Array(3))
    disk.plant('/db/notes.txt', new Uint8Array(3))
    assert.equal(Manifest.recover(partsOn(disk)), undefined)
    assert.equal(Manifest.create(partsOn(disk), DATABASE_ID).reserveFileNumbers(1), 10)
  })

  test('a MANIFEST or table that is missing or has another size: corruption that names it', async () => {
    const disk = newDisk()
    const manifest = Manifest.create(partsOn(disk), DATABASE_ID)
    const fileNumber = manifest.reserveFileNumbers(1)
    const table = randomTable(seededRandom(1), fileNumber, Uint8Array.of(1), Uint8Array.of(2))
    disk.plant(tablePath(fileNumber), new Uint8Array(table.size))
    await manifest.append({ added: [{ level: 3, table }] })
    recover(disk)
    for (const size of [0, table.size - 1, table.size + 1]) {
      disk.plant(tablePath(fileNumber), new Uint8Array(size))
      assert.throws(() => recover(disk), { name: 'CorruptionError', path: tablePath(fileNumber) })
    }
    disk.removeSync(tablePath(fileNumber))
    assert.throws(() => recover(disk), { name: 'CorruptionError', path: tablePath(fileNumber) })
    const path = manifestPath(manifest.fileNumber)
    disk.removeSync(path)
    assert.throws(() => recover(disk), { name: 'CorruptionError', path })
  })

  test('a MANIFEST that needs a later reader is refused', async t => {
    const { disk, path, bytes } = await build(printSeed(t))
    const fileNumber = Number(path.slice(-6))
    disk.plant(
      path,
      Uint8Array.of(...encodeManifestHeader(DATABASE_ID, fileNumber, 2), ...bytes.slice(40)),
    )
    assert.throws(() => recover(disk), { name: 'VersionMismatchError' })
  })

  test('a MANIFEST under another number: corruption', async t => {
    const { disk, path, bytes } = await build(printSeed(t))
    disk.plant(path, bytes)
    const manifest = recover(disk)
    await manifest.append({ logNumber: 1000 })
    disk.plant(manifestPath(manifest.fileNumber), bytes)
    assert.throws(() => recover(disk), { name: 'CorruptionError', offset: 0 })
  })
})

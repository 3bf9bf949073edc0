// Goal: flush and compaction keep exactly what some reader can still see, in durable tables that do
// not overlap, and stop cleanly.
// Method: random entries and snapshots; after the job every snapshot, and the newest state, must
// read the same from the outputs plus the deeper tables as from the inputs plus the deeper tables;
// and what nobody needs must be gone. Then errors at every file-system call, and cancelling.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compareBytes, utf8Encode } from '../../src/bytes.ts'
import { runCompactionJob } from '../../src/engine/compaction.ts'
import { runFlushJob } from '../../src/engine/flush-job.ts'
import { EntryKind, readExpiry } from '../../src/engine/internal-key.ts'
import type { CompactionJob, FlushJob, JobResult } from '../../src/engine/job.ts'
import { LevelCursor } from '../../src/engine/level-cursor.ts'
import { Memtable } from '../../src/engine/memtable.ts'
import { MemtableMemory } from '../../src/engine/memtable-memory.ts'
import {
  END_OF_KEYS,
  endAfter,
  type RangeFragment,
  type RangeFragments,
} from '../../src/engine/range-fragment.ts'
import { append, fragmentTombstones } from '../../src/engine/range-fragmenter.ts'
import { ReadAheadSource } from '../../src/engine/read-ahead-source.ts'
import type { JobEnvironment } from '../../src/engine/run-job.ts'
import type { TableMetadata } from '../../src/engine/table-metadata.ts'
import { TableOutputs } from '../../src/engine/table-outputs.ts'
import { AbortedError, CorruptionError } from '../../src/errors.ts'
import { loadHasher, xxh32 } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import {
  ArrayCursor,
  compareEntries,
  cutIntoTables,
  entriesAhead,
  entryAt,
  type ModelEntry,
  randomEntries,
  textEntry,
  writeTable,
} from '../support/table-model.ts'

const hasher = await loadHasher()
const WALL_MS = 1000
const NEWEST = Number.MAX_SAFE_INTEGER
const FIRST_OUTPUT = 1000

function newEnvironment(): JobEnvironment & { readonly fileSystem: MemoryFileSystem } {
  const fileSystem = new MemoryFileSystem()
  fileSystem.makeDirectorySync('/db')
  return { fileSystem, hasher, clock: new SimClock() }
}

const common = {
  directory: '/db',
  firstFileNumber: FIRST_OUTPUT,
  fileNumberCount: 1000,
  tableOptions: { blockSize: 256, filterBitsPerKey: 10 },
  wallMs: WALL_MS,
}

function hexKey(entry: ModelEntry): string {
  return Buffer.from(entry.key).toString('hex')
}

/** What tables hold. The ranges may overlap. */
interface Content {
  readonly entries: readonly ModelEntry[]
  readonly ranges: RangeFragments
}

/** Key to the version that a reader at `sequence` sees, the deleted and the expired left out. */
function state({ entries, ranges }: Content, sequence: number): Map<string, ModelEntry> {
  const newest = new Map<string, ModelEntry>()
  for (const entry of [...entries].sort(compareEntries)) {
    if (entry.sequence <= sequence && !newest.has(hexKey(entry))) newest.set(hexKey(entry), entry)
  }
  for (const [key, entry] of newest) {
    if (isDead(entry) || isCovered(entry, ranges, sequence)) newest.delete(key)
  }
  return newest
}

/** Whether a range that a reader at `sequence` knows hides the entry. */
function isCovered(entry: ModelEntry, ranges: RangeFragments, sequence: number): boolean {
  return ranges.some(
    ({ start, end, sequences }) =>
      compareBytes(start, entry.key) <= 0 &&
      compareBytes(entry.key, end) < 0 &&
      sequences.some(other => other > entry.sequence && other <= sequence),
  )
}

function together(...contents: readonly Content[]): Content {
  return {
    entries: contents.flatMap(({ entries }) => entries),
    ranges: contents.flatMap(({ ranges }) => ranges),
  }
}

function isDead({ kind, value }: ModelEntry): boolean {
  if (kind === EntryKind.delete) return true
  return kind === EntryKind.putExpiring && readExpiry(value, 0) <= WALL_MS
}

function readTables(environment: JobEnvironment, tables: readonly TableMetadata[]): Content {
  const source = new ReadAheadSource(environment.fileSystem, '/db', hasher)
  const cursor = new LevelCursor(tables, source)
  cursor.seekToFirst()
  const entries = entriesAhead(cursor)
  const ranges = tables.flatMap(table => source.open(table).ranges)
  source.close()
  return { entries, ranges }
}

/** Tables do not overlap, neither in versions of one key nor in what their ranges cover. */
function checkApart(tables: readonly TableMetadata[]): void {
  for (let index = 1; index < tables.length; index++) {
    assert.ok(compareBytes(tables[index - 1]!.largestKey, tables[index]!.smallestKey) < 0)
  }
}

/** The newest versions of each stripe that `snapshots` make, unless hidden in it; by definition. */
function survivors({ entries, ranges }: Content, snapshots: readonly number[]): ModelEntry[] {
  const bounds = [...snapshots, NEWEST]
  const kept = new Set<ModelEntry>()
  for (const bound of bounds) {
    const newest = new Map<string, ModelEntry>()
    for (const entry of entries) {
      if (entry.sequence <= bound && !newest.has(hexKey(entry))) newest.set(hexKey(entry), entry)
    }
    for (const entry of newest.values()) if (!isCovered(entry, ranges, bound)) kept.add(entry)
  }
  return entries.filter(entry => kept.has(entry))
}

/** Ranges between keys of the entries, near and far, with sequences that no entry has. */
function someRanges(
  random: Random,
  entries: readonly ModelEntry[],
  count: number,
): RangeFragment[] {
  const ranges: RangeFragment[] = []
  const taken = new Set(entries.map(entry => entry.sequence))
  for (let tries = 0; tries < count * 2; tries++) {
    const isNewest = random.below(4) === 0
    const sequence = isNewest ? entries.length * 4 + tries : random.below(entries.length * 4)
    const first = random.below(entries.length)
    const reach = random.below(4) === 0 ? entries.length : 5
    const last = Math.min(entries.length - 1, first + random.below(reach))
    const start = entries[first]!.key
    const end = random.below(2) === 0 ? endAfter(entries[last]!.key) : entries[last]!.key
    if (sequence === 0 || taken.has(sequence) || compareBytes(start, end) >= 0) continue
    taken.add(sequence)
    ranges.push({ start, end, sequences: [sequence] })
  }
  return ranges.sort((a, b) => a.sequences[0]! - b.sequences[0]!)
}

function someSnapshots(random: Random, sequenceMax: number): number[] {
  const count = [0, 1, 4][random.below(3)]!
  return Array.from({ length: count }, () => random.below(sequenceMax + 1)).sort((a, b) => a - b)
}

describe('flush job', () => {
  test('keeps the newest version for each snapshot', context => {
    const random = seededRandom(printSeed(context))
    for (let round = 0; round < 30; round++) {
      const environment = newEnvironment()
      const count = 1 + random.below(400)
      const entries = randomEntries(random, { count, keySpace: 1 + random.below(200) })
      const ranges = someRanges(random, entries, round % 2 === 0 ? 0 : random.below(30))
      const content = { entries, ranges }
      const snapshots = someSnapshots(random, count * 4)
      const result = runFlushJob(flushJob(content, snapshots), environment)
      assert.equal(result.tables.length, 1)
      const written = readTables(environment, result.tables)
      assert.deepEqual(written.entries, survivors(content, snapshots))
      assert.deepEqual(written.ranges, fragmentTombstones(ranges, Float64Array.from(snapshots)))
      assert.equal(result.entriesRead, count)
      assert.equal(result.entriesWritten, result.tables[0]!.entryCount)
      assert.equal(result.bytesWritten, result.tables[0]!.size)
    }
  })

  test('of an empty memtable makes no table', () => {
    const environment = newEnvironment()
    const result = runFlushJob(flushJob({ entries: [], ranges: [] }, []), environment)
    assert.deepEqual(result.tables, [])
    assert.deepEqual(environment.fileSystem.paths(), [])
  })

  test('ends ranges behind the last key that there is, and drops those behind it', () => {
    const ranges: RangeFragment[] = [
      { start: utf8Encode('d'), end: END_OF_KEYS, sequences: [7] },
      { start: utf8Encode('x'), end: utf8Encode('z'), sequences: [8] },
    ]
    const flush = (entries: readonly ModelEntry[], largestKey: string | undefined) => {
      const job = flushJob({ entries, ranges }, [])
      const older = largestKey === undefined ? undefined : utf8Encode(largestKey)
      const environment = newEnvironment()
      const { tables } = runFlushJob({ ...job, largestKey: older }, environment)
      return readTables(environment, tables).ranges
    }
    const upTo = (key: string) => [
      { start: utf8Encode('d'), end: utf8Encode(`${key}\0`), sequences: [7] },
    ]
    assert.deepEqual(flush([], undefined), [])
    assert.deepEqual(flush([], 'a'), [])
    assert.deepEqual(flush([], 'm'), upTo('m'))
    assert.deepEqual(flush([textEntry('p', 9, '')], 'm'), upTo('p'))
    assert.deepEqual(flush([textEntry('b', 9, '')], 'm'), upTo('m'))
    assert.deepEqual(flush([], 'y').at(-1), {
      start: utf8Encode('x'),
      end: utf8Encode('y\0'),
      sequences: [8],
    })
  })
})

function flushJob({ entries, ranges }: Content, snapshots: readonly number[]): FlushJob {
  const memtable = new Memtable(new MemtableMemory(1 << 20), 1, seededRandom(1))
  const readers = Float64Array.from(snapshots)
  for (const { start, end, sequences } of ranges) {
    const endLength = end === END_OF_KEYS ? 0 : end.length
    const sequence = sequences[0]!
    memtable.insertRange(start, 0, start.length, sequence, end, 0, endLength, readers)
  }
  for (const { key, sequence, kind, value } of [...entries].sort(
    (a, b) => a.sequence - b.sequence,
  )) {
    const hash = xxh32(key, 0, key.length, 0)
    memtable.insert(hash, key, 0, key.length, sequence, kind, value, 0, value.length)
  }
  memtable.freeze()
  return {
    ...common,
    kind: 'flush',
    arena: memtable.arena,
    order: 'sorted',
    largestKey: undefined,
    snapshots: Float64Array.from(snapshots),
    cancel: new Int32Array(new SharedArrayBuffer(4)),
  }
}

interface Case {
  readonly environment: ReturnType<typeof newEnvironment>
  readonly job: CompactionJob
  /** The inputs together, in internal order, and what stands below the output. */
  readonly inputs: Content
  readonly deeper: Content
  readonly snapshots: readonly number[]
}

/** Runs, deeper tables and snapshots as a tree of levels would hold them. */
function compactionCase(random: Random): Case {
  const environment = newEnvironment()
  const count = 1 + random.below(500)
  const all = randomEntries(random, {
    count,
    keySpace: [1, 20, 200][random.below(3)]!,
    keyLengthMax: 5,
    valueLengthMax: 40,
    specialShare: [0.05, 0.3][random.below(2)]!,
  })
  const ranges = someRanges(random, all, [0, 3, 20][random.below(3)]!)
  const sequences = all.map(entry => entry.sequence).sort((a, b) => a - b)
  // What is older is deeper: cut the sequences into deeper levels and runs, newest run first.
  const deeperEnd = random.below(2) === 0 ? 0 : sequences[random.below(count)]!
  const middle = sequences[random.below(count)]!
  const between = (above: number, upTo: number): Content => ({
    entries: all.filter(({ sequence }) => sequence > above && sequence <= upTo),
    ranges: ranges.filter(range => range.sequences[0]! > above && range.sequences[0]! <= upTo),
  })
  const deeper = between(0, deeperEnd)
  const halves = [between(Math.max(middle, deeperEnd), NEWEST), between(deeperEnd, middle)]
  const snapshots = someSnapshots(random, count * 4)
  const taken = Float64Array.from(snapshots)
  let fileNumber = 1
  const write = (content: Content): readonly TableMetadata[] => {
    const tables = writeRun(environment, random, content, taken, fileNumber)
    fileNumber += tables.length
    return tables
  }
  const spans = [
    ...cutIntoTables(random, deeper.entries, 4).map(table => ({
      smallestKey: table[0]!.key,
      largestKey: table.at(-1)!.key,
    })),
    ...deeper.ranges.map(({ start, end }) => ({ smallestKey: start, largestKey: end })),
  ].sort((a, b) => compareBytes(a.smallestKey, b.smallestKey))
  const job: CompactionJob = {
    ...common,
    kind: 'compaction',
    runs: halves.map(write).filter(run => run.length > 0),
    outputLevel: 1,
    tableSizeTarget: [1, 1000, 1 << 20][random.below(3)]!,
    deeper: spans,
    tombstonePurgeBound: random.below(3) === 0 ? random.below(count * 4) : Number.POSITIVE_INFINITY,
    snapshots: taken,
    cancel: new Int32Array(new SharedArrayBuffer(4)),
  }
  return { environment, job, inputs: between(deeperEnd, NEWEST), deeper, snapshots }
}

/** Tables of one run. Those with ranges are cut as a job cuts them. */
function writeRun(
  environment: JobEnvironment,
  random: Random,
  { entries, ranges }: Content,
  snapshots: Float64Array,
  fileNumber: number,
): readonly TableMetadata[] {
  const { fileSystem } = environment
  if (ranges.length === 0) {
    return cutIntoTables(random, entries, 3).map((table, index) =>
      writeTable(fileSystem, '/db', fileNumber + index, table, hasher, common.tableOptions),
    )
  }
  const targets = { tableSize: 1 + random.below(3000), rangeCount: 1 + random.below(10) }
  const options = { ...common, firstFileNumber: fileNumber }
  const fragments = fragmentTombstones(ranges, snapshots)
  const outputs = new TableOutputs(fileSystem, hasher, options, targets, fragments)
  const cursor = new ArrayCursor(entries)
  let last: Uint8Array | undefined
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
    const { key } = entryAt(cursor)
    outputs.add(cursor, last === undefined || compareBytes(last, key) !== 0)
    last = key
  }
  return outputs.finish()
}

/** Ranges as they were before they were cut at the ends of tables. */
function joined(ranges: RangeFragments): RangeFragments {
  const whole: RangeFragment[] = []
  for (const range of ranges) append(whole, range)
  return whole
}

function checkCompaction(given: Case, result: JobResult): void {
  const { environment, job, inputs, deeper, snapshots } = given
  const output = readTables(environment, result.tables)
  for (const sequence of [...snapshots, NEWEST]) {
    const before = state(together(inputs, deeper), sequence)
    assert.deepEqual(state(together(output, deeper), sequence), before, `at ${sequence}`)
  }
  const oldestSnapshot = snapshots[0] ?? NEWEST
  const isNeeded = (sequence: number, first: Uint8Array, last: Uint8Array) =>
    sequence > oldestSnapshot ||
    sequence >= job.tombstonePurgeBound ||
    job.deeper.some(
      ({ smallestKey, largestKey }) =>
        compareBytes(smallestKey, last) <= 0 && compareBytes(first, largestKey) <= 0,
    )
  const expected = survivors(inputs, snapshots).filter(
    entry => !isDead(entry) || isNeeded(entry.sequence, entry.key, entry.key),
  )
  assert.deepEqual(output.entries, expected)
  for (const { start, end, sequences } of joined(output.ranges)) {
    for (const sequence of sequences) assert.ok(isNeeded(sequence, start, end), 'a range can go')
  }
  assert.equal(result.entriesRead, inputs.entries.length)
  assert.equal(result.entriesWritten, output.entries.length)
  checkApart(result.tables)
}

describe('compaction job', () => {
  test('keeps what some reader can see, and nothing else', context => {
    const random = seededRandom(printSeed(context))
    let several = 0
    let purged = 0
    let cut = 0
    let bare = 0
    const isSeen = () => several > 10 && purged > 10 && cut > 1 && bare > 0
    // Until all of it was there: in 150 rounds the rarest is eight times on average.
    for (let round = 0; round < 150 || (round < 1000 && !isSeen()); round++) {
      const given = compactionCase(random)
      const result = runCompactionJob(given.job, given.environment)
      checkCompaction(given, result)
      if (result.tables.length > 2) several++
      if (result.entriesWritten < survivors(given.inputs, given.snapshots).length) purged++
      const covering = result.tables.filter(table => table.rangeTombstoneCount > 0)
      if (covering.length > 2) cut++
      if (covering.some(table => table.entryCount === 0)) bare++
    }
    assert.ok(several > 10 && purged > 10, `${several} with several outputs, ${purged} purged`)
    assert.ok(cut > 1 && bare > 0, `${cut} with ranges cut, ${bare} with tables of nothing else`)
  })

  test('makes its outputs durable: they survive a power loss right after it', () => {
    const random = seededRandom(5)
    for (let round = 0; round < 20; round++) {
      const given = compactionCase(random)
      const { fileSystem } = given.environment
      fileSystem.syncDirectorySync('/db')
      const result = runCompactionJob(given.job, given.environment)
      const survivor = fileSystem.crashClone(random, { keep: 'nothing' })
      const environment = { ...given.environment, fileSystem: survivor }
      checkCompaction({ ...given, environment }, result)
    }
  })

  test('fails with the error of any file-system call, and leaves no file open', () => {
    const build = (): Case => compactionCase(seededRandom(4))
    const clean = build()
    const before = clean.environment.fileSystem.callCount
    runCompactionJob(clean.job, clean.environment)
    const callCount = clean.environment.fileSystem.callCount - before
    assert.ok(callCount > 20, `${callCount} calls`)
    for (let failing = 0; failing < callCount; failing++) {
      const { environment, job } = build()
      const start = environment.fileSystem.callCount
      let open = 0
      let isFailed = false
      environment.fileSystem.onCall = (index, kind) => {
        if (kind === 'close') open--
        else if (index === start + failing) {
          isFailed = true
          throw Object.assign(new Error('injected'), { code: 'EIO' })
        } else if (kind === 'open' || kind === 'create') open++
      }
      // Closing never fails.
      if (failsCleanly(job, environment)) assert.ok(isFailed, `call ${failing}`)
      assert.equal(open, 0, `call ${failing}`)
    }
  })

  test('stops when it is cancelled', () => {
    const { environment, job } = compactionCase(seededRandom(9))
    Atomics.store(job.cancel, 0, 1)
    assert.throws(() => runCompactionJob(job, environment), AbortedError)
    const entries = randomEntries(seededRandom(1), { count: 5, keySpace: 5 })
    const flush = flushJob({ entries, ranges: [] }, [])
    Atomics.store(flush.cancel, 0, 1)
    assert.throws(() => runFlushJob(flush, environment), AbortedError)
  })

  test('reports a damaged block, and a count that does not add up', () => {
    const { environment, job } = compactionCase(seededRandom(21))
    const table = job.runs[0]![0]!
    const path = `/db/${String(table.fileNumber).padStart(6, '0')}.sst`
    const bytes = environment.fileSystem.peek(path)
    environment.fileSystem.plant(path, bytes.with(20, bytes[20]! ^ 1))
    assert.throws(() => runCompactionJob(job, environment), CorruptionError)
    environment.fileSystem.plant(path, bytes)
    const twice = { ...job, firstFileNumber: 5000, runs: [...job.runs, [table]] }
    assert.throws(() => runCompactionJob(twice, environment), /out of order/)
  })
})

/** Whether the job failed with the injected error; no other is allowed. */
function failsCleanly(job: CompactionJob, environment: JobEnvironment): boolean {
  try {
    runCompactionJob(job, environment)
    return false
  } catch (error) {
    assert.match(String(error), /injected/)
    return true
  }
}

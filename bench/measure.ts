/**
 * Measures one row on one subject, once. Runs inside the subject's process.
 *
 * Keys, values and expectations are made before the clock starts; what was read is checked, because
 * a store that answers wrongly is not quick. Rows bound by the disk run for a fixed time, all
 * others for a fixed number of operations.
 */

import { chooseKeys, keyChooser } from './key-chooser.ts'
import type { RowId } from './rows.ts'
import type { Subject } from './subject.ts'
import { type Dataset, range } from './workloads.ts'

export interface Measurement {
  readonly operations: number
  readonly elapsedMs: number
}

export interface Scale {
  /** Point reads and unsynced writes a round. */
  readonly operations: number
  /** Milliseconds of a round that the disk decides. */
  readonly durationMs: number
}

const BATCH_SIZE = 1000
const CALLER_COUNT = 1000
const SCAN_LENGTH = 100
/** A scan of a hundred costs about as much as this many point reads. */
const OPERATIONS_PER_SCAN = 50
/** Entries a round of batches writes, as a multiple of single operations. */
const SAMPLE_COUNT = 100

interface Round {
  readonly subject: Subject
  readonly dataset: Dataset
  readonly scale: Scale
  /** Differs by round, is the same for all subjects. */
  readonly seed: number
  readonly number: number
}

type Measure = (round: Round) => Promise<Measurement>

function fail(message: string): never {
  throw new Error(`wrong result: ${message}`)
}

function expectCount(actual: number, expected: number, what: string): void {
  if (actual !== expected) fail(`${expected} ${what} expected, ${actual} found`)
}

async function timed(operations: number, action: () => Promise<void>): Promise<Measurement> {
  globalThis.gc?.()
  const startMs = performance.now()
  await action()
  return { operations, elapsedMs: performance.now() - startMs }
}

/** Existing keys of this round and their indices. */
function choose(round: Round, count: number, distribution: 'uniform' | 'zipfian' = 'uniform') {
  const chooser = keyChooser(distribution, round.dataset.keyCount, round.seed)
  const indices = chooseKeys(chooser, count)
  return { indices, keys: round.dataset.keys(indices) }
}

/** Reads some of the keys again, off the clock, and compares every byte, where it can be read. */
function checkValues(round: Round, indices: ArrayLike<number>, keys: readonly Buffer[]): void {
  if (round.subject.getSync === undefined) return
  for (let position = 0; position < Math.min(SAMPLE_COUNT, keys.length); position++) {
    const key = keys[position] as Buffer
    const actual = round.subject.getSync(key)
    if (actual === undefined) fail(`key ${key.toString('hex')} is absent`)
    const expected = round.dataset.value(indices[position] ?? 0)
    if (expected.compare(actual) !== 0) fail(`value of key ${key.toString('hex')}`)
  }
}

/** Subjects of which every entry was read. */
const wasRead = new WeakSet<Subject>()

/**
 * Off the clock, and once: reads every entry, so that the rows of warm reads find in memory what
 * has room there. The reads of a short round leave a sixth of the blocks on the disk, and each of
 * those costs the next rounds as much as seven that are in memory.
 */
function readEverything({ subject, dataset }: Round): void {
  if (wasRead.has(subject)) return
  wasRead.add(subject)
  for (let start = 0; start < dataset.keyCount; start += BATCH_SIZE) {
    const indices = range(start, Math.min(start + BATCH_SIZE, dataset.keyCount))
    for (const key of dataset.keys(indices)) subject.getSync?.(key)
  }
}

function readSync(keysOf: (round: Round) => { indices: Uint32Array; keys: Buffer[] }): Measure {
  return async round => {
    readEverything(round)
    const { indices, keys } = keysOf(round)
    const getSync = method(round, 'getSync')
    let bytes = 0
    const measurement = await timed(keys.length, async () => {
      for (const key of keys) bytes += getSync(key)?.length ?? 0
    })
    expectCount(bytes, keys.length * round.dataset.valueSize, 'bytes of values')
    checkValues(round, indices, keys)
    return measurement
  }
}

async function readAwaited(round: Round): Promise<Measurement> {
  readEverything(round)
  const { keys } = choose(round, round.scale.operations)
  const get = method(round, 'get')
  let bytes = 0
  const measurement = await timed(keys.length, async () => {
    for (const key of keys) bytes += (await get(key))?.length ?? 0
  })
  expectCount(bytes, keys.length * round.dataset.valueSize, 'bytes of values')
  return measurement
}

async function readMissing(round: Round): Promise<Measurement> {
  const chooser = keyChooser('uniform', round.dataset.keyCount, round.seed)
  const keys = round.dataset.missingKeys(chooseKeys(chooser, round.scale.operations))
  const getSync = method(round, 'getSync')
  let found = 0
  const measurement = await timed(keys.length, async () => {
    for (const key of keys) if (getSync(key) !== undefined) found++
  })
  expectCount(found, 0, 'absent keys')
  return measurement
}

function fullScan(name: 'scanAll' | 'scanEach'): Measure {
  return async round => {
    const scan = method(round, name)
    const { keyCount, liveSize } = round.dataset
    let total = { entries: 0, bytes: 0 }
    const measurement = await timed(keyCount, async () => {
      total = await scan()
    })
    expectCount(total.entries, keyCount, 'entries')
    expectCount(total.bytes, liveSize, 'bytes of entries')
    return measurement
  }
}

async function seekRandom(round: Round): Promise<Measurement> {
  const { keys } = choose(round, Math.ceil(round.scale.operations / OPERATIONS_PER_SCAN))
  const scanFrom = method(round, 'scanFrom')
  let entries = 0
  const measurement = await timed(keys.length, async () => {
    for (const key of keys) entries += (await scanFrom(key, SCAN_LENGTH)).entries
  })
  // Only scans that begin in the last hundred keys are shorter.
  const least = keys.length * SCAN_LENGTH * 0.95
  if (entries < least) fail(`at least ${least} entries expected, ${entries} found`)
  return measurement
}

/** So many callers, each of which writes its next key once its last write is durable. */
function durablePuts(callerCount: number): Measure {
  return async round => {
    const { indices, keys } = choose(round, Math.max(callerCount, round.scale.operations))
    const values = round.dataset.values(indices)
    const put = method(round, 'putDurable')
    const endMs = performance.now() + round.scale.durationMs
    let written = 0
    async function caller(): Promise<void> {
      while (performance.now() < endMs) {
        const position = written++ % keys.length
        await put(keys[position] as Buffer, values[position] as Buffer)
      }
    }
    const measurement = await timed(0, async () => {
      await Promise.all(range(0, callerCount).map(caller))
    })
    checkValues(round, indices, keys.slice(0, written))
    return { operations: written, elapsedMs: measurement.elapsedMs }
  }
}

function overwrite(name: 'putFast' | 'putUnwritten'): Measure {
  return async round => {
    const { indices, keys } = choose(round, round.scale.operations)
    const values = round.dataset.values(indices)
    const put = method(round, name)
    const measurement = await timed(keys.length, async () => {
      for (let position = 0; position < keys.length; position++) {
        await put(keys[position] as Buffer, values[position] as Buffer)
      }
    })
    checkValues(round, indices, keys)
    return measurement
  }
}

async function deleteRandom(round: Round): Promise<Measurement> {
  const { keys } = choose(round, round.scale.operations)
  const remove = method(round, 'deleteFast')
  return timed(keys.length, async () => {
    for (const key of keys) await remove(key)
  })
}

async function writeBatches(
  round: Round,
  keys: readonly Buffer[],
  values: readonly Buffer[],
  durable: boolean,
): Promise<Measurement> {
  const batch = method(round, 'batch')
  return timed(keys.length, async () => {
    for (let start = 0; start < keys.length; start += BATCH_SIZE) {
      const end = start + BATCH_SIZE
      await batch(keys.slice(start, end), values.slice(start, end), durable)
    }
  })
}

function fillBatch(durable: boolean): Measure {
  return async round => {
    const { indices, keys } = choose(round, round.scale.operations)
    return writeBatches(round, keys, round.dataset.values(indices), durable)
  }
}

async function fillSequential(round: Round): Promise<Measurement> {
  const start = round.number * round.scale.operations
  const indices = range(start, start + round.scale.operations)
  const keys = round.dataset.ascendingKeys(indices)
  return writeBatches(round, keys, round.dataset.values(indices), false)
}

/** Everything once, in the order of the indices, which is a random order of the keys. */
export async function load(subject: Subject, dataset: Dataset): Promise<Measurement> {
  const piece = 100_000
  let operations = 0
  let elapsedMs = 0
  const scale = { operations: piece, durationMs: 0 }
  for (let start = 0; start < dataset.keyCount; start += piece) {
    const indices = range(start, Math.min(start + piece, dataset.keyCount))
    const round = { subject, dataset, scale, seed: 0, number: 0 }
    const keys = dataset.keys(indices)
    const measurement = await writeBatches(round, keys, dataset.values(indices), false)
    operations += measurement.operations
    elapsedMs += measurement.elapsedMs
  }
  return { operations, elapsedMs }
}

function method<Name extends keyof Subject>(round: Round, name: Name): NonNullable<Subject[Name]> {
  const found = round.subject[name]
  if (found === undefined) throw new Error(`this subject cannot ${name}`)
  return found
}

const MEASURES: Partial<Record<RowId, Measure>> = {
  readrandom: readSync(round => choose(round, round.scale.operations)),
  'readrandom-await': readAwaited,
  readmissing: readMissing,
  readhot: readSync(round => choose(round, round.scale.operations, 'zipfian')),
  readseq: fullScan('scanAll'),
  'readseq-each': fullScan('scanEach'),
  seekrandom: seekRandom,
  'fillsync-1000': durablePuts(CALLER_COUNT),
  fillsync: durablePuts(1),
  overwrite: overwrite('putFast'),
  'overwrite-none': overwrite('putUnwritten'),
  fillbatch: fillBatch(false),
  'fillbatch-sync': fillBatch(true),
  deleterandom: deleteRandom,
  fillseq: fillSequential,
}

export function measure(
  id: RowId,
  subject: Subject,
  dataset: Dataset,
  scale: Scale,
  number: number,
): Promise<Measurement> {
  const action = MEASURES[id]
  if (action === undefined) throw new Error(`row ${id} is not measured by rounds`)
  return action({ subject, dataset, scale, seed: dataset.seed + number, number })
}

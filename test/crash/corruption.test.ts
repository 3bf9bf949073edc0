// Goal: damage on disk is never taken for data. Whatever byte of whatever file is changed, wherever
// a file is cut, whichever file is missing, swapped or prolonged: every answer is right, or an
// error that names file and offset and says what to do; and what lies in other tables stays
// readable. A damaged tail counts as torn only where nothing later promised it.
// Method: a small database of two tables, a log and a MANIFEST on a simulated disk; one damage at a
// time, the database opened, every key read in every way. DURAMEN_BITS=8 flips every single bit.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Db } from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import { type Hasher, loadHasher } from '../../src/hash.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { CrashOracle, readState, text } from '../support/crash-oracle.ts'
import { type EngineSettings, openEngine } from '../support/engine-on-disk.ts'
import { framesEnd } from '../support/frames-end.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'

const BITS = Number(process.env['DURAMEN_BITS'] ?? 1)
/** Level 0 keeps its tables, so that every key stays in the table of its group. */
const OPTIONS = { blockSize: 128, level0CompactionTrigger: 100 }
/** Two tables and the log; their ranges do not meet. */
const GROUPS = ['a', 'b', 'c'] as const
const KEYS_PER_GROUP = 5

interface Sample {
  readonly disk: MemoryFileSystem
  /** Paths, in the order of the groups: what holds the keys of each. */
  readonly homes: readonly string[]
  readonly state: ReadonlyMap<string, string>
  /**
   * Bytes of the MANIFEST before its last edit, the note of the close. If that one is torn, as a
   * crash could have left it, nothing is missing.
   */
  readonly manifestPromised: number
  /** Bytes of the log without the zeros behind its frames, of which none would be missed. */
  readonly logEnd: number
  /** Another hasher than the real one plants a bug. */
  readonly settings: Pick<EngineSettings, 'options' | 'hasher'>
}

function isManifest(path: string): boolean {
  return path.includes('MANIFEST')
}

function byName(a: string, b: string): number {
  return a < b ? -1 : 1
}

function keyOf(group: string, index: number): string {
  return `${group}-key-${index}`
}

async function sampleDatabase(hasher?: Hasher): Promise<Sample> {
  const settings = { options: OPTIONS, ...(hasher && { hasher }) }
  const disk = new MemoryFileSystem()
  const state = new Map<string, string>()
  let manifestPromised = 0
  for (const group of GROUPS) {
    // Opening turns the log of the group before into a table.
    const db = await openEngine(disk, settings)
    for (let index = 0; index < KEYS_PER_GROUP; index++) {
      const value = `value ${group}${index} ${'.'.repeat(10 + 3 * index)}`
      await db.put(keyOf(group, index), value)
      state.set(keyOf(group, index), value)
    }
    await db.delete(keyOf(group, KEYS_PER_GROUP))
    manifestPromised = disk.peek(disk.paths().find(isManifest)!).length
    await db.close()
  }
  const files = disk.paths()
  const homes = files.filter(path => path.endsWith('.sst')).sort(byName)
  homes.push(...files.filter(path => path.endsWith('.wal')))
  assert.equal(homes.length, GROUPS.length, files.join(' '))
  const logEnd = await framesEnd(disk, homes.at(-1)!)
  return { disk, homes, state, manifestPromised, logEnd, settings }
}

function copyOf(disk: MemoryFileSystem): MemoryFileSystem {
  return disk.processCrashClone()
}

/** Throws unless the error is one that helps, and is about this file. */
function checkError(error: unknown, path: string): void {
  assert.ok(error instanceof KvError, `not a KvError: ${String(error)}`)
  const { code, message } = error
  assert.ok(code === 'KV_CORRUPTION' || code === 'KV_VERSION_MISMATCH', `${code} ${message}`)
  assert.ok(message.includes(path), `${message} does not name ${path}`)
  if (code !== 'KV_CORRUPTION') return
  assert.match(message, /^\/db\/\S+@\d+: /)
  assert.match(message, /restore this file .* kvcli debug verify/)
  assert.equal(error.action, 'restore-data')
  assert.ok('path' in error && error.path === path && 'offset' in error)
}

/** Whether reading failed because of damage to this file. */
async function isRefused(read: () => unknown, path: string): Promise<boolean> {
  try {
    await read()
    return false
  } catch (error) {
    // An assertion of this test about an answer is no error of the database.
    if (error instanceof assert.AssertionError && error.operator === 'strictEqual') throw error
    checkError(error, path)
    return true
  }
}

interface Verdict {
  opened: boolean
  refusals: number
}

function isNoticed({ opened, refusals }: Verdict): boolean {
  return !opened || refusals > 0
}

/** Whether damage at the offset must not pass unnoticed, even where all answers are right. */
function mustNotice(sample: Sample, path: string, offset: number): boolean {
  if (path.endsWith('.wal')) return offset < sample.logEnd
  return !isManifest(path) || offset < sample.manifestPromised
}

/** Opens and reads everything there is, in every way. */
async function inspect(disk: MemoryFileSystem, sample: Sample, path: string): Promise<Verdict> {
  const verdict: Verdict = { opened: false, refusals: 0 }
  let db: Db | undefined
  const failed = await isRefused(async () => {
    db = await openEngine(disk, sample.settings)
  }, path)
  if (failed || db === undefined) return verdict
  verdict.opened = true
  for (const [at, group] of GROUPS.entries()) {
    const healthy = sample.homes[at] !== path
    verdict.refusals += await inspectGroup(db, sample, group, healthy, path)
  }
  // Whatever comes out of a scan of everything before it fails is right.
  const all = db.entries()
  verdict.refusals += Number(
    await isRefused(async () => {
      for await (const [key, value] of all) {
        assert.strictEqual(text(value), sample.state.get(text(key)))
      }
    }, path),
  )
  assert.equal(await isRefused(() => db?.close(), path), false)
  return verdict
}

/** Returns how many reads were refused; none may be when the group lies in a healthy file. */
async function inspectGroup(
  db: Db,
  sample: Sample,
  group: string,
  healthy: boolean,
  path: string,
): Promise<number> {
  let refusals = 0
  for (let index = 0; index <= KEYS_PER_GROUP; index++) {
    const key = keyOf(group, index)
    const check = (value: Uint8Array | undefined) => {
      assert.strictEqual(value && text(value), sample.state.get(key))
    }
    refusals += Number(await isRefused(() => check(db.getSync(key)), path))
    refusals += Number(await isRefused(async () => check(await db.get(key)), path))
  }
  const range = { gte: `${group}-`, lt: `${group}.`, reverse: refusals % 2 === 1 }
  const found: string[] = []
  const refused = await isRefused(async () => {
    for await (const [key, value] of db.entries(range)) {
      assert.strictEqual(text(value), sample.state.get(text(key)))
      found.push(text(key))
    }
  }, path)
  if (!refused) assert.strictEqual(found.length, KEYS_PER_GROUP)
  refusals += Number(refused)
  if (healthy) assert.strictEqual(refusals, 0, `keys of ${group} were refused: ${path} is damaged`)
  return refusals
}

function flipped(bytes: Uint8Array, offset: number, bit: number): Uint8Array {
  const copy = bytes.slice()
  copy[offset]! ^= 1 << bit
  return copy
}

/** Bits to flip in a byte: so many that differ. */
function bitsOf(random: Random): number[] {
  const first = random.below(8)
  return Array.from({ length: BITS }, (_, index) => (first + index) % 8)
}

/** Returns how many damages there were and how many of them were noticed. */
async function flipEveryByte(
  sample: Sample,
  path: string,
  random: Random,
): Promise<[damages: number, noticed: number]> {
  const bytes = sample.disk.peek(path)
  let noticedCount = 0
  let damages = 0
  for (let offset = 0; offset < bytes.length; offset++) {
    for (const bit of bitsOf(random)) {
      const disk = copyOf(sample.disk)
      disk.plant(path, flipped(bytes, offset, bit))
      const noticed = isNoticed(await inspect(disk, sample, path))
      damages++
      if (mustNotice(sample, path, offset)) assert.ok(noticed, `${path}@${offset}`)
      noticedCount += Number(noticed)
    }
  }
  return [damages, noticedCount]
}

const KINDS: readonly (readonly [string, RegExp])[] = [
  ['a table', /\.sst$/],
  ['the log', /\.wal$/],
  ['the MANIFEST', /MANIFEST/],
  ['CURRENT', /CURRENT/],
]

describe('damage to a database that was closed', () => {
  for (const [what, pattern] of KINDS) {
    test(`every byte of ${what} flipped`, async t => {
      const random = seededRandom(printSeed(t))
      const sample = await sampleDatabase()
      for (const path of sample.disk.paths().filter(name => pattern.test(name))) {
        const [damages, noticed] = await flipEveryByte(sample, path, random)
        t.diagnostic(`${path}: ${damages} damages, ${noticed} noticed`)
      }
    })

    test(`${what} cut at every length, missing, prolonged, or replaced by zeros`, async t => {
      const sample = await sampleDatabase()
      for (const path of sample.disk.paths().filter(name => pattern.test(name))) {
        const bytes = sample.disk.peek(path)
        for (let length = 0; length < bytes.length; length++) {
          const disk = copyOf(sample.disk)
          disk.plant(path, bytes.slice(0, length))
          const noticed = isNoticed(await inspect(disk, sample, path))
          if (mustNotice(sample, path, length)) assert.ok(noticed, `${path} cut to ${length}`)
        }
        const missing = copyOf(sample.disk)
        missing.removeSync(path)
        assert.equal((await inspect(missing, sample, path)).opened, false)
        const long = copyOf(sample.disk)
        long.plant(path, Buffer.concat([bytes, Buffer.alloc(9, 0x55)]))
        await inspect(long, sample, path)
        const zeros = copyOf(sample.disk)
        zeros.plant(path, new Uint8Array(bytes.length))
        assert.ok(isNoticed(await inspect(zeros, sample, path)))
        t.diagnostic(`${path}: ${bytes.length} lengths`)
      }
    })
  }

  test('one table in the place of another is refused, whichever way round', async () => {
    const sample = await sampleDatabase()
    const [first, second] = sample.homes as [string, string]
    for (const [from, to] of [
      [first, second],
      [second, first],
    ] as const) {
      const disk = copyOf(sample.disk)
      disk.plant(to, sample.disk.peek(from))
      assert.ok(isNoticed(await inspect(disk, sample, to)))
    }
  })

  test('a compaction that meets it leaves everything as it was', async () => {
    const sample = await sampleDatabase()
    const path = sample.homes[0]!
    const bytes = sample.disk.peek(path)
    const disk = copyOf(sample.disk)
    disk.plant(path, flipped(bytes, 20, 3))
    const clock = new SimClock()
    const db = await openEngine(disk, {
      clock,
      options: { ...OPTIONS, level0CompactionTrigger: 2 },
    })
    await clock.advanceAsync(60_000)
    assert.deepEqual(disk.peek(path), flipped(bytes, 20, 3))
    for (const group of GROUPS.slice(1)) await inspectGroup(db, sample, group, true, path)
    await db.put('d-key', 'still taken')
    await db.close()
    // Mended from a copy, it is whole again.
    disk.plant(path, bytes)
    const mended = await openEngine(disk, { options: OPTIONS })
    assert.equal((await readState(mended)).size, sample.state.size + 1)
  })
})

/**
 * A planted bug: every checksum of a block or a frame is the same, so none is ever wrong. Streams
 * are true: the MANIFEST is summed up by them, and read without a hasher.
 */
async function blindHasher(): Promise<Hasher> {
  const { stream32 } = await loadHasher()
  return { hash32: () => 1, stream32 }
}

describe('the check of damage', () => {
  for (const [what, pattern] of KINDS.slice(0, 2)) {
    test(`catches an engine that verifies no checksum of ${what}`, async t => {
      const sample = await sampleDatabase(await blindHasher())
      const path = sample.disk.paths().find(name => pattern.test(name))!
      await assert.rejects(flipEveryByte(sample, path, seededRandom(1)), (error: unknown) => {
        assert.ok(error instanceof assert.AssertionError, String(error))
        t.diagnostic(error.message.slice(0, 120))
        return true
      })
    })
  }
})

describe('damage to the log after an unclean end', () => {
  test('is a torn tail only where no later frame promised it', async t => {
    const random = seededRandom(printSeed(t))
    const disk = new MemoryFileSystem()
    const oracle = new CrashOracle()
    const db = await openEngine(disk, { options: OPTIONS })
    const path = disk.paths().find(name => name.endsWith('.wal'))!
    const ends: number[] = []
    for (let index = 0; index < 8; index++) {
      const operations = [{ type: 'put', key: `key-${index}`, value: `value ${index}` }] as const
      const ticket = oracle.submit({ operations, durability: 'sync' })
      await db.batch(operations)
      oracle.acknowledge(ticket)
      ends.push(db.stats().walBytes)
    }
    const promised = ends.at(-2)!
    const bytes = disk.peek(path)
    const all = { ...oracle.moment(), durable: 0 }
    let torn = 0
    for (let offset = 0; offset < bytes.length; offset++) {
      const damaged = disk.crashClone(random, { keep: 'nothing' })
      damaged.plant(path, flipped(bytes, offset, random.below(8)))
      const refused = await isRefused(async () => {
        const found = await readState(await openEngine(damaged, { options: OPTIONS }))
        const length = oracle.explain(found, all, 'power-loss')
        // Only the last write was promised by nobody; padding holds nothing.
        assert.strictEqual(length >= ends.length - 1, true, `${length} writes, damage at ${offset}`)
        if (length === ends.length) return
        assert.strictEqual(offset >= promised, true, `damage at ${offset} passed for a torn tail`)
        torn++
      }, path)
      if (offset >= promised) assert.equal(refused, false, `at ${offset}: nobody promised this`)
    }
    assert.ok(torn > 0)
    t.diagnostic(`${bytes.length} bytes, ${torn} of them made a torn tail`)
  })

  test('cut at any length it is a prefix', async () => {
    const disk = new MemoryFileSystem()
    const oracle = new CrashOracle()
    const db = await openEngine(disk, { options: OPTIONS })
    const path = disk.paths().find(name => name.endsWith('.wal'))!
    for (let index = 0; index < 8; index++) {
      const operations = [{ type: 'put', key: `key-${index}`, value: `value ${index}` }] as const
      oracle.acknowledge(oracle.submit({ operations, durability: 'sync' }))
      await db.batch(operations)
    }
    const bytes = disk.peek(path)
    for (let length = 0; length < bytes.length; length++) {
      const cut = copyOf(disk)
      cut.plant(path, bytes.slice(0, length))
      await isRefused(async () => {
        const found = await readState(await openEngine(cut, { options: OPTIONS }))
        oracle.explain(found, { ...oracle.moment(), durable: 0 }, 'power-loss')
      }, path)
    }
  })
})

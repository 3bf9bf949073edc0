// Goal: no deletion and no expired entry leaves the disk before the caller's bound allows it, and
// all of them leave it once it does.
// Method: random writes, deletions and expiries while the bound rises; after each burst the tables
// are read from the disk, and every key whose newest version must be kept has it there. The same
// check over an engine whose jobs ignore the bound must fail.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InlineExecutor, type Job, type JobResult } from '../../src/engine/index.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import { type Hasher, loadHasher } from '../../src/hash.ts'
import { seededRandom } from '../../src/random.ts'
import { text } from '../support/crash-oracle.ts'
import { DIRECTORY, drive, openEngine } from '../support/engine-on-disk.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { printSeed } from '../support/seed.ts'
import { SimClock } from '../support/sim-clock.ts'
import { storedEntries } from '../support/stored-entries.ts'

const hasher: Hasher = await loadHasher()
const TTL_MS = 1000

/** A planted bug: compactions purge as if there were no bound. */
class BoundlessExecutor extends InlineExecutor {
  override run(job: Job): Promise<JobResult> {
    if (job.kind !== 'compaction') return super.run(job)
    return super.run({ ...job, tombstonePurgeBound: Number.POSITIVE_INFINITY })
  }
}

interface Written {
  readonly sequence: number
  readonly kind: number
}

/** Returns the keys whose newest version is gone from the disk although the bound keeps it. */
async function missing(seed: number, executor: typeof InlineExecutor): Promise<string[]> {
  const random = seededRandom(seed)
  const disk = new MemoryFileSystem()
  const clock = new SimClock()
  const options = { purgeBound: 0, memtableSize: 4096 }
  const db = await openEngine(disk, { clock, random, executor, options })
  const newest = new Map<string, Written>()
  const lost: string[] = []
  let bound = 0
  let kept = 0
  // In 60 bursts there are hardly more than twenty compactions.
  const isEnough = () => db.stats().compactions.count > 20 && kept > 500
  for (let burst = 0; burst < 60 || (burst < 300 && !isEnough()); burst++) {
    for (let count = 0; count < 40; count++) {
      const key = `key-${random.below(150)}`
      const die = random.below(3)
      if (die === 0) await drive(clock, db.delete(key))
      else await drive(clock, db.put(key, 'x'.repeat(40), die === 1 ? { ttlMs: TTL_MS } : {}))
      const kind = [EntryKind.delete, EntryKind.putExpiring, EntryKind.put][die]!
      newest.set(key, { sequence: db.stats().sequence, kind })
    }
    await clock.advanceAsync(random.below(4) === 0 ? 4000 : 100)
    const stored = storedEntries(disk, DIRECTORY, hasher)
    const sequences = new Set(stored.map(entry => entry.sequence))
    const flushed = Math.max(0, ...sequences)
    for (const [key, { sequence, kind }] of newest) {
      if (sequence < bound || sequence > flushed || kind === EntryKind.put) continue
      kept++
      if (!sequences.has(sequence)) lost.push(`${key} at ${sequence}, bound ${bound}`)
    }
    // Between two checks, so that what was purged was purged under this bound or an older one.
    if (random.below(5) === 0) bound += random.below(db.stats().sequence - bound)
    db.setPurgeBound(bound)
  }
  assert.ok(kept > 500, `${kept} entries had to be kept`)
  assert.ok(db.stats().compactions.count > 20, 'compactions had their chance')
  await drive(clock, db.close())
  return lost
}

describe('the purge bound', () => {
  test('keeps every deletion and expired entry from it on', async t => {
    const seed = printSeed(t)
    for (let round = 0; round < 4; round++) {
      assert.deepEqual(await missing(seed + round, InlineExecutor), [])
    }
  })

  test('is missed when jobs ignore it: the check above can fail', async t => {
    const lost = await missing(printSeed(t), BoundlessExecutor)
    assert.ok(lost.length > 0)
    t.diagnostic(`${lost.length} found, such as ${lost[0]}`)
  })

  test('lets all of them go once it is lifted', async () => {
    const disk = new MemoryFileSystem()
    const clock = new SimClock()
    const options = { purgeBound: 0, memtableSize: 4096 }
    const db = await openEngine(disk, { clock, options })
    const keys = Array.from({ length: 200 }, (_, index) => `key-${index}`)
    for (const key of keys) await drive(clock, db.put(key, 'x'.repeat(50), { ttlMs: TTL_MS }))
    for (const key of keys.slice(0, 100)) await drive(clock, db.delete(key))
    for (let index = 0; index < 400; index++) await drive(clock, db.put('z', 'y'.repeat(90)))
    await clock.advanceAsync(60_000)
    const before = storedEntries(disk, DIRECTORY, hasher).map(entry => text(entry.key))
    assert.deepEqual(new Set(before.filter(key => key !== 'z')), new Set(keys))
    assert.equal(await db.get('key-150'), undefined)
    db.setPurgeBound(Number.POSITIVE_INFINITY)
    await clock.advanceAsync(60_000)
    const after = storedEntries(disk, DIRECTORY, hasher).map(entry => text(entry.key))
    assert.deepEqual(new Set(after), new Set(['z']))
    await drive(clock, db.close())
  })

  test('is a sequence, or infinite', async () => {
    const invalid = { code: 'KV_INVALID_ARGUMENT' }
    const db = await openEngine(new MemoryFileSystem())
    for (const bound of [-1, 0.5, Number.NaN, Number.NEGATIVE_INFINITY]) {
      assert.throws(() => db.setPurgeBound(bound), invalid)
      const options = { purgeBound: bound }
      await assert.rejects(async () => openEngine(new MemoryFileSystem(), { options }), invalid)
    }
    await db.close()
  })
})

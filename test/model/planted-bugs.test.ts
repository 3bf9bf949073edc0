// Goal: the check of a database against a sorted map can fail. Each of these bugs, of the kinds
// that such engines have had, is noticed within a few lives.
// Method: the lives of db-vs-map.test.ts with one part of the engine replaced by one that errs: the
// executor that is injected, or a method of a class, for the time of the test.
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { BlockCache } from '../../src/engine/block-cache.ts'
import type { BlockView } from '../../src/engine/block-source.ts'
import { BloomFilter } from '../../src/engine/bloom-filter.ts'
import { InlineExecutor, type Job } from '../../src/engine/index.ts'
import { Manifest } from '../../src/engine/manifest.ts'
import type { SstableReader } from '../../src/engine/sstable-reader.ts'
import { liveModel, ModelError } from '../support/model-lives.ts'

const LIVES_MAX = 40

/** Compactions believe that nothing older lies below them. */
class EarlyPurgeExecutor extends InlineExecutor {
  override run(job: Job) {
    return super.run(job.kind === 'compaction' ? { ...job, deeper: [] } : job)
  }
}

/** Flushes and compactions believe that no snapshot is held. */
class ForgetfulExecutor extends InlineExecutor {
  override run(job: Job) {
    return super.run({ ...job, snapshots: new Float64Array(0) })
  }
}

interface Bug {
  readonly name: string
  /** Where to begin: a life that shows it, until the engine changes. @defaultValue 1 */
  readonly seed?: number
  readonly executor?: typeof InlineExecutor
  readonly plant?: (t: TestContext) => void
}

const BUGS: readonly Bug[] = [
  { name: 'drops tombstones too early', seed: 14, executor: EarlyPurgeExecutor },
  { name: 'forgets snapshots', executor: ForgetfulExecutor },
  { name: 'has filters with false negatives', plant: plantFalseNegatives },
  { name: 'serves stale blocks from its cache', plant: plantStaleBlocks },
  { name: 'uses sequences again after recovery', plant: plantSequenceReuse },
]

/** One key in sixteen is denied. */
function plantFalseNegatives(t: TestContext): void {
  const { mayContain } = BloomFilter.prototype
  t.mock.method(BloomFilter.prototype, 'mayContain', function (this: BloomFilter, hash: number) {
    return hash % 16 !== 0 && mayContain.call(this, hash)
  })
}

/** The cache knows a block by its number, and forgets of which table. */
function plantStaleBlocks(t: TestContext): void {
  const { show } = BlockCache.prototype
  const kept = new Map<number, Uint8Array>()
  t.mock.method(
    BlockCache.prototype,
    'show',
    function (this: BlockCache, reader: SstableReader, ordinal: number, view: BlockView) {
      if (!show.call(this, reader, ordinal, view)) return false
      const stale = kept.get(ordinal) ?? view.bytes.slice(view.start, view.end)
      kept.set(ordinal, stale)
      view.bytes = stale
      view.start = 0
      view.end = stale.length
      return true
    },
  )
}

/** Recovery believes the log alone, which is empty once everything was flushed. */
function plantSequenceReuse(t: TestContext): void {
  t.mock.getter(Manifest.prototype, 'lastSequence', () => 0)
}

async function firstCaught(first: number, executor?: typeof InlineExecutor): Promise<unknown> {
  for (let seed = first; seed < first + LIVES_MAX; seed++) {
    try {
      await liveModel(seed, executor)
    } catch (error) {
      return error
    }
  }
  return undefined
}

describe('the database against a sorted map', () => {
  for (const { name, seed = 1, executor, plant } of BUGS) {
    test(`catches an engine that ${name}`, async t => {
      plant?.(t)
      const caught = await firstCaught(seed, executor)
      assert.ok(caught instanceof ModelError, `not caught: ${String(caught)}`)
      t.diagnostic(caught.message.slice(0, 200))
    })
  }
})

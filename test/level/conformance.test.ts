// Goal: DuramenLevel is an abstract-level database by the measure of those who define what that is.
// Method: the conformance suite of abstract-level itself, whole, on the real disk, with the
// manifest of classic-level, which decides what the suite asks for.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import {
  type Db,
  type DbOptions,
  InlineExecutor,
  nodeFileSystem,
  openInEnvironment,
} from '../../src/engine/index.ts'
import { loadHasher } from '../../src/hash.ts'
import { DuramenLevel } from '../../src/level.ts'
import { seededRandom } from '../../src/random.ts'
import { type TapeTest, tapeOverNode } from '../support/tape.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

/** How many classic-level 3.0.0 runs, and passes, of the suite of abstract-level 3.1.1. */
const CLASSIC_LEVEL_TESTS = 1505
const CLASSIC_LEVEL_ASSERTIONS = 5168
const MIB = 1024 * 1024

interface SuiteOptions {
  readonly test: (name: string, body: (test: TapeTest) => unknown) => void
  readonly factory: (options?: object) => object
}

const HASHER = loadHasher()

/**
 * For hundreds of databases that hold a few entries each, a large cache and threads of their own
 * would only cost time.
 */
class FrugalLevel extends DuramenLevel {
  protected override async _openEngine(location: string, options: DbOptions): Promise<Db> {
    const hasher = await HASHER
    const [fileSystem, clock, random] = [nodeFileSystem(), systemClock(), seededRandom(databases)]
    const executor = new InlineExecutor({ fileSystem, hasher, clock })
    const environment = { fileSystem, executor, clock, random, hasher }
    return openInEnvironment(location, { ...options, memoryBudget: MIB }, environment)
  }
}

const suite = createRequire(import.meta.url)('abstract-level/test') as (
  options: SuiteOptions,
) => void
const counts = { tests: 0, assertions: 0 }
const root = temporaryDirectory({ after })
let databases = 0

suite({
  test: tapeOverNode(counts),
  factory: options => new FrugalLevel(join(root, String(databases++)), options),
})

test('the whole suite ran', t => {
  t.diagnostic(`${counts.tests} tests, ${counts.assertions} assertions`)
  assert.ok(counts.tests >= CLASSIC_LEVEL_TESTS)
  assert.ok(counts.assertions >= CLASSIC_LEVEL_ASSERTIONS)
})

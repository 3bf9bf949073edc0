// Goal: the power-loss checker can fail. An engine that forgets one kind of sync, or makes it too
// late, is caught.
// Method: the sweep of power-loss.test.ts on a disk on which the syncs of one kind of file do
// nothing, or are made after those of another; it must end in an OracleError each time, and
// without the planted bug it must not.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { OracleError } from '../support/crash-oracle.ts'
import type { FailingFileSystem } from '../support/failing-file-system.ts'
import type { CrashOptions } from '../support/memory-file-system.ts'
import {
  CRASHES,
  type SweepOptions,
  type SweepResult,
  sweepPowerLoss,
} from '../support/power-loss-sweep.ts'

const isWal = (path: string) => path.endsWith('.wal')
const isManifest = (path: string) => path.includes('MANIFEST')

const isTable = (path: string) => path.endsWith('.sst')

const SKIPS: readonly (readonly [string, (disk: FailingFileSystem) => { injected: number }])[] = [
  ['the fsync of the WAL', disk => disk.skipSync(isWal)],
  ['the fsync of frames of the WAL', disk => disk.skipSync(afterTheFirst(isWal))],
  ['the fsync of tables', disk => disk.skipSync(isTable)],
  ['the fsync of the MANIFEST', disk => disk.skipSync(isManifest)],
  ['the fsync of edits of the MANIFEST', disk => disk.skipSync(afterTheFirst(isManifest))],
  ['the fsync of CURRENT', disk => disk.skipSync(path => path.includes('CURRENT'))],
  ['the fsync of the directory', disk => disk.skipDirectorySync()],
]

/** The same of a directory, each at its one place in the engine, and no other. */
const DIRECTORY_SKIPS: readonly DirectorySkip[] = [
  { what: 'a segment of the log', matches: isWal },
  { what: 'tables', matches: isTable },
  // Missed only where CURRENT names it on the disk already, and the next sync is not made yet.
  { what: 'a MANIFEST', matches: isManifest, crashes: Array(8).fill({ keep: 'random' }) },
  { what: 'CURRENT', matches: path => path.includes('CURRENT') },
]

interface DirectorySkip {
  readonly what: string
  readonly matches: (path: string) => boolean
  readonly crashes?: readonly CrashOptions[]
}

/** True from the second call with a path on: the first sync of a file, of its header, is made. */
function afterTheFirst(matches: (path: string) => boolean): (path: string) => boolean {
  const seen = new Set<string>()
  return path => {
    if (!matches(path)) return false
    const again = seen.has(path)
    seen.add(path)
    return again
  }
}

const SEED = 3

/** A single directory sync is missed rarely: another one soon makes good for it. */
const SEEDS = 8

function sweep(bugs: Partial<SweepOptions> = {}, seed = SEED): Promise<SweepResult> {
  return sweepPowerLoss({
    seed,
    operationCount: 80,
    crashes: CRASHES,
    doubleCrashEvery: 0,
    ...bugs,
  })
}

function outcomeOf(swept: Promise<unknown>): Promise<unknown> {
  return swept.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe('the power-loss checker', () => {
  for (const [what, plant] of SKIPS) {
    test(`catches an engine that skips ${what}`, async t => {
      const reports: { injected: number }[] = []
      const caught = await outcomeOf(sweep({ plant: disk => reports.push(plant(disk)) }))
      const skipped = reports.reduce((sum, report) => sum + report.injected, 0)
      assert.ok(skipped > 0, 'there were syncs to skip')
      assert.ok(caught instanceof OracleError, `not caught: ${String(caught)}`)
      t.diagnostic(caught.message)
    })
  }

  for (const { what, matches, crashes = CRASHES } of DIRECTORY_SKIPS) {
    test(`catches an engine that does not sync the directory of ${what}`, async t => {
      const reports: { injected: number }[] = []
      const plant = (disk: FailingFileSystem) => reports.push(disk.skipDirectorySyncAfter(matches))
      let caught: unknown
      for (let seed = SEED; seed < SEED + SEEDS && caught === undefined; seed++) {
        caught = await outcomeOf(sweep({ plant, crashes }, seed))
      }
      const skipped = reports.reduce((sum, report) => sum + report.injected, 0)
      assert.ok(skipped > 1, 'there were syncs to skip after those of the creation')
      assert.ok(caught instanceof OracleError, `not caught: ${String(caught)}`)
      t.diagnostic(caught.message)
    })
  }

  test('catches an engine that syncs tables after the MANIFEST that names them', async t => {
    const reports: { postponed: number }[] = []
    const plant = (disk: FailingFileSystem) => reports.push(disk.postponeSync(isTable, isManifest))
    const caught = await outcomeOf(sweep({ plant }))
    assert.ok(
      reports.some(({ postponed }) => postponed > 0),
      'there were syncs to postpone',
    )
    assert.ok(caught instanceof OracleError, `not caught: ${String(caught)}`)
    t.diagnostic(caught.message)
  })

  test('catches a recovery that keeps the log data of one batch to itself', async t => {
    for (const lost of [1, 3]) {
      const caught = await outcomeOf(sweep({ losesLogData: index => index === lost }))
      assert.ok(caught instanceof OracleError, `not caught: ${String(caught)}`)
      t.diagnostic(caught.message)
    }
  })

  test('has nothing to say about the same script without a planted bug', async () => {
    const { script } = await sweep()
    assert.ok(script.flushes > 0 && script.compactions > 0, 'the bugs had their chance')
  })
})

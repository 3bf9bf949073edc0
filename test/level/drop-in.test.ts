// Goal: a program that uses classic-level gets the same answers from DuramenLevel.
// Method: random programs whose every answer is written down. What classic-level 3.0.0 answered to
// one of them is kept in test/golden, so that this needs no classic-level; where it is installed
// (npm ci in bench/peers) it runs beside us on programs from a printed seed.
//
// DURAMEN_REWRITE=1 has classic-level write the kept answers anew.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { DuramenLevel } from '../../src/level.ts'
import { type AnyLevel, LevelProgram } from '../support/level-program.ts'
import { projectUrl } from '../support/project-root.ts'
import { printSeed } from '../support/seed.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const KEPT_SEED = 20_261
const KEPT_STEPS = 120
const KEPT_ANSWERS = projectUrl('test/golden/classic-level-answers.txt')
const PROGRAMS = Number(process.env['DURAMEN_SEEDS'] ?? 3)
const STEPS = 200

type LevelClass = new (location: string) => AnyLevel

/** classic-level, if it is installed where the benchmarks have it. */
function classicLevel(): LevelClass | undefined {
  const require = createRequire(projectUrl('bench/peers/package.json'))
  try {
    return (require('classic-level') as { ClassicLevel: LevelClass }).ClassicLevel
  } catch (error) {
    if ((error as { code?: string }).code !== 'MODULE_NOT_FOUND') throw error
    return undefined
  }
}

async function answers(
  context: TestContext,
  Level: LevelClass,
  seed: number,
  steps: number,
): Promise<string[]> {
  const program = new LevelProgram(new Level(join(temporaryDirectory(context), 'db')), seed)
  await program.run(steps)
  return program.transcript
}

function sameLines(actual: readonly string[], expected: readonly string[]): void {
  const at = actual.findIndex((line, index) => line !== expected[index])
  if (at < 0) assert.equal(actual.length, expected.length)
  else assert.deepEqual(actual.slice(at - 5, at + 1), expected.slice(at - 5, at + 1))
}

const Classic = classicLevel()
const Duramen = DuramenLevel as unknown as LevelClass

describe('a program written for classic-level', () => {
  test('gets the answers that classic-level gave', async t => {
    if (process.env['DURAMEN_REWRITE'] === '1') {
      assert.ok(Classic !== undefined, 'npm ci in bench/peers first')
      const lines = await answers(t, Classic, KEPT_SEED, KEPT_STEPS)
      writeFileSync(KEPT_ANSWERS, `${lines.join('\n')}\n`)
    }
    const kept = readFileSync(KEPT_ANSWERS, 'utf8').trimEnd().split('\n')
    assert.ok(kept.length > 400)
    sameLines(await answers(t, Duramen, KEPT_SEED, KEPT_STEPS), kept)
  })

  const skip = Classic === undefined && 'classic-level is not installed: npm ci in bench/peers'
  test(`gets the answers that classic-level gives beside it, ${PROGRAMS} times`, {
    skip,
  }, async t => {
    const seed = printSeed(t)
    for (let program = seed; program < seed + PROGRAMS; program++) {
      const classic = await answers(t, Classic!, program, STEPS)
      try {
        sameLines(await answers(t, Duramen, program, STEPS), classic)
      } catch (error) {
        t.diagnostic(`replay with DURAMEN_SEED=${program} DURAMEN_SEEDS=1`)
        throw error
      }
    }
  })
})

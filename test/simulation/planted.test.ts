// Goal: a cluster with a bug does not survive the simulation: of every bug that matters some seed
// among a few must break the promise that the bug breaks.
// Method: bugs planted in what a node is given.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { seededRandom } from '../../src/random.ts'
import {
  calmProfile,
  type FaultKind,
  type FaultProfile,
} from '../support/simulation/fault-profile.ts'
import type { Plant } from '../support/simulation/sim-node.ts'
import { simulate } from '../support/simulation/simulation.ts'
import { drawWorkload } from '../support/simulation/workload.ts'

const SEEDS_MAX = 20
const SECONDS = 20

interface Planted {
  readonly what: string
  readonly plant: Plant
  /** What is broken by it. */
  readonly promise: string
  readonly nodes: number
  /** What it takes for it to matter. */
  readonly faults: Partial<Record<FaultKind, number>>
}

function faultsOf(weights: Partial<Record<FaultKind, number>>): FaultProfile {
  const calm = calmProfile()
  const often = { intervalMs: 2000, durationMs: 2000 }
  return { ...calm, ...often, weights: { ...calm.weights, ...weights } }
}

const PLANTED: readonly Planted[] = [
  {
    what: 'a write is acknowledged before it is durable',
    plant: ({ options, environment }) => ({
      options: { ...options, durability: 'none' },
      environment,
    }),
    promise: 'no write is lost',
    nodes: 1,
    faults: { power: 1 },
  },
]

/** What was found by the first seed that breaks the promise; else everything that was. */
async function find({ plant, nodes, faults, promise }: Planted): Promise<readonly string[]> {
  const profile = faultsOf(faults)
  const all: string[] = []
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const workload = drawWorkload(seededRandom(seed))
    const options = { seed, nodes, plant, profile, workload, seconds: SECONDS }
    const { violations } = await simulate(options)
    if (violations.some(violation => breaks(violation, promise))) return violations
    all.push(...violations)
  }
  return all
}

function breaks(violation: string, promise: string): boolean {
  return violation.startsWith(`${promise}:`)
}

describe('planted bugs are found', () => {
  for (const planted of PLANTED) {
    test(planted.what, async () => {
      const violations = await find(planted)
      const isFound = violations.some(violation => breaks(violation, planted.promise))
      assert.equal(isFound, true, violations.join('\n') || 'nothing was found')
    })
  }
})

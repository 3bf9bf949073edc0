// Goal: a cluster with a bug does not survive the simulation: of every bug that matters some seed
// among a few must break the promise that the bug breaks.
// Method: bugs planted in what a node is given.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { seededRandom } from '../../src/random.ts'
import { optimizeRarely } from '../support/rare-optimization.ts'
import {
  calmProfile,
  type FaultKind,
  type FaultProfile,
} from '../support/simulation/fault-profile.ts'
import {
  acknowledgedEarly,
  arrivalDecides,
  both,
  clockUnasked,
  copyIsLater,
  dutyForgotten,
  forwardDropped,
  hintNotDurable,
  hintToWrongOwner,
  lackForgotten,
  purgedEarly,
  repairedWithOlder,
  staleEpochAccepted,
  stepBelieved,
  withoutRepair,
} from '../support/simulation/plants.ts'
import type { Plant } from '../support/simulation/sim-node.ts'
import { simulate } from '../support/simulation/simulation.ts'
import { drawWorkload, type Workload } from '../support/simulation/workload.ts'

optimizeRarely()

const SEEDS_MAX = 20
const LIFE = { seconds: 15, leaps: false, convergenceMs: 12_000 }

interface Planted {
  readonly what: string
  readonly plant: Plant
  /** What is broken by it. */
  readonly promise: string
  readonly nodes: number
  /** What it takes for it to matter. */
  readonly faults: Partial<Record<FaultKind, number>>
  /** Mean time that they last. @defaultValue 2000 */
  readonly durationMs?: number
  /** So many that what is lost is not written again. @defaultValue 12 */
  readonly keys?: number
  /** The chance that a node is elsewhere after it ended. @defaultValue 0 */
  readonly moveProbability?: number
  /** Clients leave versions to the nodes. @defaultValue false */
  readonly versionedByNodes?: boolean
  /** Those before it find nothing. @defaultValue 1 */
  readonly firstSeed?: number
}

function profileOf({ faults, durationMs = 2000, moveProbability = 0 }: Planted): FaultProfile {
  const calm = calmProfile()
  return {
    ...calm,
    moveProbability,
    intervalMs: 2000,
    durationMs,
    weights: { ...calm.weights, ...faults },
  }
}

const PLANTED: readonly Planted[] = [
  {
    what: 'an old copy of a disk counts as a later start',
    plant: copyIsLater,
    promise: 'an old copy does not serve',
    nodes: 3,
    firstSeed: 2,
    faults: { oldDisk: 1 },
    durationMs: 5000,
  },
  {
    what: 'an old copy that was taken back forgets what it lacks',
    plant: lackForgotten,
    promise: 'strong reads do not go back',
    firstSeed: 5,
    nodes: 3,
    faults: { oldDisk: 1 },
    durationMs: 5000,
    keys: 60,
  },
  {
    what: 'a write that a node versioned and passed on is acknowledged, and dropped',
    plant: forwardDropped,
    promise: 'no write is lost',
    nodes: 5,
    faults: {},
    keys: 600,
    versionedByNodes: true,
  },
  {
    what: 'a write is acknowledged before it is durable',
    plant: acknowledgedEarly,
    promise: 'no write is lost',
    firstSeed: 6,
    nodes: 1,
    faults: { power: 1 },
  },
  {
    what: 'a hint is not durable',
    plant: both(withoutRepair, hintNotDurable),
    promise: 'no write is lost',
    firstSeed: 2,
    nodes: 3,
    faults: { isolate: 2, kill: 1 },
    durationMs: 10_000,
    keys: 600,
  },
  {
    what: 'the duty to replicate is forgotten in a restart',
    plant: both(withoutRepair, dutyForgotten),
    promise: 'no write is lost',
    firstSeed: 5,
    nodes: 3,
    faults: { isolate: 2, kill: 3 },
    durationMs: 3000,
    keys: 600,
  },
  {
    what: 'hints go to another node than they are for',
    plant: hintToWrongOwner,
    promise: 'no write is lost',
    nodes: 4,
    faults: { isolate: 1 },
    durationMs: 10_000,
    keys: 600,
  },
  {
    what: 'of two writes the one that arrives last stays',
    plant: arrivalDecides,
    promise: 'a write has one version',
    nodes: 3,
    faults: {},
  },
  {
    what: 'a tombstone is purged before everybody has it',
    plant: purgedEarly,
    promise: 'no deleted key returns',
    firstSeed: 6,
    nodes: 3,
    faults: { isolate: 2, pause: 1 },
    durationMs: 5000,
    keys: 60,
  },
  {
    what: 'a clock that was set is believed, whatever the others say',
    plant: stepBelieved,
    promise: 'no version is ahead of the time',
    nodes: 3,
    faults: { clockJump: 1 },
    durationMs: 5000,
  },
  {
    what: 'a node starts, and goes by its clock though it reaches nobody',
    plant: clockUnasked,
    promise: 'no version is ahead of the time',
    nodes: 3,
    firstSeed: 78,
    faults: { clockJump: 1, kill: 1, isolate: 1 },
    durationMs: 10_000,
  },
  {
    what: 'a member agrees to a ring of an epoch that it has left behind',
    plant: staleEpochAccepted,
    promise: 'one ring an epoch',
    firstSeed: 2,
    nodes: 3,
    faults: { kill: 1 },
    moveProbability: 1,
  },
  {
    what: 'read repair writes an older value back',
    plant: repairedWithOlder,
    promise: 'strong reads do not go back',
    firstSeed: 5,
    nodes: 3,
    faults: { isolate: 1, pause: 1 },
  },
]

/** Many writes and reads of few keys, all of them strong. */
function workloadOf(seed: number): Workload {
  const random = seededRandom(seed)
  const strong = { quorums: seed % 2, alls: 0, scans: 0, timeoutMs: 1000 }
  const mix = { puts: 0.4, deletes: 0.15, batches: 0.05, valueSizeMax: 20, thinkMs: 60 }
  return { ...drawWorkload(random), ...strong, ...mix, clients: 3, lanes: 2 }
}

/** One client, when it leaves versions to the nodes: of two every second one does. */
function clientsOf({ versionedByNodes = false }: Planted): Partial<Workload> {
  const clients = versionedByNodes ? { clients: 1, versionedByNodes } : {}
  return { ...clients, routes: false, session: false }
}

/** What was found by the first seed that breaks the promise; else everything that was. */
async function find(planted: Planted): Promise<readonly string[]> {
  const { plant, nodes, promise, keys = 12, firstSeed = 1 } = planted
  const profile = profileOf(planted)
  const all: string[] = []
  for (let seed = firstSeed; seed < firstSeed + SEEDS_MAX; seed++) {
    const workload = { ...workloadOf(seed), ...clientsOf(planted), keys }
    const forming = 'formed'
    const options = { seed, nodes, plant, profile, workload, forming, ...LIFE } as const
    const { violations } = await simulate(options)
    if (violations.some(violation => breaks(violation, promise))) {
      return [`seed ${seed}`, ...violations]
    }
    all.push(...violations)
  }
  return all
}

function breaks(violation: string, promise: string): boolean {
  return violation.startsWith(`${promise}:`)
}

describe('planted bugs are found', () => {
  for (const planted of PLANTED) {
    test(planted.what, async t => {
      const violations = await find(planted)
      t.diagnostic(violations.slice(0, 2).join(': '))
      const isFound = violations.some(violation => breaks(violation, planted.promise))
      assert.equal(isFound, true, violations.join('\n') || 'nothing was found')
    })
  }
})

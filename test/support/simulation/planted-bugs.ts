/**
 * Planted bugs, each with the worlds in which a seed among a few breaks the promise that it breaks;
 * and the same world without it, in which nothing is broken.
 */
import { seededRandom } from '../../../src/random.ts'
import { calmProfile, type FaultKind, type FaultProfile } from './fault-profile.ts'
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
} from './plants.ts'
import type { Plant } from './sim-node.ts'
import { simulate } from './simulation.ts'
import { drawWorkload, type Workload } from './workload.ts'

const SEEDS_MAX = 20
const LIFE = { seconds: 15, leaps: false, convergenceMs: 12_000 }

/** A bug, and the worlds in which it shows. */
export interface Planted {
  readonly what: string
  readonly plant: Plant
  /** What is planted besides, which is no bug. @defaultValue nothing */
  readonly control?: Plant
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

export const PLANTED: readonly Planted[] = [
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
    firstSeed: 8,
    nodes: 1,
    faults: { power: 1 },
  },
  {
    what: 'a hint is not durable',
    plant: both(withoutRepair, hintNotDurable),
    control: withoutRepair,
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
    control: withoutRepair,
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
    control: withoutRepair,
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
    firstSeed: 23,
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

/** What came of a bug: the first seed that breaks the promise, or undefined, and what is broken. */
export interface Found {
  readonly seed: number | undefined
  readonly violations: readonly string[]
}

/** What is found by the first seed that breaks the promise; else everything that was. */
export async function find(planted: Planted): Promise<Found> {
  const { promise, firstSeed = 1 } = planted
  const all: string[] = []
  for (let seed = firstSeed; seed < firstSeed + SEEDS_MAX; seed++) {
    const violations = await live(planted, seed, planted.plant)
    if (violations.some(violation => breaks(violation, promise))) return { seed, violations }
    all.push(...violations)
  }
  return { seed: undefined, violations: all }
}

/** What breaks the promise in the same world without the bug: nothing. */
export async function withoutBug(planted: Planted, seed: number): Promise<readonly string[]> {
  const violations = await live(planted, seed, planted.control)
  // Without repair replicas differ in the end.
  if (planted.control === undefined) return violations
  return violations.filter(violation => breaks(violation, planted.promise))
}

async function live(
  planted: Planted,
  seed: number,
  plant: Plant | undefined,
): Promise<readonly string[]> {
  const { nodes, keys = 12 } = planted
  const profile = profileOf(planted)
  const workload = { ...workloadOf(seed), ...clientsOf(planted), keys }
  const options = { seed, nodes, plant, profile, workload, forming: 'formed', ...LIFE } as const
  const { violations } = await simulate(options)
  return violations
}

function breaks(violation: string, promise: string): boolean {
  return violation.startsWith(`${promise}:`)
}

/** How bad the world is, drawn from a seed: which faults come, how often, and what is normal. */
import type { Random } from '../../../src/random.ts'
import type { DiskConditions } from './machine.ts'
import type { RouteConditions } from './route.ts'

export const FAULT_KINDS = [
  'kill',
  'power',
  'powerAll',
  'crashInCall',
  'stop',
  'pause',
  'isolate',
  'split',
  'oneWay',
  'slowRoute',
  'reset',
  'clockStep',
  'slowDisk',
  'fullDisk',
  'leap',
  'clockJump',
  'oldDisk',
] as const

export type FaultKind = (typeof FAULT_KINDS)[number]

export interface FaultProfile {
  /** Mean time between two faults, in milliseconds. */
  readonly intervalMs: number
  /** Mean time that a fault lasts. */
  readonly durationMs: number
  /** Relative frequency; 0 for never. */
  readonly weights: Readonly<Record<FaultKind, number>>
  readonly route: RouteConditions
  readonly disk: DiskConditions
  /** Machines are wrong by at most so much at the beginning, and set by at most so much. */
  readonly clockErrorMs: number
  readonly driftPpm: number
  /** The chance that a node has other addresses in its next life. */
  readonly moveProbability: number
}

const RARE: Partial<Record<FaultKind, number>> = { powerAll: 0.3, clockStep: 0.5, fullDisk: 0.3 }

export function drawProfile(random: Random): FaultProfile {
  const isCalm = random.below(20) === 0
  const weights = Object.fromEntries(
    FAULT_KINDS.map(kind => {
      if (kind === 'clockJump' || kind === 'oldDisk') return [kind, 0]
      const isOn = !isCalm && random.below(2) === 0
      // Only for who asks for it, as that: nothing else takes hours.
      if (kind === 'leap') return [kind, 0]
      return [kind, isOn ? (RARE[kind] ?? 1) * (0.2 + random.next()) : 0]
    }),
  ) as Record<FaultKind, number>
  const latencyMinMs = random.next() * 2
  const syncMinMs = 0.2 + random.next()
  return {
    intervalMs: 500 + random.next() ** 2 * 12_000,
    durationMs: 200 + random.next() ** 2 * 8000,
    weights,
    route: {
      latencyMinMs,
      latencyMaxMs: latencyMinMs + random.next() ** 3 * 40,
      lossProbability: random.below(2) === 0 ? 0 : random.next() * 0.02,
      retransmitMs: 200,
      bytesPerMs: [200, 5000, 100_000][random.below(3)]!,
    },
    disk: {
      syncMinMs,
      syncMaxMs: syncMinMs + random.next() ** 3 * 30,
      stallProbability: random.below(2) === 0 ? 0 : random.next() * 0.01,
      stallMs: 100,
    },
    // A version more than half a second in the future is refused, a clock a second off is wrong.
    clockErrorMs: [5, 200, 490][random.below(3)]!,
    driftPpm: random.next() * 300,
    moveProbability: random.below(3) === 0 ? random.next() * 0.5 : 0,
  }
}

/** A world in which nodes are started with an old copy of their disk, others killed or cut off. */
export function oldDisksProfile(): FaultProfile {
  const calm = calmProfile()
  const weights = { ...calm.weights, oldDisk: 3, kill: 1, isolate: 1 }
  return { ...calm, intervalMs: 3000, durationMs: 4000, weights }
}

/** A world in which nothing goes wrong, and things take little time. */
export function calmProfile(): FaultProfile {
  const weights = Object.fromEntries(FAULT_KINDS.map(kind => [kind, 0]))
  return {
    intervalMs: 1e9,
    durationMs: 1,
    weights: weights as Record<FaultKind, number>,
    route: {
      latencyMinMs: 0.2,
      latencyMaxMs: 0.5,
      lossProbability: 0,
      retransmitMs: 200,
      bytesPerMs: 100_000,
    },
    disk: { syncMinMs: 0.3, syncMaxMs: 0.6, stallProbability: 0, stallMs: 0 },
    clockErrorMs: 0,
    driftPpm: 0,
    moveProbability: 0,
  }
}

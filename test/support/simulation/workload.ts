/** What simulated clients do, drawn from a seed: how much, of what, on how many keys. */
import type { Random } from '../../../src/random.ts'

export interface Workload {
  readonly clients: number
  /** Things that a client does at once. */
  readonly lanes: number
  readonly keys: number
  readonly keyAt: (index: number) => string
  /** Mean time between two calls of a lane, in milliseconds. */
  readonly thinkMs: number
  readonly timeoutMs: number
  readonly valueSizeMax: number
  /** Shares of calls; what is left are gets. */
  readonly puts: number
  readonly deletes: number
  readonly batches: number
  readonly scans: number
  /** Shares of calls at this consistency; what is left is `one`. */
  readonly quorums: number
  readonly alls: number
  /** Clients ask to see what they wrote themselves. */
  readonly session: boolean
  /** Every second client leaves versions to the nodes. */
  readonly versionedByNodes: boolean
  /** Clients go by the ring; else any node is asked, and passes on. */
  readonly routes: boolean
}

/** @param callShare - Of the usual number of calls: fewer find less, in less time. */
export function drawWorkload(random: Random, callShare = 1): Workload {
  const clients = 1 + random.below(4)
  const lanes = 1 + random.below(3)
  const keys = lanes * (1 + Math.floor(random.next() ** 2 * 60))
  const callsPerSecond = (5 + random.next() ** 2 * 60) * callShare
  const drawn = {
    clients,
    lanes,
    keys,
    keyAt: (index: number) => `key-${index}`,
    thinkMs: (1000 * clients * lanes) / callsPerSecond,
    timeoutMs: [200, 1000, 5000][random.below(3)]!,
    valueSizeMax: [20, 200, 4000][random.below(3)]!,
    puts: 0.2 + random.next() * 0.4,
    deletes: random.next() * 0.15,
    batches: random.next() * 0.1,
    scans: random.next() * 0.02,
    quorums: [0, 0.3, 1][random.below(3)]! * (random.below(10) === 0 ? 0.5 : 1),
    alls: [0, 0, 0.1][random.below(3)]!,
    session: random.below(3) === 0,
    routes: random.below(3) > 0,
  }
  // A session goes by versions.
  if (random.below(3) > 0 || drawn.session) return { ...drawn, versionedByNodes: false }
  // What several nodes version at about the same time must meet under one key.
  return { ...drawn, versionedByNodes: true, keys: lanes * (1 + random.below(8)) }
}

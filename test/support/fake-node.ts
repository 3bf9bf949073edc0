/** A partitioned store over the fake engine, put together as a node does it. */

import { readClockMark, writeClockMark } from '../../src/cluster/clock-mark.ts'
import { HybridLogicalClock } from '../../src/cluster/hybrid-logical-clock.ts'
import { Partitioner } from '../../src/cluster/partition.ts'
import { PartitionedStore } from '../../src/cluster/partitioned-store.ts'
import type { Store } from '../../src/cluster/store.ts'
import type { Random } from '../../src/random.ts'
import { FakeEngine } from './fake-engine.ts'
import { SimClock } from './sim-clock.ts'

export interface FakeNode {
  readonly engine: FakeEngine
  readonly clock: SimClock
  readonly versions: HybridLogicalClock
  readonly store: PartitionedStore
}

export interface FakeNodeOptions {
  readonly partitionCount?: number
  readonly clock?: SimClock
  /** What an earlier node left. */
  readonly engine?: FakeEngine
  /** A real one in its place. */
  readonly realStore?: Store
  /** With peers: nothing is forgotten by itself. Default false. */
  readonly isReplicated?: boolean
  /** Makes some reads wait. */
  readonly random?: Random
}

export async function startFakeNode(options: FakeNodeOptions = {}): Promise<FakeNode> {
  const clock = options.clock ?? new SimClock()
  const { random } = options
  const wallMs = () => clock.wallMs()
  const engine =
    options.engine ?? new FakeEngine({ wallMs, ...(random === undefined ? {} : { random }) })
  const under = options.realStore ?? engine
  const versions = new HybridLogicalClock({
    clock,
    newWriter: () => new Uint8Array(8).fill(1),
    marks: await readClockMark(under, '/data'),
    persistMarks: marks => writeClockMark(under, marks),
  })
  const partitioner = new Partitioner(options.partitionCount ?? 16)
  const isReplicated = () => options.isReplicated ?? false
  const common = { partitioner, versions, clock, path: '/data', isReplicated }
  const store = new PartitionedStore({ store: under, ...common })
  return { engine, clock, versions, store }
}

/**
 * What an embedded process writes, as a pure function of seed and position, so that the process
 * that is killed and the oracle outside of it agree on it without a word; and how they talk.
 *
 *   to the child (lines)      open | go <position>
 *   to the parent             message := kind u8 | size u32 | body[size]
 *     opened        f64 ms of recovery      entry, reverseEntry   key size u16 | key | value
 *     dumped        nothing                 submitted             u32 position after the last one
 *     acknowledged  u32 position            rejected              u32 position
 */
import type { BatchOperation, Durability } from '../../src/key-value-store.ts'
import { seededRandom } from '../../src/random.ts'
import type { SubmittedWrite } from './crash-oracle.ts'

export const Message = {
  opened: 1,
  entry: 2,
  reverseEntry: 3,
  dumped: 4,
  submitted: 5,
  acknowledged: 6,
  rejected: 7,
} as const
export type Message = (typeof Message)[keyof typeof Message]

/** Bugs that a kill can show: the child pretends to be a store that has them. */
export const PLANTS = [
  'acknowledge-unwritten',
  'acknowledge-early',
  'invent',
  'tear-batches',
  'reorder',
  'forget-deletions',
  'lose-one-write',
] as const
/** Or, which is no such bug and must be told from them, a process that ends by itself. */
export type EmbeddedPlant = (typeof PLANTS)[number] | 'end-by-itself'

/** What a child is told when it is started. */
export interface EmbeddedSetup {
  readonly directory: string
  readonly seed: number
  readonly keyCount: number
  readonly durability: Durability
  readonly memtableSize: number
  readonly compactionThreads: number
  /** Jobs run on threads, as in production; false saves the start of one. */
  readonly threads: boolean
  readonly plant: EmbeddedPlant | 'none'
}

export type ScriptSetup = Pick<EmbeddedSetup, 'seed' | 'keyCount' | 'durability'>

const DAY_MS = 86_400_000

/** The write at `position`. Values name it, so no two are alike. */
export function embeddedWrite(setup: ScriptSetup, position: number): SubmittedWrite {
  const random = seededRandom(setup.seed + position * 4096)
  const size = random.below(5) === 0 ? 2 + random.below(random.below(4) === 0 ? 60 : 8) : 1
  const operations = Array.from({ length: size }, (_, index): BatchOperation => {
    const key = `key-${random.below(setup.keyCount)}`
    if (random.below(5) === 0) return { type: 'del', key }
    const sizeMax = random.below(300) === 0 ? 60_000 : random.below(8) === 0 ? 1500 : 150
    const value = `${position}.${index} ${'v'.repeat(random.below(sizeMax))}`
    if (random.below(10) === 0) return { type: 'put', key, value, ttlMs: DAY_MS }
    return { type: 'put', key, value }
  })
  // Some promise less than the rest; what stands before them in the log is promised all the same.
  const lesser: Durability = random.below(2) === 0 ? 'none' : 'interval'
  return { operations, durability: random.below(12) === 0 ? lesser : setup.durability }
}

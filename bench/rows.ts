/**
 * The rows of the speed table: what is measured, on whom, and what DESIGN.md section 7 asks for.
 * A row names its workload as db_bench does; a suffix says how it differs.
 */
import type { SubjectName } from './subject.ts'

export type RowId =
  | 'fillrandom'
  | 'space'
  | 'readrandom'
  | 'readrandom-await'
  | 'readmissing'
  | 'readhot'
  | 'readseq'
  | 'readseq-each'
  | 'seekrandom'
  | 'fillsync-1000'
  | 'fillsync'
  | 'overwrite'
  | 'overwrite-none'
  | 'fillbatch'
  | 'fillbatch-sync'
  | 'deleterandom'
  | 'fillseq'
  | 'memory'
  | 'recovery'

export interface Target {
  /** A peer, or the number itself when the row is held against an absolute limit. */
  readonly against: SubjectName | 'absolute'
  /** Ratios: at least this. Absolute: at most this. */
  readonly bound: number
}

export interface Row {
  readonly id: RowId
  readonly title: string
  readonly unit: 'per second' | 'ms' | 'MiB' | 'of live data'
  readonly subjects: readonly SubjectName[]
  readonly targets: readonly Target[]
  /** Whether it leaves background work behind. */
  readonly isWrite: boolean
}

const STORES: readonly SubjectName[] = ['duramen', 'classic-level', 'lmdb']
const WITH_MAP: readonly SubjectName[] = [...STORES, 'map']
const WITH_LOOP: readonly SubjectName[] = [...STORES, 'write-loop']
const LEVELS: readonly SubjectName[] = ['duramen', 'classic-level']
const LEVELS_WITH_LOOP: readonly SubjectName[] = [...LEVELS, 'write-loop']

function throughput(
  id: RowId,
  title: string,
  subjects: readonly SubjectName[],
  targets: Partial<Record<SubjectName, number>> = {},
): Row {
  const list: Target[] = []
  for (const against of subjects) {
    const bound = targets[against]
    if (bound !== undefined) list.push({ against, bound })
  }
  const isWrite = !id.startsWith('read') && !id.startsWith('seek')
  return { id, title, unit: 'per second', subjects, targets: list, isWrite }
}

/** What open after a crash may take, in milliseconds, with RECOVERY_LOG_SIZE bytes to replay. */
const RECOVERY_MS_MAX = 1500
export const RECOVERY_LOG_SIZE = 64 * 1024 * 1024
/** What the process may use beyond its memoryBudget. */
export const MEMORY_OVERHEAD_MIB = 120
export const MEMORY_BUDGET_MIB = 256

/** In the order in which they are measured: the tree is read before it is disturbed by writes. */
export const ROWS: readonly Row[] = [
  throughput('fillrandom', 'load in random order, batches of 1,000, no sync', WITH_MAP),
  {
    id: 'space',
    title: 'space on disk after settling',
    unit: 'of live data',
    subjects: STORES,
    targets: [{ against: 'absolute', bound: 1.15 }],
    isWrite: false,
  },
  throughput('readrandom', 'getSync, random, warm', WITH_MAP, {
    'classic-level': 3,
    lmdb: 1,
    map: 0.5,
  }),
  throughput('readrandom-await', 'get, awaited one by one', LEVELS, { 'classic-level': 20 }),
  throughput('readmissing', 'getSync, absent keys', WITH_MAP, { lmdb: 1 }),
  throughput('readhot', 'getSync, zipfian 0.99', WITH_MAP),
  throughput('readseq', 'full scan, a page at a time, entries', STORES, {
    'classic-level': 4,
    lmdb: 1,
  }),
  throughput('readseq-each', 'full scan, for await one by one, entries', STORES),
  throughput('seekrandom', 'scans of 100 from random keys, scans', STORES, {
    'classic-level': 4,
    lmdb: 1,
  }),
  throughput('fillsync-1000', 'durable put, 1,000 concurrent callers', WITH_LOOP, {
    'classic-level': 20,
    lmdb: 5,
    'write-loop': 0.3,
  }),
  throughput('fillsync', 'durable put, one caller', WITH_LOOP, {
    'classic-level': 1,
    'write-loop': 0.8,
  }),
  throughput('overwrite', 'put without sync, awaited one by one', LEVELS_WITH_LOOP, {
    'classic-level': 15,
  }),
  throughput('overwrite-none', "put with durability 'none', awaited one by one", ['duramen']),
  throughput('fillbatch', 'batch of 1,000 without sync, entries', LEVELS, { 'classic-level': 1.5 }),
  throughput('fillbatch-sync', 'batch of 1,000, durable, entries', STORES, {
    'classic-level': 1.5,
  }),
  throughput('deleterandom', 'delete without sync, awaited one by one', LEVELS),
  throughput('fillseq', 'new ascending keys, batches of 1,000, no sync, entries', LEVELS),
  {
    id: 'memory',
    title: 'memory, peak of the whole process',
    unit: 'MiB',
    subjects: STORES,
    targets: [{ against: 'absolute', bound: MEMORY_BUDGET_MIB + MEMORY_OVERHEAD_MIB }],
    isWrite: false,
  },
  {
    id: 'recovery',
    title: 'open after kill -9 with 64 MiB of log',
    unit: 'ms',
    subjects: STORES,
    targets: [{ against: 'absolute', bound: RECOVERY_MS_MAX }],
    isWrite: false,
  },
]

/**
 * Injects an error at a call of a scripted life, at any call, once or from there on for ever, and
 * judges what comes of it: during the life (error-life.ts), and afterwards on the disk that a kill
 * and a power loss would leave, once the disk works again.
 *
 * After a write or sync of a file has failed, nothing may write to or sync that file again: a sync
 * that succeeds then does not say that the bytes are there (what Linux does; file-system.ts). But
 * zeros that the log is written over, and that found no room, say nothing of what is before them.
 */
import { type Random, seededRandom } from '../../src/random.ts'
import { CrashOracle, OracleError, readState } from './crash-oracle.ts'
import { drive, openEngine } from './engine-on-disk.ts'
import { ERROR_OPTIONS, ErrorLife } from './error-life.ts'
import {
  FailingFileSystem,
  type Fault,
  type FaultReport,
  type FaultRule,
} from './failing-file-system.ts'
import { type CallKind, MemoryFileSystem } from './memory-file-system.ts'
import { CRASHES } from './power-loss-sweep.ts'
import { SimClock } from './sim-clock.ts'

export interface ErrorCase {
  readonly fault: Fault
  readonly forever: boolean
  /** Among the calls that the fault makes sense for, from 0. */
  readonly nth: number
}

/** The calls that can fail so; undefined stands for all. */
const KINDS: Readonly<Partial<Record<Fault, readonly CallKind[] | undefined>>> = {
  EIO: undefined,
  ENOSPC: ['create', 'makeDirectory', 'rename', 'link', 'syncDirectory', 'lock', 'write', 'sync'],
  EMFILE: ['open', 'create', 'list', 'lock', 'syncDirectory'],
  shortWrite: ['write'],
  full: ['write'],
  shortRead: ['read'],
  failedSync: ['sync'],
}
export const ERROR_FAULTS = Object.keys(KINDS) as readonly Fault[]

export interface ErrorSweepOptions {
  readonly seed: number
  /** Plants a bug. */
  readonly plant?: (disk: FailingFileSystem) => void
  /** Looks only at what became of the data, not at what is still used after it failed. */
  readonly dataOnly?: boolean
}

export interface ErrorCaseResult {
  readonly injected: number
  readonly poisonings: number
  readonly errors: ReadonlyMap<string, number>
}

/** Every case of the life: each fault at each call, once and for ever. */
export async function planErrors(options: ErrorSweepOptions): Promise<ErrorCase[]> {
  const disk = new FailingFileSystem(new MemoryFileSystem())
  const reports = new Map<Fault, FaultReport>()
  for (const fault of ERROR_FAULTS) {
    reports.set(fault, disk.fail(ruleOf({ fault, forever: false, nth: Number.POSITIVE_INFINITY })))
  }
  const fault = reports.get('EIO')!
  const life = new ErrorLife({ ...options, disk, fault, forever: false, code: undefined })
  await life.run()
  if (life.flushes < 5 || life.compactions < 3 || !life.copies.isComplete) {
    throw new Error(`the life is not worth living: ${life.flushes} flushes`)
  }
  const cases: ErrorCase[] = []
  for (const [name, { matched }] of reports) {
    for (const forever of [false, true]) {
      for (let nth = 0; nth < matched; nth++) cases.push({ fault: name, forever, nth })
    }
  }
  return cases
}

/** So many of each fault, once and for ever. */
export function sampleErrors(
  cases: readonly ErrorCase[],
  countOfEach: number,
  random: Random,
): ErrorCase[] {
  return ERROR_FAULTS.flatMap(fault =>
    [false, true].flatMap(forever => {
      const group = cases.filter(each => each.fault === fault && each.forever === forever)
      return Array.from({ length: countOfEach }, () => group[random.below(group.length)]!)
    }),
  )
}

export function describeCase({ fault, forever, nth }: ErrorCase): string {
  return `${fault}:${nth}${forever ? ':forever' : ''}`
}

/** The inverse of describeCase. Throws when it is none. */
export function parseCase(words: string): ErrorCase {
  const match = /^(\w+):(\d+)(:forever)?$/.exec(words)
  const fault = ERROR_FAULTS.find(known => known === match?.[1])
  if (match === null || fault === undefined) throw new Error(`'${words}' is not a case`)
  return { fault, nth: Number(match[2]), forever: match[3] !== undefined }
}

/**
 * Throws an OracleError that names the case and the call when a promise is broken, and another
 * Error that names them when the checker is.
 */
export async function runErrorCase(
  errorCase: ErrorCase,
  options: ErrorSweepOptions,
): Promise<ErrorCaseResult> {
  const memory = new MemoryFileSystem()
  const disk = new FailingFileSystem(memory)
  const fault = disk.fail(ruleOf(errorCase))
  options.plant?.(disk)
  const breaches = watchFailedFiles(memory, fault, errorCase)
  const code = codeOf(errorCase.fault)
  const life = new ErrorLife({ ...options, disk, fault, forever: errorCase.forever, code })
  try {
    await life.run()
    memory.onCall = undefined
    if (breaches.length > 0 && options.dataOnly !== true) throw new OracleError(breaches[0])
    fault.remove()
    await judge(memory, life, seededRandom(options.seed + errorCase.nth))
  } catch (error) {
    const { kind = 'no call', path = '' } = fault.first ?? {}
    const place = `seed ${options.seed}, ${describeCase(errorCase)} (${kind} ${path})`
    const message = `${place}: ${error instanceof Error ? error.message : error}`
    if (error instanceof OracleError) throw new OracleError(message, { cause: error })
    throw new Error(message, { cause: error })
  }
  return { injected: fault.injected, poisonings: life.poisonings, errors: life.errors }
}

function ruleOf({ fault, forever, nth }: ErrorCase): FaultRule {
  const kind = KINDS[fault]
  return { fault, forever, nth, ...(kind && { kind }) }
}

function codeOf(fault: Fault): string | undefined {
  if (fault === 'shortWrite' || fault === 'full') return 'ENOSPC'
  if (fault === 'failedSync') return 'EIO'
  return fault === 'shortRead' ? undefined : fault
}

/** Notes every write or sync of a file after one of it has failed. */
function watchFailedFiles(
  memory: MemoryFileSystem,
  fault: FaultReport,
  { fault: name }: ErrorCase,
): string[] {
  const breaches: string[] = []
  let isNew = false
  let isOpenedAnew = false
  // The first half of such a write is a call as well.
  let halves = name === 'shortWrite' || name === 'full' ? 1 : 0
  memory.onCall = (_index, kind, path) => {
    const { first } = fault
    if (first === undefined) return
    // The next life may sync what it has read of a log, for those who read: no write relies on it.
    if (kind === 'lock') isOpenedAnew = true
    if (first.path !== path || (kind === 'sync' && isOpenedAnew && path.endsWith('.wal'))) return
    if (first.kind !== 'write' && first.kind !== 'sync') return
    const isNoRoom = name === 'ENOSPC' || name === 'shortWrite' || name === 'full'
    if (isNoRoom && first.isZeros && path.endsWith('.wal')) return
    if (kind === 'create') isNew = true
    else if ((kind === 'write' || kind === 'sync') && !isNew && halves-- <= 0) {
      breaches.push(`${kind} of ${path} after a ${first.kind} of it has failed`)
    }
  }
  return breaches
}

/** The disk works again: what is on it must open, hold what was promised, and take writes. */
async function judge(memory: MemoryFileSystem, life: ErrorLife, chance: Random): Promise<void> {
  const { oracle } = life
  const moment = oracle.moment()
  const cut = CRASHES[chance.below(CRASHES.length)]!
  for (const ending of ['kill', 'power-loss'] as const) {
    const left = ending === 'kill' ? memory.processCrashClone() : memory.crashClone(chance, cut)
    try {
      const clock = new SimClock()
      const db = await openEngine(left, { clock, options: ERROR_OPTIONS, random: chance })
      const found = await readState(db)
      oracle.explain(found, moment, ending)
      const later = new CrashOracle(found)
      const write = { operations: [{ type: 'put', key: 'after', value: 'all' }] } as const
      const ticket = later.submit({ ...write, durability: 'sync' })
      await drive(clock, db.batch(write.operations))
      later.acknowledge(ticket)
      const again = await openEngine(left.crashClone(chance, { keep: 'nothing' }), {
        options: ERROR_OPTIONS,
        random: chance,
      })
      later.explain(await readState(again), later.moment(), 'power-loss')
      await life.copies.judge(left, chance)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      throw new OracleError(`after a ${ending} with a mended disk: ${message}`, { cause: error })
    }
  }
}

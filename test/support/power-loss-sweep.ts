/**
 * Runs a script of writes on a simulated disk, takes the power away at every file-system call of
 * it, and checks with the oracle what recovery makes of each disk that is left.
 *
 * A call that changes nothing on the disk leaves the same disk as the next one that does, which
 * must hold at least as much; so only the latter are looked at. Of those, too, many are the same to
 * the last byte: what an fsync brings to the disk was there already if all is kept, and what was
 * written since is not if nothing is. They are recovered once, and must then hold all that was
 * promised at any of their moments, and nothing that was submitted after the first.
 */
import type { ChangeBatch, Db } from '../../src/engine/index.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { type CrashMoment, CrashOracle, OracleError, readState } from './crash-oracle.ts'
import { CrashScript, type ScriptStats } from './crash-script.ts'
import { drive, openEngine } from './engine-on-disk.ts'
import { FailingFileSystem, type FaultReport } from './failing-file-system.ts'
import { lateExecutor } from './late-executor.ts'
import { type CallKind, type CrashOptions, MemoryFileSystem } from './memory-file-system.ts'
import { SimClock } from './sim-clock.ts'

export interface SweepOptions {
  readonly seed: number
  readonly operationCount: number
  /** One after another at each call, or only this. */
  readonly crashes: readonly CrashOptions[]
  /** Plants a bug. */
  readonly plant?: (disk: FailingFileSystem) => void
  /** Plants another: recovery keeps this batch (counted from 0) with log data to itself. */
  readonly losesLogData?: (index: number) => boolean
  /** The second directory of the database. @defaultValue none */
  readonly coldDirectory?: string
  /** The disk is full now and then. @defaultValue false */
  readonly fillsDisk?: boolean
  /** The power goes away a second time during every so-manieth recovery. 0 for never. */
  readonly doubleCrashEvery: number
  /** The chance of a call to be among those that the power goes away at. @defaultValue 1 */
  readonly crashShare?: number
}

export interface SweepResult {
  /** File-system calls of the script. */
  readonly calls: number
  /** Moments, times the kinds of power loss at each. */
  losses: number
  /** Disks that these left, and on how many of them recovery itself was cut short. */
  recoveries: number
  doubleCrashes: number
  readonly script: ScriptStats
}

export const CRASHES: readonly CrashOptions[] = [
  { keep: 'nothing' },
  { keep: 'all' },
  { keep: 'random' },
]

export const CHANGING: readonly CallKind[] = [
  'create',
  'makeDirectory',
  'rename',
  'remove',
  'link',
  'removeDirectory',
  'syncDirectory',
  'lock',
  'unlock',
  'write',
  'sync',
]

/** What came of a sweep, in words. */
export function describeSweep(result: SweepResult): string {
  const { calls, losses, recoveries, doubleCrashes, script } = result
  const { flushes, compactions, moves, reopens } = script
  return (
    `${calls} calls, ${losses} power losses, ${recoveries} different disks recovered, ` +
    `${doubleCrashes} times cut short again; ` +
    `${flushes} flushes, ${compactions} compactions, ${moves} moves, ${reopens} reopens`
  )
}

interface Survivor {
  readonly disk: MemoryFileSystem
  moment: CrashMoment
  readonly place: string
  /** Recovery of it is cut short as well. */
  isDouble: boolean
}

/** Survivors that the next one may be the same as: those of the last call or two. */
const NEIGHBOURS = 6

/** Throws an OracleError that names seed, call and crash when a promise is broken. */
export async function sweepPowerLoss(options: SweepOptions): Promise<SweepResult> {
  const { seed, operationCount } = options
  const random = seededRandom(seed)
  const disk = new MemoryFileSystem()
  const fileSystem = new FailingFileSystem(disk)
  options.plant?.(fileSystem)
  const oracle = new CrashOracle()
  const script = new CrashScript({
    ...(options.fillsDisk === true && fullNowAndThen(fileSystem, seededRandom(seed + 3))),
    fileSystem,
    oracle,
    clock: new SimClock(),
    random,
    operationCount,
    options: {
      // Small enough that a MANIFEST is replaced while the database is open.
      manifestSizeMin: 1,
      ...(options.coldDirectory && { coldDirectory: options.coldDirectory }),
    },
    executor: lateExecutor(seededRandom(seed + 2)),
  })
  const chance = seededRandom(seed + 1)
  const survivors: Survivor[] = []
  const { crashShare = 1, doubleCrashEvery } = options
  let calls = 0
  let losses = 0
  const harvest = (index: number, kind: CallKind, path: string) => {
    calls++
    if (!CHANGING.includes(kind)) return
    if (crashShare < 1 && chance.next() >= crashShare) return
    for (const crash of options.crashes) {
      const place = `seed ${seed}, power lost before call ${index} (${kind} ${path}), ${crash.keep}`
      const isDouble = losses++ % doubleCrashEvery === 0
      const survivor = disk.crashClone(chance, crash)
      keep(survivors, { disk: survivor, moment: oracle.moment(), place, isDouble })
    }
  }
  disk.onCall = harvest
  await script.run()
  await script.close()
  disk.onCall = undefined
  harvest(calls, 'sync', 'after the end')
  const recoveries = survivors.length
  const result: SweepResult = { calls, losses, recoveries, doubleCrashes: 0, script: script.stats }
  for (const survivor of survivors) {
    if (survivor.isDouble) {
      result.doubleCrashes += await checkTwice(survivor, oracle, chance, options)
    } else {
      await checkSurvivor(survivor, oracle, chance, options)
    }
  }
  return result
}

/** Adds a survivor, to its like if there is one. */
function keep(survivors: Survivor[], survivor: Survivor): void {
  const same = survivors.slice(-NEIGHBOURS).find(({ disk }) => disk.holdsSameAs(survivor.disk))
  if (same === undefined) {
    survivors.push(survivor)
    return
  }
  const { submitted, durable, handedOver } = survivor.moment
  same.moment = {
    submitted: Math.min(same.moment.submitted, submitted),
    durable: Math.max(same.moment.durable, durable),
    handedOver: Math.max(same.moment.handedOver, handedOver),
  }
  same.isDouble ||= survivor.isDouble
}

/** The chance that a disk is full from a burst on, and that there is room again. */
const FILLS = 0.1
const HAS_ROOM = 0.3

function fullNowAndThen(disk: FailingFileSystem, random: Random) {
  let full: FaultReport | undefined
  function makeRoom(): void {
    full?.remove()
    full = undefined
  }
  return {
    beforeOpen: makeRoom,
    beforeBurst() {
      if (full === undefined && random.next() < FILLS) {
        full = disk.fail({ fault: 'full', forever: true })
      } else if (random.next() < HAS_ROOM) makeRoom()
    },
  }
}

async function named<T>(place: string, check: () => Promise<T>): Promise<T> {
  try {
    return await check()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new OracleError(`${place}: ${message}`, { cause: error })
  }
}

async function checkSurvivor(
  survivor: Survivor,
  oracle: CrashOracle,
  chance: Random,
  options: SweepOptions,
): Promise<void> {
  await named(survivor.place, () => recover(survivor, oracle, chance, options))
}

/** Recovers, and loses power once more at each call of that. Returns how many disks that left. */
async function checkTwice(
  survivor: Survivor,
  oracle: CrashOracle,
  chance: Random,
  options: SweepOptions,
): Promise<number> {
  const { crashes } = options
  const { disk, moment } = survivor
  const cut: Survivor[] = []
  disk.onCall = (index, kind) => {
    if (!CHANGING.includes(kind)) return
    const crash = crashes[chance.below(crashes.length)]!
    const when = `before call ${index} (${kind}) of recovery`
    const place = `${survivor.place}, then ${when}, ${crash.keep}`
    keep(cut, { disk: disk.crashClone(chance, crash), moment, place, isDouble: false })
  }
  await checkSurvivor(survivor, oracle, chance, options)
  for (const again of cut) await checkSurvivor(again, oracle, chance, options)
  return cut.length
}

/** Opens, checks, writes, loses power, opens, checks that nothing seen before is gone. */
async function recover(
  survivor: Survivor,
  oracle: CrashOracle,
  chance: Random,
  options: SweepOptions,
): Promise<void> {
  const { crashes } = options
  const { disk, moment } = survivor
  const clock = new SimClock()
  const logged: ChangeBatch[] = []
  let delivered = 0
  const onLogData = (batch: ChangeBatch) => {
    if (options.losesLogData?.(delivered++) !== true) logged.push(batch)
  }
  // It is remembered from when it matters, and may be given again at any time.
  const isGiven = options.coldDirectory !== undefined && chance.below(2) === 0
  const cold = isGiven ? { coldDirectory: options.coldDirectory } : {}
  const first = await openEngine(disk, { clock, random: chance, options: { onLogData, ...cold } })
  const found = await readState(first)
  const logEnd = oracle.explainLog(logged, moment, 'power-loss')
  const durable = Math.max(moment.durable, logEnd)
  const stateEnd = oracle.explain(found, { ...moment, durable }, 'power-loss')
  // What is there because it was made durable has brought its log data along.
  oracle.explainLog(logged, { ...moment, durable: stateEnd }, 'power-loss')
  disk.onCall = undefined
  const later = new CrashOracle(found)
  await write(first, clock, later)
  const crash = crashes[chance.below(crashes.length)]!
  const again = disk.crashClone(chance, crash)
  const second = await openEngine(again, { random: chance })
  later.explain(await readState(second), later.moment(), 'power-loss')
}

async function write(db: Db, clock: SimClock, oracle: CrashOracle): Promise<void> {
  const operations = [
    { type: 'put', key: 'after', value: 'the crash' },
    { type: 'del', key: 'key-1' },
  ] as const
  const ticket = oracle.submit({ operations, durability: 'sync' })
  await drive(clock, db.batch(operations))
  oracle.acknowledge(ticket)
}

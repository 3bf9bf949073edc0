/**
 * A simulated machine: a name, a clock, a disk, and the program that runs on it. The disk and the
 * clock outlive the program. Every asynchronous file call takes time, and never ends when the
 * program dies before it.
 */
import { assert } from '../../../src/assert.ts'
import type { Random } from '../../../src/random.ts'
import {
  type CallKind,
  MemoryFileSystem,
  type MemoryFileSystemOptions,
} from '../memory-file-system.ts'
import type { MachineClock } from './machine-clock.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimNetwork } from './sim-network.ts'
import { SimProcess } from './sim-process.ts'
import type { Trace } from './trace.ts'

/** How a program ends that does not end by itself: `kill -9`, or the power of its machine. */
export type CrashKind = 'kill' | 'power'

export interface DiskConditions {
  /** Of an fsync; uniform between them. Milliseconds. */
  readonly syncMinMs: number
  readonly syncMaxMs: number
  /** The chance that a call takes `stallMs` longer. */
  readonly stallProbability: number
  readonly stallMs: number
}

/** Of everything but an fsync, as a share of that. */
const OTHER_CALL_SHARE = 0.1

export interface MachineWorld {
  readonly scheduler: Scheduler
  readonly network: SimNetwork
  readonly trace: Trace
  /** Told of every end of a program that lost what it had not written. */
  readonly onCrash?: ((kind: CrashKind) => void) | undefined
}

export class Machine {
  readonly name: string
  readonly clock: MachineClock
  readonly #world: MachineWorld
  readonly #random: Random
  readonly #diskOptions: MemoryFileSystemOptions
  #disk: MemoryFileSystem
  #process: SimProcess | undefined
  #isOn = true
  #lastCall: CallKind = 'read'
  /** File calls that are left until it crashes; see crashWithin. */
  #callsLeft = Number.POSITIVE_INFINITY
  #crashKind: CrashKind = 'kill'
  /** Milliseconds that every call takes longer; set by a fault. */
  diskExtraMs = 0
  diskConditions: DiskConditions
  /** It asks a time server before it starts a program: of two nodes none can tell who is wrong. */
  asksForTime = true
  /** Called when the program was ended by a crash. */
  onCrash: ((kind: CrashKind) => void) | undefined

  constructor(
    name: string,
    world: MachineWorld,
    random: Random,
    clock: MachineClock,
    diskConditions: DiskConditions,
  ) {
    this.name = name
    this.clock = clock
    this.diskConditions = diskConditions
    this.#world = world
    this.#random = random
    const defer = (step: () => void) => {
      this.#process?.later(this.#callMs(), step)
    }
    this.#diskOptions = { random, defer }
    this.#disk = this.#watched(new MemoryFileSystem(this.#diskOptions))
  }

  /** Gives it a disk with the contents of another one. Requires that nothing runs. */
  insertDisk(disk: MemoryFileSystem): void {
    assert(!this.isRunning, 'a disk is inserted before the start')
    this.#disk = this.#watched(disk.processCrashClone(undefined, this.#diskOptions))
  }

  /** As it is now. A crash leaves another one behind. */
  get disk(): MemoryFileSystem {
    return this.#disk
  }

  get process(): SimProcess | undefined {
    return this.#process
  }

  get isRunning(): boolean {
    return this.#process?.isAlive === true
  }

  /** Starts a program, with the power on. */
  start(): SimProcess {
    assert(!this.isRunning, 'one program runs at a time')
    const { scheduler, network } = this.#world
    if (!this.#isOn) network.powerOn(this.name)
    this.#isOn = true
    if (this.asksForTime && this.clock.isFarOff) this.clock.step(-this.clock.errorMs)
    this.#process = new SimProcess(this.name, scheduler, this.clock)
    return this.#process
  }

  /** The program has ended by itself: its operating system closes what it left open. */
  ended(): void {
    if (this.#process === undefined) return
    this.#process.kill()
    this.#world.network.killed(this.#process)
    // Calls that are under way end with the program; the next one would wait behind them for ever.
    this.#disk.onCall = undefined
    this.#disk = this.#watched(this.#disk.processCrashClone())
  }

  /** Ends the program at this moment; the disk keeps what such an end leaves of it. */
  crash(kind: CrashKind): void {
    const process = this.#process
    if (process === undefined || !process.isAlive) return
    const { scheduler, network, trace } = this.#world
    trace.add(scheduler.nowMs, this.name, 'crash', kind)
    this.#callsLeft = Number.POSITIVE_INFINITY
    process.kill()
    const random = this.#random
    const survivor =
      kind === 'kill'
        ? this.#disk.processCrashClone(random)
        : this.#disk.crashClone(random, { keep: 'random', probability: random.next() })
    this.#disk.onCall = undefined
    this.#disk = this.#watched(survivor)
    if (kind === 'kill') network.killed(process)
    else {
      this.#isOn = false
      network.powerOff(this.name)
    }
    this.#world.onCrash?.(kind)
    this.onCrash?.(kind)
  }

  /** Crashes in the middle of one of the next `calls` file calls, whatever code makes it. */
  crashWithin(calls: number, kind: CrashKind): void {
    this.#callsLeft = this.#random.below(calls)
    this.#crashKind = kind
  }

  #watched(disk: MemoryFileSystem): MemoryFileSystem {
    disk.onCall = (_index, kind) => {
      this.#lastCall = kind
      if (this.#callsLeft-- <= 0) this.crash(this.#crashKind)
    }
    return disk
  }

  #callMs(): number {
    const { syncMinMs, syncMaxMs, stallProbability, stallMs } = this.diskConditions
    const isSync = this.#lastCall === 'sync' || this.#lastCall === 'syncDirectory'
    const syncMs = syncMinMs + this.#random.next() * (syncMaxMs - syncMinMs)
    const isStalled = this.#random.next() < stallProbability
    return (
      (isSync ? syncMs : syncMs * OTHER_CALL_SHARE) + (isStalled ? stallMs : 0) + this.diskExtraMs
    )
  }
}

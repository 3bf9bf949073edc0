/**
 * Does the harm: one fault after another at random, each of which ends by itself after a while, and
 * in the end repairs everything at once.
 */
import type { Random } from '../../../src/random.ts'
import { FAULT_KINDS, type FaultKind, type FaultProfile } from './fault-profile.ts'
import type { Machine, MachineWorld } from './machine.ts'
import { OldDisks, type OldDisksOptions } from './old-disks.ts'
import type { SimNode } from './sim-node.ts'
import type { Violations } from './violations.ts'

export interface FaultTargets {
  readonly world: MachineWorld
  readonly nodes: readonly SimNode[]
  /** Names of the machines on which clients run. */
  readonly clients: readonly string[]
  readonly violations: Violations
  readonly readmit: OldDisksOptions['readmit']
}

/** File calls among which one is that does not end. */
const CALLS_UNTIL_CRASH = 200
/** Bytes left on a disk that fills up. */
const ROOM_LEFT = 20_000
const HOUR_MS = 3_600_000
/** The least and the most by which a clock that is far off is wrong: 10 seconds, 10 hours. */
const JUMP_MIN_MS = 10_000
const JUMP_MAX_MS = 10 * HOUR_MS
/** A node that starts alone finds that its clock is ahead when it is by more than an hour. */
const START_FOUND_MIN_MS = 1.5 * HOUR_MS

export class Faults {
  readonly #targets: FaultTargets
  readonly #random: Random
  readonly #profile: FaultProfile
  readonly #counts = new Map<FaultKind, number>()
  readonly #harm: Readonly<Record<FaultKind, () => Promise<void> | void>>
  readonly #oldDisks: OldDisks
  /** Something is cut off, until somebody heals it. */
  #isCut = false
  /** How often all cuts were mended: those that were to be mended later are by then. */
  #mends = 0
  /** Begins and ends so often: what was to be undone later is undone by then. */
  #phase = 0
  #isUnderWay = false

  constructor(targets: FaultTargets, random: Random, profile: FaultProfile) {
    this.#targets = targets
    this.#random = random
    this.#profile = profile
    this.#oldDisks = new OldDisks({
      ...targets,
      later: undo => this.#later(undo),
      cutOff: (one, others) => this.#cutOff(one, others),
      mend: () => this.#mend(),
    })
    this.#harm = {
      kill: () => this.#kill(),
      power: () => this.#node().machine.crash('power'),
      powerAll: () => this.#powerAll(),
      crashInCall: () => this.#crashInCall(),
      stop: () => this.#node().stop(),
      pause: () => this.#pause(),
      isolate: () => this.#isolate(),
      split: () => this.#split(),
      oneWay: () => this.#oneWay(),
      slowRoute: () => this.#slowRoute(),
      reset: () => this.#targets.world.network.resetOne(),
      clockStep: () => this.#clockStep(),
      slowDisk: () => this.#slowDisk(),
      fullDisk: () => this.#fullDisk(),
      leap: () => this.#leap(),
      clockJump: () => this.#clockJump(),
      oldDisk: () => this.#oldDisks.begin(this.#node(), this.#isCut),
    }
  }

  /** How often each came. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts)
  }

  /** Between start() and heal(). */
  get isUnderWay(): boolean {
    return this.#isUnderWay
  }

  /** Also once more, after all was healed. */
  start(): void {
    this.#isUnderWay = true
    const phase = ++this.#phase
    const { route, disk } = this.#profile
    const { world, nodes } = this.#targets
    const { lossProbability } = route
    world.network.conditions = { ...world.network.conditions, lossProbability }
    for (const { machine } of nodes) {
      const { stallProbability } = disk
      machine.diskConditions = { ...machine.diskConditions, stallProbability }
    }
    const total = FAULT_KINDS.reduce((sum, kind) => sum + this.#profile.weights[kind], 0)
    if (total === 0) return
    const strike = (): void => {
      if (this.#phase !== phase) return
      this.#strike(this.#draw(total))
      this.#after(this.#exponential(this.#profile.intervalMs), strike)
    }
    this.#after(this.#exponential(this.#profile.intervalMs), strike)
  }

  /** No more harm, and what there is is undone. */
  heal(): void {
    this.#isUnderWay = false
    this.#isCut = false
    this.#phase++
    this.#oldDisks.end()
    const { network } = this.#targets.world
    network.conditions = { ...network.conditions, lossProbability: 0 }
    network.heal()
    for (const { machine } of this.#targets.nodes) {
      machine.crashWithin(Number.POSITIVE_INFINITY, 'kill')
      machine.diskExtraMs = 0
      machine.diskConditions = { ...machine.diskConditions, stallProbability: 0 }
      machine.disk.capacity = Number.POSITIVE_INFINITY
      machine.process?.resume()
      machine.clock.step(-machine.clock.errorMs)
    }
  }

  #draw(total: number): FaultKind {
    let rest = this.#random.next() * total
    for (const kind of FAULT_KINDS) {
      rest -= this.#profile.weights[kind]
      if (rest < 0) return kind
    }
    return 'kill'
  }

  #strike(kind: FaultKind): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1)
    const { scheduler, trace } = this.#targets.world
    trace.add(scheduler.nowMs, 'faults', kind, this.#counts.get(kind)!)
    void this.#harm[kind]()
  }

  #after(delayMs: number, callback: () => void): void {
    this.#targets.world.scheduler.after(delayMs, callback)
  }

  /** Undoes something later, unless everything was repaired before. */
  #later(undo: () => void): void {
    const phase = this.#phase
    this.#after(this.#exponential(this.#profile.durationMs), () => {
      if (this.#isUnderWay && this.#phase === phase) undo()
    })
  }

  #exponential(mean: number): number {
    return -Math.log(1 - this.#random.next()) * mean
  }

  #node(): SimNode {
    const { nodes } = this.#targets
    return nodes[this.#random.below(nodes.length)]!
  }

  #machines(): string[] {
    const { nodes, clients } = this.#targets
    return [...nodes.map(({ name }) => name), ...clients]
  }

  #kill(): void {
    const node = this.#node()
    if (this.#oldDisks.mayHarm(node, this.#isCut)) node.machine.crash('kill')
  }

  #powerAll(): void {
    for (const { machine } of this.#targets.nodes) machine.crash('power')
  }

  #crashInCall(): void {
    const kind = this.#random.below(2) === 0 ? 'kill' : 'power'
    this.#node().machine.crashWithin(CALLS_UNTIL_CRASH, kind)
  }

  #pause(): void {
    const process = this.#node().machine.process
    process?.pause()
    this.#later(() => process?.resume())
  }

  /** One node from everybody, or from the other nodes alone. */
  #isolate(): void {
    const node = this.#node()
    const { name } = node
    const { nodes } = this.#targets
    const withClients = this.#random.below(2) === 0
    const others = withClients ? this.#machines() : nodes.map(other => other.name)
    if (!this.#oldDisks.mayHarm(node, this.#isCut)) return
    this.#cutBetween(
      [name],
      others.filter(other => other !== name),
    )
  }

  /** Everybody, clients too, in two parts. */
  #split(): void {
    const [left, right]: [string[], string[]] = [[], []]
    for (const name of this.#machines()) (this.#random.below(2) === 0 ? left : right).push(name)
    this.#cutBetween(left, right)
  }

  #oneWay(): void {
    const { network } = this.#targets.world
    const machines = this.#machines()
    const from = machines[this.#random.below(machines.length)]!
    for (const to of machines) {
      if (to !== from && this.#random.below(2) === 0) network.cut(from, to)
    }
    this.#later(() => network.heal())
  }

  #cutBetween(left: readonly string[], right: readonly string[]): void {
    for (const one of left) this.#cutOff(one, right)
    const mends = this.#mends
    this.#later(() => {
      if (this.#mends === mends) this.#mend()
    })
  }

  /** All cuts: whoever wanted to mend an earlier one mends none that is made after this. */
  #mend(): void {
    this.#mends++
    this.#isCut = false
    this.#targets.world.network.heal()
  }

  /** Until somebody heals it. */
  #cutOff(one: string, others: readonly string[]): void {
    this.#isCut = true
    const { network } = this.#targets.world
    for (const other of others) {
      network.cut(one, other)
      network.cut(other, one)
    }
  }

  #slowRoute(): void {
    const { network } = this.#targets.world
    const machines = this.#machines()
    const from = machines[this.#random.below(machines.length)]!
    const to = machines[this.#random.below(machines.length)]!
    network.slowDown(from, to, this.#random.next() * 1000)
    this.#later(() => network.slowDown(from, to, 0))
  }

  #clockStep(): void {
    this.#setClock(this.#node().machine)
  }

  /** Far off, ahead mostly; one at a time, for of two the others could not tell. */
  #clockJump(): void {
    const { machine, node } = this.#node()
    const { nodes } = this.#targets
    if (node === undefined || node.ring.members.length < 2) return
    if (nodes.some(other => other.machine.clock.isFarOff)) return
    const byMs = JUMP_MIN_MS * (JUMP_MAX_MS / JUMP_MIN_MS) ** this.#random.next()
    machine.asksForTime = node.ring.members.length < 3 || byMs < START_FOUND_MIN_MS
    machine.clock.step(this.#random.below(4) === 0 ? -byMs : byMs)
    this.#later(() => {
      if (machine.clock.isFarOff) this.#setClock(machine)
    })
  }

  #setClock({ clock }: Machine): void {
    const { clockErrorMs } = this.#profile
    clock.step(-clock.errorMs + (2 * this.#random.next() - 1) * clockErrorMs)
  }

  /** Past a round of purging, or past the time that deletions are kept. */
  #leap(): void {
    const hours = this.#random.below(2) === 0 ? 1.1 : 25
    this.#targets.world.scheduler.leap(hours * HOUR_MS)
    // Meanwhile they drifted apart; NTP sets them.
    for (const { machine } of this.#targets.nodes) this.#setClock(machine)
  }

  #slowDisk(): void {
    const { machine } = this.#node()
    machine.diskExtraMs = this.#random.next() * 200
    this.#later(() => {
      machine.diskExtraMs = 0
    })
  }

  #fullDisk(): void {
    const { machine } = this.#node()
    machine.disk.capacity = machine.disk.usedSize + this.#random.below(ROOM_LEFT)
    this.#later(() => {
      machine.disk.capacity = Number.POSITIVE_INFINITY
    })
  }
}

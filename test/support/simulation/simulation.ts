/**
 * One simulated life of a cluster, from a seed: nodes, clients and faults; then everything is
 * repaired, and within a minute all replicas must be equal and every promise kept.
 *
 * What runs is the whole node and the SDK; simulated are
 *
 *   time       clocks that are wrong, drift and are set; one that is hours off, and is set right;
 *              hours that are leapt over
 *   network    latency, loss, bandwidth, full buffers; ways that are slow or cut, both or one;
 *              connections that are reset, hang, or end; messages of other connections overtake
 *   disks      fsync and other calls that take time or stall; full ones; what a power loss leaves;
 *              old copies of them in their place, refused, or taken back by the operator
 *   programs   kill -9 and power loss at any moment, or within a file call; all at once; pauses;
 *              a clean stop; starts, with other addresses now and then
 *   forming    nodes that are one cluster already, or join: in peace, amid faults, amid writes;
 *              one to five copies of a key, racks, weights
 *   clients    puts, large ones and such as expire, deletes, batches, also wide ones, gets of one
 *              and many keys, scans, also idle ones, and counts, at one, quorum and all, at each
 *              durability, with and without a session, by the ring or by way of any node
 *
 * and the checkers see (check-*.ts): no acknowledged write lost, no deleted key back, nothing from
 * nowhere, nothing found that has expired, or gone before, equal replicas, batches whole in each
 * partition, no version from the future, strong reads and sessions that do not go back, versions in
 * total order, one ring an epoch, scans and counts that are exact in the end.
 */

import { utf8Encode } from '../../../src/bytes.ts'
import type { Hasher } from '../../../src/hash.ts'
import { loadHasher, xxh32 } from '../../../src/hash.ts'
import { type Random, seededRandom } from '../../../src/random.ts'
import { checkBatches } from './check-batches.ts'
import { checkReads } from './check-reads.ts'
import { RingWatch } from './check-rings.ts'
import { checkScans, liveRecords } from './check-scans.ts'
import { checkStoredRecords, findUnfinished, type StoredCheck } from './check-stored.ts'
import { checkTimes, latestKeys } from './check-times.ts'
import { checkVersions } from './check-versions.ts'
import {
  type ClusterShape,
  drawNodeCount,
  drawShape,
  shapeTraits,
  USUAL_SHAPE,
} from './cluster-shape.ts'
import { drawProfile, type FaultProfile, oldDisksProfile } from './fault-profile.ts'
import { Faults, type FaultTargets } from './faults.ts'
import { History } from './history.ts'
import type { CrashKind, MachineWorld } from './machine.ts'
import { MachineClock, trueWallMs } from './machine-clock.ts'
import { Operator } from './operator.ts'
import { both, seams, smallPages } from './plants.ts'
import { drawRarities, NO_RARITIES, type Rarities } from './rarities.ts'
import { readmitted } from './replica-state.ts'
import { Scheduler } from './scheduler.ts'
import { SimClient } from './sim-client.ts'
import { SimCluster } from './sim-cluster.ts'
import { SimNetwork } from './sim-network.ts'
import type { Plant } from './sim-node.ts'
import { SimProcess } from './sim-process.ts'
import { storeTap } from './store-tap.ts'
import { Trace } from './trace.ts'
import { Violations } from './violations.ts'
import { drawWorkload, type Workload } from './workload.ts'

/**
 * How nodes come to be one cluster: they are from the beginning, or join; amid faults or not; or
 * amid faults and while clients write already, so that some of them come too late and stay outside.
 */
export type Forming = 'formed' | 'joining' | 'amid faults' | 'amid writes'

const FORMINGS: readonly Forming[] = [
  ...(['formed', 'formed', 'formed', 'formed'] as const),
  ...(['joining', 'amid faults', 'amid faults', 'amid writes'] as const),
]

export interface SimulationOptions {
  readonly seed: number
  /** @defaultValue drawn from the seed, mostly 3 */
  readonly nodes?: number | undefined
  /** Simulated seconds with faults. @defaultValue 60 */
  readonly seconds?: number | undefined
  /** @defaultValue drawn from the seed */
  readonly profile?: FaultProfile | undefined
  /** @defaultValue drawn from the seed */
  readonly workload?: Workload | undefined
  /** @defaultValue drawn from the seed; none where the profile or the workload is given */
  readonly rarities?: Rarities | undefined
  /** @defaultValue drawn from the seed; usual where the profile or the workload is given */
  readonly shape?: ClusterShape | undefined
  /** Calls of a drawn workload, of a hundred. @defaultValue 100 */
  readonly callPercent?: number | undefined
  /** All is suspended for hours now and then. @defaultValue drawn from the seed, mostly false */
  readonly leaps?: boolean | undefined
  /** @defaultValue drawn from the seed */
  readonly forming?: Forming | undefined
  /** Replicas have so long to become equal once all is repaired. @defaultValue 60,000 */
  readonly convergenceMs?: number | undefined
  /** Plants a bug, which the checkers must find. */
  readonly plant?: Plant | undefined
  /**
   * Writes that were not acknowledged may be at some owners only in the end: nothing is repaired.
   * @defaultValue false
   */
  readonly mayDiffer?: boolean | undefined
  /** Given every line of the trace as it happens. */
  readonly print?: ((line: string) => void) | undefined
}

export interface SimulationResult {
  readonly seed: number
  readonly nodes: number
  /** What it was like: each is counted over many seeds. */
  readonly traits: readonly string[]
  /** Empty when every promise was kept. */
  readonly violations: readonly string[]
  readonly traceHash: string
  /** The end of the trace. */
  readonly tail: readonly string[]
  readonly simulatedMs: number
  readonly events: number
  readonly calls: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
  readonly faults: Readonly<Record<string, number>>
  /** From the repair until all replicas were equal. */
  readonly convergedMs: number | undefined
}

const SECONDS = 60
const TAIL_LINES = 60
/** Within so much of the repair everything is as it should be. */
const CONVERGENCE_MS = 60_000
const POLL_MS = 2000
const WATCH_MS = 500
const START_MS = 60_000
/** They join one after another. */
const START_MS_PER_NODE = 3000
/** Nodes that join amid faults have so long before all is repaired, until they have joined. */
const FAULTY_START_MS = 30_000
/** Joins take about a second each. */
const BEGIN_MAX_MS = 4000
const SYNCED_MS = 500
/** Clients go on for so long after the repair. */
const AFTERMATH_MS = 3000
/** Beside those of other faults, which are about 1 each. */
const LEAP_WEIGHT = 1
const JUMP_WEIGHT = 0.7
/** In one of so many simulations hours are leapt over. */
const LEAPS_ONE_OF = 5
/** In one of so many simulations nodes get old copies of their disks, and little else happens. */
const OLD_DISKS_ONE_OF = 25
/** And of those: an old copy is from before a purge then, or of before all that it lacks. */
const OLD_DISKS_LEAPS_ONE_OF = 2
/** A clock that is not far off: twice what it is set wrong by, for that is taken for right. */
const CLOCK_ERROR_MAX_MS = 1500
/** Keys that are written again in the end. */
const OVERWRITTEN = 9

/** Resolves to what was found, whatever it was. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const simulation = new Simulation(options, await loadHasher())
  return simulation.run()
}

class Simulation {
  readonly #options: SimulationOptions
  readonly #nodeCount: number
  readonly #scheduler = new Scheduler()
  readonly #violations = new Violations()
  readonly #rings = new RingWatch(this.#violations)
  readonly #trace: Trace
  readonly #history: History
  readonly #network: SimNetwork
  readonly #profile: FaultProfile
  readonly #workload: Workload
  readonly #rarities: Rarities
  readonly #shape: ClusterShape
  readonly #cluster: SimCluster
  readonly #faults: Faults
  readonly #operator: Operator
  readonly #forming: Forming
  readonly #leaps: boolean
  readonly #clientNames: readonly string[]
  #convergedMs: number | undefined

  constructor(options: SimulationOptions, hasher: Hasher) {
    this.#options = options
    this.#nodeCount = options.nodes ?? drawNodeCount(this.#random('nodes'))
    this.#forming = options.forming ?? FORMINGS[this.#random('forming').below(FORMINGS.length)]!
    this.#trace = new Trace(options.print)
    this.#history = new History(() => this.#scheduler.nowMs)
    const oldDisks = this.#random('old disks').below(OLD_DISKS_ONE_OF) === 0
    const drawn = oldDisks ? oldDisksProfile() : drawProfile(this.#random('profile'))
    const profile = options.profile ?? drawn
    const leapsOneOf = oldDisks ? OLD_DISKS_LEAPS_ONE_OF : LEAPS_ONE_OF
    this.#leaps = options.leaps ?? this.#random('leaps').below(leapsOneOf) === 0
    const leap = this.#leaps ? LEAP_WEIGHT : 0
    const mayJump = options.profile === undefined
    const jumps = mayJump && this.#random('clock jumps').below(3) === 0
    const clockJump = jumps ? JUMP_WEIGHT : profile.weights.clockJump
    this.#profile = { ...profile, weights: { ...profile.weights, leap, clockJump } }
    const callShare = (options.callPercent ?? 100) / 100
    this.#workload = options.workload ?? drawWorkload(this.#random('workload'), callShare)
    const isGiven = options.profile !== undefined || options.workload !== undefined
    const rarities = isGiven ? NO_RARITIES : drawRarities(name => this.#random(name))
    this.#rarities = options.rarities ?? rarities
    // An old copy of a disk is refused by those who hold what it lacks.
    const isUsual = isGiven || oldDisks
    const shape = isUsual ? USUAL_SHAPE : drawShape(name => this.#random(name), this.#nodeCount)
    this.#shape = options.shape ?? shape
    const scheduler = this.#scheduler
    const trace = this.#trace
    const { route } = this.#profile
    this.#network = new SimNetwork(scheduler, this.#random('network'), trace, route)
    const onCrash = (kind: CrashKind) => this.#history.crashed(kind)
    const world: MachineWorld = { scheduler, network: this.#network, trace, onCrash }
    const nowMs = () => trueWallMs(this.#scheduler)
    const tap = storeTap({ history: this.#history, violations: this.#violations, nowMs })
    const planted = options.plant ?? (this.#rarities.idleScans > 0 ? smallPages : undefined)
    this.#cluster = new SimCluster({
      world,
      hasher,
      nodeCount: this.#nodeCount,
      seed: options.seed,
      random: name => this.#random(name),
      profile: this.#profile,
      rings: this.#rings,
      joins: this.#forming !== 'formed',
      shape: this.#shape,
      plant: both(planted === undefined ? tap : both(planted, tap), this.#limits),
    })
    const { clients } = this.#workload
    this.#clientNames = Array.from({ length: clients }, (_, index) => `client-${index}`)
    const [nodes, violations] = [this.#cluster.nodes, this.#violations]
    const readmit: FaultTargets['readmit'] = (disk, wallMs) => readmitted(disk, wallMs, hasher)
    const targets = { world, nodes, clients: this.#clientNames, violations, readmit }
    this.#operator = new Operator({
      scheduler,
      network: this.#network,
      random: this.#random('operator'),
      history: this.#history,
      cluster: this.#cluster,
    })
    this.#faults = new Faults(targets, this.#random('faults'), this.#profile)
  }

  async run(): Promise<SimulationResult> {
    try {
      await this.#untilOver(this.#live())
    } catch (error) {
      const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#violations.add('the simulation ends', stack)
    }
    return this.#result()
  }

  /** Limits of nodes that are met sooner than usual. */
  get #limits(): Plant {
    const { hintBytesMax } = this.#rarities
    return hintBytesMax === undefined ? start => start : seams({ hintBytesMax })
  }

  /** A generator for one purpose, so that what one of them draws leaves the others alone. */
  #random(purpose: string): Random {
    const { seed } = this.#options
    const bytes = utf8Encode(purpose)
    return seededRandom(seed + 2 ** 32 * (xxh32(bytes, 0, bytes.length, seed) % 2 ** 20))
  }

  async #untilOver(life: Promise<void>): Promise<void> {
    let isOver = false
    let failure: unknown
    life
      .catch(error => {
        failure = error ?? new Error('rejected without a reason')
      })
      .finally(() => {
        isOver = true
      })
    await this.#scheduler.run(() => isOver)
    if (failure !== undefined) throw failure
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise(resolve => {
      this.#scheduler.after(delayMs, resolve)
    })
  }

  /** So much time passes besides what is leapt over. */
  async #pass(ms: number): Promise<void> {
    const scheduler = this.#scheduler
    const endMs = scheduler.nowMs - scheduler.leaptMs + ms
    for (;;) {
      const restMs = endMs - (scheduler.nowMs - scheduler.leaptMs)
      // After leaps a time so small may be too small to be added.
      if (restMs < 0.001) return
      await this.#sleep(restMs)
    }
  }

  async #live(): Promise<void> {
    const { seconds = SECONDS } = this.#options
    await this.#sleep(0)
    this.#watchRings()
    if (this.#forming === 'amid writes') await this.#formLater()
    else await this.#form()
    const clients = this.#clientNames.map((name, index) => this.#client(name, index))
    for (const client of clients) client.start()
    if (!this.#faults.isUnderWay) this.#faults.start()
    await this.#pass(seconds * 1000)
    this.#faults.heal()
    this.#note('healed')
    const healedMs = this.#scheduler.nowMs
    await this.#sleep(AFTERMATH_MS)
    await Promise.all(clients.map(client => client.stop()))
    this.#note('clients stopped')
    await this.#converge(healedMs)
    if (this.#cluster.isServing && this.#cluster.agreesOnRing) await this.#check()
  }

  #watchRings(): void {
    this.#cluster.watchRings()
    this.#scheduler.after(WATCH_MS, () => this.#watchRings())
  }

  /** Clients begin, and faults, before, while or after nodes join. */
  async #formLater(): Promise<void> {
    await this.#cluster.start()
    await this.#sleep(this.#random('begin').next() * BEGIN_MAX_MS)
  }

  /** Nodes join only while nothing was written, so clients begin when the cluster is whole. */
  async #form(): Promise<void> {
    const cluster = this.#cluster
    await cluster.start()
    if (this.#forming === 'amid faults') {
      this.#faults.start()
      const endMs = this.#scheduler.nowMs + FAULTY_START_MS
      while (!cluster.isWhole && this.#scheduler.nowMs < endMs) {
        await this.#sleep(POLL_MS)
      }
      if (!cluster.isWhole) {
        this.#faults.heal()
        this.#note('healed while it forms')
      }
    }
    const limitMs = START_MS + START_MS_PER_NODE * this.#nodeCount
    await this.#until('the cluster forms', limitMs, async () => cluster.isWhole)
    cluster.formed()
  }

  async #converge(healedMs: number): Promise<void> {
    const what = 'all replicas become equal'
    const { convergenceMs = CONVERGENCE_MS } = this.#options
    try {
      await this.#until(what, convergenceMs, () => this.#isConverged())
      this.#convergedMs = this.#scheduler.nowMs - healedMs
    } catch (error) {
      this.#violations.add(what, error instanceof Error ? error.message : String(error))
    }
  }

  /** Asks every so often; throws when it takes too long. */
  async #until(what: string, limitMs: number, isDone: () => Promise<boolean>): Promise<void> {
    const beganMs = this.#scheduler.nowMs
    const endMs = beganMs + limitMs
    while (!(await isDone())) {
      if (this.#scheduler.nowMs >= endMs) {
        throw new Error(`${what}: not within ${limitMs} ms; ${await this.#describe()}`)
      }
      // Looking takes the real processor longer than everything else.
      await this.#sleep(Math.max(POLL_MS, (this.#scheduler.nowMs - beganMs) / 2))
    }
  }

  async #isConverged(): Promise<boolean> {
    const cluster = this.#cluster
    if (!cluster.isServing || !cluster.agreesOnRing) return false
    if (!(await this.#operator.allTakeWrites())) return false
    const replicas = await cluster.readReplicas()
    return findUnfinished(this.#stored(replicas)) === undefined
  }

  async #describe(): Promise<string> {
    const cluster = this.#cluster
    const state = `${cluster.describe()} ${this.#operator.describe()}`
    if (!cluster.isServing || !cluster.agreesOnRing) return state
    const replicas = await cluster.readReplicas()
    const difference = findUnfinished(this.#stored(replicas))
    return `${state}; ${difference ?? 'the replicas are as they must be'}`
  }

  #stored(replicas: StoredCheck['replicas']): StoredCheck {
    const { ownersOf } = this.#cluster
    const { mayDiffer } = this.#options
    const nowMs = trueWallMs(this.#scheduler)
    return { history: this.#history, replicas, ownersOf, mayDiffer, nowMs }
  }

  async #check(): Promise<void> {
    const history = this.#history
    const { members, ownersOf } = this.#cluster
    const replicas = await this.#cluster.readReplicas()
    checkStoredRecords(this.#stored(replicas), this.#violations)
    checkVersions(history, replicas, this.#violations)
    // A sole owner may be written to by way of another, which answers before it passes it on.
    const isStrong = ({ consistency }: { readonly consistency: string }) =>
      members.length === 1 || consistency !== 'one'
    const { clockJump } = this.#profile.weights
    const clockErrorMs = clockJump > 0 ? Number.POSITIVE_INFINITY : CLOCK_ERROR_MAX_MS
    checkReads({ history, isStrong, clockErrorMs }, this.#violations)
    const nowMs = trueWallMs(this.#scheduler)
    checkTimes({ history, replicas, nowMs }, this.#violations)
    // Scans go by any owner.
    if (this.#options.mayDiffer === true) return
    const { partitionOf } = this.#cluster
    checkBatches({ ...this.#stored(replicas), partitionOf }, this.#violations)
    // What is on a disk is shown once it is synced.
    await this.#sleep(SYNCED_MS)
    const live = liveRecords(replicas, ownersOf)
    for (const node of members) {
      checkScans(node.name, await this.#operator.survey(node), live, this.#violations)
    }
    for (const lost of await this.#operator.overwrite(latestKeys(replicas, OVERWRITTEN))) {
      const { node, key, written = 'nothing', found = 'nothing' } = lost
      const what = `${key} was to be ${written} by way of ${node}, and is ${found}`
      this.#violations.add('what is written once all is well is read', what)
    }
  }

  #client(name: string, index: number): SimClient {
    const random = this.#random(name)
    const { clockErrorMs, driftPpm } = this.#profile
    const errorMs = (2 * random.next() - 1) * clockErrorMs
    const clock = new MachineClock(this.#scheduler, errorMs, (2 * random.next() - 1) * driftPpm)
    const process = new SimProcess(name, this.#scheduler, clock)
    return new SimClient({
      process,
      random,
      connector: this.#network.connector(process, name),
      nodes: this.#cluster.addresses,
      history: this.#history,
      versions: this.#workload.versionedByNodes && index % 2 === 0 ? 'server' : 'client',
      nowMs: () => trueWallMs(this.#scheduler),
      rarities: this.#rarities,
      beginsWide: index === 0 && this.#rarities.wideBatches > 0,
      rareRandom: this.#random(`rarities of ${name}`),
      workload: { ...this.#workload, routes: this.#workload.routes || this.#moves },
      note: (what, why) => this.#trace.add(this.#scheduler.nowMs, name, what, why),
    })
  }

  get #moves(): boolean {
    return this.#profile.moveProbability > 0
  }

  #traits(): string[] {
    const { session, routes, versionedByNodes } = this.#workload
    const traits = {
      session,
      routes,
      'versioned by nodes': versionedByNodes,
      moves: this.#moves,
      leaps: this.#leaps,
      'room for few hints': this.#rarities.hintBytesMax !== undefined,
      expiry: this.#rarities.expiring > 0,
      'wide batches': this.#rarities.wideBatches > 0,
      'weak writes': this.#rarities.weakWrites > 0,
      'idle scans': this.#rarities.idleScans > 0,
      'large values': this.#rarities.largeValues > 0,
    }
    const names = Object.entries(traits).filter(([, is]) => is)
    const shape = shapeTraits(this.#shape)
    return [`${this.#nodeCount} nodes`, this.#forming, ...shape, ...names.map(([name]) => name)]
  }

  #note(what: string): void {
    this.#trace.add(this.#scheduler.nowMs, 'simulation', what, '')
  }

  #result(): SimulationResult {
    return {
      seed: this.#options.seed,
      nodes: this.#nodeCount,
      traits: this.#traits(),
      violations: this.#violations.all,
      traceHash: this.#trace.hash,
      tail: this.#trace.tail(TAIL_LINES),
      simulatedMs: this.#scheduler.nowMs,
      events: this.#scheduler.eventCount,
      calls: { ...this.#history.outcomes },
      errors: Object.fromEntries(this.#history.errors),
      faults: this.#faults.counts,
      convergedMs: this.#convergedMs,
    }
  }
}

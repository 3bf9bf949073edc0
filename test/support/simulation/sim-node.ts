/**
 * A node of the simulated cluster: the machine, what is started on it, and who starts it again when
 * it ended. The code that runs is the whole of `startNode`.
 */
import {
  type Node,
  type NodeEnvironment,
  type NodeOptions,
  startNode,
} from '../../../src/cluster/index.ts'
import type { BufferPool } from '../../../src/engine/buffer-pool.ts'
import { type DbTuning, InlineExecutor } from '../../../src/engine/index.ts'
import type { Hasher } from '../../../src/hash.ts'
import type { LogFields, Logger } from '../../../src/logger.ts'
import { seededRandom } from '../../../src/random.ts'
import type { CrashKind, Machine, MachineWorld } from './machine.ts'
import { NODE_DIRECTORY } from './node-tuning.ts'
import type { SimProcess } from './sim-process.ts'

export interface SimNodeOptions {
  readonly machine: Machine
  readonly seed: number
  readonly hasher: Hasher
  /** Of background jobs, as a job thread has. */
  readonly buffers: BufferPool
  /** What the next life is started with, besides its directory. */
  readonly options: () => Omit<NodeOptions, 'directory' | 'logger'>
  readonly tuning: DbTuning
  /** How long after the end of a life the next one begins. Milliseconds. */
  readonly restartMs: () => number
  /** The node, once more, serves. */
  readonly onServing: (node: Node) => void
  readonly plant: Plant | undefined
}

/** What a node is given. */
export interface NodeStart {
  readonly options: NodeOptions
  readonly environment: NodeEnvironment
}

/** Changes what a node is given, to plant a bug. */
export type Plant = (start: NodeStart, node: string) => NodeStart

export class SimNode {
  readonly machine: Machine
  readonly #world: MachineWorld
  readonly #options: SimNodeOptions
  #node: Node | undefined
  #lives = 0
  /** Why the last start failed. */
  #startError: unknown
  #isWanted = false

  constructor(world: MachineWorld, options: SimNodeOptions) {
    this.machine = options.machine
    this.#world = world
    this.#options = options
    this.machine.onCrash = kind => this.#crashed(kind)
  }

  get name(): string {
    return this.machine.name
  }

  /** While it serves. */
  get node(): Node | undefined {
    return this.#node
  }

  get startError(): unknown {
    return this.#startError
  }

  /** How often it was started. */
  get lives(): number {
    return this.#lives
  }

  /** Starts it, and again whenever it ended by a crash. */
  start(): void {
    this.#isWanted = true
    if (this.machine.isRunning) return
    const { options, onServing, plant } = this.#options
    const life = this.#lives++
    const process = this.machine.start()
    this.#note('start', life)
    const given: NodeStart = {
      options: { ...options(), directory: NODE_DIRECTORY, logger: this.#logger(process) },
      environment: this.#environment(process, life),
    }
    const start = plant?.(given, this.name) ?? given
    startNode(start.options, start.environment).then(
      node => {
        if (!process.isAlive) return
        this.#note('serves', life)
        this.#node = node
        this.#startError = undefined
        onServing(node)
      },
      error => {
        if (process.isAlive) this.#startFailed(error)
      },
    )
  }

  #environment(process: SimProcess, life: number): NodeEnvironment {
    const { machine } = this
    const { seed, hasher, buffers, tuning } = this.#options
    const { network } = this.#world
    const random = seededRandom(seed * 1009 + life)
    const { clock } = process
    const fileSystem = machine.disk
    return {
      clock,
      random,
      entropy: length => random.bytes(length),
      fileSystem,
      executor: new InlineExecutor({ fileSystem, hasher, clock, buffers }),
      hasher,
      tuning,
      connector: network.connector(process, machine.name),
      acceptor: network.acceptor(process, machine.name),
    }
  }

  /** Asks it to end, as SIGTERM does, and starts it again later. */
  async stop(): Promise<void> {
    const node = this.#node
    const { process } = this.machine
    if (node === undefined || process === undefined) return
    this.#node = undefined
    this.#note('stop', this.#lives)
    try {
      await node.close({ graceMs: 500 })
    } catch (error) {
      // It ends all the same, as a process does after it has said why it could not end well.
      this.#note('closed with', error instanceof Error ? error.message : String(error))
      this.#world.onCrash?.('kill')
    }
    if (!process.isAlive) return
    this.machine.ended()
    this.#restart()
  }

  #startFailed(error: unknown): void {
    this.#startError = error
    this.#note('start failed', error instanceof Error ? error.message : String(error))
    this.machine.ended()
    this.#restart()
  }

  #crashed(_kind: CrashKind): void {
    this.#node = undefined
    this.#restart()
  }

  #restart(): void {
    this.#world.scheduler.after(this.#options.restartMs(), () => {
      if (this.#isWanted) this.start()
    })
  }

  #note(what: string, detail: string | number): void {
    this.#world.trace.add(this.#world.scheduler.nowMs, this.name, what, detail)
  }

  /** Its log is part of the trace; what it calls a bug ends the simulation. */
  #logger(process: SimProcess): Logger {
    const log = (level: string) => (message: string, fields?: LogFields) => {
      if (!process.isAlive) return
      const error = fields?.['error']
      const text = error instanceof Error ? `${message}: ${error.message}` : message
      this.#note(level, text)
      if (!/\bbugs?\b/.test(message)) return
      const stack = fields?.['stack'] ?? (error instanceof Error ? error.stack : '')
      this.#world.scheduler.fail(new Error(`${this.name}: ${text}\n${stack}`))
    }
    return { debug: () => undefined, info: log('info'), warn: log('warn'), error: log('error') }
  }
}

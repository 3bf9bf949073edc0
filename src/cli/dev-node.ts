/**
 * One node of a local cluster, as whoever runs the cluster sees it: a process that is started,
 * says that it serves, and ends because it was told to, was killed, or by itself.
 *
 *   (none) --start--> starting --"serving"--> running --exit--> stopped | crashed --start--> ...
 *
 * Nothing is started again by itself: a node that is down is what a cluster is there for, and
 * whoever tries one out wants to see it.
 */
import type { LogLevel } from '../logger.ts'
import type { DevNodeState, DevNodeStatus } from './dev-control.ts'
import type { DevIo, DevProcess } from './dev-io.ts'
import { type DevNode, parseJson } from './dev-layout.ts'
import type { Style } from './style.ts'
import { textLogger } from './text-logger.ts'

/** Lines that are kept of a start, for the case that it fails. */
const UNTOLD_MAX = 50
/** What a node logs once it serves; see serve.ts. */
const SERVING_MESSAGE = 'serving'

export interface DevNodeOwner {
  /** True until all nodes have served for the first time: what goes well is not told yet. */
  readonly isForming: boolean
  /** A line for whoever watches the cluster. */
  print(line: string): void
  /** The node has another state now. */
  changed(runner: DevNodeRunner): void
}

export class DevNodeRunner {
  readonly node: DevNode
  readonly #io: DevIo
  readonly #style: Style
  readonly #owner: DevNodeOwner
  #state: DevNodeState = 'stopped'
  #process: DevProcess | undefined
  #ended: string | undefined
  /** True once it was told to end: how it does is no crash. */
  #isStopping = false
  #isPaused = false
  /** What it said on its way: told when it does not arrive. */
  #untold: string[] = []
  #nodeId: string | undefined

  constructor(node: DevNode, io: DevIo, style: Style, owner: DevNodeOwner) {
    this.node = node
    this.#io = io
    this.#style = style
    this.#owner = owner
  }

  get state(): DevNodeState {
    return this.#state
  }

  get isAlive(): boolean {
    return this.#state === 'starting' || this.#state === 'running'
  }

  /** As it is called in logs of the nodes; undefined until it has served. */
  get nodeId(): string | undefined {
    return this.#nodeId
  }

  /** How its last process ended. */
  get ended(): string | undefined {
    return this.#ended
  }

  status(): DevNodeStatus {
    const { number, port } = this.node
    const pid = this.isAlive ? (this.#process?.pid ?? null) : null
    const ended = this.#ended ?? null
    const state = this.isAlive && this.#isPaused ? 'paused' : this.#state
    return { number, state, pid, address: `127.0.0.1:${port}`, ended }
  }

  /** Requires that it does not run. */
  start(args: readonly string[]): void {
    this.#isStopping = false
    this.#isPaused = false
    const process = this.#io.spawnNode(args)
    this.#process = process
    process.onLine(line => this.#took(line))
    process.onExit(how => this.#exited(how))
    this.#become('starting')
  }

  /** Sends a signal. False when it does not run, or there is no such signal. */
  kill(signal: string): boolean {
    if (!this.isAlive || this.#process === undefined) return false
    const wasStopping = this.#isStopping
    this.#isStopping ||= !isPause(signal)
    if (this.#process.kill(signal)) {
      if (isPause(signal)) this.#isPaused = signal === 'SIGSTOP'
      return true
    }
    this.#isStopping = wasStopping
    return false
  }

  #took(line: string): void {
    const event = parseJson(line) as LogEvent | undefined
    if (event?.message === undefined || event.level === undefined) {
      this.#owner.print(`${this.#prefix} ${line}`)
      return
    }
    const { time, level, message, ...others } = event
    const fields = Object.fromEntries(
      Object.entries(others).map(([name, value]) => [name, plain(value)]),
    )
    const isOnItsWay = this.#state === 'starting' || this.#owner.isForming
    const isQuiet = isOnItsWay && (level === 'info' || level === 'debug')
    if (!isOnItsWay) this.#untold = []
    const write = (text: string): void => {
      const shown = `${this.#prefix} ${text.trimEnd()}`
      if (!isQuiet || message === SERVING_MESSAGE) this.#owner.print(shown)
      else if (this.#untold.push(shown) > UNTOLD_MAX) this.#untold.shift()
    }
    const wallMs = (): number => Date.parse(time)
    const logger = textLogger({ write, wallMs, level: 'debug', style: this.#style })
    logger[level](message, fields)
    if (message !== SERVING_MESSAGE) return
    if (event.node !== undefined) this.#nodeId = event.node
    if (this.#state === 'starting') this.#become('running')
  }

  get #prefix(): string {
    return this.#style.key(`node ${this.node.number}`)
  }

  #exited(how: string): void {
    this.#process = undefined
    this.#ended = how
    for (const line of this.#untold) this.#owner.print(line)
    this.#become(this.#isStopping ? 'stopped' : 'crashed')
  }

  #become(state: DevNodeState): void {
    this.#state = state
    if (state === 'stopped' || state === 'crashed') this.#untold = []
    this.#owner.changed(this)
  }
}

/** True for signals after which a process lives on. */
export function isPause(signal: string): boolean {
  return signal === 'SIGSTOP' || signal === 'SIGCONT'
}

/** Errors as the log for people has them; what else is in a field stays as it is. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (!('message' in value) || typeof value.message !== 'string') return value
  return 'code' in value ? `${String(value.code)} ${value.message}` : value.message
}

/** A line of JSON of a node's log. */
interface LogEvent {
  readonly time: string
  readonly level: Exclude<LogLevel, 'silent'>
  readonly message: string
  /** Of the line that says that it serves: its id. */
  readonly node?: string
}

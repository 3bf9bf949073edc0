/**
 * Kills a process with an embedded engine in it, quickly and often. The oracle, here, follows what
 * the process says it submits and what was acknowledged, and judges what the next process finds.
 *
 * In a long run the next process is started while the last one still writes, so that a life costs
 * little more than its load and its recovery.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import type { Durability } from '../../src/key-value-store.ts'
import { type Random, seededRandom } from '../../src/random.ts'
import { type CrashMoment, CrashOracle, OracleError, type State, text } from './crash-oracle.ts'
import {
  type EmbeddedPlant,
  type EmbeddedSetup,
  embeddedWrite,
  Message,
} from './embedded-script.ts'
import { awaitMoment, awaitRecoveryMoment, chooseMoment } from './kill-moment.ts'
import { fileBytes, type ProgramForm } from './kvd-process.ts'
import { moduleArguments, ROOT } from './project-root.ts'

const KIB = 1024
/** One recovery in so many is killed itself. */
const RECOVERY_KILL_SHARE = 8
const HEAD_SIZE = 5
const ERRORS_KEPT = 2000
const MOMENTS = ['random', 'log', 'table', 'manifest', 'again'] as const

export interface EmbeddedKillsOptions {
  readonly seed: number
  readonly kills: number
  readonly directory: string
  /** `dist`: compiled first, so that a process starts in a quarter of the time. */
  readonly form: ProgramForm
  readonly meanMs: number
  readonly durability: Durability
  /** @defaultValue 2,000 */
  readonly keyCount?: number
  /** Whether jobs run on threads, which cost half of a short life. @defaultValue by turns */
  readonly threads?: boolean
  readonly plant?: EmbeddedPlant
  readonly onKill?: (number: number, acknowledged: number) => void
}

export interface EmbeddedKillsResult {
  readonly kills: number
  readonly duringRecovery: number
  readonly submitted: number
  readonly acknowledged: number
  /** Writes that were there although no acknowledgement had come. */
  readonly surfaced: number
  /** By life: the engine's own recovery, and the bytes of log that it found. */
  readonly recoveries: readonly { readonly elapsedMs: number; readonly walBytes: number }[]
  readonly elapsedMs: number
}

export async function runEmbeddedKills(
  options: EmbeddedKillsOptions,
): Promise<EmbeddedKillsResult> {
  const run = new EmbeddedKills(options, options.form === 'dist' ? compileChild() : undefined)
  try {
    return await run.run()
  } finally {
    await run.discard()
  }
}

/** Compiles the child with the engine's sources and returns its path. */
function compileChild(): string {
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const project = join(ROOT, 'test', 'support', 'tsconfig.json')
  const { status } = spawnSync(process.execPath, [compiler, '-p', project], { stdio: 'inherit' })
  if (status !== 0) throw new Error(`${project} does not compile`)
  return join(ROOT, 'test', 'output', 'test', 'support', 'embedded-child.js')
}

class EmbeddedKills {
  readonly #options: EmbeddedKillsOptions
  readonly #compiled: string | undefined
  readonly #random: Random
  readonly #children = new Set<Child>()
  readonly #data: string
  readonly #recoveries: { elapsedMs: number; walBytes: number }[] = []
  #standby: Child | undefined
  #oracle = new CrashOracle()
  /** Position of the first write that #oracle knows. */
  #from = 0
  #kills = 0
  #duringRecovery = 0
  #submitted = 0
  #acknowledged = 0
  #surfaced = 0
  #recoveryMs = 50

  constructor(options: EmbeddedKillsOptions, compiled: string | undefined) {
    this.#options = options
    this.#compiled = compiled
    this.#random = seededRandom(options.seed)
    this.#data = join(options.directory, 'data')
  }

  async run(): Promise<EmbeddedKillsResult> {
    const startMs = performance.now()
    let child = this.#next()
    let moment = this.#oracle.moment()
    for (;;) {
      if (!(await this.#killedInRecovery(child))) {
        this.#judge(await this.#open(child), moment)
        if (this.#kills >= this.#options.kills) break
        moment = await this.#life(child)
      }
      child = this.#next()
    }
    return {
      kills: this.#kills,
      duringRecovery: this.#duringRecovery,
      submitted: this.#submitted,
      acknowledged: this.#acknowledged,
      surfaced: this.#surfaced,
      recoveries: this.#recoveries,
      elapsedMs: performance.now() - startMs,
    }
  }

  async discard(): Promise<void> {
    await Promise.all([...this.#children].map(child => child.discard()))
  }

  /** The process for the next life; in a long run the one after it is started as well. */
  #next(): Child {
    const next = this.#standby ?? this.#start()
    const isLast = this.#kills >= this.#options.kills
    this.#standby = this.#options.form === 'dist' && !isLast ? this.#start() : undefined
    return next
  }

  #start(): Child {
    const { seed, durability, directory, keyCount = 2000, plant } = this.#options
    const random = this.#random
    const { threads = random.below(2) === 0 } = this.#options
    const setup: EmbeddedSetup = {
      directory: join(directory, 'data'),
      seed,
      keyCount,
      durability,
      memtableSize: (16 << random.below(5)) * KIB,
      compactionThreads: 1 + random.below(2),
      threads,
      plant: plant ?? 'none',
    }
    const child = new Child(setup, this.#compiled)
    this.#children.add(child)
    return child
  }

  /** Kills one recovery in some, before it has said anything. */
  async #killedInRecovery(child: Child): Promise<boolean> {
    const isFirst = this.#kills === 0
    if (isFirst || this.#random.below(RECOVERY_KILL_SHARE) > 0) return false
    if (this.#kills >= this.#options.kills) return false
    child.command('open')
    await awaitRecoveryMoment(this.#data, this.#random, 2 * this.#recoveryMs)
    await this.#kill(child)
    this.#duringRecovery++
    return true
  }

  async #kill(child: Child): Promise<void> {
    this.#kills++
    await child.kill()
    this.#children.delete(child)
    this.#options.onKill?.(this.#kills, this.#acknowledged)
  }

  async #open(child: Child): Promise<State> {
    const walBytes = this.#kills === 0 ? 0 : fileBytes(this.#data, '.wal')
    const { found, elapsedMs } = await child.open()
    this.#recoveries.push({ elapsedMs, walBytes })
    this.#recoveryMs = elapsedMs
    return found
  }

  #judge(found: State, moment: CrashMoment): void {
    const length = this.#oracle.explain(found, moment, 'kill')
    this.#surfaced += length - moment.handedOver
    // Recovery made it durable: from here on nothing of it may go.
    this.#from += this.#oracle.submittedCount
    this.#oracle = new CrashOracle(found)
  }

  /** Loads until the moment has come. Returns what was promised then. */
  async #life(child: Child): Promise<CrashMoment> {
    const { meanMs } = this.#options
    const random = this.#random
    const oracle = this.#oracle
    child.onReport = (kind, position) => this.#hear(oracle, kind, position)
    child.command(`go ${this.#from}`)
    await child.loading()
    const isCompacting = () => Promise.resolve(false)
    const wanted = chooseMoment(random, MOMENTS)
    await awaitMoment(wanted, { directory: this.#data, random, meanMs, isCompacting })
    await this.#kill(child)
    return oracle.moment()
  }

  #hear(oracle: CrashOracle, kind: Message, position: number): void {
    if (kind === Message.submitted) {
      const { seed, keyCount = 2000, durability } = this.#options
      while (this.#from + oracle.submittedCount < position) {
        const next = this.#from + oracle.submittedCount
        oracle.submit(embeddedWrite({ seed, keyCount, durability }, next))
        this.#submitted++
      }
    } else if (kind === Message.acknowledged) {
      oracle.acknowledge(position - this.#from)
      this.#acknowledged++
    } else if (kind === Message.rejected) oracle.reject(position - this.#from)
  }
}

class Child {
  onReport: (kind: Message, position: number) => void = () => undefined
  readonly #process: ChildProcess
  readonly #exited: Promise<string>
  #errors = ''
  #pending: Buffer = Buffer.alloc(0)
  readonly #found = new Map<string, string>()
  /** The reverse scan, which must be the other one backwards. */
  readonly #reverse: (readonly [string, string])[] = []
  #last: string | undefined
  #elapsedMs = 0
  #killed = false
  #wake: (() => void) | undefined
  #isDumped = false
  #isLoading = false

  constructor(setup: EmbeddedSetup, compiled: string | undefined) {
    const program =
      compiled === undefined ? moduleArguments('test/support/embedded-child.ts') : [compiled]
    this.#process = spawn(process.execPath, [...program, JSON.stringify(setup)], {
      cwd: ROOT,
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
    })
    this.#process.stderr?.on('data', chunk => {
      this.#errors = `${this.#errors}${chunk}`.slice(-ERRORS_KEPT)
    })
    const reports = this.#process.stdio[3] as Readable
    reports.on('data', (chunk: Buffer) => this.#receive(chunk))
    this.#exited = new Promise(resolve => {
      // After its pipes have been read to their ends.
      this.#process.once('close', (code, signal) => {
        resolve(signal ?? `code ${code}`)
        this.#wake?.()
      })
    })
    // A command for a process that has just been killed has nowhere to go.
    this.#stdin.on('error', error => {
      if (!this.#killed) throw error
    })
  }

  get #stdin(): Writable {
    return this.#process.stdin as Writable
  }

  command(line: string): void {
    this.#stdin.write(`${line}\n`)
  }

  /** Recovers, and resolves with all that was found. */
  async open(): Promise<{ found: State; elapsedMs: number }> {
    this.command('open')
    await this.#until(() => this.#isDumped)
    const forward = [...this.#found].reverse()
    const isSame =
      forward.length === this.#reverse.length &&
      forward.every(([key, value], index) => {
        const other = this.#reverse[index]
        return other?.[0] === key && other[1] === value
      })
    if (!isSame) throw new OracleError('the reverse scan is not the forward one backwards')
    return { found: this.#found, elapsedMs: this.#elapsedMs }
  }

  /** Resolves once it has announced its first write. */
  async loading(): Promise<void> {
    await this.#until(() => this.#isLoading)
  }

  async kill(): Promise<void> {
    this.#checkAlive()
    this.#killed = true
    this.#process.kill('SIGKILL')
    await this.#exited
  }

  /** For the end of a run, however it came: no process is left. */
  async discard(): Promise<void> {
    this.#killed = true
    this.#process.kill('SIGKILL')
    await this.#exited
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      this.#checkAlive()
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
  }

  #checkAlive(): void {
    const { exitCode, signalCode } = this.#process
    if (this.#killed || (exitCode === null && signalCode === null)) return
    // No OracleError: it judges nothing that a bug did, and must not pass for one that was caught.
    throw new Error(`the store's process ended by itself: ${this.#errors}`)
  }

  #receive(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    let at = 0
    while (this.#pending.length - at >= HEAD_SIZE) {
      const size = this.#pending.readUInt32LE(at + 1)
      const end = at + HEAD_SIZE + size
      if (end > this.#pending.length) break
      const kind = this.#pending.readUInt8(at) as Message
      this.#message(kind, this.#pending.subarray(at + HEAD_SIZE, end))
      at = end
    }
    this.#pending = this.#pending.subarray(at)
    this.#wake?.()
  }

  #message(kind: Message, body: Buffer): void {
    switch (kind) {
      case Message.opened:
        this.#elapsedMs = body.readDoubleLE(0)
        break
      case Message.entry:
      case Message.reverseEntry:
        this.#entry(kind, body)
        break
      case Message.dumped:
        this.#isDumped = true
        break
      default:
        this.#isLoading = true
        this.onReport(kind, body.readUInt32LE(0))
    }
  }

  #entry(kind: Message, body: Buffer): void {
    const keyEnd = 2 + body.readUInt16LE(0)
    const key = text(body.subarray(2, keyEnd))
    const value = text(body.subarray(keyEnd))
    if (kind === Message.reverseEntry) {
      this.#reverse.push([key, value])
      return
    }
    if (this.#last !== undefined && this.#last >= key) {
      throw new OracleError(`key ${key} comes after ${this.#last}`)
    }
    this.#last = key
    this.#found.set(key, value)
  }
}

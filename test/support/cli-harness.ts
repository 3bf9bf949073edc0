/**
 * kvcli in a world of the test's making: arguments, environment, streams, files, a clock that is
 * moved by hand, and a store in memory instead of a server.
 */
import { PassThrough, Readable, Writable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import type { CliFiles, CliInput, CliIo, CliOutput, StopSignal } from '../../src/cli/cli-io.ts'
import type { ExitCode } from '../../src/cli/exit-code.ts'
import { runKvcli } from '../../src/cli/kvcli-main.ts'
import type { ConnectOptions, RemoteStore } from '../../src/cli/remote-store.ts'
import { yieldToEventLoop } from '../../src/clock.ts'
import { UnavailableError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { inlineDatabaseFiles } from './inline-database-files.ts'
import { MemoryCliFiles } from './memory-cli-files.ts'
import { MemoryStore } from './memory-store.ts'
import { SimClock } from './sim-clock.ts'
import { VirtualScreen } from './virtual-screen.ts'

/** Keeps what is written to it. */
export class CapturedOutput extends Writable implements CliOutput {
  readonly isTTY: boolean
  readonly columns = 80
  readonly #parts: Buffer[] = []
  readonly #screen: Writable | undefined

  /** With a screen it is a terminal, and shows there what is written. */
  constructor(screen?: Writable) {
    super()
    this.isTTY = screen !== undefined
    this.#screen = screen
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }

  get text(): string {
    return this.bytes.toString()
  }

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    this.#parts.push(Buffer.from(chunk))
    this.#screen?.write(chunk)
    done()
  }
}

/** A keyboard. */
export class FakeKeyboard extends PassThrough implements CliInput {
  readonly isTTY = true
  raw = false

  setRawMode(raw: boolean): this {
    this.raw = raw
    return this
  }
}

export interface CliHarnessOptions {
  /** As typed in a shell, without the program's name; words, or a line to be cut at spaces. */
  readonly argv?: string | readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** What stdin holds; nothing unless given. */
  readonly stdin?: string | Uint8Array | CliInput
  readonly stdout?: CliOutput
  readonly stderr?: CapturedOutput
  readonly store?: MemoryStore
  readonly files?: CliFiles
}

/** The only other process that there is, as far as commands can tell. */
export const LIVING_PID = 4711

export class CliHarness {
  readonly store: MemoryStore
  readonly clock = new SimClock()
  readonly stderr: CapturedOutput
  readonly stdout: CliOutput
  readonly io: CliIo
  /** Every attempt to connect. */
  readonly connects: ConnectOptions[] = []
  /** False: no server answers. */
  reachable = true
  readonly #interruptListeners = new Set<(signal: StopSignal) => void>()

  constructor(options: CliHarnessOptions = {}) {
    const { argv = [], env = {}, stdin = '' } = options
    this.store = options.store ?? new MemoryStore()
    this.stdout = options.stdout ?? new CapturedOutput()
    this.stderr = options.stderr ?? new CapturedOutput()
    this.io = {
      argv: typeof argv === 'string' ? argv.split(' ').filter(word => word !== '') : argv,
      env,
      stdin: stdin instanceof Readable ? stdin : Readable.from([Buffer.from(stdin)]),
      stdout: this.stdout,
      stderr: this.stderr,
      files: options.files ?? new MemoryCliFiles(),
      databaseFiles: inlineDatabaseFiles(),
      clock: this.clock,
      random: seededRandom(1),
      version: { package: '1.2.3', node: 'v20.0.0' },
      stateDirectory: '/state',
      configDirectory: '/config',
      isAlive: pid => pid === LIVING_PID,
      onInterrupt: listener => {
        this.#interruptListeners.add(listener)
        return () => this.#interruptListeners.delete(listener)
      },
    }
  }

  get out(): string {
    return this.stdout instanceof CapturedOutput ? this.stdout.text : ''
  }

  /** Without colours. */
  get err(): string {
    return stripVTControlCharacters(this.stderr.text)
  }

  /** The lines of stdout as JSON. */
  get json(): unknown[] {
    const lines = this.out.split('\n')
    return lines.filter(line => line !== '').map(line => JSON.parse(line))
  }

  /** True while Ctrl-C would be noticed rather than end the process. */
  get heedsInterrupt(): boolean {
    return this.#interruptListeners.size > 0
  }

  interrupt(signal: StopSignal = 'SIGINT'): void {
    for (const listener of [...this.#interruptListeners]) listener(signal)
  }

  run(): Promise<ExitCode> {
    return runKvcli(this.io, options => this.connect(options))
  }

  async connect(options: ConnectOptions): Promise<RemoteStore> {
    this.connects.push(options)
    if (!options.lazy && !this.reachable) throw new UnavailableError('connection refused')
    // Another client of the same server.
    this.store.closed = false
    if (this.reachable) options.onConnection?.(true)
    return this.store
  }
}

/** Runs one command line to its end. */
export async function runCli(
  argv: string | readonly string[],
  options: Omit<CliHarnessOptions, 'argv'> = {},
): Promise<CliHarness & { readonly code: ExitCode }> {
  const harness = new CliHarness({ ...options, argv })
  return Object.assign(harness, { code: await harness.run() })
}

/** Turns of the event loop that something may take which needs no time. */
const TURNS_MAX = 2000

/** Resolves once the condition holds; without sleeping, for nothing here waits for real time. */
export async function until(condition: () => boolean, what: () => string): Promise<void> {
  for (let turn = 0; turn < TURNS_MAX; turn++) {
    if (condition()) return
    await yieldToEventLoop()
  }
  throw new Error(`it did not come to this: ${what()}`)
}

/** The shell at a keyboard and a screen. */
export type ShellOptions = Omit<CliHarnessOptions, 'stdin' | 'stdout' | 'stderr'> & {
  readonly columns?: number
  /** False: no server answers at first. */
  readonly reachable?: boolean
}

export class ShellHarness extends CliHarness {
  readonly keyboard: FakeKeyboard
  readonly screen: VirtualScreen
  #exit: ExitCode | undefined

  constructor(options: ShellOptions = {}) {
    const keyboard = new FakeKeyboard()
    const screen = new VirtualScreen(options.columns)
    super({ ...options, stdin: keyboard, stdout: screen, stderr: new CapturedOutput(screen) })
    this.keyboard = keyboard
    this.screen = screen
  }

  get exit(): ExitCode | undefined {
    return this.#exit
  }

  /** Starts the shell and waits for its first prompt. */
  static async started(options: ShellOptions = {}): Promise<ShellHarness> {
    const shell = new ShellHarness(options)
    shell.reachable = options.reachable ?? true
    void shell.run().then(code => {
      shell.#exit = code
    })
    await until(
      () => shell.clock.timerCount > 0 || shell.atPrompt,
      () => shell.#seen,
    )
    shell.clock.advance(300)
    await shell.settled()
    return shell
  }

  /** True when the last row is a prompt, with or without something behind it. */
  get atPrompt(): boolean {
    return /^(?:kv@\S+(?: \(reconnecting\))?|\.\.\.)>/.test(this.screen.lastLine)
  }

  /** What stands behind the last prompt. */
  get line(): string {
    return this.screen.lastLine.replace(/^kv@\S+(?: \(reconnecting\))?> ?/, '')
  }

  type(keys: string): void {
    this.keyboard.write(keys)
  }

  /** Waits until the shell waits for somebody to type. */
  async settled(): Promise<void> {
    for (let turn = 0; turn < 8; turn++) await yieldToEventLoop()
    await until(
      () => this.atPrompt || this.exit !== undefined,
      () => this.#seen,
    )
  }

  async enter(line: string): Promise<void> {
    this.type(`${line}\r`)
    await this.settled()
  }

  /** The server goes away, or comes back. */
  connection(connected: boolean): void {
    this.connects.at(-1)?.onConnection?.(connected)
  }

  get #seen(): string {
    return `${this.screen.lines.join('\n')}\n${this.err}`
  }
}

/** Runs kvcli in this process, with real files, and streams, store and clock of the test's. */
import { PassThrough, Writable } from 'node:stream'
import type { CliInput, CliIo, CliOutput, StopSignal } from '../../src/cli/cli-io.ts'
import { runKvcli } from '../../src/cli/kvcli-main.ts'
import { nodeCliFiles } from '../../src/cli/node-cli-files.ts'
import type { RemoteStore } from '../../src/cli/remote-store.ts'
import { UnavailableError } from '../../src/errors.ts'
import { seededRandom } from '../../src/random.ts'
import { inlineDatabaseFiles } from './inline-database-files.ts'
import { SimClock } from './sim-clock.ts'

export interface CliRunOptions {
  /** What answers; undefined: no server can be reached. */
  readonly store?: RemoteStore | undefined
  /** What stands in standard input; a stream stays open as long as the test wants. */
  readonly stdin?: string | Uint8Array | PassThrough
  /** stderr is a terminal of so many columns. */
  readonly columns?: number
  readonly clock?: SimClock
  readonly files?: Partial<CliIo['files']>
}

export interface CliRun {
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: string
}

export interface StartedCli {
  readonly done: Promise<CliRun>
  /** What stderr got so far. */
  stderr(): string
  /** Ctrl-C, unless it is another signal. */
  interrupt(signal?: StopSignal): void
}

/** Keeps all that is written. */
class Kept extends Writable implements CliOutput {
  readonly chunks: Buffer[] = []
  readonly isTTY?: boolean
  readonly columns?: number

  constructor(columns?: number) {
    super()
    if (columns === undefined) return
    this.isTTY = true
    this.columns = columns
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(Buffer.from(chunk))
    done()
  }

  get content(): Buffer {
    return Buffer.concat(this.chunks)
  }
}

export function startCli(argv: readonly string[], options: CliRunOptions = {}): StartedCli {
  const { store, stdin = '', clock = new SimClock() } = options
  const input: CliInput = stdin instanceof PassThrough ? stdin : new PassThrough().end(stdin)
  const stdout = new Kept()
  const stderr = new Kept(options.columns)
  const listeners = new Set<(signal: StopSignal) => void>()
  const io: CliIo = {
    argv,
    env: { NO_COLOR: '1' },
    stdin: input,
    stdout,
    stderr,
    databaseFiles: inlineDatabaseFiles(),
    files: { ...nodeCliFiles(), ...options.files },
    clock,
    random: seededRandom(1),
    version: { package: '0.0.0', node: 'v0' },
    stateDirectory: undefined,
    configDirectory: undefined,
    isAlive: () => false,
    onInterrupt(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
  const connect = (): Promise<RemoteStore> => {
    if (store !== undefined) return Promise.resolve(store)
    return Promise.reject(new UnavailableError('nobody listens'))
  }
  const done = runKvcli(io, connect).then(code => {
    return { code, stdout: stdout.content, stderr: stderr.content.toString() }
  })
  return {
    done,
    stderr: () => stderr.content.toString(),
    interrupt: (signal = 'SIGINT') => [...listeners].forEach(listener => void listener(signal)),
  }
}

export function runCli(argv: readonly string[], options: CliRunOptions = {}): Promise<CliRun> {
  return startCli(argv, options).done
}

/**
 * Where a command's results go. Results are either one JSON value a line or text for people,
 * never both; raw bytes are for values and exported files. Notes and errors go to stderr, except
 * that with --json an error is the last line of stdout, where the reader of the results finds it.
 *
 * Invariants:
 *  1. Nothing is written faster than the reader takes it: every write waits for room.
 *  2. When the reader is gone (`| head`), writing throws ReaderGoneError; it is no failure. That
 *     output cannot be written for another reason, such as a full disk, is one.
 */
import { IoError } from '../errors.ts'
import type { CliOutput } from './cli-io.ts'
import { describeError, renderError, type ServerPlace } from './render.ts'
import { createStyle, type Style } from './style.ts'

/** Nobody reads our output any more. The program ends quietly. */
export class ReaderGoneError extends Error {
  override readonly name = 'ReaderGoneError'
}

export interface OutputOptions {
  readonly stdout: CliOutput
  readonly stderr: CliOutput
  readonly json: boolean
  /** Colours, decided for each stream by colourWanted. */
  readonly stdoutColour: boolean
  readonly stderrColour: boolean
}

export type JsonObject = Readonly<Record<string, unknown>>

/** What became of standard output; all Outputs of the program look at the same. */
interface StdoutState {
  /** The first one. Streams of a process forget theirs. */
  error: Error | undefined
}

function ignore(): void {}

function isBrokenPipe(error: Error): boolean {
  return 'code' in error && error.code === 'EPIPE'
}

/** Columns of a terminal that does not say. */
const WIDTH_STANDARD = 80

export class Output {
  readonly json: boolean
  readonly style: Style
  readonly noteStyle: Style
  readonly #options: OutputOptions
  readonly #stdout: CliOutput
  readonly #stderr: CliOutput
  readonly #state: StdoutState
  /** Set while stdout carries data of its own: then JSON results and errors go to stderr. */
  #dataOnStdout = false

  /** One for the whole program, for it listens to the streams; commands get one by `forCommand`. */
  static open(options: OutputOptions): Output {
    // Without a listener a broken pipe would end the program with a stack trace.
    const state: StdoutState = { error: undefined }
    options.stdout.on('error', (error: Error) => {
      state.error ??= error
    })
    options.stderr.on('error', ignore)
    return new Output(options, state, options.json)
  }

  private constructor(options: OutputOptions, state: StdoutState, json: boolean) {
    this.json = json
    this.#state = state
    this.#options = options
    this.style = createStyle(options.stdoutColour)
    this.noteStyle = createStyle(options.stderrColour)
    this.#stdout = options.stdout
    this.#stderr = options.stderr
  }

  /** The same streams for one command, which may want JSON where others do not. */
  forCommand(json: boolean): Output {
    return new Output(this.#options, this.#state, json)
  }

  /** True once nobody reads our output any more. */
  get readerGone(): boolean {
    const error = this.#stdoutError
    return error === undefined ? this.#stdout.destroyed : isBrokenPipe(error)
  }

  get #stdoutError(): Error | undefined {
    return this.#state.error ?? this.#stdout.errored ?? undefined
  }

  /** True once output cannot be written, for whatever reason. */
  get #stdoutGone(): boolean {
    return this.#stdout.destroyed || this.#stdoutError !== undefined
  }

  /** True when people look at the results directly. */
  get isTerminal(): boolean {
    return this.#stdout.isTTY === true
  }

  get width(): number {
    return this.#stdout.columns ?? WIDTH_STANDARD
  }

  /** One result: a JSON line, or the text, to which a newline is added. */
  async print(value: JsonObject, text: () => string): Promise<void> {
    if (this.#dataOnStdout) {
      await this.#writeTo(this.#stderr, `${this.json ? JSON.stringify(value) : text()}\n`)
    } else {
      await this.writeText(`${this.json ? JSON.stringify(value) : text()}\n`)
    }
  }

  async writeText(text: string): Promise<void> {
    if (text !== '') await this.writeBytes(Buffer.from(text, 'utf8'))
  }

  async writeBytes(bytes: Uint8Array): Promise<void> {
    this.#requireStdout()
    await this.#writeTo(this.#stdout, bytes)
    this.#requireStdout()
  }

  #requireStdout(): void {
    if (!this.#stdoutGone) return
    if (this.readerGone) throw new ReaderGoneError('the reader of the output is gone')
    const cause = this.#stdoutError
    throw new IoError(`cannot write to standard output: ${cause?.message}`, { cause })
  }

  /** From now on stdout is a file in the making: anything else goes to stderr. */
  reserveStdout(): void {
    this.#dataOnStdout = true
  }

  /** Something worth knowing beside the result. Programs that read JSON are spared it. */
  note(text: string): void {
    if (!this.json) this.#stderr.write(`${text}\n`)
  }

  /** `place` says where the command stands, when it is one of many. */
  async error(error: unknown, server: ServerPlace, place?: string): Promise<void> {
    if (!this.json) {
      const text = renderError(error, server, this.noteStyle)
      await this.#writeTo(this.#stderr, place === undefined ? text : `${place}: ${text}`)
      return
    }
    const report = { ...describeError(error), ...(place === undefined ? {} : { place }) }
    const target = this.#dataOnStdout || this.#stdoutGone ? this.#stderr : this.#stdout
    await this.#writeTo(target, `${JSON.stringify({ error: report })}\n`)
  }

  async #writeTo(stream: CliOutput, data: string | Uint8Array): Promise<void> {
    if (stream.destroyed || stream.write(data)) return
    await new Promise<void>(resolve => {
      const goOn = (): void => {
        for (const event of ['drain', 'close', 'error']) stream.off(event, goOn)
        resolve()
      }
      for (const event of ['drain', 'close', 'error']) stream.on(event, goOn)
    })
  }
}

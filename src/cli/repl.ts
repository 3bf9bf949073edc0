/**
 * The shell: a line, its command, its result, until Ctrl-D or `quit`.
 *
 *   typing --Enter--> running --done--> typing      Ctrl-C: clears the line | cancels the command
 *
 * Lines that come while a command runs (pasted, or typed ahead) wait in repl-input.ts. Errors are
 * printed and never end it. The connection heals by itself; the prompt says how it stands.
 */
import { createInterface, type Interface } from 'node:readline'
import { assert } from '../assert.ts'
import { tokenize } from './command-line.ts'
import type { CommandParser } from './command-parser.ts'
import { contextNames } from './contexts-file.ts'
import { ExitCode } from './exit-code.ts'
import { HintPainter } from './hint-painter.ts'
import { HISTORY_COUNT_MAX, type HistoryFile } from './history-file.ts'
import { keysForCompletion } from './key-completions.ts'
import type { Output } from './output.ts'
import { mayHoldPassword } from './password.ts'
import { formatDuration } from './render.ts'
import { type Completion, complete } from './repl-completion.ts'
import { hintFor } from './repl-hint.ts'
import { ReplInput } from './repl-input.ts'
import { printError, runWords } from './run-command.ts'
import type { Session } from './session.ts'
import { UnfinishedLine } from './unfinished-line.ts'

export interface ReplOptions {
  readonly session: Session
  readonly parser: CommandParser
  readonly output: Output
  readonly history: HistoryFile
}

/** How long the first prompt waits for the connection, so as to tell the truth about it. */
const FIRST_CONNECT_MS = 300
/** A command that waits so long for a connection says what it waits for. */
const WAITING_NOTE_MS = 1000
/** With these around it, the terminal tells what is pasted from what is typed. */
const BRACKETED_PASTE_ON = '\u001b[?2004h'
const BRACKETED_PASTE_OFF = '\u001b[?2004l'
const PROMPT_UNFINISHED = '...> '

export class Repl {
  readonly #session: Session
  readonly #parser: CommandParser
  readonly #output: Output
  readonly #history: HistoryFile
  readonly #input: ReplInput
  readonly #readline: Interface
  readonly #hints: HintPainter | undefined
  readonly #unfinished = new UnfinishedLine()
  /** The command that runs; undefined while somebody types. */
  #running: AbortController | undefined
  /** False until there is a prompt that could be drawn again. */
  #greeted = false
  #closed = false
  #done: () => void = ignore

  constructor(options: ReplOptions) {
    this.#session = options.session
    this.#parser = options.parser
    this.#output = options.output
    this.#history = options.history
    const { stdin, stdout } = this.#session.io
    const terminal = stdout.isTTY === true
    this.#input = new ReplInput({
      source: stdin,
      terminal,
      onInterrupt: () => this.#interruptedCommand(),
    })
    this.#readline = createInterface({
      input: this.#input,
      output: stdout,
      terminal,
      history: options.history.lines.toReversed(),
      historySize: HISTORY_COUNT_MAX,
      removeHistoryDuplicates: true,
      completer: (line: string, done: (error: null, result: Completion) => void) => {
        // The key has painted a hint meanwhile, where the completion now goes.
        const show = (result: Completion): void => {
          this.#hints?.erase()
          done(null, result)
          this.#hints?.paint()
        }
        this.#complete(line).then(show, () => show([[], line]))
      },
    })
    this.#hints = terminal ? this.#createHints() : undefined
  }

  #createHints(): HintPainter {
    return new HintPainter({
      readline: this.#readline,
      input: this.#input,
      output: this.#session.io.stdout,
      style: this.#output.style,
      hintFor: line => {
        return this.#unfinished.isOpen ? '' : hintFor(line, name => this.#parser.find(name))
      },
    })
  }

  #bracketPastes(sequence: string): void {
    const { env, stdout } = this.#session.io
    if (this.#output.isTerminal && env['TERM'] !== 'dumb') stdout.write(sequence)
  }

  /** Resolves when somebody leaves. */
  async run(): Promise<ExitCode> {
    const over = new Promise<void>(resolve => {
      this.#done = resolve
    })
    this.#readline.on('history', history => {
      this.#unfinished.remember(history)
      if (mayHoldPassword(history[0] ?? '')) history.shift()
    })
    this.#readline.on('line', line => this.#entered(line))
    this.#readline.on('SIGINT', () => this.#interruptedLine())
    this.#readline.on('close', () => this.#leave())
    this.#session.onChange(() => this.#changed())
    await this.#greet()
    this.#greeted = true
    this.#bracketPastes(BRACKETED_PASTE_ON)
    this.#prompt()
    this.#input.release()
    await over
    this.#input.destroy()
    return ExitCode.ok
  }

  async #greet(): Promise<void> {
    const session = this.#session
    const { version } = session.io
    await session.client()
    await this.#firstConnection()
    if (this.#output.json) return
    const { style } = this.#output
    const how = session.connected
      ? `connected to ${session.url}`
      : style.warn(`no server answers at ${session.url} yet; start one with: kvd serve`)
    await this.#output.writeText(
      `kvcli ${version.package}, ${how}\n` +
        `${style.dim("'help' explains, Tab completes, Ctrl-D leaves")}\n`,
    )
  }

  #firstConnection(): Promise<void> {
    return new Promise(resolve => {
      const cancel = this.#session.io.clock.setTimer(FIRST_CONNECT_MS, () => this.#onConnected())
      this.#onConnected = () => {
        cancel()
        this.#onConnected = ignore
        resolve()
      }
      if (this.#session.connected) this.#onConnected()
    })
  }

  #onConnected: () => void = ignore

  #changed(): void {
    if (this.#session.connected) this.#onConnected()
    if (this.#session.over) this.#readline.close()
    else if (this.#greeted && this.#running === undefined) this.#prompt(true)
  }

  /** Draws the prompt; `keep` keeps what is being typed, and where the cursor stands in it. */
  #prompt(keep = false): void {
    if (this.#closed) return
    this.#hints?.erase()
    this.#readline.setPrompt(this.#promptText())
    this.#readline.prompt(keep)
  }

  #promptText(): string {
    if (this.#unfinished.isOpen) return PROMPT_UNFINISHED
    const { style } = this.#output
    const place = this.#session.url.replace(/^kv:\/\//, '').replace(/[/?].*$/, '')
    const [first = '', ...others] = place.split(',')
    const more = others.length === 0 ? '' : `+${others.length}`
    const state = this.#session.connected ? '' : ` ${style.warn('(reconnecting)')}`
    return `${style.bold(`kv@${first}${more}`)}${state}> `
  }

  #entered(line: string): void {
    const whole = this.#unfinished.take(line)
    if (whole === undefined) {
      this.#ready()
      return
    }
    this.#runLine(whole.trim()).then(
      () => this.#ready(),
      // Output that cannot be written leaves nobody to talk to.
      () => this.#readline.close(),
    )
  }

  #ready(): void {
    if (this.#closed) {
      this.#done()
      return
    }
    this.#prompt()
    this.#input.release()
  }

  async #runLine(line: string): Promise<void> {
    if (line === '') return
    const controller = new AbortController()
    this.#running = controller
    this.#setTyping(false)
    const noteWaiting = this.#session.io.clock.setTimer(WAITING_NOTE_MS, () => this.#noteWaiting())
    try {
      await this.#history.append(line)
      await this.#runCommand(line, controller.signal)
    } finally {
      noteWaiting()
      this.#running = undefined
      this.#setTyping(true)
    }
  }

  #noteWaiting(): void {
    const { connected, url } = this.#session
    if (connected) return
    this.#output.note(this.#output.noteStyle.dim(`waiting for ${url}; Ctrl-C gives up`))
  }

  #setTyping(typing: boolean): void {
    if (this.#hints !== undefined) this.#hints.enabled = typing
  }

  async #runCommand(line: string, signal: AbortSignal): Promise<void> {
    const session = this.#session
    const run = { session, parser: this.#parser, output: this.#output, signal }
    const { clock } = session.io
    let words: string[]
    try {
      words = tokenize(line).map(token => token.text)
    } catch (error) {
      await printError(error, this.#output, run)
      return
    }
    // Examples are copied with the name of the program, which is this one.
    if (words[0] === 'kvcli') words = words.slice(1)
    if (words.length === 0) return
    const startMs = clock.monotonicMs()
    await runWords(words, run)
    const tookMs = clock.monotonicMs() - startMs
    const command = this.#parser.find(words[0] ?? '')
    if (command?.timed !== true || !this.#output.isTerminal) return
    this.#output.note(this.#output.noteStyle.dim(formatDuration(tookMs)))
  }

  /** Ctrl-C while a command runs. */
  #interruptedCommand(): void {
    this.#running?.abort()
  }

  /** Ctrl-C while somebody types. */
  #interruptedLine(): void {
    this.#hints?.erase()
    const { line } = this.#readline
    const isEmpty = line === '' && !this.#unfinished.isOpen
    this.#unfinished.clear()
    this.#readline.write(null, { ctrl: true, name: 'e' })
    this.#output.note(isEmpty ? this.#output.noteStyle.dim('(Ctrl-D or quit leaves)') : '^C')
    this.#readline.write(null, { ctrl: true, name: 'u' })
    this.#prompt()
  }

  /** Ctrl-D, the end of the input, or `quit`. */
  #leave(): void {
    if (this.#closed) return
    this.#closed = true
    this.#hints?.erase()
    this.#bracketPastes(BRACKETED_PASTE_OFF)
    if (this.#output.isTerminal && !this.#session.over) this.#session.io.stdout.write('\n')
    // Input that ends still gets its answers: the last command calls `done`.
    if (this.#running === undefined) this.#done()
  }

  async #complete(line: string): Promise<Completion> {
    if (this.#unfinished.isOpen) return [[], line]
    const session = this.#session
    return await complete(line, {
      commands: this.#parser.commands,
      find: name => this.#parser.find(name),
      keys: prefix => keysForCompletion(session, prefix),
      contexts: () => contextNames(session.io),
      paths: prefix => pathsFor(prefix, directory => session.io.files.list(directory)),
    })
  }
}

async function pathsFor(
  prefix: string,
  list: (directory: string) => Promise<readonly string[]>,
): Promise<string[]> {
  const slash = prefix.lastIndexOf('/')
  const directory = prefix.slice(0, slash + 1)
  const start = prefix.slice(slash + 1)
  assert(directory === '' || directory.endsWith('/'), 'a directory ends in a slash')
  const names = await list(directory === '' ? '.' : directory)
  const shown = names.filter(name => start !== '' || !name.startsWith('.'))
  return shown.filter(name => name.startsWith(start)).map(name => directory + name)
}

function ignore(): void {}

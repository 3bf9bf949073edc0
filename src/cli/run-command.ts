/** Runs one command: prints its error, if it has one, and says how the program would end. */
import { AbortedError, KvError } from '../errors.ts'
import type { CommandContext, OptionValues } from './command.ts'
import type { CommandParser, Invocation } from './command-parser.ts'
import { ExitCode, exitCodeOf } from './exit-code.ts'
import { durationOption, encodingOption, flagOption } from './option-values.ts'
import { type Output, ReaderGoneError } from './output.ts'
import type { Session } from './session.ts'
import { UsageError } from './usage-error.ts'

export interface CommandRun {
  readonly session: Session
  readonly parser: CommandParser
  /** The program's output; a command may turn it to JSON for itself. */
  readonly output: Output
  readonly signal: AbortSignal
  /** Where the command stands, in front of its error: 'line 3'. */
  readonly place?: string
}

/** How a command went. */
export interface CommandOutcome {
  readonly code: ExitCode
  /** True when an error was printed. An absent key has exit code 1, but is no error. */
  readonly failed: boolean
}

/** Never rejects for what a command does: errors are printed here. */
export async function runCommand(invocation: Invocation, run: CommandRun): Promise<CommandOutcome> {
  const { options } = invocation
  const output = run.output.forCommand(run.output.json || flagOption(options, 'json'))
  try {
    const { command, args } = invocation
    if (command === undefined) throw new UsageError('a command is missing: see help')
    if (command.needsServer !== false) refuseServer(options, run.session)
    const context: CommandContext = {
      args,
      options,
      output,
      session: run.session,
      parser: run.parser,
      encoding: encodingOption(options),
      timeoutMs: durationOption(options, 'timeout') ?? run.session.timeoutMs,
      signal: run.signal,
    }
    return { code: (await command.run(context)) ?? ExitCode.ok, failed: false }
  } catch (error) {
    return await printError(error, output, run)
  }
}

/** What says which server, and what it is held against. */
const SERVER_VALUES = ['url', 'context', 'tlsCa', 'tlsCert', 'tlsKey'] as const

/** Many commands share one connection; only the REPL can change it. */
function refuseServer(options: OptionValues, session: Session): void {
  const isGiven = SERVER_VALUES.some(name => options[name] !== undefined)
  if (session.mode === 'once' || !isGiven) return
  throw new UsageError(
    session.mode === 'repl'
      ? 'to go to another server use: connect <url>'
      : 'the server is chosen once for all commands: kvcli --url <url>',
  )
}

/** As runCommand, from the words of a command line that may be wrong. */
export async function runWords(words: readonly string[], run: CommandRun): Promise<CommandOutcome> {
  let invocation: Invocation
  try {
    invocation = run.parser.parse(words)
  } catch (error) {
    const output = run.output.forCommand(run.output.json || words.includes('--json'))
    return await printError(error, output, run)
  }
  return await runCommand(invocation, run)
}

/** What an error's message may speak of. */
export interface ErrorScene {
  readonly session: Pick<Session, 'url'> & Partial<Pick<Session, 'isDev'>>
  readonly signal: AbortSignal
  readonly place?: string
}

export async function printError(
  error: unknown,
  output: Output,
  run: ErrorScene,
): Promise<CommandOutcome> {
  if (error instanceof ReaderGoneError) return { code: ExitCode.ok, failed: false }
  const shown = run.signal.aborted ? interruption(error) : error
  await output.error(shown, run.session, run.place)
  return { code: exitCodeOf(shown), failed: true }
}

/** Ctrl-C, whatever it made of the command that ran. */
function interruption(cause: unknown): AbortedError {
  const outcome = cause instanceof KvError ? cause.outcome : 'rejected'
  return new AbortedError('interrupted', { cause, outcome })
}

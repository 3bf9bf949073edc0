/**
 * What a command of kvcli is: a row of the table in commands.ts. The same row serves one-shot use,
 * pipes and the REPL, the help pages and the completion.
 */
import type { CallOptions } from '../key-value-store.ts'
import type { CommandParser } from './command-parser.ts'
import type { DataEncoding } from './data-encoding.ts'
import type { ExitCode } from './exit-code.ts'
import type { Output } from './output.ts'
import type { Session } from './session.ts'
import type { HelpItem } from './text-wrap.ts'

export interface CommandArgument {
  readonly name: string
  readonly description: string
  /** @defaultValue true */
  readonly required?: boolean
  /** Takes all that follow; only the last one may. @defaultValue false */
  readonly variadic?: boolean
  /** What it may be, for completion and errors; the command itself checks it. */
  readonly choices?: readonly string[]
  /** What it is completed to. @defaultValue what the command's arguments are */
  readonly completes?: Completes
}

/** What there is to complete a word to that is no choice of few. */
export type Completes = 'keys' | 'files' | 'commands' | 'contexts'

export interface CommandOption {
  /** As commander reads them: '-p, --prefix <text>'. */
  readonly flags: string
  readonly description: string
  /** Shown in the help; the command itself applies it. */
  readonly standard?: string
  /** What its value may be, for the completion; the command itself checks it. */
  readonly choices?: readonly string[]
  /** What its value is completed to. @defaultValue nothing */
  readonly completes?: Completes
}

export interface CommandExample {
  readonly line: string
  readonly says: string
}

export interface CommandList {
  readonly title: string
  readonly items: readonly HelpItem[]
}

/** Options as they were given, by their long name in camelCase; absent ones are undefined. */
export type OptionValues = Readonly<Record<string, unknown>>

/** What a command is run with. */
export interface CommandContext {
  readonly args: readonly string[]
  readonly options: OptionValues
  readonly output: Output
  readonly session: Session
  /** The commands there are, and their help. */
  readonly parser: CommandParser
  /** How keys and values are typed in and shown. */
  readonly encoding: DataEncoding
  /** Milliseconds that one call to the server may take, when the user said. */
  readonly timeoutMs: number | undefined
  /** Fires at Ctrl-C. The command stops soon, leaving nothing half done that it could finish. */
  readonly signal: AbortSignal
}

export interface Command {
  readonly name: string
  readonly aliases?: readonly string[]
  /** One line for the list of commands. */
  readonly summary: string
  /** More, for the command's own help page: paragraphs, each one line however long. */
  readonly details?: string
  /** Things to choose from, with what each is, under a title: 'Formats'. */
  readonly lists?: readonly CommandList[]
  readonly args: readonly CommandArgument[]
  readonly options: readonly CommandOption[]
  readonly examples: readonly CommandExample[]
  /** True when it makes sense only in the REPL. @defaultValue false */
  readonly replOnly?: boolean
  /** True when the REPL tells how long it took. @defaultValue false */
  readonly timed?: boolean
  /** What its arguments are completed to. @defaultValue nothing */
  readonly completes?: Completes
  /** False: which server is meant is not looked at, whatever is wrong there. @defaultValue true */
  readonly needsServer?: boolean
  /** Resolves with how it went; undefined is ok. Rejects with a KvError when it failed. */
  run(context: CommandContext): Promise<ExitCode | undefined>
}

/** `get <key>`, `del <key...>`: the command and its arguments on one line. */
export function usageOf(command: Command): string {
  return [command.name, ...command.args.map(showArgument)].join(' ')
}

export function showArgument(argument: CommandArgument): string {
  const name = argument.variadic === true ? `${argument.name}...` : argument.name
  return argument.required === false ? `[${name}]` : `<${name}>`
}

/** The options of a call to the server: what the user said, else what the command thinks right. */
export function callOptions(context: CommandContext, timeoutMs?: number): CallOptions {
  const effectiveMs = context.timeoutMs ?? timeoutMs
  const { signal } = context
  return effectiveMs === undefined ? { signal } : { signal, timeoutMs: effectiveMs }
}

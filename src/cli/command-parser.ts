/** From words to a command of the table, by commander; and the help pages it makes of the table. */
import { type Argument, Command as CommanderCommand, CommanderError, Option } from 'commander'
import { assert } from '../assert.ts'
import { TLS_OPTIONS } from './client-tls.ts'
import {
  type Command,
  type CommandOption,
  type OptionValues,
  showArgument,
  usageOf,
} from './command.ts'
import { DEFAULT_URL, type SessionMode } from './session.ts'
import { type HelpItem, layItems, wrapParagraphs } from './text-wrap.ts'
import { unknownChoice } from './unknown-choice.ts'
import { UsageError } from './usage-error.ts'

const URL_OPTION: CommandOption = {
  flags: '-u, --url <url>',
  description: 'the server, or several of one cluster: kv://host:port,host:port',
  standard: `DURAMEN_URL, the context, the cluster that kvd dev runs here, ${DEFAULT_URL}`,
}

/** Which server, and what it is held against. Settled, in the shell. */
export const SERVER_OPTIONS: readonly CommandOption[] = [
  URL_OPTION,
  {
    flags: '--context <name>',
    description: 'the server that kvcli context has under this name',
    standard: 'DURAMEN_CONTEXT, else the one in use',
    completes: 'contexts',
  },
  ...TLS_OPTIONS,
]

/** Options that every command takes, before its name or behind it. */
export const GLOBAL_OPTIONS: readonly CommandOption[] = [
  ...SERVER_OPTIONS,
  { flags: '-t, --timeout <duration>', description: 'how long a request may take', standard: '5s' },
  { flags: '--json', description: 'print JSON: one object, or one a line' },
  { flags: '--hex', description: 'keys and values are hex digits, typed in and shown' },
  { flags: '--base64', description: 'keys and values are base64, typed in and shown' },
]

/** Options that make sense only without a command. */
const PROGRAM_OPTIONS: readonly CommandOption[] = [
  { flags: '--keep-going', description: 'commands from a pipe: go on behind an error' },
  { flags: '-V, --version', description: 'print the version' },
]

const PROGRAM_HELP = `
Without a command: a shell on a terminal, else commands from standard input, one a line. The \
shell explains itself: type help there.

Examples:
  kvcli put user:1 Ada          store a value
  kvcli get user:1              print it
  kvcli scan --prefix user:     what else is there?
  kvcli import users.csv        load a file
  kvcli                         the shell: history, completion, hints
  kvcli help import             what a command can do

Exit codes: 0 ok; 1 failed, or the key is absent (get, has); 2 wrong command line; 3 no server \
answers; 130, 143, 129 interrupted by Ctrl-C, kill, or the terminal that was closed
`

const SHELL_HELP = `
A key or value with spaces stands in quotes. In double quotes \\n \\t \\" \\\\ and \\xHH (any \
byte) are understood; single quotes take everything as it is. A quote that is still open goes on \
in the next line.

Tab completes commands, options, keys and files; arrows go through the history; Ctrl-C stops a \
command, or clears the line; Ctrl-D or quit leaves.

Examples:
  put user:1 Ada                store a value
  get user:1                    print it
  scan --prefix user:           what else is there?
  help import                   what a command can do
`

/** Examples of what a shell of the system does, not ours. */
const SHELL_SYNTAX = /[|<>;]/

/** Columns where there is no terminal. */
const WIDTH_STANDARD = 80

/** What a command line asks for. Options are the command's and the global ones. */
export interface Invocation {
  /** Undefined when no command is named. */
  readonly command: Command | undefined
  readonly args: readonly string[]
  readonly options: OptionValues
}

export class CommandParser {
  readonly commands: readonly Command[]
  readonly #program: CommanderCommand
  readonly #byName = new Map<string, Command>()
  readonly #inShell: boolean
  #found: Invocation | undefined

  /** In the shell the name of the program, the server and how the program runs are settled. */
  constructor(commands: readonly Command[], mode: SessionMode) {
    this.commands = commands
    this.#inShell = mode === 'repl'
    this.#program = this.#createProgram()
    for (const command of commands) {
      for (const name of [command.name, ...(command.aliases ?? [])]) {
        assert(!this.#byName.has(name), 'a command has a name of its own')
        this.#byName.set(name, command)
      }
      this.#add(command)
    }
  }

  /** The command of that name or alias. */
  find(name: string): Command | undefined {
    return this.#byName.get(name)
  }

  /** Throws UsageError, in words for somebody who just typed this. */
  parse(words: readonly string[]): Invocation {
    const help = this.#helpAsked(words)
    if (help !== undefined) return help
    this.#found = undefined
    try {
      this.#program.parse([...words], { from: 'user' })
    } catch (error) {
      if (!(error instanceof CommanderError)) throw error
      // Commander would show help where there is no command; what it means is for the caller.
      if (error.code !== 'commander.help') {
        const command = this.#named(words)
        const first = command && this.#page(command).args[0]
        throw new UsageError(plainMessage(error, command, first, this.#prefix))
      }
    }
    return this.#found ?? { command: undefined, args: [], options: this.#program.opts() }
  }

  /**
   * `--help` anywhere before `--` is the help command, whatever else is missing or wrong. Help for
   * an action of a command is that for the command, which has all of them.
   */
  #helpAsked(words: readonly string[]): Invocation | undefined {
    const end = words.indexOf('--')
    const before = end < 0 ? words : words.slice(0, end)
    const [first, second = '', third = '-'] = before
    const isOfAction = first === 'help' && this.#byName.has(second) && !third.startsWith('-')
    const isFlag = before.some(word => word === '-h' || word === '--help')
    if (!isFlag && !isOfAction) return undefined
    const name = this.#named(isOfAction ? [second] : before)?.name
    const options = { json: before.includes('--json') }
    return { command: this.#byName.get('help'), args: name === undefined ? [] : [name], options }
  }

  /** The command that the words name, as far as can be told without understanding them. */
  #named(words: readonly string[]): Command | undefined {
    const name = words.find(word => this.#byName.has(word))
    return name === undefined ? undefined : this.#byName.get(name)
  }

  /** The help page of a command, or of the program. */
  helpText(command: Command | undefined): string {
    const width = this.#width
    if (command === undefined) {
      const more = wrapParagraphs(this.#inShell ? SHELL_HELP : PROGRAM_HELP, width)
      return `${this.#program.helpInformation()}${more}`
    }
    const page = this.#page(command)
    page.description(describe(command, width))
    return `${page.helpInformation().trimEnd()}${this.#examplesOf(command, width)}`
  }

  #page(command: Command): CommanderCommand {
    const page = this.#program.commands.find(known => known.name() === command.name)
    assert(page !== undefined, 'every command of the table is known to commander')
    return page
  }

  /** Columns of the terminal, as commander sees it. */
  get #width(): number {
    return this.#program.configureOutput().getOutHelpWidth?.() ?? WIDTH_STANDARD
  }

  #createProgram(): CommanderCommand {
    const program = new CommanderCommand('kvcli')
    program
      .description('Client of Duramen, a durable key-value store')
      .usage(this.#inShell ? '<command> [options]' : '[options] [command]')
      .helpOption('-h, --help', 'show help')
      .helpCommand(false)
      .showSuggestionAfterError()
      .exitOverride()
      // Errors are thrown and help is asked for by name: commander itself prints nothing.
      .configureOutput({ writeOut: ignore, writeErr: ignore, outputError: ignore })
      .configureHelp({
        showGlobalOptions: true,
        sortSubcommands: false,
        // Commander leaves a text unwrapped where fewer than 40 columns stay for it.
        minWidthToWrap: 20,
        commandUsage: command => this.#usageOf(command),
        subcommandTerm: command => namesOf(command) + argumentsOf(command),
      })
    for (const option of GLOBAL_OPTIONS) {
      program.addOption(toOption(option).hideHelp(this.#inShell && SERVER_OPTIONS.includes(option)))
    }
    for (const option of PROGRAM_OPTIONS) {
      program.addOption(toOption(option).hideHelp(this.#inShell))
    }
    return program
  }

  /** `kvcli put|set [options] <key> [value]`; in the shell without the program's name. */
  /** What stands before a command: nothing in the shell. */
  get #prefix(): string {
    return this.#inShell ? '' : `${this.#program.name()} `
  }

  #usageOf(command: CommanderCommand): string {
    const isProgram = command === this.#program
    const name = isProgram ? '' : namesOf(command)
    const program = this.#prefix.trimEnd()
    return [program, name, command.usage()].filter(part => part !== '').join(' ')
  }

  #examplesOf(command: Command, width: number): string {
    const items = command.examples
      .filter(({ line }) => !this.#inShell || !SHELL_SYNTAX.test(line))
      .map(({ line, says }): HelpItem => {
        return [this.#inShell ? line.replace(/^kvcli /, '') : line, says]
      })
    if (items.length === 0) return '\n'
    return `\n\nExamples:\n${layItems(items, width, Math.floor(width / 2))}\n`
  }

  #add(command: Command): void {
    const page = this.#program
      .command(command.name)
      .description(describe(command, WIDTH_STANDARD))
      .summary(command.summary)
      .aliases([...(command.aliases ?? [])])
    for (const argument of command.args) page.argument(showArgument(argument), argument.description)
    for (const option of command.options) page.addOption(toOption(option))
    page.action(() => {
      this.#found = { command, args: [...page.args], options: page.optsWithGlobals() }
    })
  }
}

function ignore(): void {}

/** `del|delete|rm` */
function namesOf(command: CommanderCommand): string {
  return [command.name(), ...command.aliases()].join('|')
}

function argumentsOf(command: CommanderCommand): string {
  return command.registeredArguments.map(argument => ` ${humanReadable(argument)}`).join('')
}

/** `<key...>`, `[file]` */
function humanReadable(argument: Argument): string {
  const name = argument.variadic ? `${argument.name()}...` : argument.name()
  return argument.required ? `<${name}>` : `[${name}]`
}

function describe(command: Command, width: number): string {
  const { summary, details, lists = [] } = command
  const first = `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`
  const shown = lists.map(({ title, items }) => {
    return `${title}:\n${layItems(items, width, Math.floor(width / 2))}`
  })
  return [first, ...(details === undefined ? [] : [details]), ...shown].join('\n\n')
}

function toOption(option: CommandOption): Option {
  const { flags, description, standard } = option
  return new Option(flags, standard === undefined ? description : `${description} (${standard})`)
}

/**
 * That an argument is missing. Where the first one is a choice, what others there must be depends
 * on it, so it comes first.
 */
function missingArgument(message: string, command: Command | undefined, first?: string): string {
  const choices = command?.args[0]?.choices
  if (command === undefined || choices === undefined) return message
  if (first === undefined) return `${message}, one of ${choices.join(', ')}`
  return choices.includes(first) ? message : unknownChoice(command.name, first, choices).message
}

/** Commander's message on one line, and what is behind the most common mistakes. */
function plainMessage(
  error: CommanderError,
  command: Command | undefined,
  first: string | undefined,
  prefix: string,
): string {
  const message = error.message.replace(/^error: /, '').replaceAll('\n', ' ')
  const usage = command === undefined ? '' : `; usage: ${prefix}${usageOf(command)}`
  switch (error.code) {
    case 'commander.unknownCommand':
      // It may hold a password, so it is not repeated.
      if (message.includes('://')) return 'an address is no command: it goes behind --url'
      return message.includes('Did you mean') ? message : `${message}; help lists the commands`
    case 'commander.unknownOption':
      return `${message}; a key or value that begins with '-' goes behind '--'`
    case 'commander.missingArgument':
      return `${missingArgument(message, command, first)}${usage}`
    case 'commander.excessArguments':
      return `${message.replace(/\.$/, '')}; one with spaces needs quotes around it${usage}`
    default:
      return message
  }
}

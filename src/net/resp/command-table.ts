/** All commands, found by their names as they come, in any case. */
import type { MaybePromise } from '../request-handler.ts'
import type { ServerContext } from '../server-context.ts'
import {
  type CommandDescription,
  type CommandGroup,
  hasArity,
  type KeyedCommand,
  wrongArity,
} from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import { ProtocolViolation } from './protocol-violation.ts'
import { CommandError, OK, type Reply } from './reply.ts'
import type { RespDoor } from './resp-door.ts'
import type { RespRequest } from './resp-request.ts'
import type { RespSession } from './resp-session.ts'

export interface RunCall {
  readonly session: RespSession
  readonly door: RespDoor
  readonly context: ServerContext
  /** Borrowed until `run` returns. */
  readonly args: CommandArguments
  readonly request: RespRequest
}

/** A command that is no function of the keys that it names. */
export interface RunCommand extends CommandDescription {
  readonly run: (call: RunCall) => MaybePromise<Reply>
  /** Begins when all before it is over, and is over before anything behind it begins. */
  readonly isAlone?: boolean
  /** Runs at once inside a transaction, instead of becoming part of it. */
  readonly isImmediate?: boolean
  /** May be part of a transaction: answers directly. */
  readonly isInstant?: boolean
}

export type Command = KeyedCommand | RunCommand

/** A name that only subcommands have something to do under. */
export function container(
  name: string,
  since: string,
  group: CommandGroup,
  summary: string,
): RunCommand {
  return { name, arity: -2, since, group, flags: [], summary, run: () => OK }
}

/** Characters of names and arguments in messages. */
const SHOWN_MAX = 128
/** First words of the lines that an HTTP request begins with. */
const HTTP_WORDS: ReadonlySet<string> = new Set(['post', 'host:'])
const CASE_BIT = 0x20
const UPPER_A = 0x41
const UPPER_Z = 0x5a

export class CommandTable {
  readonly commands: readonly Command[]
  /** What COMMAND says of each, made when it is first asked for. */
  readonly infos = new Map<Command, Reply>()
  readonly docs = new Map<Command, readonly [Reply, Reply]>()
  readonly #byShape = new Map<number, Command[]>()
  readonly #byName = new Map<string, Command>()
  /** Names of those that have subcommands, which are named `client|id`. */
  readonly #containers = new Set<string>()

  constructor(commands: readonly Command[]) {
    this.commands = commands
    for (const command of commands) {
      const { name } = command
      this.#byName.set(name, command)
      if (name.includes('|')) {
        this.#containers.add(name.split('|')[0]!)
        continue
      }
      const shape = shapeOf(name.length, name.charCodeAt(0), name.charCodeAt(name.length - 1))
      const others = this.#byShape.get(shape)
      if (others === undefined) this.#byShape.set(shape, [command])
      else others.push(command)
    }
  }

  /** By its name in small letters. */
  named(name: string): Command | undefined {
    return this.#byName.get(name)
  }

  subcommands(name: string): Command[] {
    return this.commands.filter(command => command.name.startsWith(`${name}|`))
  }

  /** Commands that are no subcommands. */
  get roots(): Command[] {
    return this.commands.filter(({ name }) => !name.includes('|'))
  }

  /**
   * Throws CommandError when there is none, or with another number of arguments; ProtocolViolation
   * for a line of HTTP. A browser posts whatever a page wants to any port that it can reach, and
   * the lines of the body would be commands here.
   */
  find(args: CommandArguments): Command {
    const command = this.#lookUp(args)
    if (command === undefined) {
      if (HTTP_WORDS.has(args.text(0).toLowerCase())) throw notHttp()
      throw unknownCommand(args)
    }
    if (this.#containers.size > 0 && args.count > 1 && this.#containers.has(command.name)) {
      return this.#subcommand(command.name, args)
    }
    if (!hasArity(command, args.count)) throw wrongArity(command.name)
    return command
  }

  #lookUp({ source }: CommandArguments): Command | undefined {
    const { bytes } = source
    const start = source.starts[0]!
    const size = source.ends[0]! - start
    if (size === 0) return undefined
    const first = lower(bytes[start]!)
    const last = lower(bytes[start + size - 1]!)
    for (const command of this.#byShape.get(shapeOf(size, first, last)) ?? []) {
      if (isNamed(command.name, bytes, start)) return command
    }
    return undefined
  }

  #subcommand(container: string, args: CommandArguments): Command {
    const command = this.#byName.get(`${container}|${args.text(1).toLowerCase()}`)
    if (command === undefined) {
      throw new CommandError(
        `ERR unknown subcommand '${args.text(1).slice(0, SHOWN_MAX)}'. ` +
          `Try ${container.toUpperCase()} HELP.`,
      )
    }
    if (!hasArity(command, args.count)) throw wrongArity(command.name)
    return command
  }
}

function shapeOf(size: number, first: number, last: number): number {
  return size * 0x1_0000 + first * 0x100 + last
}

function lower(byte: number): number {
  return byte >= UPPER_A && byte <= UPPER_Z ? byte | CASE_BIT : byte
}

/** Requires that there are as many bytes as the name has. */
function isNamed(name: string, bytes: Uint8Array, start: number): boolean {
  for (let index = 0; index < name.length; index++) {
    if (lower(bytes[start + index]!) !== name.charCodeAt(index)) return false
  }
  return true
}

function notHttp(): ProtocolViolation {
  return new ProtocolViolation('this port speaks the protocol of Redis, not HTTP')
}

function unknownCommand(args: CommandArguments): CommandError {
  let shown = ''
  for (let index = 1; index < args.count && shown.length < SHOWN_MAX; index++) {
    shown += `'${cString(args.text(index)).slice(0, SHOWN_MAX - shown.length)}' `
  }
  const name = cString(args.text(0)).slice(0, SHOWN_MAX)
  return new CommandError(`ERR unknown command '${name}', with args beginning with: ${shown}`)
}

/** What a function of C would print of it. */
function cString(text: string): string {
  const end = text.indexOf('\0')
  return end < 0 ? text : text.slice(0, end)
}

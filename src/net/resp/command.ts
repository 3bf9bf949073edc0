/**
 * What a command is: how it is called, which keys it touches, and one of three ways to run it.
 *
 *   apply   a pure function of the keys that it names: what reads and writes values. The session
 *           runs it over entries that it has read, or inside an atomic update, alone or as one of a
 *           transaction.
 *   quick   the same for the most frequent cases, straight to the handler.
 *   run     everything else: about the connection, the server, or all keys.
 */
import type { HandlerPut, MaybePromise, RequestHandler } from '../request-handler.ts'
import type { CommandArguments } from './command-arguments.ts'
import type { KeyView } from './key-view.ts'
import { CommandError, type Reply } from './reply.ts'
import type { RespRequest } from './resp-request.ts'

export type CommandFlag =
  | 'write'
  | 'readonly'
  | 'denyoom'
  | 'admin'
  | 'noscript'
  | 'loading'
  | 'stale'
  | 'fast'
  | 'no_auth'
  | 'allow_busy'

export type CommandGroup = 'string' | 'generic' | 'connection' | 'server' | 'transactions'

/** Where keys are among the arguments; `last` -1 is the last argument. */
export interface KeyPlaces {
  readonly first: number
  readonly last: number
  readonly step: number
}

export interface CommandDescription {
  /** In small letters. */
  readonly name: string
  /** Arguments, the name included; negative: at least so many. */
  readonly arity: number
  readonly group: CommandGroup
  readonly flags: readonly CommandFlag[]
  readonly keys?: KeyPlaces
  readonly summary: string
  /** The version of Redis that has had it first. */
  readonly since: string
}

export type Apply = (view: KeyView, args: CommandArguments) => Reply

/** A request, as quick commands see it. */
export interface QuickCall {
  readonly handler: RequestHandler
  readonly args: CommandArguments
  /** A write says here what is replied once it is done. */
  readonly request: RespRequest
  readonly nowMs: number
}

/** A quick command that does not apply. */
export const DECLINED = Symbol('declined')

/** Undefined is nil, unless the request says what is replied. */
export type QuickResult =
  | MaybePromise<Uint8Array | undefined>
  | MaybePromise<void>
  | typeof DECLINED

export interface KeyedCommand extends CommandDescription {
  readonly keys: KeyPlaces
  readonly apply: Apply
  readonly quick?: (call: QuickCall) => QuickResult
  /** A write of one key that nothing is read for; its reply is OK. */
  readonly put?: (args: CommandArguments, nowMs: number) => HandlerPut | typeof DECLINED
  /** Reads more of an entry than its value. */
  readonly needsExpiry?: boolean
  /** Can be had without atomicity; see COMMANDS.md. */
  readonly loose?: boolean
}

/** Bytes of a value. */
export function tooLarge(): CommandError {
  return new CommandError('ERR string exceeds maximum allowed size (proto-max-bulk-len)')
}

export function syntaxError(): CommandError {
  return new CommandError('ERR syntax error')
}

export function wrongArity(name: string): CommandError {
  return new CommandError(`ERR wrong number of arguments for '${name}' command`)
}

/** True when so many arguments, the name included, are right. */
export function hasArity({ arity }: { readonly arity: number }, count: number): boolean {
  return arity >= 0 ? count === arity : count >= -arity
}

/** The keys of a command, borrowed. */
export function keysOf({ first, last, step }: KeyPlaces, args: CommandArguments): Uint8Array[] {
  return args.list(first, step, last < 0 ? args.count + last + 1 : last + 1)
}

const ONE_KEY: KeyPlaces = { first: 1, last: 1, step: 1 }
const ALL_KEYS: KeyPlaces = { first: 1, last: -1, step: 1 }
const PAIRS: KeyPlaces = { first: 1, last: -1, step: 2 }
const TWO_KEYS: KeyPlaces = { first: 1, last: 2, step: 1 }
export const KEY_PLACES = { ONE_KEY, ALL_KEYS, PAIRS, TWO_KEYS } as const

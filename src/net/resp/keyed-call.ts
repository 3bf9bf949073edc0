/** The ways in which a command about keys is run: see command.ts. */
import { UnavailableError } from '../../errors.ts'
import type {
  HandlerEntry,
  HandlerUpdate,
  MaybePromise,
  RequestHandler,
} from '../request-handler.ts'
import { type KeyedCommand, keysOf } from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import { distinctKeys, KeyView, type KeyViewTerms } from './key-view.ts'
import { CommandError, NilArray, type Reply } from './reply.ts'
import type { RespRequest } from './resp-request.ts'
import type { WatchedKeys } from './watched-keys.ts'

/** Values that a command reads together come to this many bytes at most. */
const READ_BYTES_MAX = 48 * 1024 * 1024

export interface KeyedCall {
  readonly handler: RequestHandler
  readonly command: KeyedCommand
  /** Borrowed until the call returns; of an update or a loose call their own. */
  readonly args: CommandArguments
  readonly request: RespRequest
}

/** What an update comes to: the reply, if it is known, and what to wait for, if anything. */
export interface Applied {
  readonly reply: Reply | undefined
  readonly promise: Promise<unknown> | undefined
}

/** Atomically: reads what the command needs and writes what follows. */
export function applyInUpdate(call: KeyedCall, terms: KeyViewTerms): Applied {
  const { handler, command, args, request } = call
  const keys = distinctKeys(keysOf(command.keys, args))
  return appliedUpdate(updateKeys(handler, keys, request, terms, view => command.apply(view, args)))
}

/** With `watched`, nothing but a nil when one of these, which are among the keys, has changed. */
export function updateKeys(
  handler: RequestHandler,
  keys: readonly Uint8Array[],
  request: RespRequest,
  terms: KeyViewTerms,
  apply: (view: KeyView) => Reply,
  watched?: WatchedKeys,
): MaybePromise<HandlerUpdate<Reply>> {
  if (handler.update === undefined) throw new UnavailableError('the server has no updates')
  return handler.update(
    keys,
    (entries, versions) => {
      if (watched?.areAsSeen(keys, entries, versions) === false) {
        return { operations: [], result: new NilArray() }
      }
      const view = new KeyView(keys, entries, terms)
      const result = apply(view)
      return { operations: view.operations(), result }
    },
    request,
  )
}

export function appliedUpdate(updated: MaybePromise<HandlerUpdate<Reply>>): Applied {
  if (updated instanceof Promise) return { reply: undefined, promise: updated.then(whenDone) }
  return { reply: updated.result, promise: updated.done }
}

async function whenDone({ result, done }: HandlerUpdate<Reply>): Promise<Reply> {
  await done
  return result
}

/** For commands that write nothing. */
export function applyToRead(call: KeyedCall, terms: KeyViewTerms): MaybePromise<Reply> {
  const { handler, command, args, request } = call
  const keys = distinctKeys(keysOf(command.keys, args))
  if (keys.length > 1) return applyToMany({ ...call, args: args.detached() }, terms)
  const key = keys[0]!
  const entry =
    command.needsExpiry === true && handler.entry !== undefined
      ? handler.entry(key, request)
      : entryOfValue(handler.get(key, request))
  if (!(entry instanceof Promise)) return command.apply(new KeyView(keys, [entry], terms), args)
  const own = args.detached()
  return entry.then(late => {
    const ownKeys = distinctKeys(keysOf(command.keys, own))
    return command.apply(new KeyView(ownKeys, [late], terms), own)
  })
}

function entryOfValue(
  value: MaybePromise<Uint8Array | undefined>,
): MaybePromise<HandlerEntry | undefined> {
  return value instanceof Promise ? value.then(entryOf) : entryOf(value)
}

function entryOf(value: Uint8Array | undefined): HandlerEntry | undefined {
  return value && { value, expiryMs: 0 }
}

async function applyToMany(call: KeyedCall, terms: KeyViewTerms): Promise<Reply> {
  const { command, args } = call
  const keys = distinctKeys(keysOf(command.keys, args))
  const entries = await readMany(call, keys)
  return command.apply(new KeyView(keys, entries, terms), args)
}

/** Throws CommandError for values that are too much to be held at once. */
async function readMany(
  { handler, request }: KeyedCall,
  keys: readonly Uint8Array[],
): Promise<(HandlerEntry | undefined)[]> {
  const entries: (HandlerEntry | undefined)[] = []
  let left = READ_BYTES_MAX
  while (entries.length < keys.length) {
    if (left <= 0) {
      throw new CommandError('ERR the values of these keys are too much for one reply')
    }
    const values = await handler.getMany(keys.slice(entries.length), request, left)
    for (const value of values) {
      entries.push(entryOf(value))
      left -= value?.length ?? 0
    }
  }
  return entries
}

/** Reads, then writes what follows: somebody else may write between. */
export async function applyLoosely(call: KeyedCall, terms: KeyViewTerms): Promise<Reply> {
  const { handler, command, args, request } = call
  const keys = distinctKeys(keysOf(command.keys, args))
  const view = new KeyView(keys, await readMany(call, keys), terms)
  const reply = command.apply(view, args)
  const operations = view.operations()
  if (operations.length > 0) await handler.batch(operations, request)
  return reply
}

export function refusedInCluster({ name }: KeyedCommand): CommandError {
  return new CommandError(
    `ERR '${name}' reads a key and writes what follows, which a cluster of several nodes does ` +
      'not offer: another node could write in between',
  )
}

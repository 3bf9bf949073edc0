/** MULTI, EXEC, DISCARD and WATCH: commands that take effect together, on one node. */
import { KEY_PLACES } from './command.ts'
import type { RunCall, RunCommand } from './command-table.ts'
import { distinctKeys, type KeyView } from './key-view.ts'
import { updateKeys } from './keyed-call.ts'
import { CommandError, OK, type Reply, replySize, tooMuch } from './reply.ts'
import { type QueuedCommand, Transaction } from './transaction.ts'
import type { WatchedKeys } from './watched-keys.ts'

function multi(call: RunCall): Reply {
  const { session } = call
  if (session.transaction !== undefined) {
    throw new CommandError('ERR MULTI calls can not be nested')
  }
  checkAlone(call)
  session.transaction = new Transaction(call.context.limits, session.share)
  return OK
}

function checkAlone({ context }: RunCall): void {
  if (context.handler.canUpdate === true) return
  throw new CommandError('ERR transactions are not offered in a cluster of several nodes')
}

/** An update that writes nothing: it sees what is still on its way, as EXEC will. */
async function watch(call: RunCall): Promise<Reply> {
  const { session, context, args, request } = call
  if (session.transaction !== undefined) {
    throw new CommandError('ERR WATCH inside MULTI is not allowed')
  }
  const { watched } = session
  const keys = watched.unwatched(distinctKeys(args.detached().list(1)))
  context.handler.checkKeys?.(keys, 'read', request)
  checkAlone(call)
  if (keys.length === 0) return OK
  await context.handler.update?.(
    keys,
    (entries, versions) => {
      watched.add(keys, entries, versions)
      return { operations: [], result: undefined }
    },
    request,
  )
  return OK
}

function discard({ session }: RunCall): Reply {
  if (session.transaction === undefined) throw new CommandError('ERR DISCARD without MULTI')
  session.endTransaction()
  session.takeWatched().clear()
  return OK
}

/** Errors of commands are replies like others. */
function replyTo(call: RunCall, { command, args }: QueuedCommand, view: KeyView): Reply {
  try {
    if ('apply' in command) return command.apply(view, args)
    const reply = command.run({ ...call, args })
    return reply instanceof Promise ? new CommandError('ERR it answers too late') : reply
  } catch (error) {
    if (error instanceof CommandError) return error
    throw error
  }
}

function exec(call: RunCall): Reply | Promise<Reply> {
  const { session } = call
  const { transaction } = session
  if (transaction === undefined) throw new CommandError('ERR EXEC without MULTI')
  const { isBroken } = transaction
  const commands = [...transaction.commands]
  const keys = transaction.keys()
  session.endTransaction()
  const watched = session.takeWatched()
  if (!isBroken) return runAll(call, commands, keys, watched)
  watched.clear()
  throw new CommandError('EXECABORT Transaction discarded because of previous errors.')
}

async function runAll(
  call: RunCall,
  commands: readonly QueuedCommand[],
  keys: readonly Uint8Array[],
  watched: WatchedKeys,
): Promise<Reply> {
  const { session, context, request } = call
  request.isWrite = true
  try {
    const all = distinctKeys([...keys, ...watched.keys])
    const { outputBytesMax } = context.limits
    const apply = (view: KeyView) => {
      const replies: Reply[] = []
      let size = 0
      for (const queued of commands) {
        const reply = replyTo(call, queued, view)
        replies.push(reply)
        size += replySize(reply)
        // Said before anything is written: a reply that cannot be given would hide that it was.
        if (size > outputBytesMax) throw tooMuch(outputBytesMax)
      }
      return replies
    }
    const { result, done } = await updateKeys(
      ...([context.handler, all, request, session.keyTerms, apply, watched] as const),
    )
    await done
    return result
  } finally {
    watched.clear()
  }
}

const transactions = { group: 'transactions', isImmediate: true } as const
const FLAGS = ['noscript', 'loading', 'stale', 'fast', 'allow_busy'] as const

export const TRANSACTION_COMMANDS: readonly RunCommand[] = [
  {
    ...{ name: 'multi', arity: 1, since: '1.2.0', ...transactions, flags: FLAGS },
    summary: 'Begins commands that take effect together',
    run: multi,
  },
  {
    ...{ name: 'exec', arity: 1, since: '1.2.0', ...transactions },
    flags: ['noscript', 'loading', 'stale'],
    summary: 'Lets the commands since MULTI take effect, all or none',
    run: exec,
  },
  {
    ...{ name: 'discard', arity: 1, since: '2.0.0', ...transactions, flags: FLAGS },
    summary: 'Forgets the commands since MULTI',
    run: discard,
  },
  {
    ...{ name: 'watch', arity: -2, since: '2.2.0', ...transactions, flags: FLAGS },
    keys: KEY_PLACES.ALL_KEYS,
    summary: 'Lets the next EXEC do nothing if one of the keys has changed by then',
    isAlone: true,
    run: watch,
  },
  {
    ...{ name: 'unwatch', arity: 1, since: '2.2.0', group: 'transactions', flags: FLAGS },
    summary: 'Forgets the keys of WATCH',
    isInstant: true,
    run: ({ session }) => {
      session.takeWatched().clear()
      return OK
    },
  },
]

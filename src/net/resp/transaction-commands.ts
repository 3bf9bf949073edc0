/** MULTI, EXEC and DISCARD: commands that take effect together, on one node. */
import type { RunCall, RunCommand } from './command-table.ts'
import type { KeyView } from './key-view.ts'
import { appliedUpdate, updateKeys } from './keyed-call.ts'
import { CommandError, OK, type Reply } from './reply.ts'
import type { QueuedCommand } from './transaction.ts'

function multi({ session, context }: RunCall): Reply {
  if (session.transaction !== undefined) {
    throw new CommandError('ERR MULTI calls can not be nested')
  }
  if (context.handler.canUpdate !== true) {
    throw new CommandError('ERR transactions are not offered in a cluster of several nodes')
  }
  session.beginTransaction()
  return OK
}

function discard({ session }: RunCall): Reply {
  if (session.transaction === undefined) throw new CommandError('ERR DISCARD without MULTI')
  session.endTransaction()
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
  const { session, context, request } = call
  const { transaction } = session
  if (transaction === undefined) throw new CommandError('ERR EXEC without MULTI')
  const commands = [...transaction.commands]
  const keys = transaction.keys()
  session.endTransaction()
  if (transaction.isBroken) {
    throw new CommandError('EXECABORT Transaction discarded because of previous errors.')
  }
  request.isWrite = true
  const { reply, promise } = appliedUpdate(
    updateKeys(context.handler, keys, request, session.keyTerms, view => {
      return commands.map(queued => replyTo(call, queued, view))
    }),
  )
  if (promise === undefined) return reply!
  return promise.then(late => reply ?? (late as Reply))
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
]

/** What a client of Redis is told of an error that a command met. */
import {
  AuthenticationError,
  InvalidArgumentError,
  KvError,
  type OverloadedError,
  PermissionError,
} from '../../errors.ts'
import type { ServerContext } from '../server-context.ts'
import { statusOfError } from '../status-error.ts'
import type { CommandDescription } from './command.ts'
import { noKeyPermission, notLoggedIn } from './command-permission.ts'
import { CommandError } from './reply.ts'

/**
 * Errors of commands as they are. Of the store's those that tell of a mistake of the client begin
 * with ERR, others with their code, as `KV_TIMEOUT`: clients take the first word for the kind.
 */
export function errorReply(error: unknown, context: ServerContext, client: string): CommandError {
  if (error instanceof CommandError) return error
  context.stats.countError(statusOfError(error))
  if (error instanceof PermissionError) return noKeyPermission()
  if (error instanceof AuthenticationError) return notLoggedIn()
  if (error instanceof InvalidArgumentError) return new CommandError(`ERR ${error.message}`)
  if (error instanceof KvError) return new CommandError(`${error.code} ${error.message}`)
  const stack = error instanceof Error ? error.stack : undefined
  context.logger.error('a command failed with a bug of the server', { client, error, stack })
  return new CommandError('KV_INTERNAL the server met a bug of its own; its log says more')
}

export function slowReader({ admission }: ServerContext): OverloadedError {
  return admission.overloaded('this client does not take its replies quickly enough')
}

export function noAuth({ name }: CommandDescription): CommandError {
  if (name !== 'hello') return notLoggedIn()
  return new CommandError(
    'NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO ' +
      '<proto> AUTH <user> <pass> option can be used to authenticate the client and select the ' +
      'RESP protocol version at the same time',
  )
}

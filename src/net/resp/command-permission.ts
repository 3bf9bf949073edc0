/**
 * What commands take beyond permissions for keys, which guarded-handler.ts looks at: those about
 * the server, and those that answer from what this door remembers. Texts are those of Redis.
 */
import { AuthenticationError, PermissionError } from '../../errors.ts'
import type { Access, Audit, Caller } from '../auth/index.ts'
import { type CommandDescription, keysOf } from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import type { Command } from './command-table.ts'
import { CommandError } from './reply.ts'

/** Those that answer without asking the store. */
const NEEDS: ReadonlyMap<string, (access: Access) => void> = new Map([
  ['info', access => access.checkMonitor()],
  // A count may be one that another user asked for.
  ['dbsize', access => access.checkReadRange({})],
])

/** Those that an audit wants to know of: what they change concerns others. */
const AUDITED: ReadonlySet<string> = new Set([
  ...['client|kill', 'config|set', 'flushall', 'flushdb', 'latency|reset', 'slowlog|reset'],
])

export function isAudited({ name }: CommandDescription): boolean {
  return AUDITED.has(name)
}

/**
 * Throws CommandError for a command that the user may not run, and for keys that it may not write:
 * what a command finds there must not decide whether it is refused.
 */
export function checkCommand(
  command: Command,
  args: CommandArguments,
  caller: Caller,
  audit: Audit,
): void {
  const { access } = caller
  const { name, flags } = command
  const isAboutKeys = 'apply' in command
  try {
    if (!flags.includes('no_auth')) access.checkPresent()
    if (flags.includes('admin')) access.checkAdmin()
    NEEDS.get(name)?.(access)
    // COPY only reads its first key.
    if (isAboutKeys && flags.includes('write') && name !== 'copy') {
      for (const key of keysOf(command.keys, args)) access.checkWrite(key)
    }
  } catch (error) {
    if (error instanceof AuthenticationError) throw notLoggedIn()
    if (!(error instanceof PermissionError)) throw error
    audit.refused(caller, access.user, name, 'no permission')
    if (isAboutKeys) throw noKeyPermission()
    throw new CommandError(`NOPERM this user has no permissions to run the '${name}' command`)
  }
}

export function notLoggedIn(): CommandError {
  return new CommandError('NOAUTH Authentication required.')
}

export function noKeyPermission(): CommandError {
  return new CommandError(
    'NOPERM this user has no permissions to access one of the keys used as arguments',
  )
}

/** The users of `kvd serve`, from their file, which is read again when it changes. */
import type { LogFields, Logger } from '../logger.ts'
import { parseUsers, Users } from '../net/index.ts'
import type { DaemonIo } from './daemon-io.ts'
import { PASSWORD_VARIABLE } from './password.ts'
import type { Reloads } from './reloads.ts'
import type { Settings } from './settings.ts'
import { UsageError } from './usage-error.ts'

/** Undefined without a file. Throws what is wrong in it. */
export function loadUsers(
  settings: Settings,
  io: DaemonIo,
  logger: Logger,
  reloads: Reloads,
): Users | undefined {
  const { usersFile: path, user: owner, passwordFile } = settings
  if (path === undefined) return undefined
  const users = new Users()
  const hasOwner = passwordFile !== undefined || (io.env[PASSWORD_VARIABLE] ?? '') !== ''
  const load = (): LogFields => {
    const records = parseUsers(io.readText(path), path)
    if (hasOwner && records.some(({ name }) => name === owner)) {
      throw new UsageError(
        `${path} has a user '${owner}', who has the password of this node and may do everything: ` +
          'remove it there, or choose another name with --user',
      )
    }
    const changes = users.replace(records)
    logger.info('audit', { event: 'users-loaded', path, count: records.length, ...changes })
    return {}
  }
  reloads.add({ what: 'users', paths: [path], load })
  return users
}

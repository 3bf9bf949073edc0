/**
 * `kvd user`: the users of a node, in the file that it reads (`--users-file`). Works on the file
 * alone; a node that runs takes the change within a second.
 *
 * Passwords come from a prompt or from stdin, never from an argument.
 */
import { Command } from 'commander'
import { InvalidArgumentError, NotFoundError } from '../errors.ts'
import {
  checkUserName,
  formatGrant,
  formatUsers,
  hashPassword,
  parseGrant,
  parseStoredUsers,
  parseUsers,
  SALT_SIZE,
  type StoredUser,
  storedGrant,
} from '../net/index.ts'
import { secureBytes } from '../random.ts'
import type { DaemonIo } from './daemon-io.ts'
import { type StoredGrant, withGrants, withoutGrants } from './grant-changes.ts'
import { environmentName } from './settings.ts'
import { UsageError } from './usage-error.ts'

const PASSWORD_SIZE_MAX = 512

interface UserFlags {
  readonly usersFile?: string
  readonly grant?: readonly string[]
  readonly json?: boolean
}

/** The command with its subcommands, for `kvd`. */
export function userCommand(io: DaemonIo): Command {
  const command = new Command('user')
    .description('the users of a node, and what they may do')
    .addHelpText('after', HELP)
  const add = (name: string, description: string): Command => {
    return command
      .command(name)
      .description(description)
      .option('--users-file <file>', `the file (environment: ${environmentName('usersFile')})`)
  }
  add('list', 'print the users and their permissions')
    .option('--json', 'print one JSON object')
    .action(flags => listUsers(flags as UserFlags, io))
  add('add <name>', 'make a user; asks for the password')
    .option('--grant <permissions...>', 'what it may do, as of grant')
    .action((name: string, flags: UserFlags) => addUser(name, flags, io))
  add('passwd <name>', 'give a user another password; ends its sessions').action(
    (name: string, flags: UserFlags) => changePassword(name, flags, io),
  )
  add('grant <name> <permissions...>', 'let a user do more').action(
    (name: string, texts: readonly string[], flags: UserFlags) => {
      const more = texts.map(grantOf)
      changeGrants(name, flags, io, ({ grants }) => withGrants(grants, more))
    },
  )
  add('revoke <name> <permissions...>', 'take back what was granted').action(
    (name: string, texts: readonly string[], flags: UserFlags) => {
      const gone = texts.map(grantOf)
      changeGrants(name, flags, io, user => withoutGrants(user.grants, gone, shownGrants(user)))
    },
  )
  add('remove <name>', 'remove a user; ends its sessions').action(
    (name: string, flags: UserFlags) => {
      const { path, users } = readUsers(flags, io)
      const { name: known } = findUser(users, name, path)
      writeUsers(
        io,
        path,
        users.filter(user => user.name !== known),
      )
      io.stdout.write(`removed ${known}\n`)
    },
  )
  return command
}

function grantOf(text: string): StoredGrant {
  try {
    return storedGrant(parseGrant(text))
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error
    throw new UsageError(error.message, { cause: error })
  }
}

/** As the commands take them. */
function shownGrants(user: StoredUser): string {
  const [record] = parseUsers(formatUsers([user]), '')
  return record?.grants.map(formatGrant).join(' ') || '(nothing)'
}

function readUsers({ usersFile }: UserFlags, io: DaemonIo): { path: string; users: StoredUser[] } {
  const path = usersFile ?? (io.env[environmentName('usersFile')] || undefined)
  if (path === undefined) {
    throw new UsageError(`say which file: --users-file, or ${environmentName('usersFile')}`)
  }
  // None yet: the first user makes it.
  if (io.stampOf(path) === '') return { path, users: [] }
  return { path, users: parseStoredUsers(io.readText(path), path) }
}

function writeUsers(io: DaemonIo, path: string, users: readonly StoredUser[]): void {
  const text = formatUsers(users)
  // What is written must be what a node takes.
  parseUsers(text, path)
  io.replaceFile(path, text)
}

function findUser(users: readonly StoredUser[], name: string, path: string): StoredUser {
  const found = users.find(user => user.name === name)
  if (found !== undefined) return found
  const names = users.map(user => user.name).join(', ')
  throw new UsageError(`${path} has no user '${name}'${names === '' ? '' : `, but ${names}`}`)
}

function listUsers(flags: UserFlags, io: DaemonIo): void {
  const { path } = readUsers(flags, io)
  if (io.stampOf(path) === '') {
    throw new NotFoundError(`there is no file ${path}: kvd user add makes it with the first user`)
  }
  const shown = parseUsers(io.readText(path), path).map(({ name, grants }) => ({
    name,
    grants: grants.map(formatGrant),
  }))
  if (flags.json === true) {
    io.stdout.write(`${JSON.stringify({ users: shown }, undefined, 2)}\n`)
    return
  }
  const width = Math.max(0, ...shown.map(({ name }) => name.length))
  for (const { name, grants } of shown) {
    io.stdout.write(`${name.padEnd(width)}  ${grants.join(' ') || '(nothing)'}\n`)
  }
}

async function addUser(name: string, flags: UserFlags, io: DaemonIo): Promise<void> {
  const { path, users } = readUsers(flags, io)
  checkUserName(name)
  if (users.some(user => user.name === name)) {
    throw new UsageError(`${path} has '${name}' already: kvd user passwd, grant or revoke`)
  }
  const grants = withGrants([], (flags.grant ?? []).map(grantOf))
  const password = await newHash(name, io)
  const user = { name, password, grants }
  writeUsers(io, path, [...users, user])
  io.stdout.write(`added ${name}, who may do: ${shownGrants(user)}\n`)
}

async function changePassword(name: string, flags: UserFlags, io: DaemonIo): Promise<void> {
  const { path, users } = readUsers(flags, io)
  const user = findUser(users, name, path)
  const password = await newHash(name, io)
  writeUsers(
    io,
    path,
    users.map(other => (other === user ? { ...user, password } : other)),
  )
  io.stdout.write(`changed the password of ${name}\n`)
}

function changeGrants(
  name: string,
  flags: UserFlags,
  io: DaemonIo,
  change: (user: StoredUser) => readonly StoredGrant[],
): void {
  const { path, users } = readUsers(flags, io)
  const user = findUser(users, name, path)
  const changed = { ...user, grants: change(user) }
  writeUsers(
    io,
    path,
    users.map(other => (other === user ? changed : other)),
  )
  io.stdout.write(`changed what ${name} may do: ${shownGrants(changed)}\n`)
}

async function newHash(name: string, io: DaemonIo): Promise<string> {
  const password = await io.readSecret(`password of ${name}: `)
  if (password === '') throw new UsageError('the password is empty')
  if (Buffer.byteLength(password) > PASSWORD_SIZE_MAX) {
    throw new UsageError(`a password has at most ${PASSWORD_SIZE_MAX} bytes`)
  }
  return await hashPassword(password, secureBytes(SALT_SIZE))
}

const HELP = `
Permissions: read, write, monitor and admin, some with commas between them; read and
write may name the prefix of the keys they are for, behind a colon; without one they are
for all keys. With monitor, what a node shows of its work is seen: figures, and its events.

Examples:
  kvd user add ada --grant read,write:app: monitor --users-file users.json
  kvd user grant ada read:shared:
  kvd user passwd ada < new-password
  kvd serve --users-file users.json
`

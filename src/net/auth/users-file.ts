/**
 * The users of a node as a file: one JSON object, made by `kvd user`, readable, and safe to edit.
 *
 *   { "format": 1, "users": [ {
 *       "name": "ada",
 *       "password": "scrypt$16384$8$5$…$…",
 *       "grants": [ { "actions": ["read", "write"], "prefix": "app:" } ] } ] }
 *
 * `prefix64` holds a prefix that is not UTF-8, in base64; without either the grant is of all keys.
 * Whatever is unknown is refused: it may have been meant as a limit. So is a prefix of no bytes,
 * and one that is no base64, of which nothing or something shorter would be left. Pure.
 */
import { utf8Encode } from '../../bytes.ts'
import { InvalidArgumentError } from '../../errors.ts'
import { checkGrant, GRANTS_MAX, type Grant } from './grant.ts'
import { parsePasswordHash } from './password-hash.ts'
import type { UserRecord } from './users.ts'

const FORMAT = 1
const USERS_MAX = 10_000
const NAME = /^[!-9;-~]{1,255}$/

export interface StoredGrant {
  readonly actions: readonly string[]
  readonly prefix?: string
  readonly prefix64?: string
}

/** A user as the file has it. */
export interface StoredUser {
  readonly name: string
  readonly password: string
  readonly grants: readonly StoredGrant[]
}

/** Throws InvalidArgumentError for a name that no user can have. */
export function checkUserName(name: string): string {
  if (NAME.test(name)) return name
  throw new InvalidArgumentError(
    'the name of a user has 1 to 255 printable ASCII characters, without blanks and colons',
  )
}

/** Throws InvalidArgumentError that names the file and what is wrong in it; shows no password. */
export function parseUsers(text: string, path: string): UserRecord[] {
  return parseStoredUsers(text, path).map(user => recordOf(user, path))
}

/** The same, as it stands there, for whoever changes it. */
export function parseStoredUsers(text: string, path: string): StoredUser[] {
  const content = membersOf(parseJson(text, path), ['format', 'users'], path)
  if (content['format'] !== FORMAT) throw wrong(path, `format must be ${FORMAT}`)
  const { users } = content
  if (!Array.isArray(users) || users.length > USERS_MAX) {
    throw wrong(path, `users must be an array of at most ${USERS_MAX}`)
  }
  const names = new Set<string>()
  for (const [index, user] of users.entries()) {
    const { name, password, grants } = membersOf(user, ['name', 'password', 'grants'], path)
    if (typeof name !== 'string' || typeof password !== 'string' || !Array.isArray(grants)) {
      throw wrong(path, `user ${index} needs a name, a password hash and grants`)
    }
    if (names.has(name)) throw wrong(path, `there are two users '${name}'`)
    if (grants.length > GRANTS_MAX) throw wrong(path, `a user has at most ${GRANTS_MAX} grants`)
    names.add(name)
    recordOf(user as StoredUser, path)
  }
  return users as StoredUser[]
}

function recordOf({ name, password, grants }: StoredUser, path: string): UserRecord {
  try {
    return {
      name: checkUserName(name),
      password: parsePasswordHash(password),
      grants: grants.map(grantOf),
    }
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error
    throw wrong(path, `user '${name}': ${error.message}`)
  }
}

function grantOf(stored: unknown): Grant {
  const { actions, prefix, prefix64 } = membersOf(stored, ['actions', 'prefix', 'prefix64'], '')
  if (!Array.isArray(actions)) throw new InvalidArgumentError('the actions of a grant are an array')
  if (prefix !== undefined && prefix64 !== undefined) {
    throw new InvalidArgumentError('a grant has a prefix or a prefix64, not both')
  }
  if (typeof (prefix ?? prefix64 ?? '') !== 'string') {
    throw new InvalidArgumentError('a prefix is a string')
  }
  if ((prefix ?? prefix64) === '') {
    throw new InvalidArgumentError('a prefix is not empty; for all keys leave it out')
  }
  if (prefix64 === undefined) return checkGrant(actions, utf8Encode(String(prefix ?? '')))
  const bytes = Buffer.from(String(prefix64), 'base64')
  if (bytes.toString('base64') !== prefix64) {
    throw new InvalidArgumentError("a prefix64 is base64, such as '/wA='")
  }
  return checkGrant(actions, new Uint8Array(bytes))
}

/** A grant as the file has it. */
export function storedGrant({ actions, prefix }: Grant): StoredGrant {
  if (prefix.length === 0) return { actions }
  const bytes = Buffer.from(prefix)
  const text = bytes.toString('utf8')
  const isText = Buffer.from(text, 'utf8').equals(bytes)
  return isText ? { actions, prefix: text } : { actions, prefix64: bytes.toString('base64') }
}

export function formatUsers(users: readonly StoredUser[]): string {
  return `${JSON.stringify({ format: FORMAT, users }, undefined, 2)}\n`
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    // Its message may show what stands there.
    throw new InvalidArgumentError(`${path} is not JSON`, { cause: error })
  }
}

function membersOf(
  value: unknown,
  names: readonly string[],
  path: string,
): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong(path, `an object with ${names.join(', ')} was expected`)
  }
  const unknown = Object.keys(value).find(name => !names.includes(name))
  if (unknown === undefined) return value as Readonly<Record<string, unknown>>
  throw wrong(path, `'${unknown}' is not one of ${names.join(', ')}`)
}

function wrong(path: string, what: string): InvalidArgumentError {
  return new InvalidArgumentError(path === '' ? what : `${path}: ${what}`)
}

/**
 * The users of a node, and who proves to be one of them.
 *
 * scrypt is slow on purpose, so:
 *  1. One password is checked at a time, on a thread of the pool that files use as well, and few
 *     wait for it. A flood of guesses costs their senders time and the node no more than that.
 *  2. A password that was right is remembered as a keyed hash until the user changes, and then
 *     costs microseconds: a flood keeps out nobody who was in before.
 *  3. The same password said over several connections is checked once for all of them.
 *  4. A name that there is not takes as long as a wrong password.
 */
import { utf8Encode } from '../../bytes.ts'
import { AuthenticationError, OverloadedError } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import type { MaybePromise } from '../request-handler.ts'
import { Access } from './access.ts'
import type { Grant } from './grant.ts'
import {
  KEY_SIZE,
  type PasswordHash,
  provesPassword,
  SALT_SIZE,
  STANDARD_COST,
} from './password-hash.ts'

/** Logins that wait for their turn: some seconds of work. */
const WAITING_MAX = 16
const RETRY_AFTER_MS = 1000

export interface UserRecord {
  readonly name: string
  readonly password: PasswordHash
  readonly grants: readonly Grant[]
}

/** What a new set of users has changed, by name. */
export interface UserChanges {
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
}

interface User {
  readonly record: UserRecord
  readonly access: Access
  /** The password, once it was said. */
  proven: Secret | undefined
}

interface WaitingLogin {
  readonly name: string
  readonly password: Secret
  readonly checked: Promise<Access>
}

/** Costs as much as the dearest of the users' would, and nobody's password is it. */
function nobodysPassword(records: readonly UserRecord[]): PasswordHash {
  const costs = records.map(({ password: { N, r, p } }) => ({ N, r, p }))
  costs.sort((a, b) => b.N * b.r * b.p - a.N * a.r * a.p)
  const cost = costs[0] ?? STANDARD_COST
  return { ...cost, salt: new Uint8Array(SALT_SIZE), key: new Uint8Array(KEY_SIZE) }
}

export class Users {
  #users: ReadonlyMap<string, User> = new Map()
  #checking: Promise<unknown> = Promise.resolve()
  #nobody = nobodysPassword([])
  readonly #waiting = new Set<WaitingLogin>()

  constructor(records: readonly UserRecord[] = []) {
    this.replace(records)
  }

  /** These are the users from now on. Sessions of those who are gone have nothing any more. */
  replace(records: readonly UserRecord[]): UserChanges {
    const before = this.#users
    const users = new Map<string, User>()
    const added: string[] = []
    const changed: string[] = []
    for (const record of records) {
      const { name } = record
      const known = before.get(name)
      if (known === undefined) added.push(name)
      else if (!isSame(known.record, record)) changed.push(name)
      users.set(name, known === undefined ? newUser(record) : renewed(known, record))
    }
    const removed = [...before.keys()].filter(name => !users.has(name))
    for (const name of removed) before.get(name)?.access.revoke()
    this.#users = users
    this.#nobody = nobodysPassword(records)
    return { added, changed, removed }
  }

  /**
   * What the user may do. Throws or rejects with AuthenticationError, which does not tell whether
   * the name or the password is wrong, or with OverloadedError.
   */
  admit(name: string, password: string): MaybePromise<Access> {
    const user = this.#users.get(name)
    const said = utf8Encode(password)
    if (user?.proven?.matches(said) === true) return user.access
    for (const other of this.#waiting) {
      if (other.name === name && other.password.matches(said)) return other.checked
    }
    if (this.#waiting.size >= WAITING_MAX) {
      throw new OverloadedError('too many logins wait for their turn', RETRY_AFTER_MS)
    }
    const checked = this.#checking.then(() => this.#prove(name, password))
    const login = { name, password: new Secret(said), checked }
    this.#waiting.add(login)
    const done = (): void => {
      this.#waiting.delete(login)
    }
    this.#checking = checked.then(done, done)
    return checked
  }

  async #prove(name: string, password: string): Promise<Access> {
    const user = this.#users.get(name)
    const isRight = await provesPassword(user?.record.password ?? this.#nobody, password)
    // It may have changed meanwhile.
    if (!isRight || user === undefined || user.access.isRevoked) {
      throw new AuthenticationError('the user or the password is wrong')
    }
    user.proven = new Secret(utf8Encode(password))
    return user.access
  }
}

function newUser(record: UserRecord): User {
  return { record, access: new Access(record.name, record.grants), proven: undefined }
}

/** The user as a later set has it. Who has another password has to say it. */
function renewed({ record: before, access, proven }: User, record: UserRecord): User {
  if (textOf(before.password) !== textOf(record.password)) {
    access.revoke()
    return newUser(record)
  }
  access.regrant(record.grants)
  return { record, access, proven }
}

function isSame(a: UserRecord, b: UserRecord): boolean {
  const isSamePassword = textOf(a.password) === textOf(b.password)
  return isSamePassword && textOf(a.grants) === textOf(b.grants)
}

function textOf(value: unknown): string {
  return JSON.stringify(value)
}

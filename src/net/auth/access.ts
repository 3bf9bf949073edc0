/**
 * What one user may do, now. Sessions hold it for as long as they last; when the users are loaded
 * anew, it changes under them.
 *
 *   granted --regrant--> granted otherwise --revoke (removed, or another password)--> nothing
 */
import { AuthenticationError, PermissionError } from '../../errors.ts'
import type { Action, Grant } from './grant.ts'
import { KeyPrefixes, type KeyRange } from './key-prefixes.ts'

const NO_KEYS = new KeyPrefixes([])
const ALL_KEYS = new KeyPrefixes([new Uint8Array(0)])
const READ_REFUSED = "this user has no permission 'read' for one of the keys, or of the range"
const WRITE_REFUSED = "this user has no permission 'write' for one of the keys"

export class Access {
  readonly user: string
  #isFull = false
  #isRevoked = false
  #readable = NO_KEYS
  #writable = NO_KEYS
  #mayMonitor = false
  #mayAdminister = false

  constructor(user: string, grants: readonly Grant[]) {
    this.user = user
    this.regrant(grants)
  }

  /** Of whom nothing is asked: everything. */
  static full(user: string): Access {
    const prefix = new Uint8Array(0)
    return new Access(user, [{ actions: ['read', 'write', 'admin'], prefix }])
  }

  /** Of somebody who has not said who it is. */
  static none(): Access {
    return new Access('', [])
  }

  /** True when everything is allowed; then nothing else needs to be looked at. */
  get isFull(): boolean {
    return this.#isFull
  }

  /** True when the user has to log in again, if that is still possible. */
  get isRevoked(): boolean {
    return this.#isRevoked
  }

  regrant(grants: readonly Grant[]): void {
    this.#readable = prefixesOf(grants, 'read')
    this.#writable = prefixesOf(grants, 'write')
    this.#mayAdminister = grants.some(({ actions }) => actions.includes('admin'))
    this.#mayMonitor =
      this.#mayAdminister || grants.some(({ actions }) => actions.includes('monitor'))
    this.#isFull = this.#readable.isAll && this.#writable.isAll && this.#mayAdminister
  }

  revoke(): void {
    this.regrant([])
    this.#isRevoked = true
  }

  /** These throw PermissionError, or AuthenticationError once it is revoked. */
  checkRead(key: Uint8Array): void {
    if (!this.#readable.has(key)) throw this.#refusal(READ_REFUSED)
  }

  checkWrite(key: Uint8Array): void {
    if (!this.#writable.has(key)) throw this.#refusal(WRITE_REFUSED)
  }

  checkReadRange(range: KeyRange): void {
    if (!this.#readable.hasRange(range)) throw this.#refusal(READ_REFUSED)
  }

  checkMonitor(): void {
    if (!this.#mayMonitor) throw this.#refusal("this user has no permission 'monitor'")
  }

  checkAdmin(): void {
    if (!this.#mayAdminister) throw this.#refusal("this user has no permission 'admin'")
  }

  /** For what needs no more than to be somebody. */
  checkPresent(): void {
    if (this.#isRevoked) throw loginAgain()
  }

  #refusal(message: string): PermissionError | AuthenticationError {
    return this.#isRevoked ? loginAgain() : new PermissionError(message)
  }
}

export function loginAgain(): AuthenticationError {
  return new AuthenticationError('the user was removed or has another password: log in again')
}

function prefixesOf(grants: readonly Grant[], action: Action): KeyPrefixes {
  const granted = grants.filter(({ actions }) => actions.includes(action))
  if (granted.length === 0) return NO_KEYS
  const prefixes = granted.map(({ prefix }) => prefix)
  return prefixes.some(prefix => prefix.length === 0) ? ALL_KEYS : new KeyPrefixes(prefixes)
}

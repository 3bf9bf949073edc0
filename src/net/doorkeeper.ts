/**
 * What a server holds the credentials of its clients against: the one password of its options,
 * whose owner may do everything, and the users that it has (auth/users.ts). With neither, everybody
 * may enter and do everything.
 */
import { AuthenticationError } from '../errors.ts'
import { Secret } from '../secret.ts'
import { Access, type Audit, type AuditedCaller, type Users } from './auth/index.ts'
import {
  type Credentials,
  DEFAULT_USER,
  decodeCredentials,
  encodeCredentials,
} from './credentials.ts'
import type { MaybePromise } from './request-handler.ts'

export class Doorkeeper {
  /** Who is meant where only a password is said. */
  readonly user: string
  readonly #secret: Secret | undefined
  readonly #owner: Access
  readonly #users: Users | undefined
  readonly #audit: Audit | undefined

  /** Without a password and users everybody may enter, and nobody may bring a password. */
  constructor(credentials: Credentials, users?: Users, audit?: Audit) {
    this.user = credentials.user ?? DEFAULT_USER
    const encoded = encodeCredentials(credentials)
    this.#secret = encoded.length === 0 ? undefined : new Secret(encoded)
    this.#owner = Access.full(this.user)
    this.#users = users
    this.#audit = audit
  }

  get asksForPassword(): boolean {
    return this.#secret !== undefined || this.#users !== undefined
  }

  /** What somebody may do who was not asked. Requires that nobody is. */
  get everybody(): Access {
    return this.#owner
  }

  /**
   * What the client may do. Throws or rejects with AuthenticationError, which does not tell whether
   * the user or the password is wrong, with OverloadedError while too many others wait to be let
   * in, and throws DecodeError for bytes that are no credentials.
   */
  admit(credentials: Uint8Array, caller: AuditedCaller): MaybePromise<Access> {
    if (!this.asksForPassword) {
      if (credentials.length === 0) return this.#owner
      throw new AuthenticationError(
        'this server has no password and accepts none; connect without one',
      )
    }
    if (credentials.length === 0) {
      throw new AuthenticationError('this server asks for a user and a password')
    }
    const { user, password } = decodeCredentials(credentials)
    if (this.#secret?.matches(credentials) === true) return this.#owner
    if (this.#users === undefined) throw this.#refusal(caller, user)
    const admitted = this.#users.admit(user, password)
    if (!(admitted instanceof Promise)) return admitted
    return admitted.catch(error => {
      throw error instanceof AuthenticationError ? this.#refusal(caller, user) : error
    })
  }

  #refusal(caller: AuditedCaller, user: string): AuthenticationError {
    this.#audit?.loginRefused(caller, user, 'the user or the password is wrong')
    return new AuthenticationError('the user or the password is wrong')
  }
}

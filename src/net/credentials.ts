/**
 * Who a client says it is, in HELLO:
 *
 *   credentials := user length u8 | user (UTF-8) | password (UTF-8)          empty: nobody
 *
 * The password travels as it is: over a network that others can listen to, HELLO belongs inside an
 * encrypted tunnel.
 */
import { ByteReader, ByteWriter, DecodeError, utf8Encode } from '../bytes.ts'
import { AuthenticationError, InvalidArgumentError } from '../errors.ts'
import { Secret } from '../secret.ts'
import { CREDENTIALS_SIZE_MAX } from './limits.ts'

/** The user where none is named. */
export const DEFAULT_USER = 'default'
const USER_SIZE_MAX = 255

export interface Credentials {
  /** @defaultValue DEFAULT_USER */
  readonly user?: string | undefined
  /** Undefined: none is asked for, none is sent. */
  readonly password?: string | undefined
}

/** Throws InvalidArgumentError for what no HELLO can carry. */
export function encodeCredentials({ user = DEFAULT_USER, password }: Credentials): Uint8Array {
  if (password === undefined) return new Uint8Array(0)
  const name = utf8Encode(user)
  const secret = utf8Encode(password)
  if (secret.length === 0) throw new InvalidArgumentError('the password is empty')
  if (name.length > USER_SIZE_MAX) {
    throw new InvalidArgumentError(`the name of a user has at most ${USER_SIZE_MAX} bytes`)
  }
  if (1 + name.length + secret.length > CREDENTIALS_SIZE_MAX) {
    const message = `user and password together have at most ${CREDENTIALS_SIZE_MAX - 1} bytes`
    throw new InvalidArgumentError(message)
  }
  return new ByteWriter(64).uint8(name.length).raw(name).raw(secret).written
}

/** What a server holds the credentials of its clients against. */
export class Doorkeeper {
  /** Whom clients must be, where there is a password. */
  readonly user: string
  readonly #secret: Secret | undefined

  /** Without a password everybody may enter, and nobody may bring one. */
  constructor(credentials: Credentials) {
    this.user = credentials.user ?? DEFAULT_USER
    const encoded = encodeCredentials(credentials)
    this.#secret = encoded.length === 0 ? undefined : new Secret(encoded)
  }

  get asksForPassword(): boolean {
    return this.#secret !== undefined
  }

  /** Throws AuthenticationError, which does not tell whether the user or the password is wrong. */
  admit(credentials: Uint8Array): void {
    if (this.#secret === undefined) {
      if (credentials.length === 0) return
      throw new AuthenticationError(
        'this server has no password and accepts none; connect without one',
      )
    }
    if (credentials.length === 0) {
      throw new AuthenticationError('this server asks for a user and a password')
    }
    checkForm(credentials)
    if (this.#secret.matches(credentials)) return
    throw new AuthenticationError('the user or the password is wrong')
  }
}

/** Throws DecodeError for bytes that are no credentials. */
function checkForm(credentials: Uint8Array): void {
  const reader = new ByteReader(credentials)
  reader.view(reader.uint8())
  if (reader.remaining === 0) throw new DecodeError('the credentials have no password', 0)
}

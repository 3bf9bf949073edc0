/**
 * Who a client says it is, in HELLO:
 *
 *   credentials := user length u8 | user (UTF-8) | password (UTF-8)          empty: nobody
 *
 * The password travels as it is: over a network that others can listen to, HELLO belongs inside TLS
 * (tls/).
 */
import { ByteReader, ByteWriter, DecodeError, utf8Encode } from '../bytes.ts'
import { InvalidArgumentError } from '../errors.ts'
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

/** Throws DecodeError for bytes that are no credentials. */
export function decodeCredentials(bytes: Uint8Array): {
  readonly user: string
  readonly password: string
} {
  const reader = new ByteReader(bytes)
  const user = textOf(reader.view(reader.uint8()))
  if (reader.remaining === 0) throw new DecodeError('the credentials have no password', 0)
  return { user, password: textOf(reader.view(reader.remaining)) }
}

/** What is no UTF-8 is nobody's name or password, and no reason to fail. */
function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8')
}

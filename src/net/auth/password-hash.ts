/**
 * Passwords as they are kept: scrypt, with what it was made with beside it.
 *
 *   hash := "scrypt$" N "$" r "$" p "$" salt (base64) "$" key (base64)
 *
 * A hash from a file says how much work and memory checking it takes, so both are limited.
 */
import { InvalidArgumentError } from '../../errors.ts'
import { equalInConstantTime, type ScryptCost, scryptKey } from '../../secret.ts'

/** As OWASP advises for 16 MiB: about 0.2 s of one core. */
export const STANDARD_COST: ScryptCost = { N: 16_384, r: 8, p: 5 }
export const SALT_SIZE = 16
export const KEY_SIZE = 32
const MEMORY_MAX = 64 * 1024 * 1024
const N_MIN = 1024
const P_MAX = 16

export interface PasswordHash extends ScryptCost {
  readonly salt: Uint8Array
  readonly key: Uint8Array
}

/** Resolves with the hash of a password, as text. `salt`: SALT_SIZE secret-grade random bytes. */
export async function hashPassword(
  password: string,
  salt: Uint8Array,
  cost: ScryptCost = STANDARD_COST,
): Promise<string> {
  const key = await scryptKey(password, salt, cost, KEY_SIZE)
  const { N, r, p } = cost
  return ['scrypt', N, r, p, base64(salt), base64(key)].join('$')
}

/** Throws InvalidArgumentError for what is no hash, or one that takes too much to check. */
export function parsePasswordHash(text: string): PasswordHash {
  const [name, ...fields] = text.split('$')
  const [N, r, p] = fields.slice(0, 3).map(Number)
  const [salt, key] = fields.slice(3).map(field => new Uint8Array(Buffer.from(field, 'base64')))
  if (name !== 'scrypt' || fields.length !== 5 || salt === undefined || key?.length !== KEY_SIZE) {
    throw new InvalidArgumentError('a password is kept as scrypt$N$r$p$salt$key; set it anew')
  }
  const isSane =
    isWithin(N, N_MIN, 2 ** 20) &&
    Number.isInteger(Math.log2(N)) &&
    isWithin(r, 1, 32) &&
    isWithin(p, 1, P_MAX) &&
    salt.length >= 8 &&
    128 * N * r <= MEMORY_MAX
  if (isSane) return { N, r, p, salt, key }
  throw new InvalidArgumentError(
    `the cost of a password hash is out of bounds: N a power of two from ${N_MIN}, p at most ` +
      `${P_MAX}, at most ${MEMORY_MAX / 1024 / 1024} MiB; set the password anew`,
  )
}

function isWithin(value: number | undefined, min: number, max: number): value is number {
  return value !== undefined && Number.isInteger(value) && value >= min && value <= max
}

export async function provesPassword(hash: PasswordHash, password: string): Promise<boolean> {
  return equalInConstantTime(hash.key, await scryptKey(password, hash.salt, hash, KEY_SIZE))
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

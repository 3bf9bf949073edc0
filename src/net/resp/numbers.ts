/** Numbers in arguments and values, read by the rules of Redis (string2ll). */
import { CommandError } from './reply.ts'

export const INT64_MAX = 2n ** 63n - 1n
export const INT64_MIN = -(2n ** 63n)

const MINUS = 0x2d
const ZERO = 0x30
const NINE = 0x39
/** Digits of which every number is exact. */
const EXACT_DIGITS = 15

export function notAnInteger(): CommandError {
  return new CommandError('ERR value is not an integer or out of range')
}

/** A whole number of 64 bits, as number when it is exact; undefined for anything else. */
export function parseInt64(bytes: Uint8Array): number | bigint | undefined {
  const { length } = bytes
  const isNegative = bytes[0] === MINUS
  const start = isNegative ? 1 : 0
  const digits = length - start
  if (digits < 1 || digits > 19) return undefined
  if (bytes[start] === ZERO) return digits === 1 && !isNegative ? 0 : undefined
  let value = 0
  for (let at = start; at < length; at++) {
    const digit = bytes[at]!
    if (digit < ZERO || digit > NINE) return undefined
    value = value * 10 + (digit - ZERO)
  }
  if (digits <= EXACT_DIGITS) return isNegative ? -value : value
  return simplified(BigInt(Buffer.from(bytes).toString('latin1')))
}

/** As number when that is exact; undefined beyond 64 bits. */
function simplified(value: bigint): number | bigint | undefined {
  if (value > INT64_MAX || value < INT64_MIN) return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

/** Throws the error of Redis for anything but a whole number of 64 bits. */
export function requireInt64(bytes: Uint8Array): number | bigint {
  const value = parseInt64(bytes)
  if (value === undefined) throw notAnInteger()
  return value
}

/** The same, as the nearest number: for what is compared with far smaller limits. */
export function requireNumber(bytes: Uint8Array): number {
  return Number(requireInt64(bytes))
}

/** Undefined when the sum has more than 64 bits. */
export function addInt64(a: number | bigint, b: number | bigint): number | bigint | undefined {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b
    if (Number.isSafeInteger(sum)) return sum
  }
  return simplified(BigInt(a) + BigInt(b))
}

/**
 * Numbers as Redis keeps them for INCRBYFLOAT: x87 extended precision, 64 bits of mantissa. With
 * doubles 0.1 + 0.2 would be 0.30000000000000004 here and 0.3 there.
 *
 * A number is mantissa * 2^exponent, the mantissa rounded to 64 bits, halves to even. Exponents are
 * those of the x87 format (2^-16445 to 2^16384): what is larger is no number.
 */

/** Of finite numbers: mantissa * 2^exponent. */
interface Finite {
  readonly mantissa: bigint
  readonly exponent: number
}

export type Extended = Finite | 'infinite'

const MANTISSA_BITS = 64
const EXPONENT_MAX = 16384 - MANTISSA_BITS
const DIGITS = 17
/** Longer texts are no numbers that anybody counts with. */
const TEXT_SIZE_MAX = 5 * 1024
const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,6}))?$/

/** Undefined for what strtold does not take whole; infinity is a number to it. */
export function parseExtended(text: string): Extended | undefined {
  if (text.length > TEXT_SIZE_MAX) return undefined
  if (/^[+-]?inf(?:inity)?$/i.test(text)) return 'infinite'
  const match = DECIMAL.exec(text)
  if (match === null) return undefined
  const [, sign, whole = '', fraction = '', power = '0'] = match
  if (whole.length + fraction.length === 0) return undefined
  const digits = BigInt(whole + fraction) * (sign === '-' ? -1n : 1n)
  const scale = Number(power) - fraction.length
  if (Math.abs(scale) > TEXT_SIZE_MAX) return undefined
  const value = scale >= 0 ? rounded(digits * 10n ** BigInt(scale), 0) : quotient(digits, -scale)
  // Too small or too large: strtold says so, and Redis refuses it.
  return value === 'infinite' || (digits !== 0n && value.mantissa === 0n) ? undefined : value
}

/** digits / 10^power. */
function quotient(digits: bigint, power: number): Extended {
  const divisor = 10n ** BigInt(power)
  // Enough bits that what is cut off cannot decide, but for one that says that there was more.
  const shift = Math.max(0, bitLength(divisor) - bitLength(abs(digits)) + MANTISSA_BITS + 2)
  const numerator = abs(digits) << BigInt(shift)
  const sticky = numerator % divisor === 0n ? 0n : 1n
  const value = ((numerator / divisor) << 1n) | sticky
  return rounded(digits < 0n ? -value : value, -shift - 1)
}

/** Undefined when the sum is no number. */
export function addExtended(a: Extended, b: Extended): Finite | undefined {
  if (a === 'infinite' || b === 'infinite') return undefined
  const exponent = Math.min(a.exponent, b.exponent)
  const sum =
    (a.mantissa << BigInt(a.exponent - exponent)) + (b.mantissa << BigInt(b.exponent - exponent))
  const result = rounded(sum, exponent)
  return result === 'infinite' ? undefined : result
}

/** With up to 17 decimals, without zeros at the end: `%.17Lf`, shortened. */
export function formatExtended({ mantissa, exponent }: Finite): string {
  const scale = 10n ** BigInt(DIGITS)
  const scaled =
    exponent >= 0
      ? (abs(mantissa) * scale) << BigInt(exponent)
      : shiftedRight(abs(mantissa) * scale, -exponent)
  const text = scaled.toString().padStart(DIGITS + 1, '0')
  const whole = text.slice(0, -DIGITS)
  const fraction = text.slice(-DIGITS).replace(/0+$/, '')
  const number = fraction === '' ? whole : `${whole}.${fraction}`
  return mantissa < 0n && number !== '0' ? `-${number}` : number
}

function rounded(value: bigint, exponent: number): Extended {
  const excess = bitLength(abs(value)) - MANTISSA_BITS
  if (excess <= 0) return checked({ mantissa: value, exponent })
  const mantissa = shiftedRight(abs(value), excess)
  return checked({ mantissa: value < 0n ? -mantissa : mantissa, exponent: exponent + excess })
}

function checked(value: Finite): Extended {
  const bits = bitLength(abs(value.mantissa))
  return value.exponent + bits > EXPONENT_MAX + MANTISSA_BITS ? 'infinite' : value
}

/** value / 2^bits, halves to even. Requires that the value is not negative. */
function shiftedRight(value: bigint, bits: number): bigint {
  const width = BigInt(bits)
  const whole = value >> width
  const rest = value - (whole << width)
  const half = 1n << (width - 1n)
  if (rest < half || (rest === half && (whole & 1n) === 0n)) return whole
  return whole + 1n
}

function abs(value: bigint): bigint {
  return value < 0n ? -value : value
}

function bitLength(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length
}

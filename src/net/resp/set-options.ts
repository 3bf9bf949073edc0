/** The options of SET and GETEX, in any order and in any case, as Redis takes them. */

import { syntaxError } from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import { INT64_MAX, requireInt64 } from './numbers.ts'
import { CommandError } from './reply.ts'

type ExpiryUnit = 'EX' | 'PX' | 'EXAT' | 'PXAT'

export interface ValueOptions {
  readonly expiry: { readonly unit: ExpiryUnit; readonly bytes: Uint8Array } | undefined
  readonly keepTtl: boolean
  readonly persist: boolean
  readonly condition: 'NX' | 'XX' | undefined
  readonly get: boolean
}

const EXPIRY_UNITS: readonly string[] = ['EX', 'PX', 'EXAT', 'PXAT']
const NO_OPTIONS: ValueOptions = Object.freeze({
  expiry: undefined,
  keepTtl: false,
  persist: false,
  condition: undefined,
  get: false,
})

/** Throws CommandError for options that SET does not have, or not together. */
export function setOptions(args: CommandArguments): ValueOptions {
  return args.count === 3 ? NO_OPTIONS : parse(args, 3, ['NX', 'XX', 'GET', 'KEEPTTL'])
}

/** The same for GETEX. */
export function getexOptions(args: CommandArguments): ValueOptions {
  return args.count === 2 ? NO_OPTIONS : parse(args, 2, ['PERSIST'])
}

function parse(args: CommandArguments, first: number, switches: readonly string[]): ValueOptions {
  const given = new Set<string>()
  let expiry: ValueOptions['expiry']
  for (let index = first; index < args.count; index++) {
    const word = args.word(index)
    if (EXPIRY_UNITS.includes(word) && index + 1 < args.count) {
      const isOther = expiry !== undefined && expiry.unit !== word
      if (isOther || given.has('KEEPTTL') || given.has('PERSIST')) throw syntaxError()
      expiry = { unit: word as ExpiryUnit, bytes: args.at(++index) }
    } else if (switches.includes(word)) {
      const isSpan = word === 'KEEPTTL' || word === 'PERSIST'
      if (isSpan && expiry !== undefined) throw syntaxError()
      given.add(word)
    } else throw syntaxError()
  }
  if (given.has('NX') && given.has('XX')) throw syntaxError()
  return {
    expiry,
    keepTtl: given.has('KEEPTTL'),
    persist: given.has('PERSIST'),
    condition: given.has('NX') ? 'NX' : given.has('XX') ? 'XX' : undefined,
    get: given.has('GET'),
  }
}

export function invalidExpiry(command: string): CommandError {
  return new CommandError(`ERR invalid expire time in '${command}' command`)
}

/** Milliseconds since the Unix epoch; 0 for never. Throws CommandError. */
export function expiryOf(
  { expiry }: Pick<ValueOptions, 'expiry'>,
  nowMs: number,
  command: string,
): number {
  if (expiry === undefined) return 0
  const { unit, bytes } = expiry
  const value = requireInt64(bytes)
  const isSeconds = unit === 'EX' || unit === 'EXAT'
  if (value <= 0 || (isSeconds && BigInt(value) > INT64_MAX / 1000n)) throw invalidExpiry(command)
  const ms = Number(value) * (isSeconds ? 1000 : 1)
  if (unit === 'EXAT' || unit === 'PXAT') return ms
  if (ms + nowMs >= Number(INT64_MAX)) throw invalidExpiry(command)
  return ms + nowMs
}

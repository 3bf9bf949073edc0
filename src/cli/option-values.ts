/** Option values from the command line, checked and converted. Pure; throws UsageError. */
import { compareBytes } from '../bytes.ts'
import { DURATION_MAX, durationMs, looksLikeDuration } from '../duration.ts'
import {
  CONSISTENCIES,
  type Consistency,
  DURABILITIES,
  type Durability,
  type KeyRange,
} from '../key-value-store.ts'
import { prefixRange } from '../prefix-range.ts'
import type { OptionValues } from './command.ts'
import { type DataEncoding, decodeArgument } from './data-encoding.ts'
import { UsageError } from './usage-error.ts'

export function textOption(options: OptionValues, name: string): string | undefined {
  const value = options[name]
  return typeof value === 'string' ? value : undefined
}

export function flagOption(options: OptionValues, name: string): boolean {
  return options[name] === true
}

/** `500ms`, `10s`, `5m`, `2h`, `1d`; a plain number is seconds. Milliseconds, at least 1. */
export function parseDuration(text: string, option: string): number {
  const ms = durationMs(text, 's')
  if (ms !== undefined) return ms
  if (looksLikeDuration(text, 's')) {
    throw new UsageError(`--${option} '${text}' is not a duration from 1ms to ${DURATION_MAX}`)
  }
  throw new UsageError(`--${option} '${text}' is not a duration: write 500ms, 10s, 5m, 2h or 1d`)
}

export function durationOption(
  options: OptionValues,
  name: string,
  option = name,
): number | undefined {
  const text = textOption(options, name)
  return text === undefined ? undefined : parseDuration(text, option)
}

/** A whole number from `min` to `max`. */
export function countOption(
  options: OptionValues,
  name: string,
  bounds: { readonly min: number; readonly max: number },
): number | undefined {
  const text = textOption(options, name)
  if (text === undefined) return undefined
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (count >= bounds.min && count <= bounds.max) return count
  throw new UsageError(
    `--${name} '${text}' is not a whole number from ${bounds.min} to ${bounds.max}`,
  )
}

export function durabilityOption(options: OptionValues): Durability | undefined {
  return oneOf(options, 'durability', DURABILITIES)
}

export function consistencyOption(options: OptionValues): Consistency | undefined {
  return oneOf(options, 'consistency', CONSISTENCIES)
}

export function oneOf<T extends string>(
  options: OptionValues,
  name: string,
  allowed: readonly T[],
  option = name,
): T | undefined {
  const text = textOption(options, name)
  if (text === undefined) return undefined
  const value = allowed.find(known => known === text)
  if (value !== undefined) return value
  throw new UsageError(`--${option} '${text}' is not one of ${allowed.join(', ')}`)
}

export function encodingOption(options: OptionValues): DataEncoding {
  const hex = flagOption(options, 'hex')
  if (hex && flagOption(options, 'base64')) throw new UsageError('use --hex or --base64, not both')
  if (hex) return 'hex'
  return flagOption(options, 'base64') ? 'base64' : 'text'
}

/** The range that --prefix, --gt, --gte, --lt and --lte describe. */
export function rangeOption(options: OptionValues, encoding: DataEncoding): KeyRange {
  const bound = (name: string): Uint8Array | undefined => {
    const text = textOption(options, name)
    return text === undefined ? undefined : decodeArgument(text, encoding, `bound --${name}`)
  }
  const prefix = bound('prefix')
  const range: Record<string, Uint8Array> = {}
  for (const name of ['gt', 'gte', 'lt', 'lte']) {
    const bytes = bound(name)
    if (bytes !== undefined) range[name] = bytes
  }
  const bounded = Object.keys(range).length > 0
  if (prefix !== undefined && bounded) {
    throw new UsageError('use --prefix or the bounds --gt, --gte, --lt, --lte, not both')
  }
  if (range['gt'] !== undefined && range['gte'] !== undefined) {
    throw new UsageError('use --gt or --gte, not both')
  }
  if (range['lt'] !== undefined && range['lte'] !== undefined) {
    throw new UsageError('use --lt or --lte, not both')
  }
  refuseSwapped(options, range['gt'] ?? range['gte'], range['lt'] ?? range['lte'])
  return prefix === undefined ? range : prefixRange(prefix)
}

/** Bounds the wrong way round are a mistake; equal ones may be what a script computed. */
function refuseSwapped(
  options: OptionValues,
  lower: Uint8Array | undefined,
  upper: Uint8Array | undefined,
): void {
  if (lower === undefined || upper === undefined || compareBytes(lower, upper) <= 0) return
  const shown = (names: readonly string[]): string => {
    const name = names.find(each => options[each] !== undefined) ?? ''
    return `--${name} '${textOption(options, name)}'`
  }
  throw new UsageError(
    `the range is empty: ${shown(['gt', 'gte'])} comes after ${shown(['lt', 'lte'])}`,
  )
}

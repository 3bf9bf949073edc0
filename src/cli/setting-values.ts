/** Values of settings as text: sizes, durations, numbers, choices. Pure. */

/** How a value is read and shown. */
export interface ValueKind<T> {
  /** What a wrong value is told to be: "… is not <expected>". */
  readonly expected: string
  /** Undefined when the text is not such a value. */
  parse(text: string): T | undefined
  format(value: T): string
}

const KIB = 1024
const SIZE_UNITS: readonly (readonly [name: string, bytes: number])[] = [
  ['B', 1],
  ['KiB', KIB],
  ['MiB', KIB ** 2],
  ['GiB', KIB ** 3],
  ['TiB', KIB ** 4],
  ['kB', 1e3],
  ['MB', 1e6],
  ['GB', 1e9],
  ['TB', 1e12],
]
/** Units in which sizes are shown, largest first. */
const SHOWN_SIZE_UNITS = SIZE_UNITS.slice(0, 5).reverse()

const DURATION_UNITS: readonly (readonly [name: string, ms: number])[] = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
]

const NUMBER_AND_UNIT = /^(\d+(?:\.\d+)?)\s*([a-zA-Z]*)$/

/** `256MiB`, `1.5GiB`, `200MB`, or plain bytes; shown in the largest unit that is exact. */
export function sizeValue(min: number, max: number): ValueKind<number> {
  return {
    expected: `a size from ${formatSize(min)} to ${formatSize(max)}, such as 256MiB`,
    parse: text => within(parseWithUnit(text, SIZE_UNITS, 'B'), min, max),
    format: formatSize,
  }
}

/** `100ms`, `10s`, `5m`, `1h`. A bare number is refused: it could mean either. */
export function durationValue(min: number, max: number): ValueKind<number> {
  return {
    expected: `a duration from ${formatDuration(min)} to ${formatDuration(max)}, such as 500ms`,
    parse: text => within(parseWithUnit(text, DURATION_UNITS, undefined), min, max),
    format: formatDuration,
  }
}

export function integerValue(min: number, max: number): ValueKind<number> {
  return {
    expected: `a whole number from ${min} to ${max}`,
    parse: text => (/^\d+$/.test(text) ? within(Number(text), min, max) : undefined),
    format: String,
  }
}

export function choiceValue<T extends string>(choices: readonly T[]): ValueKind<T> {
  return {
    expected: `one of ${choices.join(', ')}`,
    parse: text => choices.find(choice => choice === text),
    format: choice => choice,
  }
}

export function textValue(what: string): ValueKind<string> {
  return { expected: what, parse: text => (text === '' ? undefined : text), format: text => text }
}

/** Addresses, `host:port`, with commas between them. */
export function addressesValue(): ValueKind<readonly string[]> {
  return {
    expected: 'addresses with commas between them, such as 10.0.0.1:7701,10.0.0.2:7701',
    parse(text) {
      const addresses = text.split(',').map(address => address.trim())
      return addresses.every(isAddress) ? addresses : undefined
    },
    format: addresses => addresses.join(','),
  }
}

/** An IPv6 host stands in brackets. */
function isAddress(text: string): boolean {
  const match = /^(?:\[[\da-fA-F:.%]+\]|[^\s:[\]]+):(\d{1,5})$/.exec(text)
  const port = Number(match?.[1])
  return port >= 1 && port <= 65_535
}

export function switchValue(): ValueKind<boolean> {
  return {
    expected: 'true or false',
    parse: text => (text === 'true' || text === '1' ? true : isFalse(text) ? false : undefined),
    format: String,
  }
}

/** A value that may be left open; `openText` is how that is shown. */
export function optionalValue<T>(kind: ValueKind<T>, openText: string): ValueKind<T | undefined> {
  return {
    expected: kind.expected,
    parse: kind.parse,
    format: value => (value === undefined ? openText : kind.format(value)),
  }
}

function isFalse(text: string): boolean {
  return text === 'false' || text === '0'
}

function within(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined
}

function parseWithUnit(
  text: string,
  units: readonly (readonly [string, number])[],
  bareUnit: string | undefined,
): number | undefined {
  const match = NUMBER_AND_UNIT.exec(text.trim())
  const name = match?.[2] === '' ? bareUnit : match?.[2]
  const unit = units.find(([known]) => known.toLowerCase() === name?.toLowerCase())
  if (match === null || unit === undefined) return undefined
  return Math.round(Number(match[1]) * unit[1])
}

function formatSize(bytes: number): string {
  const unit = SHOWN_SIZE_UNITS.find(([, size]) => bytes >= size && bytes % size === 0)
  return unit === undefined ? `${bytes}B` : `${bytes / unit[1]}${unit[0]}`
}

function formatDuration(ms: number): string {
  const unit = DURATION_UNITS.find(([, size]) => ms >= size && ms % size === 0)
  return unit === undefined ? `${ms}ms` : `${ms / unit[1]}${unit[0]}`
}

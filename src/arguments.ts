/** Checks what callers pass, once, at the door of a store; everything behind it sees bytes. */
import { compareBytes, copyBytes, isBytes, keyAfter, utf8Encode } from './bytes.ts'
import { closestWord } from './edit-distance.ts'
import { AbortedError, InvalidArgumentError } from './errors.ts'
import {
  type BytesInput,
  CONSISTENCIES,
  type Consistency,
  KEY_SIZE_MAX,
  type KeyRange,
  type ScanOptions,
  VALUE_SIZE_MAX,
} from './key-value-store.ts'

/** The bytes of a key. Throws InvalidArgumentError unless it has 1 to `sizeMax` of them. */
export function keyBytes(key: BytesInput, sizeMax = KEY_SIZE_MAX): Uint8Array {
  const bytes = inputBytes(key, 'key')
  if (bytes.length >= 1 && bytes.length <= sizeMax) return bytes
  throw new InvalidArgumentError(`key must have 1 to ${sizeMax} bytes, got ${bytes.length}`)
}

/** The bytes of a value. Throws InvalidArgumentError when there are more than `sizeMax`. */
export function valueBytes(value: BytesInput, sizeMax = VALUE_SIZE_MAX): Uint8Array {
  const bytes = inputBytes(value, 'value')
  if (bytes.length <= sizeMax) return bytes
  throw new InvalidArgumentError(`value must have at most ${sizeMax} bytes, got ${bytes.length}`)
}

/** Its size counts as part of the batch. */
export function logDataBytes(logData: BytesInput): Uint8Array {
  return inputBytes(logData, 'logData')
}

function inputBytes(input: BytesInput, name: string): Uint8Array {
  if (typeof input === 'string') return utf8Encode(input)
  if (isBytes(input)) return input
  throw new InvalidArgumentError(
    `${name} must be a Uint8Array or a string, got ${describeNoBytes(input)}`,
  )
}

/** describe() of what isBytes refuses. */
export function describeNoBytes(input: unknown): string {
  if (!(input instanceof Uint8Array)) return describe(input)
  return ArrayBuffer.isView(input)
    ? 'a Uint8Array without memory: its buffer was transferred'
    : 'an object that only wraps a Uint8Array, as a Proxy does'
}

/** A value as an error message names it. Never throws. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 100))
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'object' || value === null) return String(value)
  const maker: unknown = value.constructor
  return typeof maker === 'function' ? `an object (${maker.name})` : 'an object'
}

/** Throws InvalidArgumentError unless it is an array. */
export function checkArray<T>(value: readonly T[], name: string): readonly T[] {
  if (Array.isArray(value)) return value
  throw new InvalidArgumentError(`${name} must be an array, got ${describe(value)}`)
}

/**
 * The options, or the range, that a call was given. Throws InvalidArgumentError for what has none:
 * null, a string, an array, a date: taken as options it would be none at all, which means
 * everything.
 */
export function checkObject<T extends object>(value: T, name: string): T {
  // Nearly always, and for a tenth of the price of the other question.
  if (typeof value === 'object' && value !== null) {
    if (Object.getPrototypeOf(value) === Object.prototype) return value
  }
  if (Object.prototype.toString.call(value) === '[object Object]') return value
  throw new InvalidArgumentError(`${name} must be an object, got ${describe(value)}`)
}

/**
 * checkObject that also refuses members it does not know: a misspelt option would be none at all.
 * What is undefined is not there.
 */
export function checkMembers<T extends object>(
  value: T,
  name: string,
  known: ReadonlySet<string>,
): T {
  checkObject(value, name)
  for (const member in value) {
    if (known.has(member) || value[member] === undefined) continue
    const names = [...known]
    const meant = closestWord(member, names)
    throw new InvalidArgumentError(
      `${name} has '${member}', which is none of ${names.join(', ')}` +
        (meant === undefined ? '' : `; did you mean '${meant}'?`),
    )
  }
  return value
}

/** What stands before the rest of a URL. */
const SCHEME = /^[a-z][a-z0-9+.-]+:\/\//i

/**
 * Throws InvalidArgumentError unless it can be a path. An empty one would be the current directory
 * of the process, which nobody means who forgot to say which, and a URL a directory of that name.
 */
export function checkPath(path: unknown, name: string): string {
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new InvalidArgumentError(`${name} must be a path, got ${describe(path)}`)
  }
  if (!SCHEME.test(path)) return path
  throw new InvalidArgumentError(
    `${name} must be a path, got ${describe(path)}: servers are reached with open or connect of ` +
      "the package 'duramen'",
  )
}

/** Throws InvalidArgumentError unless it is true, false or none. */
export function checkFlag(value: boolean | undefined, name: string): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  throw new InvalidArgumentError(`${name} must be true or false, got ${describe(value)}`)
}

/** Throws InvalidArgumentError unless it is a function or none. */
export function checkFunction<T>(value: T, name: string): T {
  if (value === undefined || typeof value === 'function') return value
  throw new InvalidArgumentError(`${name} must be a function, got ${describe(value)}`)
}

/** Throws InvalidArgumentError unless it is an AbortSignal or none. */
export function knownSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined) return undefined
  const isHeard =
    typeof signal?.addEventListener === 'function' &&
    typeof signal.removeEventListener === 'function'
  if (isHeard && typeof signal.aborted === 'boolean') return signal
  throw new InvalidArgumentError(`signal must be an AbortSignal, got ${describe(signal)}`)
}

/** knownSignal that throws AbortedError when it has fired already. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (knownSignal(signal)?.aborted !== true) return
  throw new AbortedError('the call was aborted by its signal', { cause: signal?.reason })
}

/** The longest time that timers understand: 24 days. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1

/** Throws InvalidArgumentError unless it is a number of milliseconds to wait, or none. */
export function checkTimeout(timeoutMs: number | undefined): number | undefined {
  if (timeoutMs === undefined) return undefined
  if (typeof timeoutMs === 'number' && timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX)
    return timeoutMs
  throw new InvalidArgumentError(
    `timeoutMs must be more than 0 and at most ${TIMEOUT_MS_MAX}, got ${describe(timeoutMs)}`,
  )
}

/** Throws InvalidArgumentError unless it is a consistency or none. */
export function checkConsistency(consistency: Consistency | undefined): Consistency | undefined {
  if (consistency === undefined || CONSISTENCIES.includes(consistency)) return consistency
  throw new InvalidArgumentError(
    `consistency must be one of ${CONSISTENCIES.join(', ')}, got ${describe(consistency)}`,
  )
}

/** Throws InvalidArgumentError unless it is an order or none. */
export function checkOrder(order: ScanOptions['order']): ScanOptions['order'] {
  if (order === undefined || order === 'ordered' || order === 'unordered') return order
  throw new InvalidArgumentError(`order is 'ordered' or 'unordered', got ${describe(order)}`)
}

/** The longest time to live in milliseconds, 71,000 years: added to now it is an exact number. */
const TTL_MS_MAX = 2 ** 51 - 1

/** Milliseconds to live. Throws InvalidArgumentError unless above 0 and at most 2^51 - 1. */
export function checkTtl(ttlMs: number): number {
  if (Number.isFinite(ttlMs) && ttlMs > 0 && ttlMs <= TTL_MS_MAX) return ttlMs
  throw new InvalidArgumentError(
    `ttlMs must be a number of milliseconds above 0 and at most ${TTL_MS_MAX}, got ` +
      `${describe(ttlMs)}: leave it out for what never expires`,
  )
}

/** The bounds of a scan as bytes: a lower and an upper one, each inclusive or not. */
export interface ByteRange {
  readonly gt?: Uint8Array | undefined
  readonly gte?: Uint8Array | undefined
  readonly lt?: Uint8Array | undefined
  readonly lte?: Uint8Array | undefined
}

/**
 * Bounds may be empty: `gte: ''` is every key. Throws InvalidArgumentError for a double bound, and
 * for what is no range.
 */
export function byteRange(range: KeyRange): ByteRange {
  checkObject(range, 'a range')
  if (range.gt !== undefined && range.gte !== undefined) {
    throw new InvalidArgumentError('a range takes gt or gte, not both')
  }
  if (range.lt !== undefined && range.lte !== undefined) {
    throw new InvalidArgumentError('a range takes lt or lte, not both')
  }
  return {
    gt: optionalBytes(range.gt, 'gt'),
    gte: optionalBytes(range.gte, 'gte'),
    lt: optionalBytes(range.lt, 'lt'),
    lte: optionalBytes(range.lte, 'lte'),
  }
}

function optionalBytes(input: BytesInput | undefined, name: string): Uint8Array | undefined {
  return input === undefined ? undefined : boundBytes(input, name)
}

/** A place among keys, which may be empty: a bound of a scan, or where to seek to. */
export function boundBytes(input: BytesInput, name: string): Uint8Array {
  // A copy: a scan outlives the call, and the caller may reuse the buffer.
  return copyBytes(inputBytes(input, name))
}

/** True when no key can lie in the range. */
export function isEmptyRange(range: ByteRange): boolean {
  const lower = range.gt ?? range.gte
  const upper = range.lt ?? range.lte
  if (lower === undefined || upper === undefined) return false
  const order = compareBytes(lower, upper)
  return order > 0 || (order === 0 && (range.gt !== undefined || range.lt !== undefined))
}

/** The keys from `start` on and below `end`. */
export interface KeyInterval {
  readonly start: Uint8Array
  /** Empty when there is no end. */
  readonly end: Uint8Array
}

/**
 * The keys of a range as an interval, or undefined when it has none. Throws InvalidArgumentError
 * for bounds that are longer than a key.
 */
export function keyInterval(range: KeyRange): KeyInterval | undefined {
  const bounds = byteRange(range)
  if (isEmptyRange(bounds)) return undefined
  const { gt, gte, lt, lte } = bounds
  for (const bound of [gt, gte, lt, lte]) {
    if (bound === undefined || bound.length <= KEY_SIZE_MAX) continue
    throw new InvalidArgumentError(
      `a bound must have at most ${KEY_SIZE_MAX} bytes, got ${bound.length}`,
    )
  }
  const lower = gt === undefined ? (gte ?? NO_BYTES) : keyAfter(gt, KEY_SIZE_MAX)
  const upper = lte === undefined ? lt : keyAfter(lte, KEY_SIZE_MAX)
  if (lower === undefined) return undefined
  const start = lower.length === 0 ? FIRST_KEY : lower
  if (upper !== undefined && compareBytes(start, upper) >= 0) return undefined
  return { start, end: upper ?? NO_BYTES }
}

const NO_BYTES = new Uint8Array(0)
const FIRST_KEY = new Uint8Array(1)

/** How many entries a scan may deliver. Throws InvalidArgumentError for a negative or odd limit. */
export function scanLimit(options: ScanOptions): number {
  const { limit } = options
  if (limit === undefined || limit === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY
  if (Number.isSafeInteger(limit) && limit >= 0) return limit
  throw new InvalidArgumentError(`limit must be a whole number of entries, got ${describe(limit)}`)
}

/**
 * The target of a request: path and query, percent-encoded bytes. No URL object: it would decode to
 * text, and a key may be any bytes.
 */
import { durationMs, looksLikeDuration } from '../../duration.ts'
import { closestWord } from '../../edit-distance.ts'
import { HttpError } from './http-error.ts'

/** Bytes of a target, of which the longest key that can be named so is a little less. */
export const TARGET_SIZE_MAX = 48 * 1024

const PERCENT = 0x25
const PLUS = 0x2b
const SPACE = 0x20
/** 100 years. */
const TTL_DAYS_MAX = 36_600
const TTL_MS_MAX = TTL_DAYS_MAX * 86_400_000

export interface Target {
  /** As it came, without the query. */
  readonly path: string
  /** As it came, behind the question mark. */
  readonly query: string
}

/** Takes the absolute form as well, as proxies send it. */
export function splitTarget(url: string): Target {
  if (url.length > TARGET_SIZE_MAX) {
    const message = `a request's target has at most ${TARGET_SIZE_MAX} bytes, got ${url.length}`
    throw new HttpError('HTTP_URI_TOO_LONG', message)
  }
  const target = url.startsWith('/') ? url : originForm(url)
  const question = target.indexOf('?')
  if (question < 0) return { path: target, query: '' }
  return { path: target.slice(0, question), query: target.slice(question + 1) }
}

function originForm(url: string): string {
  const match = /^https?:\/\/[^/?]+(.*)$/i.exec(url)
  const rest = match?.[1] ?? ''
  if (match === null) throw bad(`the target '${shown(url)}' is neither a path nor a URL`)
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** The bytes that a part of a target stands for. Throws HttpError where a percent sign is wrong. */
export function decodeBytes(text: string, isQuery = false): Buffer {
  // One character a byte, as the parser of HTTP hands it over.
  const bytes = Buffer.from(text, 'latin1')
  let size = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (byte === PERCENT) {
      const high = digitOf(bytes[at + 1])
      const low = digitOf(bytes[at + 2])
      if (high < 0 || low < 0) {
        throw bad(`'${shown(text.slice(at, at + 3))}' is no percent-encoded byte, such as %2F`)
      }
      bytes[size++] = high * 16 + low
      at += 2
    } else bytes[size++] = isQuery && byte === PLUS ? SPACE : byte
  }
  return size === bytes.length ? bytes : bytes.subarray(0, size)
}

function digitOf(byte: number | undefined): number {
  if (byte === undefined) return -1
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

/** The parameters of a query, each known and there once. */
export class Query {
  readonly #values = new Map<string, string>()

  /** Throws HttpError for a parameter that is not `known`, with the one that may be meant. */
  constructor(query: string, known: readonly string[]) {
    if (query === '') return
    for (const part of query.split('&')) {
      if (part === '') continue
      const equals = part.indexOf('=')
      const name = decodeBytes(equals < 0 ? part : part.slice(0, equals), true).toString('utf8')
      if (!known.includes(name)) throw unknownParameter(name, known)
      if (this.#values.has(name)) throw bad(`the query has two ${name}: give one`)
      this.#values.set(name, equals < 0 ? '' : part.slice(equals + 1))
    }
  }

  has(name: string): boolean {
    return this.#values.has(name)
  }

  bytes(name: string): Buffer | undefined {
    const raw = this.#values.get(name)
    return raw === undefined ? undefined : decodeBytes(raw, true)
  }

  text(name: string): string | undefined {
    return this.bytes(name)?.toString('utf8')
  }

  choice<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const found = choices.find(choice => choice === text)
    if (found !== undefined) return found
    throw bad(`${name} '${shown(text)}' is not one of ${choices.join(', ')}`)
  }

  /** In milliseconds. */
  duration(name: string): number | undefined {
    const text = this.text(name)
    return text === undefined ? undefined : parseDuration(name, text)
  }

  /** A whole number of at least 1. */
  count(name: string): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const count = /^\d{1,15}$/.test(text) ? Number(text) : 0
    if (count >= 1) return count
    throw bad(`${name} '${shown(text)}' is not a whole number from 1 on`)
  }

  /** True for the name alone, `true` and `1`. */
  flag(name: string): boolean {
    const text = this.text(name)
    if (text === undefined || text === 'false' || text === '0') return false
    if (text === '' || text === 'true' || text === '1') return true
    throw bad(`${name} '${shown(text)}' is neither true nor false`)
  }
}

/** In milliseconds. Throws HttpError that says what a duration looks like. */
export function parseDuration(name: string, text: string): number {
  const ms = durationMs(text)
  if (ms !== undefined && ms <= TTL_MS_MAX) return ms
  if (/^\d+(?:\.\d+)?$/.test(text)) {
    throw bad(`${name} '${shown(text)}' has no unit: write ${text}s for seconds, ${text}ms for ms`)
  }
  if (looksLikeDuration(text)) {
    throw bad(`${name} '${shown(text)}' is no duration from 1ms to ${TTL_DAYS_MAX}d`)
  }
  throw bad(`${name} '${shown(text)}' is no duration such as 500ms, 10s, 5m, 2h or 1d`)
}

function unknownParameter(name: string, known: readonly string[]): HttpError {
  const meant = closestWord(name, known)
  const hint = meant === undefined ? '' : `: do you mean ${meant}?`
  if (known.length === 0) return bad(`there is no parameter '${shown(name)}' here, nor any other`)
  const all = `it takes ${known.join(', ')}`
  return bad(`there is no parameter '${shown(name)}' here${hint || `; ${all}`}`)
}

export function bad(message: string): HttpError {
  return new HttpError('HTTP_BAD_REQUEST', message)
}

const SHOWN_MAX = 60

/** What a client sent, for a message. */
export function shown(text: string): string {
  return text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}…`
}

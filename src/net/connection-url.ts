/**
 * Where servers are, as text.
 *
 *   url     := ("kv://" | "kvs://") [user [":" password] "@"] address ("," address)* ["/"]
 *              ["?" name "=" value ("&" name "=" value)*]
 *   address := host [":" port]          an IPv6 host stands in brackets
 *
 * User and password are percent-encoded where they hold other than letters, digits, - . _ and ~. So
 * is '@' after the addresses, or a password that holds a bare '/' or '?' could pass for an address.
 * No message shows anything of a password, of a URL that is refused neither.
 */
import { InvalidArgumentError } from '../errors.ts'
import {
  CONSISTENCIES,
  type Consistency,
  DURABILITIES,
  type Durability,
} from '../key-value-store.ts'
import { DEFAULT_PORT } from './limits.ts'

export interface NodeAddress {
  readonly host: string
  readonly port: number
}

/** What a URL may say besides addresses. */
export interface UrlOptions {
  readonly timeoutMs?: number
  readonly connectTimeoutMs?: number
  readonly clientName?: string
  readonly consistency?: Consistency
  readonly durability?: Durability
  readonly user?: string
  readonly password?: string
  /** True for kvs:// */
  readonly tls?: true
}

export interface ParsedUrl {
  readonly nodes: readonly NodeAddress[]
  readonly options: UrlOptions
}

const SCHEMES = ['kv://', 'kvs://'] as const

/** Throws InvalidArgumentError that says what is wrong and what would be right. */
export function parseConnectionUrl(url: string): ParsedUrl {
  const scheme = SCHEMES.find(known => url.startsWith(known))
  if (scheme === undefined) {
    throw invalid(
      url,
      'it must begin with kv://, or kvs:// for TLS, for example kv://127.0.0.1:7700',
    )
  }
  const rest = url.slice(scheme.length)
  if (/[/?].*@/s.test(rest)) {
    throw invalid(url, "'/' is %2F, '?' is %3F in a user or password, and '@' is %40 behind them")
  }
  const queryStart = rest.indexOf('?')
  const authority = (queryStart < 0 ? rest : rest.slice(0, queryStart)).replace(/\/$/, '')
  if (authority.includes('/')) throw invalid(url, 'it has no path')
  const at = authority.lastIndexOf('@')
  const who = at < 0 ? {} : parseUser(url, authority.slice(0, at))
  const addresses = authority.slice(at + 1).split(',')
  const nodes = addresses.map(address => parseAddress(url, address))
  const options = queryStart < 0 ? {} : parseQuery(url, rest.slice(queryStart + 1))
  const tls = scheme === 'kvs://' ? { tls: true as const } : {}
  return { nodes, options: { ...options, ...who, ...tls } }
}

/** `user`, `user:password` or `:password`. */
function parseUser(url: string, text: string): Pick<UrlOptions, 'user' | 'password'> {
  const colon = text.indexOf(':')
  const user = decode(url, colon < 0 ? text : text.slice(0, colon))
  const password = colon < 0 ? undefined : decode(url, text.slice(colon + 1))
  return {
    ...(user === '' ? {} : { user }),
    ...(password === undefined || password === '' ? {} : { password }),
  }
}

function decode(url: string, text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (!(error instanceof URIError)) throw error
    throw invalid(url, "its user or password has a '%' that begins no percent-encoding")
  }
}

/** The URL without its password. Requires one that parseConnectionUrl accepts. */
export function withoutPassword(url: string): string {
  return url.replace(/^(\w+:\/\/[^/?@:]*):[^/?]*@/, '$1@').replace(/^(\w+:\/\/)@/, '$1')
}

/**
 * What can be shown of a URL that is refused: nothing that anybody may have meant as a password,
 * and no value of its query.
 */
function shownOf(url: string): string {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(url)?.[0] ?? ''
  const rest = url.slice(scheme.length)
  // The '@' may end a password or be within one.
  if (/[/?].*@/s.test(rest)) return `${scheme}${/^[^:/?@]*/.exec(rest)?.[0]}...`
  const [place = ''] = rest.split('?', 1)
  const at = place.lastIndexOf('@')
  const user = at < 0 ? '' : place.slice(0, at).replace(/:.*$/s, '')
  const shown = `${scheme}${user}${user === '' ? '' : '@'}${place.slice(at + 1)}`
  return place === rest ? shown : `${shown}?...`
}

/** `host`, `host:port`, `[ipv6]` or `[ipv6]:port`. */
function parseAddress(url: string, text: string): NodeAddress {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^[\]:]+))(?::(.*))?$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  if (host === undefined) throw invalid(url, `'${text}' is not host:port`)
  const port = match?.[3]
  return { host, port: port === undefined ? DEFAULT_PORT : parsePort(url, port) }
}

function parsePort(url: string, text: string): number {
  const port = /^\d+$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535) throw invalid(url, `port '${text}' is not from 1 to 65535`)
  return port
}

function parseQuery(url: string, query: string): UrlOptions {
  const options: Record<string, unknown> = {}
  for (const [name, value] of new URLSearchParams(query)) {
    if (name in options) throw invalid(url, `it says '${name}' twice`)
    options[name] = parseOption(url, name, value)
  }
  return options
}

function parseOption(url: string, name: string, value: string): unknown {
  switch (name) {
    case 'timeoutMs':
    case 'connectTimeoutMs':
      if (!/^\d+$/.test(value)) throw invalid(url, `${name} must be whole milliseconds`)
      return Number(value)
    case 'clientName':
      return value
    case 'consistency':
      return oneOf(url, name, value, CONSISTENCIES)
    case 'durability':
      return oneOf(url, name, value, DURABILITIES)
    case 'password':
      throw invalid(url, "a password stands before an '@': kv://user:password@host")
    default:
      throw invalid(
        url,
        `'${name}' is not one of timeoutMs, connectTimeoutMs, clientName, consistency, durability`,
      )
  }
}

function oneOf(url: string, name: string, value: string, allowed: readonly string[]): string {
  if (allowed.includes(value)) return value
  throw invalid(url, `${name} must be ${allowed.join(', ')}, got '${value}'`)
}

function invalid(url: string, what: string): InvalidArgumentError {
  return new InvalidArgumentError(`cannot connect to '${shownOf(url)}': ${what}`)
}

/** `host:port` as people write it. */
export function formatAddress({ host, port }: NodeAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

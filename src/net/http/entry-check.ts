/**
 * Who may enter: a password where the node has one, and no web page of somebody else's.
 *
 * A browser sends requests for any page to any server it can reach. What a page could do without
 * being asked first (a form, a simple POST) is refused by where it comes from. On a node without a
 * password a page could even read, once the name it was loaded from is made to lead here (DNS
 * rebinding): so there the Host must be an address, or a name that nobody can register.
 */
import { AuthenticationError } from '../../errors.ts'
import { equalInConstantTime } from '../../secret.ts'
import type { Access } from '../auth/index.ts'
import { DEFAULT_USER, encodeCredentials } from '../credentials.ts'
import type { MaybePromise } from '../request-handler.ts'
import type { HttpCall } from './http-call.ts'
import { HttpError } from './http-error.ts'
import { bad, shown } from './request-target.ts'

const ADDRESS = /^(?:\[[\da-f:.]+\]|\d{1,3}(?:\.\d{1,3}){3})$/i
const PORT = /:\d*$/

/**
 * Says what the client may do, at once or when its password was checked. Throws or rejects with
 * AuthenticationError, OverloadedError or HttpError for one that must not be served.
 */
export function checkEntry(call: HttpCall): MaybePromise<Access> {
  const { doorkeeper } = call.context
  checkHost(call, !doorkeeper.asksForPassword)
  if (!isSafe(call.method)) checkOrigin(call)
  return doorkeeper.asksForPassword ? checkAuthorization(call) : doorkeeper.everybody
}

/** Also where nobody is asked for a password. */
export function checkHost(call: HttpCall, isNameChecked: boolean): void {
  const { fields, connection, request } = call
  const { host } = fields
  if (host !== undefined && host === connection.host) return
  if (host === undefined) {
    if (request.httpVersionMinor === 0) return
    throw bad('a request has a Host header')
  }
  if (isNameChecked && !isUnregistrable(host)) {
    throw new HttpError(
      'HTTP_FORBIDDEN',
      `this node has no password, so it is not served under the name '${shown(host)}', which a ` +
        'web page could have been loaded from: use its address or localhost, or give it a password',
    )
  }
  connection.host = host
}

function isUnregistrable(host: string): boolean {
  const name = host.replace(PORT, '').toLowerCase()
  return !name.includes('.') || name.endsWith('.localhost') || ADDRESS.test(name)
}

function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD'
}

function checkOrigin({ fields }: HttpCall): void {
  const { origin, fetchSite, host = '' } = fields
  if (fetchSite === 'same-origin' || fetchSite === 'none') return
  if (fetchSite === undefined && (origin === undefined || origin.endsWith(`//${host}`))) return
  const message = `requests of web pages from elsewhere are not served (${shown(origin ?? '')})`
  throw new HttpError('HTTP_FORBIDDEN', message)
}

/** An accepted header is remembered: a keyed hash for every request would cost as much as a GET. */
function checkAuthorization(call: HttpCall): MaybePromise<Access> {
  const { fields, connection, context } = call
  const { authorization } = fields
  if (authorization === undefined) {
    throw new AuthenticationError('this server asks for a user and a password')
  }
  const header = Buffer.from(authorization, 'latin1')
  const { admitted } = connection
  if (admitted !== undefined && equalInConstantTime(admitted.header, header)) {
    if (!admitted.access.isRevoked) return admitted.access
  }
  const { doorkeeper } = context
  const credentials = credentialsIn(authorization, doorkeeper.user)
  const remember = (access: Access): Access => {
    connection.admitted = { header, access }
    return access
  }
  const access = doorkeeper.admit(credentials, call)
  return access instanceof Promise ? access.then(remember) : remember(access)
}

/** A bearer token is the password of the server's own user. */
function credentialsIn(authorization: string, user: string): Uint8Array {
  const match = /^(basic|bearer) +([^\s]+) *$/i.exec(authorization)
  if (match === null) {
    throw new AuthenticationError('the Authorization header is neither Basic nor Bearer')
  }
  const [, scheme = '', token = ''] = match
  if (scheme.toLowerCase() === 'bearer') return encodeOrRefuse(user, token)
  const pair = Buffer.from(token, 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  if (colon < 0) throw new AuthenticationError('Basic credentials are user:password in base64')
  return encodeOrRefuse(pair.slice(0, colon) || DEFAULT_USER, pair.slice(colon + 1))
}

function encodeOrRefuse(user: string, password: string): Uint8Array {
  try {
    return encodeCredentials({ user, password })
  } catch (error) {
    // Nobody's password is empty, or so long.
    throw new AuthenticationError('the user or the password is wrong', { cause: error })
  }
}

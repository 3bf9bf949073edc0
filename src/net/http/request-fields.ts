/**
 * The header fields that this door looks at, taken from a request in one pass: most requests have
 * few and need none of them, and an object of all headers costs more than answering a GET.
 */
import { HttpError } from './http-error.ts'

export class RequestFields {
  host: string | undefined
  origin: string | undefined
  authorization: string | undefined
  contentType: string | undefined
  contentLength: string | undefined
  ifMatch: string | undefined
  ifNoneMatch: string | undefined
  fetchSite: string | undefined
  isChunked = false
  /** The body is a part of what it is of. */
  isPart = false
}

/** Takes names and values in turn. Throws HttpError for two of a field that there is one of. */
export function readFields(rawHeaders: readonly string[]): RequestFields {
  const fields = new RequestFields()
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    // Only names as long as one that is looked for are compared.
    switch (name.length) {
      case 4:
      case 6:
      case 8:
      case 12:
      case 13:
      case 14:
      case 17:
        take(fields, name.toLowerCase(), rawHeaders[at + 1]!)
        break
      default:
    }
  }
  return fields
}

function take(fields: RequestFields, name: string, value: string): void {
  switch (name) {
    case 'host':
      fields.host = once(name, fields.host, value)
      break
    case 'origin':
      fields.origin = once(name, fields.origin, value)
      break
    case 'if-match':
      fields.ifMatch = joined(fields.ifMatch, value)
      break
    case 'content-type':
      fields.contentType = once(name, fields.contentType, value)
      break
    case 'authorization':
      fields.authorization = once(name, fields.authorization, value)
      break
    case 'if-none-match':
      fields.ifNoneMatch = joined(fields.ifNoneMatch, value)
      break
    case 'content-length':
      fields.contentLength = once(name, fields.contentLength, value)
      break
    case 'sec-fetch-site':
      fields.fetchSite = value
      break
    case 'content-range':
      fields.isPart = true
      break
    case 'transfer-encoding':
      fields.isChunked = true
      break
    default:
  }
}

function once(name: string, before: string | undefined, value: string): string {
  if (before === undefined) return value
  throw new HttpError('HTTP_BAD_REQUEST', `the request has two ${name} headers: send one`)
}

/** Lists may come in several fields (RFC 9110, 5.3). */
function joined(before: string | undefined, value: string): string {
  return before === undefined ? value : `${before}, ${value}`
}

const ETAG_IN_LIST = /(?:W\/)?("[^"]*")/g

/** Whether a list of entity tags has this one, or is `*`. Weak comparison, as for reads. */
export function hasTag(list: string, tag: string): boolean {
  if (list === tag || list === '*') return true
  for (const [, listed] of list.matchAll(ETAG_IN_LIST)) if (listed === tag) return true
  return false
}

/** The same by strong comparison, as for writes: a weak tag never matches. */
export function hasStrongTag(list: string, tag: string): boolean {
  if (list === tag || list === '*') return true
  return list.split(',').some(listed => listed.trim() === tag)
}

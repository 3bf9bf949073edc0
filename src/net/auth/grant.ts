/**
 * What a user is allowed, as text and as a value.
 *
 *   grant  := action ("," action)* [":" prefix]        read,write:app:
 *   action := "read" | "write"       of the keys that begin with the prefix; without one, of all
 *           | "monitor"              the node's figures: stats, metrics, status; no keys
 *           | "admin"                commands that change the node; what monitor sees, too
 *
 * A prefix is UTF-8, and as text not empty; in a users file one of other bytes stands in base64
 * (users-file.ts).
 */
import { utf8Encode } from '../../bytes.ts'
import { InvalidArgumentError } from '../../errors.ts'

export const ACTIONS = ['read', 'write', 'monitor', 'admin'] as const
export type Action = (typeof ACTIONS)[number]

export interface Grant {
  readonly actions: readonly Action[]
  /** Of keys; empty for all of them. */
  readonly prefix: Uint8Array
}

/** Of one user; each operation of a user who may not do everything looks through them. */
export const GRANTS_MAX = 64
const PREFIX_SIZE_MAX = 1024
/** Further actions where the prefix is: nobody means keys that begin so. */
const MISPLACED = new RegExp(`,(?:${ACTIONS.join('|')})(?=[,:]|$)`)

/** Throws InvalidArgumentError that says what would be right. */
export function parseGrant(text: string): Grant {
  const colon = text.indexOf(':')
  const actions = (colon < 0 ? text : text.slice(0, colon)).split(',')
  if (colon < 0) return checkGrant(actions, new Uint8Array(0))
  const prefix = text.slice(colon + 1)
  // It may come from a variable that is not set, and would allow everything.
  if (prefix === '') {
    throw new InvalidArgumentError(
      `in '${text}' no prefix stands behind the colon; for all keys: ${text.slice(0, colon)}`,
    )
  }
  const misplaced = MISPLACED.exec(prefix)
  if (misplaced !== null) {
    throw new InvalidArgumentError(
      `in '${text}' the prefix of the keys would be '${prefix}'; actions stand before the colon, ` +
        `and grants for other keys apart: ${text.slice(0, colon + 1 + misplaced.index)} ` +
        text.slice(colon + 2 + misplaced.index),
    )
  }
  return checkGrant(actions, utf8Encode(prefix))
}

/** Throws InvalidArgumentError for unknown actions, and for a prefix where none belongs. */
export function checkGrant(actions: readonly unknown[], prefix: Uint8Array): Grant {
  const known: Action[] = []
  for (const given of actions) {
    const action = ACTIONS.find(name => name === given)
    if (action === undefined) {
      throw new InvalidArgumentError(
        `'${String(given)}' is not one of ${ACTIONS.join(', ')}; a grant is, for example, ` +
          'read,write:app: for the keys that begin with app:',
      )
    }
    if (prefix.length > 0 && (action === 'admin' || action === 'monitor')) {
      throw new InvalidArgumentError(`${action} is of the node, not of keys: it has no prefix`)
    }
    if (!known.includes(action)) known.push(action)
  }
  if (known.length === 0) throw new InvalidArgumentError('a grant allows at least one action')
  if (prefix.length <= PREFIX_SIZE_MAX) return { actions: known, prefix: prefix.slice() }
  throw new InvalidArgumentError(`a prefix has at most ${PREFIX_SIZE_MAX} bytes`)
}

/** As `parseGrant` takes it, if the prefix is UTF-8. */
export function formatGrant({ actions, prefix }: Grant): string {
  const text = Buffer.from(prefix).toString('utf8')
  return prefix.length === 0 ? actions.join(',') : `${actions.join(',')}:${text}`
}

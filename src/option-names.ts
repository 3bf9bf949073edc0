/**
 * What calls can be told, of both kinds of store: a misspelt option would be none at all, and the
 * answer a wrong one. What only one kind can do has an error of its own there.
 */
import { checkMembers } from './arguments.ts'

const CALL_OPTIONS = ['signal', 'timeoutMs']

export const READ_OPTIONS: ReadonlySet<string> = new Set([
  ...CALL_OPTIONS,
  'consistency',
  'snapshot',
])
export const WRITE_OPTIONS: ReadonlySet<string> = new Set([
  ...CALL_OPTIONS,
  'consistency',
  'durability',
])
export const PUT_OPTIONS: ReadonlySet<string> = new Set([...WRITE_OPTIONS, 'ttlMs'])
export const RANGE_MEMBERS: ReadonlySet<string> = new Set(['gt', 'gte', 'lt', 'lte'])
export const SCAN_OPTIONS: ReadonlySet<string> = new Set([
  ...READ_OPTIONS,
  ...RANGE_MEMBERS,
  ...['reverse', 'limit', 'order'],
])
/** Of a put or a deletion in a batch. */
export const OPERATION_MEMBERS: ReadonlySet<string> = new Set(['type', 'key', 'value', 'ttlMs'])

/** Throws InvalidArgumentError for options that have a member which is not known, or are none. */
export function checkOptions(options: object | undefined, known: ReadonlySet<string>): void {
  if (options !== undefined) checkMembers(options, 'options', known)
}

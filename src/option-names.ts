/**
 * What calls can be told, of both kinds of store: a misspelt option would be none at all, and the
 * answer a wrong one. What only one kind can do has an error of its own there.
 */
import { checkConsistency, checkMembers, checkSignal, checkTimeout } from './arguments.ts'
import type { CallOptions, Consistency } from './key-value-store.ts'

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

/**
 * checkOptions for a call that a signal or a time may end: also of what an embedded store has no
 * use for, a wrong value is an error, as it is in a remote one. Throws AbortedError when the signal
 * has fired.
 */
export function checkCall(
  options: (CallOptions & { readonly consistency?: Consistency }) | undefined,
  known: ReadonlySet<string>,
): void {
  if (options === undefined) return
  checkMembers(options, 'options', known)
  checkTimeout(options.timeoutMs)
  checkConsistency(options.consistency)
  checkSignal(options.signal)
}

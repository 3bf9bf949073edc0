/** What commands are counted as where their names would be too many: reads, writes, the rest. */
import type { CommandFlag } from './command.ts'

export const RespOperation = { other: 0, read: 1, write: 2 } as const
export type RespOperation = (typeof RespOperation)[keyof typeof RespOperation]

/** By number. */
export const RESP_OPERATION_NAMES = ['other', 'read', 'write'] as const

export function operationOf(flags: readonly CommandFlag[]): RespOperation {
  if (flags.includes('write')) return RespOperation.write
  return flags.includes('readonly') ? RespOperation.read : RespOperation.other
}

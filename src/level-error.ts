/**
 * Errors as users of abstract-level know them: recognised by a `code` that begins with `LEVEL_`.
 * The engine's own error, which says more, is the `cause`.
 */
import { InvalidArgumentError, KvError, type KvErrorCode, toError } from './errors.ts'

export type LevelErrorCode =
  | 'LEVEL_ABORTED'
  | 'LEVEL_CORRUPTION'
  | 'LEVEL_DATABASE_NOT_OPEN'
  | 'LEVEL_INVALID_KEY'
  | 'LEVEL_INVALID_VALUE'
  | 'LEVEL_IO_ERROR'
  | 'LEVEL_LOCKED'
  | 'LEVEL_NOT_SUPPORTED'

export class LevelError extends Error {
  override readonly name: string = 'LevelError'
  readonly code: LevelErrorCode

  constructor(code: LevelErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** A read that its signal ended. Has the name that the web gives such errors. */
export class LevelAbortError extends LevelError {
  override readonly name = 'AbortError'

  constructor(cause: unknown) {
    super('LEVEL_ABORTED', 'Operation has been aborted', { cause })
  }
}

/** Codes of the engine that abstract-level has a word for; all others stay what they are. */
const CODES: Partial<Record<KvErrorCode, LevelErrorCode>> = {
  KV_CLOSED: 'LEVEL_DATABASE_NOT_OPEN',
  KV_CORRUPTION: 'LEVEL_CORRUPTION',
  KV_IO: 'LEVEL_IO_ERROR',
  KV_LOCKED: 'LEVEL_LOCKED',
  KV_POISONED: 'LEVEL_IO_ERROR',
}

/** The error to give to a user of abstract-level for one of the engine or the disk. */
export function levelError(error: unknown): Error {
  if (!(error instanceof KvError)) {
    // What the operating system refuses names the call that failed.
    if (!(error instanceof Error && 'syscall' in error)) return toError(error)
    return new LevelError('LEVEL_IO_ERROR', error.message, { cause: error })
  }
  const code = error instanceof InvalidArgumentError ? argumentCode(error) : CODES[error.code]
  return code === undefined ? error : new LevelError(code, error.message, { cause: error })
}

/** The door of the engine says which argument it refuses in the first word. */
function argumentCode(error: InvalidArgumentError): LevelErrorCode | undefined {
  if (error.message.startsWith('key ')) return 'LEVEL_INVALID_KEY'
  return error.message.startsWith('value ') ? 'LEVEL_INVALID_VALUE' : undefined
}

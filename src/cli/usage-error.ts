/** The command line itself is wrong. The program ends with exit code 2, the REPL goes on. */
import { KvError } from '../errors.ts'

export class UsageError extends KvError {
  override readonly name = 'UsageError'
  readonly code = 'KV_INVALID_ARGUMENT'
  readonly action = 'fix-request'
}

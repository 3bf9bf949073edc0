/**
 * The command line is right; what it meets is not, and the user can decide what to do: a file that
 * would be lost, data that is damaged. The program ends with exit code 1.
 */
import { KvError } from '../errors.ts'

export class RefusedError extends KvError {
  override readonly name: string = 'RefusedError'
  readonly code = 'KV_INVALID_ARGUMENT'
  readonly action = 'fix-request'
  /** What to do about it, at a command line. */
  readonly advice: string

  constructor(message: string, options: ErrorOptions & { advice: string }) {
    super(message, options)
    this.advice = options.advice
  }
}

/** The data given to an import cannot be read or stored as it is. Says where, and what is wrong. */
import { KvError } from '../errors.ts'
import type { InputPlace } from './record-format.ts'

export class BadInputError extends KvError {
  override readonly name = 'BadInputError'
  readonly code = 'KV_INVALID_ARGUMENT'
  readonly action = 'fix-request'
  readonly place: InputPlace
  /** What to do about it, at a command line. */
  readonly advice: string

  constructor(
    source: string,
    place: InputPlace,
    problem: string,
    options: ErrorOptions & { advice: string },
  ) {
    super(`${source}, line ${place.line} (byte ${place.offset}): ${problem}`, options)
    this.place = { offset: place.offset, line: place.line }
    this.advice = options.advice
  }
}

/** The data given to an import cannot be read or stored as it is. Says where, and what is wrong. */
import type { InputPlace } from './record-format.ts'
import { RefusedError } from './refused-error.ts'

export class BadInputError extends RefusedError {
  override readonly name = 'BadInputError'
  readonly place: InputPlace

  constructor(
    source: string,
    place: InputPlace,
    problem: string,
    options: ErrorOptions & { advice: string },
  ) {
    super(`${source}, line ${place.line} (byte ${place.offset}): ${problem}`, options)
    this.place = { offset: place.offset, line: place.line }
  }
}

/**
 * What a check of files found wrong, or worth knowing: plain data, so that it crosses threads and
 * prints as JSON.
 */
import { CorruptionError, VersionMismatchError } from '../errors.ts'
import { systemErrorCode } from './file-system.ts'

/** Findings kept; a file of nothing but damage would otherwise fill the memory. */
const FINDINGS_MAX = 1000

export interface Finding {
  /** `damage` is data that is lost or wrong; `notice` is what a crash may leave behind. */
  readonly severity: 'damage' | 'notice'
  readonly path: string
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly what: string
  readonly expected?: string | undefined
  readonly actual?: string | undefined
}

export class FindingList {
  readonly #findings: Finding[] = []
  #damages = 0
  #omitted = 0

  /** The first FINDINGS_MAX, in the order in which they came. */
  get findings(): readonly Finding[] {
    return this.#findings
  }

  /** How many more there were. */
  get omitted(): number {
    return this.#omitted
  }

  /** Findings of severity `damage`, the omitted ones included. */
  get damages(): number {
    return this.#damages
  }

  add(finding: Finding): void {
    if (finding.severity === 'damage') this.#damages++
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push(finding)
    else this.#omitted++
  }

  damage(path: string, offset: number, what: string, sums?: Sums): void {
    this.add({ severity: 'damage', path, offset, what, ...sums })
  }

  notice(path: string, offset: number, what: string): void {
    this.add({ severity: 'notice', path, offset, what })
  }

  /**
   * Takes an error that says that a file is not as it should be, or that the disk does not give it.
   * Throws it again when it is another one.
   */
  addError(error: unknown, path: string, offset = 0): void {
    this.add(findingOf(error, path, offset))
  }
}

interface Sums {
  readonly expected: string
  readonly actual: string
}

function findingOf(error: unknown, path: string, offset: number): Finding {
  if (error instanceof CorruptionError) {
    const { what, expected, actual } = error
    return {
      severity: 'damage',
      path: error.path,
      offset: error.offset,
      what,
      expected,
      actual,
    }
  }
  // What a newer build wrote is not damaged, and this one cannot judge it.
  if (error instanceof VersionMismatchError) throw error
  const code = systemErrorCode(error)
  if (code === 'ENOENT') return { severity: 'damage', path, offset, what: 'the file is missing' }
  if (code === 'EIO' || code === 'KV_IO') {
    return { severity: 'damage', path, offset, what: `cannot be read: ${(error as Error).message}` }
  }
  throw error
}

/**
 * Files that are read again when they change, while the node serves: looked at every second, and at
 * once when kvd is told to. A file that is wrong changes nothing: what was loaded before stays.
 * Several files that belong together are replaced one after another, so what does not fit is
 * looked at once more before anybody is told.
 */
import type { Clock } from '../clock.ts'
import type { LogFields, Logger } from '../logger.ts'

const INTERVAL_MS = 1000

export interface Reload {
  /** For the log. */
  readonly what: string
  readonly paths: readonly string[]
  /**
   * Reads the files and takes what they say; returns what to log of it. Throws, and changes
   * nothing, when they are wrong.
   */
  readonly load: () => LogFields
}

interface Watched extends Reload {
  /** Of the files as they were read last. */
  stamps: string
  /** They did not fit when they were looked at last, and nobody was told yet. */
  isDoubtful: boolean
}

export class Reloads {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #stampOf: (path: string) => string
  readonly #watched: Watched[] = []

  /** `stampOf` tells one state of a file from any other. */
  constructor(clock: Clock, logger: Logger, stampOf: (path: string) => string) {
    this.#clock = clock
    this.#logger = logger
    this.#stampOf = stampOf
  }

  get isEmpty(): boolean {
    return this.#watched.length === 0
  }

  /** Loads now, and throws what that throws; and again whenever a file has changed. */
  add(reload: Reload): void {
    const stamps = this.#stampsOf(reload)
    reload.load()
    if (this.#watched.push({ ...reload, stamps, isDoubtful: false }) === 1) this.#schedule()
  }

  #stampsOf({ paths }: Reload): string {
    return paths.map(this.#stampOf).join('\n')
  }

  #schedule(): void {
    const look = (): void => {
      this.check(false)
      this.#schedule()
    }
    this.#clock.setTimer(INTERVAL_MS, look, { background: true })
  }

  /** Reads what has changed again, or everything. */
  check(isForced: boolean): void {
    for (const watched of this.#watched) {
      // Before reading: what changes meanwhile is seen the next time.
      const stamps = this.#stampsOf(watched)
      const isSame = stamps === watched.stamps
      if (isSame && !isForced && !watched.isDoubtful) continue
      watched.stamps = stamps
      const { what } = watched
      try {
        const fields = watched.load()
        watched.isDoubtful = false
        this.#logger.info('loaded anew', { what, ...fields })
      } catch (error) {
        watched.isDoubtful = !isForced && !watched.isDoubtful
        if (watched.isDoubtful) continue
        this.#logger.error('not loaded: what there was before stays', { what, error })
      }
    }
  }
}

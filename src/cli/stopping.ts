/**
 * What kvd does at signals, while it starts and while it serves:
 *
 *   starting --signal--> exit 128 + n at once
 *   serving --signal--> draining --done--> exit 0
 *                        second signal, half a second later: exit 1 at once
 *
 * SIGHUP loads files anew where there are any to load, unless it is the terminal's end.
 */
import type { Logger } from '../logger.ts'
import type { DaemonIo } from './daemon-io.ts'
import { ExitCode } from './exit-code.ts'
import type { Reloads } from './reloads.ts'

/** npm passes on the Ctrl-C that the terminal sent to us as well: that is one, not two. */
const REPEATED_SIGNAL_MS = 500
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }

/** What serves until then. */
export interface Stoppable {
  /** Lets clients finish. */
  close(options: { readonly graceMs: number }): Promise<void>
}

/** What to do at each signal. */
export class Stopping {
  readonly #io: DaemonIo
  readonly #logger: Logger
  readonly #graceMs: number
  readonly #unclean: string
  #node: Stoppable | undefined
  /** What a hangup loads anew, on a server that has no terminal. */
  reloads: Reloads | undefined
  /** Undefined until a signal asked for it. */
  #drainingSinceMs: number | undefined

  /** `unclean` is logged with the error when the end is none in good order. */
  constructor(io: DaemonIo, logger: Logger, graceMs: number, unclean: string) {
    this.#io = io
    this.#unclean = unclean
    this.#logger = logger
    this.#graceMs = graceMs
  }

  serving(node: Stoppable): void {
    this.#node = node
  }

  signal(name: string): void {
    const node = this.#node
    const { reloads } = this
    const isHangup = name === 'SIGHUP' && !this.#io.stderr.isTTY
    if (isHangup && node !== undefined && reloads !== undefined && !reloads.isEmpty) {
      reloads.check(true)
    } else if (node === undefined) {
      this.#logger.info(`${name} while starting: stopping`)
      this.#io.exit(128 + (SIGNAL_NUMBERS[name] ?? 0))
    } else if (this.#drainingSinceMs !== undefined) {
      if (this.#io.clock.monotonicMs() - this.#drainingSinceMs < REPEATED_SIGNAL_MS) return
      this.#logger.warn(`${name} again: stopping at once; what was acknowledged is safe`)
      this.#io.exit(ExitCode.failed)
    } else {
      this.#drainingSinceMs = this.#io.clock.monotonicMs()
      this.#logger.info(`${name}: letting clients finish; once more stops at once`)
      void this.#drain(node)
    }
  }

  async #drain(node: Stoppable): Promise<void> {
    try {
      await node.close({ graceMs: this.#graceMs })
    } catch (error) {
      this.#logger.error(this.#unclean, { error })
      this.#io.exit(ExitCode.failed)
      return
    }
    this.#logger.info('stopped')
    this.#io.exit(ExitCode.ok)
  }
}

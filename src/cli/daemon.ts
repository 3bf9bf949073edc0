/** What kvd serve and kvd proxy do before and after they begin to serve, whatever it is. */
import type { Logger } from '../logger.ts'
import { formatAddress, isLoopback, type ListenAddress } from '../net/index.ts'
import type { DaemonIo } from './daemon-io.ts'
import { createLogger } from './door-settings.ts'
import { ExitCode } from './exit-code.ts'
import { stopsWithParent, watchParent } from './parent-watch.ts'
import { misspeltVariables, type Settings } from './settings.ts'
import { Stopping } from './stopping.ts'
import { colourWanted, createStyle, type Style } from './style.ts'

export interface Daemon {
  readonly logger: Logger
  readonly style: Style
  readonly stopping: Stopping
}

/** From here on the process logs, and hears signals. `unclean` is for an end in no good order. */
export function beginDaemon(settings: Settings, io: DaemonIo, unclean: string): Daemon {
  const style = createStyle(colourWanted(io.stderr.isTTY, io.env))
  const logger = createLogger(settings, io, style)
  io.onUncaught(error => {
    const stack = error instanceof Error ? error.stack : undefined
    logger.error('a bug: stopping, for the state of this process is unknown', { error, stack })
    io.exit(ExitCode.failed)
  })
  for (const { name, meant } of misspeltVariables(io.env)) {
    logger.warn(`the environment has ${name}, which is no setting`, { meant })
  }
  const stopping = new Stopping(io, logger, settings.drainTimeout, unclean)
  io.onStopSignal(signal => stopping.signal(signal))
  if (stopsWithParent(io.env)) {
    const gone = (): void => stopping.signal('the process that started this one is gone')
    watchParent(io.clock, io.parentId, gone)
  }
  return { logger, style, stopping }
}

/** Where clients are served. */
export interface OpenDoors {
  readonly address: ListenAddress
  readonly respAddress: ListenAddress | undefined
  readonly httpAddress: ListenAddress | undefined
}

export function logDoors(logger: Logger, doors: OpenDoors, isEncrypted: boolean): void {
  const { address, respAddress, httpAddress } = doors
  if (respAddress !== undefined) {
    logger.info('serving Redis clients', { address: formatAddress(respAddress) })
  }
  if (httpAddress !== undefined) {
    logger.info('serving HTTP clients', { address: formatAddress(httpAddress) })
  }
  const all = [address, respAddress ?? address, httpAddress ?? address]
  if (all.every(({ host }) => isLoopback(host)) || isEncrypted) return
  logger.warn('other machines reach this node, and nothing is encrypted, passwords included')
}

/** Settings of kvd that serve and proxy have in common: doors, their limits, and the log. */
import type { NodeOptions } from '../cluster/index.ts'
import { jsonLogger, type Logger } from '../logger.ts'
import { DEFAULT_SERVER_LIMITS, type ServerLimits } from '../net/index.ts'
import type { DaemonIo } from './daemon-io.ts'
import { connectionRoom } from './file-limit.ts'
import { PASSWORD_VARIABLE, passwordIn } from './password.ts'
import type { Settings } from './settings.ts'
import type { Style } from './style.ts'
import { textLogger } from './text-logger.ts'

const MIB = 1024 * 1024

export function createLogger(settings: Settings, io: DaemonIo, style: Style): Logger {
  const write = (line: string): void => io.stderr.write(line)
  const wallMs = () => io.clock.wallMs()
  const level = settings.logLevel
  if (settings.jsonLogs) return jsonLogger(write, wallMs, level)
  return textLogger({ write, wallMs, level, style })
}

export function doorOptions(settings: Settings): Pick<NodeOptions, 'resp' | 'http'> {
  const { respHost, respPort, httpHost, httpPort } = settings
  return {
    ...(respPort === undefined ? {} : { resp: { host: respHost, port: respPort } }),
    ...(httpPort === undefined ? {} : { http: { host: httpHost, port: httpPort } }),
  }
}

/** A file that was named is meant, whatever the environment has left over. */
export function passwordOf({ passwordFile }: Settings, io: DaemonIo): string | undefined {
  if (passwordFile === undefined) return io.env[PASSWORD_VARIABLE] || undefined
  return passwordIn(io.readText(passwordFile), passwordFile)
}

/** As many connections as are wished for, unless the limit of open files is too low for them. */
export function connectionsMax(
  settings: Settings,
  isLinked: boolean,
  logger: Logger,
  io: DaemonIo,
): number {
  const { maxConnections, compactionThreads } = settings
  const fileLimit = io.openFilesLimit()
  // Besides the compactions, one thread flushes.
  const room = connectionRoom(maxConnections, compactionThreads + 1, fileLimit, isLinked)
  if (room.connections < maxConnections) {
    logger.warn(
      `the limit of ${fileLimit} open files leaves room for ${room.connections} connections, so ` +
        `max-connections is that instead of ${maxConnections}; for all of them start kvd with ` +
        `'ulimit -n ${room.filesNeeded}'`,
    )
  }
  return room.connections
}

/** Longer values need longer frames, and room for some of them. */
export function serverLimits(
  { maxValueSize, slowOperation }: Settings,
  connectionsMax: number,
): Partial<ServerLimits> {
  const standard = DEFAULT_SERVER_LIMITS
  const frameSizeMax = Math.max(standard.frameSizeMax, maxValueSize + 2 * MIB)
  return {
    valueSizeMax: maxValueSize,
    connectionsMax,
    slowOperationMs: slowOperation,
    frameSizeMax,
    inFlightBytesMax: Math.max(standard.inFlightBytesMax, 2 * frameSizeMax),
    receiveBytesMax: Math.max(standard.receiveBytesMax, 2 * frameSizeMax),
    outputBytesMax: Math.max(standard.outputBytesMax, 2 * frameSizeMax),
  }
}

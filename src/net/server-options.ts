/** What a server is made of, and where it listens. */
import type { Clock } from '../clock.ts'
import { InvalidArgumentError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import { DEFAULT_PORT, type ServerLimits } from './limits.ts'
import type { RequestHandler } from './request-handler.ts'

export interface ServerOptions {
  readonly handler: RequestHandler
  readonly clock: Clock
  readonly random: Random
  /** @defaultValue silent */
  readonly logger?: Logger
  /**
   * Milliseconds since the Unix epoch, told to clients so that the versions of their writes agree
   * with what the handler accepts. @defaultValue the wall clock
   */
  readonly timeMs?: () => number
  /** See limits.ts for each limit and its default. */
  readonly limits?: Partial<ServerLimits>
  /** Names this node to clients. @defaultValue eight random bytes in hex */
  readonly nodeId?: string
  /** @defaultValue 'duramen' */
  readonly serverName?: string
  /** @defaultValue '' */
  readonly serverVersion?: string
  /**
   * Listens on any address, although whoever reaches it can read and write everything: there is
   * neither encryption nor authentication yet. @defaultValue false, loopback only
   */
  readonly allowInsecureRemote?: boolean
}

export interface ListenOptions {
  /** @defaultValue '127.0.0.1' */
  readonly host?: string
  /** 0 lets the system choose. @defaultValue 7700 */
  readonly port?: number
}

export interface CloseOptions {
  /** How long clients may take to finish before they are disconnected. @defaultValue 5,000 */
  readonly graceMs?: number
}

/** Where a server listens. */
export interface ListenAddress {
  readonly host: string
  readonly port: number
}

export const CLOSE_GRACE_DEFAULT_MS = 5000

/** Fills in defaults and refuses what must not be listened on. */
export function resolveListenOptions(
  options: ListenOptions,
  allowInsecureRemote: boolean,
): ListenAddress {
  const { host = '127.0.0.1', port = DEFAULT_PORT } = options
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidArgumentError(`port must be an integer from 0 to 65535, got ${port}`)
  }
  if (host === '') throw new InvalidArgumentError('host must not be empty')
  if (!allowInsecureRemote) requireLoopback(host)
  return { host, port }
}

/** Throws InvalidArgumentError unless only this machine can reach `host`. */
export function requireLoopback(host: string): void {
  if (isLoopback(host)) return
  throw new InvalidArgumentError(
    `refusing to listen on ${host}: anyone who can reach it could read and write everything, ` +
      'for there is no encryption and no authentication yet; listen on 127.0.0.1, or set ' +
      'allowInsecureRemote when the network itself is trusted',
  )
}

/** True for names and addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  const lower = host.toLowerCase()
  if (lower === 'localhost' || lower === '::1' || lower === '0:0:0:0:0:0:0:1') return true
  return /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(lower)
}

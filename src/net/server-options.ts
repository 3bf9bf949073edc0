/** What a server is made of, and where it listens. */
import { describe } from '../arguments.ts'
import type { Clock } from '../clock.ts'
import { InvalidArgumentError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import type { Acceptor } from './acceptor.ts'
import type { Audit, Users } from './auth/index.ts'
import type { ServerProtocol } from './conversation.ts'
import type { Credentials } from './credentials.ts'
import { DEFAULT_PORT, type ServerLimits } from './limits.ts'
import type { RequestHandler } from './request-handler.ts'
import type { Server } from './server.ts'

export interface ServerOptions {
  readonly handler: RequestHandler
  readonly clock: Clock
  readonly random: Random
  /** @defaultValue silent */
  readonly logger?: Logger
  /** What it speaks. @defaultValue the binary protocol */
  readonly protocol?: ServerProtocol
  /**
   * Another server of the same process, whose limits on connections and memory hold for both
   * together; `limits` should be the same. @defaultValue none
   */
  readonly sharesWith?: Server
  /** How it is reached. @defaultValue over TCP */
  readonly acceptor?: Acceptor
  /**
   * Milliseconds since the Unix epoch, told to clients so that the versions of their writes agree
   * with what the handler accepts. @defaultValue the wall clock
   */
  readonly timeMs?: () => number
  /** See limits.ts for each limit and its default. */
  readonly limits?: Partial<ServerLimits>
  /** Names this node to clients. @defaultValue eight random bytes in hex */
  readonly nodeId?: string
  /** Which data this is, so that clients notice other data in its place. @defaultValue '' */
  readonly clusterId?: string
  /** @defaultValue 'duramen' */
  readonly serverName?: string
  /** @defaultValue '' */
  readonly serverVersion?: string
  /**
   * Listens on addresses that other machines reach, although nothing is encrypted, the password
   * included. Takes a password. @defaultValue false, loopback only
   */
  readonly allowInsecureRemote?: boolean
  /** What it speaks is encrypted by its acceptor. @defaultValue false */
  readonly isEncrypted?: boolean
  /** With a password, whoever knows it is served, in everything. @defaultValue everybody is */
  readonly credentials?: Credentials
  /** With users, these are served, too, each with what it is allowed. @defaultValue none */
  readonly users?: Users | undefined
  /** Where it is written down who was refused. @defaultValue the logger */
  readonly audit?: Audit
}

/** What decides where a server may listen. */
export interface ListenPolicy {
  readonly allowInsecureRemote: boolean
  readonly asksForPassword: boolean
  /** What goes over the network is encrypted. */
  readonly isEncrypted?: boolean
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

const PASSWORD_ADVICE = 'kvd: DURAMEN_PASSWORD, passwordFile or usersFile'

export const CLOSE_GRACE_DEFAULT_MS = 5000

/** Fills in defaults and refuses what must not be listened on. */
export function resolveListenOptions(options: ListenOptions, policy: ListenPolicy): ListenAddress {
  const { host = '127.0.0.1', port = DEFAULT_PORT } = options
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidArgumentError(`port must be an integer from 0 to 65535, got ${describe(port)}`)
  }
  if (host === '') throw new InvalidArgumentError('host must not be empty')
  requireSafe(host, policy)
  return { host, port }
}

/** Throws InvalidArgumentError for an address that others reach, unless that was thought of. */
export function requireSafe(host: string, policy: ListenPolicy): void {
  if (isLoopback(host)) return
  if (!policy.allowInsecureRemote && policy.isEncrypted !== true) {
    const further = policy.asksForPassword ? '' : ` and a password (${PASSWORD_ADVICE})`
    throw new InvalidArgumentError(
      `refusing to listen on ${host}: other machines reach it, and nothing is encrypted; listen ` +
        `on 127.0.0.1, give it a certificate (tlsCert), or set allowInsecureRemote${further} ` +
        'when the network itself is trusted',
    )
  }
  if (policy.asksForPassword) return
  throw new InvalidArgumentError(
    `refusing to listen on ${host} without a password: anyone who can reach it could read and ` +
      `write everything; give it one (${PASSWORD_ADVICE})`,
  )
}

/** True for names and addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  const lower = host.toLowerCase()
  if (lower === 'localhost' || lower === '::1' || lower === '0:0:0:0:0:0:0:1') return true
  return /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(lower)
}

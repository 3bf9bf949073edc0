/**
 * `kvd serve`: one node, from the first log line to the exit code.
 *
 *   starting --up--> serving --signal--> draining --done--> exit 0
 *      signal: exit 128 + n at once          second signal, half a second later: exit 1 at once
 *
 * SIGHUP loads users and certificates anew where there are any, unless it is the terminal's end.
 *
 * Being killed at any moment is safe: draining is a courtesy to clients, not to the data. After an
 * error that nobody caught the process must not go on, for it could acknowledge what it should not.
 */
import { type Node, type NodeOptions, startNode } from '../cluster/index.ts'
import { jsonLogger, type Logger } from '../logger.ts'
import {
  DEFAULT_PORT,
  DEFAULT_SERVER_LIMITS,
  DEFAULT_USER,
  formatAddress,
  isLoopback,
  type ServerLimits,
} from '../net/index.ts'
import type { DaemonIo } from './daemon-io.ts'
import { ExitCode } from './exit-code.ts'
import { connectionRoom } from './file-limit.ts'
import { stopsWithParent, watchParent } from './parent-watch.ts'
import {
  CLUSTER_SECRET_VARIABLE,
  clusterSecretIn,
  PASSWORD_VARIABLE,
  passwordIn,
} from './password.ts'
import { Reloads } from './reloads.ts'
import type { ResolvedSettings } from './settings.ts'
import { misspeltVariables, NO_COLD_DIR, type Settings, settingRows } from './settings.ts'
import { failStart } from './start-error.ts'
import { colourWanted, createStyle, type Style } from './style.ts'
import { textLogger } from './text-logger.ts'
import { loadTls } from './tls.ts'
import { UsageError } from './usage-error.ts'
import { loadUsers } from './users.ts'

const MIB = 1024 * 1024
/** npm passes on the Ctrl-C that the terminal sent to us as well: that is one, not two. */
const REPEATED_SIGNAL_MS = 500
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }

/**
 * Resolves once the node serves or the process was told to exit; the server then keeps it alive.
 */
export async function serve(resolved: ResolvedSettings, io: DaemonIo): Promise<void> {
  const settings = resolved.values
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
  const stopping = new Stopping(io, logger, settings.drainTimeout)
  io.onStopSignal(signal => stopping.signal(signal))
  if (stopsWithParent(io.env)) {
    const gone = (): void => stopping.signal('the process that started this one is gone')
    watchParent(io.clock, io.parentId, gone)
  }
  const startedMs = io.clock.monotonicMs()
  const directory = io.absolutePath(settings.dir)
  try {
    const reloads = new Reloads(io.clock, logger, io.stampOf)
    const users = loadUsers(settings, io, logger, reloads)
    const tls = loadTls(settings, io, reloads)
    stopping.reloads = reloads
    const options = { ...nodeOptions(settings, directory, logger, io), users, tls }
    const node = await startNode(options)
    const elapsedMs = Math.round(io.clock.monotonicMs() - startedMs)
    const id = Buffer.from(node.identity.nodeId).toString('hex')
    logger.info('serving', { address: formatAddress(node.address), node: id, elapsedMs })
    if (node.respAddress !== undefined) {
      logger.info('serving Redis clients', { address: formatAddress(node.respAddress) })
    }
    if (node.httpAddress !== undefined) {
      logger.info('serving HTTP clients', { address: formatAddress(node.httpAddress) })
    }
    if (node.peerAddress !== undefined) {
      logger.info('listening for other nodes', { peerAddress: node.peerAddress })
    }
    const { address, respAddress = address, httpAddress = address } = node
    const isRemote = ![address, respAddress, httpAddress].every(({ host }) => isLoopback(host))
    if (isRemote && tls === undefined) {
      logger.warn('other machines reach this node, and nothing is encrypted, passwords included')
    }
    if (!settings.jsonLogs) io.stderr.write(banner(node, directory, resolved, io, style))
    stopping.serving(node)
    void exitWhenStopped(node, logger, io)
  } catch (error) {
    failStart(error, io, settings.jsonLogs)
  }
}

/** A node that has stopped by itself, as it must not go on, takes the process with it. */
async function exitWhenStopped(node: Node, logger: Logger, io: DaemonIo): Promise<void> {
  const error = await node.stopped
  logger.error('the node has stopped', { error })
  io.exit(ExitCode.failed)
}

/** What to do at each signal. */
class Stopping {
  readonly #io: DaemonIo
  readonly #logger: Logger
  readonly #graceMs: number
  #node: Node | undefined
  /** What a hangup loads anew, on a server that has no terminal. */
  reloads: Reloads | undefined
  /** Undefined until a signal asked for it. */
  #drainingSinceMs: number | undefined

  constructor(io: DaemonIo, logger: Logger, graceMs: number) {
    this.#io = io
    this.#logger = logger
    this.#graceMs = graceMs
  }

  serving(node: Node): void {
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

  async #drain(node: Node): Promise<void> {
    try {
      await node.close({ graceMs: this.#graceMs })
    } catch (error) {
      this.#logger.error('the data could not be closed cleanly; the next start recovers it', {
        error,
      })
      this.#io.exit(ExitCode.failed)
      return
    }
    this.#logger.info('stopped')
    this.#io.exit(ExitCode.ok)
  }
}

function createLogger(settings: Settings, io: DaemonIo, style: Style): Logger {
  const write = (line: string): void => io.stderr.write(line)
  const wallMs = () => io.clock.wallMs()
  const level = settings.logLevel
  if (settings.jsonLogs) return jsonLogger(write, wallMs, level)
  return textLogger({ write, wallMs, level, style })
}

function nodeOptions(
  settings: Settings,
  directory: string,
  logger: Logger,
  io: DaemonIo,
): NodeOptions {
  const { coldDir } = settings
  const links = clusterOptions(settings, io)
  const isLinked = links.cluster !== undefined
  return {
    directory,
    ...(coldDir !== undefined && {
      coldDirectory: coldDir === NO_COLD_DIR ? null : io.absolutePath(coldDir),
    }),
    host: settings.host,
    port: settings.port,
    ...doorOptions(settings),
    allowInsecureRemote: settings.allowInsecureRemote,
    credentials: { user: settings.user, password: passwordOf(settings, io) },
    durability: settings.durability,
    syncIntervalMs: settings.syncInterval,
    memoryBudget: settings.memoryBudget,
    compactionThreads: settings.compactionThreads,
    compression: settings.compression,
    ...shapeOptions(settings),
    ...links,
    limits: serverLimits(settings, connectionsMax(settings, isLinked, logger, io)),
    version: io.packageVersion,
    logger,
  }
}

function doorOptions(settings: Settings): Pick<NodeOptions, 'resp' | 'http'> {
  const { respHost, respPort, httpHost, httpPort } = settings
  return {
    ...(respPort === undefined ? {} : { resp: { host: respHost, port: respPort } }),
    ...(httpPort === undefined ? {} : { http: { host: httpHost, port: httpPort } }),
  }
}

/** A file that was named is meant, whatever the environment has left over. */
function passwordOf({ passwordFile }: Settings, io: DaemonIo): string | undefined {
  if (passwordFile === undefined) return io.env[PASSWORD_VARIABLE] || undefined
  return passwordIn(io.readText(passwordFile), passwordFile)
}

/** What makes the node one of a cluster: the secret. Without one it stands alone. */
function clusterOptions(settings: Settings, io: DaemonIo): Pick<NodeOptions, 'cluster'> {
  const { peerHost, peerPort, peerAddress, init, join, rack, weight } = settings
  if (init && join !== undefined) {
    throw new UsageError(
      'init begins a new cluster, join enters one that there is: choose one of them',
    )
  }
  const secret = clusterSecretOf(settings, io)
  if (secret === undefined) {
    // Alone it needs no orders: one kvd is a cluster of one.
    if (join === undefined) return {}
    throw new UsageError(
      `join needs the secret of that cluster: give it as ${CLUSTER_SECRET_VARIABLE}, or in the ` +
        'file that cluster-secret-file names',
    )
  }
  const place = {
    ...(peerAddress === undefined ? {} : { peerAddress }),
    ...(rack === undefined ? {} : { rack }),
    ...(weight === undefined ? {} : { weight }),
  }
  const seeds = join === undefined ? {} : { join }
  return { cluster: { secret, peerHost, peerPort, init, ...place, ...seeds } }
}

/** What is fixed when a cluster is made, as far as it is said. */
function shapeOptions({ partitions, replicationFactor, virtualNodes }: Settings) {
  return {
    ...(partitions === undefined ? {} : { partitionCount: partitions }),
    ...(replicationFactor === undefined ? {} : { replicationFactor }),
    ...(virtualNodes === undefined ? {} : { virtualNodes }),
  }
}

function clusterSecretOf({ clusterSecretFile }: Settings, io: DaemonIo): string | undefined {
  if (clusterSecretFile === undefined) return io.env[CLUSTER_SECRET_VARIABLE] || undefined
  return clusterSecretIn(io.readText(clusterSecretFile), clusterSecretFile)
}

/** As many connections as are wished for, unless the limit of open files is too low for them. */
function connectionsMax(
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
function serverLimits({ maxValueSize }: Settings, connectionsMax: number): Partial<ServerLimits> {
  const standard = DEFAULT_SERVER_LIMITS
  const frameSizeMax = Math.max(standard.frameSizeMax, maxValueSize + 2 * MIB)
  return {
    valueSizeMax: maxValueSize,
    connectionsMax,
    frameSizeMax,
    inFlightBytesMax: Math.max(standard.inFlightBytesMax, 2 * frameSizeMax),
    receiveBytesMax: Math.max(standard.receiveBytesMax, 2 * frameSizeMax),
    outputBytesMax: Math.max(standard.outputBytesMax, 2 * frameSizeMax),
  }
}

function banner(
  node: Node,
  directory: string,
  resolved: ResolvedSettings,
  io: DaemonIo,
  style: Style,
): string {
  const { address, identity } = node
  const { durability, tlsCert } = resolved.values
  const isSecure = tlsCert !== undefined
  const client = clientCommand(node, resolved.values, io)
  const { length } = node.ring.members
  const place = length === 1 ? 'a cluster of one' : `one of ${length} nodes`
  const memory = settingRows(resolved).find(row => row.name === 'memoryBudget')?.value
  const id = Buffer.from(identity.nodeId).toString('hex').slice(0, 8)
  const lines = [
    '',
    `  ${style.bold(`kvd ${io.packageVersion}`)}  node ${id}, ${place}`,
    `  listening   ${style.key(formatAddress(address))}`,
    ...respLines(node, isSecure, style),
    ...httpLines(node, isSecure ? 'https' : 'http', style),
    ...(node.peerAddress ? [`  for nodes   ${style.key(node.peerAddress)}`] : []),
    `  data        ${style.key(directory)}`,
    `  settings    durability ${durability}, memory ${memory}; all of them: kvd config`,
    '',
    '  In another terminal:',
    `    ${style.key(`${client} put demo:greeting "hello, heartwood"`)}`,
    `    ${style.key(`${client} get demo:greeting`)}`,
    `  or, for a shell with history, completion and help:`,
    `    ${style.key(client)}`,
    '',
    '  Ctrl-C stops the node; its data stays.',
    '',
  ]
  return `${lines.join('\n')}\n`
}

/** How kvcli reaches the node from here, with what it asks of clients. */
function clientCommand({ address }: Node, settings: Settings, io: DaemonIo): string {
  const { tlsCert, tlsCa, tlsClientAuth, usersFile, passwordFile, user } = settings
  const { host, port } = address
  const isWildcard = host === '0.0.0.0' || host === '::'
  const isSecure = tlsCert !== undefined
  const hasOwner = passwordFile !== undefined || (io.env[PASSWORD_VARIABLE] ?? '') !== ''
  const asksForPassword = hasOwner || usersFile !== undefined
  if (!isSecure && !asksForPassword && port === DEFAULT_PORT && host === '127.0.0.1') {
    return 'npx kvcli'
  }
  // Of every address that it listens at, a certificate names the one that others know it by.
  const shown = isSecure ? '<host>' : '127.0.0.1'
  const place = isWildcard ? `${shown}:${port}` : formatAddress(address)
  const who = hasOwner && user === DEFAULT_USER ? '' : `${hasOwner ? user : '<user>'}@`
  const url = `${isSecure ? 'kvs' : 'kv'}://${asksForPassword ? who : ''}${place}`
  const needsCertificate = isSecure && tlsClientAuth === 'require'
  return [
    ...(isSecure ? [`DURAMEN_TLS_CA=${tlsCa ?? '<ca.pem>'}`] : []),
    ...(needsCertificate ? ['DURAMEN_TLS_CERT=<cert.pem> DURAMEN_TLS_KEY=<key.pem>'] : []),
    ...(asksForPassword ? [`${PASSWORD_VARIABLE}=...`] : []),
    `npx kvcli --url ${url}`,
  ].join(' ')
}

function respLines({ respAddress }: Node, isSecure: boolean, { key }: Style): string[] {
  if (respAddress === undefined) return []
  const address = formatAddress(respAddress)
  return [`  for Redis   ${key(isSecure ? `rediss://${address}` : address)}`]
}

function httpLines({ httpAddress }: Node, scheme: string, { key }: Style): string[] {
  if (httpAddress === undefined) return []
  return [
    `  for HTTP    ${key(`${scheme}://${formatAddress(httpAddress)}`)}  (for browsers a dashboard)`,
  ]
}

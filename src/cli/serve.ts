/**
 * `kvd serve`: one node, from the first log line to the exit code.
 *
 * What it does at signals, stopping.ts says.
 *
 * Being killed at any moment is safe: draining is a courtesy to clients, not to the data. After an
 * error that nobody caught the process must not go on, for it could acknowledge what it should not.
 */
import { type Node, type NodeOptions, startNode } from '../cluster/index.ts'
import type { Logger } from '../logger.ts'
import { DEFAULT_PORT, formatAddress } from '../net/index.ts'
import { clientCommand } from './client-command.ts'
import { beginDaemon, logDoors } from './daemon.ts'
import type { DaemonIo } from './daemon-io.ts'
import { connectionsMax, doorOptions, passwordOf, serverLimits } from './door-settings.ts'
import { ExitCode } from './exit-code.ts'
import { CLUSTER_SECRET_VARIABLE, clusterSecretIn } from './password.ts'
import { Reloads } from './reloads.ts'
import type { ResolvedSettings } from './settings.ts'
import { type Settings, settingRows } from './settings.ts'
import { NO_COLD_DIR } from './settings-storage.ts'
import { failStart } from './start-error.ts'
import type { Style } from './style.ts'
import { loadTls } from './tls.ts'
import { UsageError } from './usage-error.ts'
import { loadUsers } from './users.ts'

const UNCLEAN = 'the data could not be closed cleanly; the next start recovers it'

/**
 * Resolves once the node serves or the process was told to exit; the server then keeps it alive.
 */
export async function serve(resolved: ResolvedSettings, io: DaemonIo): Promise<void> {
  const settings = resolved.values
  const { logger, style, stopping } = beginDaemon(settings, io, UNCLEAN)
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
    if (node.peerAddress !== undefined) {
      logger.info('listening for other nodes', { peerAddress: node.peerAddress })
    }
    logDoors(logger, node, tls !== undefined)
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

/** What makes the node one of a cluster: the secret. Without one it stands alone. */
function clusterOptions(settings: Settings, io: DaemonIo): Pick<NodeOptions, 'cluster'> {
  const { peerHost, peerPort, peerAddress, init, join, rack, weight, trustClock } = settings
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
  return { cluster: { secret, peerHost, peerPort, init, trustClock, ...place, ...seeds } }
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
  const client = nodeCommand(node, resolved.values, io)
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

/** How kvcli reaches the node from here. */
function nodeCommand({ address }: Node, settings: Settings, io: DaemonIo): string {
  const { isSecure, asksForPassword, urlStart, variables } = clientCommand(settings, io)
  const { host, port } = address
  const isWildcard = host === '0.0.0.0' || host === '::'
  if (!isSecure && !asksForPassword && port === DEFAULT_PORT && host === '127.0.0.1') {
    return 'npx kvcli'
  }
  // Of every address that it listens at, a certificate names the one that others know it by.
  const shown = isSecure ? '<host>' : '127.0.0.1'
  const place = isWildcard ? `${shown}:${port}` : formatAddress(address)
  return [...variables, `npx kvcli --url ${urlStart}${place}`].join(' ')
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

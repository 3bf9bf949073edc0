/**
 * `kvd proxy`: the doors of a node in front of a cluster, from the first log line to the exit code.
 * What it does at signals, stopping.ts says; it keeps nothing that an end could cost.
 */
import { type ProxyOptions, type RunningProxy, startProxy } from '../cluster/index.ts'
import type { Logger } from '../logger.ts'
import {
  type ClientTls,
  type Credentials,
  formatAddress,
  type NodeAddress,
  parseConnectionUrl,
} from '../net/index.ts'
import { clientCommand } from './client-command.ts'
import { beginDaemon, logDoors } from './daemon.ts'
import type { DaemonIo } from './daemon-io.ts'
import { connectionsMax, doorOptions, passwordOf, serverLimits } from './door-settings.ts'
import { NODES_PASSWORD_VARIABLE, passwordIn } from './password.ts'
import { Reloads } from './reloads.ts'
import type { ResolvedSettings, Settings } from './settings.ts'
import { failStart } from './start-error.ts'
import type { Style } from './style.ts'
import { loadTls } from './tls.ts'
import { UsageError } from './usage-error.ts'
import { loadUsers } from './users.ts'

const UNCLEAN = 'the proxy could not be closed in good order; it keeps no data that this could cost'

/**
 * Resolves once the proxy serves or the process was told to exit; the server then keeps it alive.
 */
export async function proxy(resolved: ResolvedSettings, io: DaemonIo): Promise<void> {
  const settings = resolved.values
  const { logger, style, stopping } = beginDaemon(settings, io, UNCLEAN)
  const startedMs = io.clock.monotonicMs()
  try {
    const reloads = new Reloads(io.clock, logger, io.stampOf)
    const users = loadUsers(settings, io, logger, reloads)
    const tls = loadTls(settings, io, reloads)
    stopping.reloads = reloads
    const nodes = nodesOf(settings)
    logger.info('looking for the cluster', { nodes: nodes.map(formatAddress).join(',') })
    const running = await startProxy({
      ...proxyOptions(settings, logger, io),
      ...{ nodes, users, tls },
    })
    const elapsedMs = Math.round(io.clock.monotonicMs() - startedMs)
    const { address, clusterId } = running
    logger.info('serving', { address: formatAddress(address), cluster: clusterId, elapsedMs })
    logDoors(logger, running, tls !== undefined)
    if (!settings.jsonLogs) io.stderr.write(banner(running, settings, io, style))
    stopping.serving(running)
  } catch (error) {
    failStart(error, io, settings.jsonLogs)
  }
}

function nodesOf({ nodes }: Settings): readonly NodeAddress[] {
  if (nodes !== undefined) return parseConnectionUrl(`kv://${nodes.join(',')}`).nodes
  throw new UsageError('say which cluster it stands in front of: --nodes host:port,host:port')
}

function proxyOptions(
  settings: Settings,
  logger: Logger,
  io: DaemonIo,
): Omit<ProxyOptions, 'nodes'> {
  const { host, port, user, allowInsecureRemote, drainDelay } = settings
  return {
    host,
    port,
    ...doorOptions(settings),
    allowInsecureRemote,
    credentials: { user, password: passwordOf(settings, io) },
    nodeCredentials: nodeCredentials(settings, io),
    nodeTls: nodeTls(settings, io),
    limits: serverLimits(settings, connectionsMax(settings, true, logger, io)),
    drainDelayMs: drainDelay,
    version: io.packageVersion,
    logger,
  }
}

/** Where nothing else is said, nodes and proxies have one user and one password. */
function nodeCredentials(settings: Settings, io: DaemonIo): Credentials {
  const { nodesUser: user = settings.user, nodesPasswordFile: path } = settings
  if (path !== undefined) return { user, password: passwordIn(io.readText(path), path) }
  return { user, password: io.env[NODES_PASSWORD_VARIABLE] || passwordOf(settings, io) }
}

/** Read once: connections that are made later show the same. */
function nodeTls(settings: Settings, io: DaemonIo): boolean | ClientTls {
  const { nodesTls, tlsCa, tlsCert, tlsKey } = settings
  if (!nodesTls) return false
  return {
    ...(tlsCa === undefined ? {} : { ca: io.readText(tlsCa) }),
    ...(tlsCert === undefined ? {} : { cert: io.readText(tlsCert) }),
    ...(tlsKey === undefined ? {} : { key: io.readText(tlsKey) }),
  }
}

function banner(
  { address, respAddress, httpAddress, clusterId }: RunningProxy,
  settings: Settings,
  io: DaemonIo,
  { bold, key }: Style,
): string {
  const { isSecure, variables, urlStart } = clientCommand(settings, io)
  const client = [...variables, `npx kvcli --url ${urlStart}${formatAddress(address)}`].join(' ')
  const http = isSecure ? 'https' : 'http'
  const lines = [
    '',
    `  ${bold(`kvd ${io.packageVersion}`)}  proxy of cluster ${clusterId.slice(0, 8)}`,
    `  listening   ${key(formatAddress(address))}`,
    ...(respAddress ? [`  for Redis   ${key(formatAddress(respAddress))}`] : []),
    ...(httpAddress ? [`  for HTTP    ${key(`${http}://${formatAddress(httpAddress)}`)}`] : []),
    '',
    '  In another terminal:',
    `    ${key(`${client} cluster status`)}`,
    '',
    '  Ctrl-C stops the proxy.',
    '',
  ]
  return `${lines.join('\n')}\n`
}

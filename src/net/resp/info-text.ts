/** The text of INFO: sections of `name:value` lines, with the names that clients look for. */
import type { RunCall } from './command-table.ts'
import { REDIS_VERSION } from './connection-commands.ts'

type Section = readonly (readonly [name: string, value: string | number])[]
type Describe = (call: RunCall, stats: Readonly<Record<string, unknown>>) => Section

const MS_PER_S = 1000
const S_PER_DAY = 86_400

const SECTIONS: readonly (readonly [name: string, Describe])[] = [
  [
    'Server',
    ({ door, context }) => {
      const uptimeS = Math.floor((context.clock.monotonicMs() - door.startedMs) / MS_PER_S)
      return [
        ['redis_version', REDIS_VERSION],
        ['redis_git_sha1', '00000000'],
        ['redis_git_dirty', 0],
        ['redis_mode', 'standalone'],
        ['server_name', context.identity.serverName],
        ['duramen_version', context.identity.serverVersion],
        ['duramen_node_id', context.identity.nodeId],
        ['run_id', door.runId],
        ['uptime_in_seconds', uptimeS],
        ['uptime_in_days', Math.floor(uptimeS / S_PER_DAY)],
      ]
    },
  ],
  [
    'Clients',
    ({ context }) => {
      const { connections } = context.snapshot()
      return [
        ['connected_clients', connections],
        ['maxclients', context.limits.connectionsMax],
        ['blocked_clients', 0],
      ]
    },
  ],
  [
    'Memory',
    (_, stats) => {
      const bytes = memoryOf(stats)
      return [
        ['used_memory', bytes],
        ['used_memory_human', human(bytes)],
        ['used_memory_peak', bytes],
        ['maxmemory', 0],
        ['maxmemory_policy', 'noeviction'],
      ]
    },
  ],
  [
    'Persistence',
    () => [
      ['loading', 0],
      ['rdb_changes_since_last_save', 0],
      ['aof_enabled', 1],
      ['aof_rewrite_in_progress', 0],
      ['aof_last_write_status', 'ok'],
    ],
  ],
  [
    'Stats',
    ({ door, context }) => {
      const net = context.snapshot()
      return [
        ['total_connections_received', net.connectionsTotal],
        ['total_commands_processed', door.commandsTotal],
        ['instantaneous_ops_per_sec', door.commandsPerSecond(context.clock.monotonicMs())],
        ['total_net_input_bytes', net.bytesReceived],
        ['total_net_output_bytes', net.bytesSent],
        ['rejected_connections', net.connectionsRefused],
      ]
    },
  ],
  [
    'Replication',
    () => [
      ['role', 'master'],
      ['connected_slaves', 0],
    ],
  ],
  ['Cluster', () => [['cluster_enabled', 0]]],
  ['Keyspace', () => []],
]

const ALL_WORDS: readonly string[] = ['all', 'everything', 'default']

export async function infoText(call: RunCall, wanted: readonly string[]): Promise<string> {
  const stats = await call.context.handler.stats(call.request)
  const isAll = wanted.length === 0 || wanted.some(word => ALL_WORDS.includes(word))
  const chosen = SECTIONS.filter(([name]) => isAll || wanted.includes(name.toLowerCase()))
  return chosen
    .map(([name, describe]) => {
      const lines = describe(call, stats).map(([field, value]) => `${field}:${value}\r\n`)
      return `# ${name}\r\n${lines.join('')}`
    })
    .join('\r\n')
}

/** What the engine holds in memory, where the statistics of the handler tell it. */
function memoryOf(stats: Readonly<Record<string, unknown>>): number {
  const engine = stats['engine'] as { readonly memory?: { readonly total?: unknown } } | undefined
  const total = engine?.memory?.total
  return typeof total === 'number' ? total : 0
}

function human(bytes: number): string {
  const units = ['B', 'K', 'M', 'G', 'T']
  let value = bytes
  let unit = 0
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${unit === 0 ? value : value.toFixed(2)}${units[unit]}`
}

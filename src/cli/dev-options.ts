/**
 * The command line of `kvd dev`. Users and certificates are settings of the nodes, which have them
 * from the environment as well: so they are resolved here as there.
 */
import { DEFAULT_PORT } from '../net/index.ts'
import { clientCommand } from './client-command.ts'
import { DEV_SETTINGS } from './command-settings.ts'
import type { DaemonIo } from './daemon-io.ts'
import type { DevOptions } from './dev-cluster.ts'
import { DEV_DIRECTORY, DEV_HOST, DEV_NODES_DEFAULT, DEV_NODES_MAX } from './dev-layout.ts'
import { integerValue, sizeValue, type ValueKind } from './setting-values.ts'
import { type FlagValues, flagName, type SettingName, type Settings } from './settings.ts'
import { checkTls } from './tls.ts'
import { UsageError } from './usage-error.ts'

const MIB = 1024 * 1024
/** Several nodes share one machine. */
const MEMORY_BUDGET = '96MiB'
const PORT_MAX = 65_000

/** As commander gives them. */
export interface DevFlags extends FlagValues {
  readonly nodes?: string
  readonly dir?: string
  readonly port?: string
  readonly respPort?: string
  readonly httpPort?: string
  readonly memoryBudget?: string
}

/** What commander declares, with what is said of it. */
export const DEV_FLAGS: readonly (readonly [flags: string, description: string])[] = [
  ['--nodes <count>', `how many, in a new directory (default: ${DEV_NODES_DEFAULT})`],
  ['--dir <directory>', `where the cluster is kept (default: ${DEV_DIRECTORY})`],
  [
    '--port <port>',
    `where free ones are looked for, for a new directory (default: ${DEFAULT_PORT})`,
  ],
  ['--resp-port <port>', 'of node 1 for Redis clients, of the next one more (default: none)'],
  ['--http-port <port>', 'of node 1 for HTTP, of the next one more; none (default: free ones)'],
  ['--memory-budget <size>', `of each node (default: ${MEMORY_BUDGET})`],
]

/** Of the flags those that nodes understand as they are. */
export function nodeFlags(flags: FlagValues): FlagValues {
  return Object.fromEntries(
    DEV_SETTINGS.flatMap(name => (flags[name] === undefined ? [] : [[name, flags[name]]])),
  )
}

/**
 * `settings` are those of the nodes, as far as flags and environment say them. Throws UsageError
 * that names the flag, and what is wrong with a certificate.
 */
export function devOptions(flags: DevFlags, settings: Settings, io: DaemonIo): DevOptions {
  const { nodes, dir = DEV_DIRECTORY, port, memoryBudget = MEMORY_BUDGET } = flags
  const { respPort, httpPort } = flags
  checkTls(settings, io, DEV_HOST)
  parse(sizeValue(MIB, 1024 * 1024 * MIB), '--memory-budget', memoryBudget)
  const count = integerValue(1, DEV_NODES_MAX)
  return {
    directory: io.absolutePath(dir),
    nodes: nodes === undefined ? undefined : parse(count, '--nodes', nodes),
    port: port === undefined ? undefined : parse(integerValue(1, PORT_MAX), '--port', port),
    ...(respPort !== undefined && {
      respPort: parse(integerValue(1, PORT_MAX), '--resp-port', respPort),
    }),
    ...(httpPort !== undefined && { httpPort: httpPortOf(httpPort) }),
    client: clientCommand(settings, io),
    nodeArguments: [
      ...['--memory-budget', memoryBudget],
      ...Object.entries(nodeFlags(flags)).flatMap(([name, value]) => {
        return [`--${flagName(name as SettingName)}`, String(value)]
      }),
    ],
  }
}

function httpPortOf(text: string): number | 'none' {
  return text === 'none' ? 'none' : parse(integerValue(1, PORT_MAX), '--http-port', text)
}

function parse(kind: ValueKind<number>, flag: string, text: string): number {
  const value = kind.parse(text)
  if (value !== undefined) return value
  throw new UsageError(`${flag} '${text}' is not ${kind.expected}`)
}

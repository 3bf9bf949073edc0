/**
 * The settings of `kvd serve` and `kvd proxy`: one table, from which come the flags, the
 * environment variables, the help, the checks and what `kvd config` prints. Precedence: flag,
 * environment, file, default.
 */
import {
  PARTITION_COUNT_MAX,
  PEER_PORT_DEFAULT,
  REPLICATION_FACTOR_MAX,
  VIRTUAL_NODES_MAX,
  WEIGHT_MAX,
} from '../cluster/index.ts'
import { closestWord } from '../edit-distance.ts'
import type { Compression } from '../engine/index.ts'
import { DURABILITIES, type Durability } from '../key-value-store.ts'
import { LOG_LEVELS, type LogLevel } from '../logger.ts'
import {
  CLIENT_AUTH,
  type ClientAuth,
  DEFAULT_PORT,
  DEFAULT_SERVER_LIMITS,
  DEFAULT_USER,
} from '../net/index.ts'
import { CLUSTER_SECRET_VARIABLE, NODES_PASSWORD_VARIABLE, PASSWORD_VARIABLE } from './password.ts'
import {
  addressesValue,
  choiceValue,
  durationValue,
  integerValue,
  optionalValue,
  sizeValue,
  switchValue,
  textValue,
  type ValueKind,
} from './setting-values.ts'
import { UsageError } from './usage-error.ts'

const MIB = 1024 * 1024
const COMPRESSIONS: readonly Compression[] = ['none', 'deflate', 'zstd']

/** The cold directory of a node that is to have none. */
export const NO_COLD_DIR = 'none'

export interface Settings {
  readonly dir: string
  readonly coldDir: string | undefined
  readonly host: string
  readonly port: number
  readonly respHost: string
  readonly respPort: number | undefined
  readonly httpHost: string
  readonly httpPort: number | undefined
  readonly allowInsecureRemote: boolean
  readonly user: string
  readonly passwordFile: string | undefined
  readonly usersFile: string | undefined
  readonly tlsCert: string | undefined
  readonly tlsKey: string | undefined
  readonly tlsCa: string | undefined
  readonly tlsClientAuth: ClientAuth
  readonly peerHost: string
  readonly peerPort: number
  readonly peerAddress: string | undefined
  readonly clusterSecretFile: string | undefined
  readonly init: boolean
  readonly join: readonly string[] | undefined
  readonly rack: string | undefined
  readonly weight: number | undefined
  readonly trustClock: boolean
  readonly replicationFactor: number | undefined
  readonly virtualNodes: number | undefined
  readonly durability: Durability
  readonly syncInterval: number
  readonly memoryBudget: number
  readonly compactionThreads: number
  readonly compression: Compression
  readonly partitions: number | undefined
  readonly maxValueSize: number
  readonly maxConnections: number
  readonly slowOperation: number
  readonly drainTimeout: number
  readonly nodes: readonly string[] | undefined
  readonly nodesUser: string | undefined
  readonly nodesPasswordFile: string | undefined
  readonly nodesTls: boolean
  readonly drainDelay: number
  readonly logLevel: LogLevel
  readonly jsonLogs: boolean
}

export type SettingName = keyof Settings

interface Setting<T> {
  readonly kind: ValueKind<T>
  readonly standard: T
  readonly description: string
  /** How the help calls the value; a switch has none. */
  readonly argument?: string
}

const TABLE: { readonly [Name in SettingName]: Setting<Settings[Name]> } = {
  dir: {
    kind: textValue('a directory'),
    standard: './duramen-data',
    argument: 'directory',
    description: 'where the data is kept; made when missing',
  },
  coldDir: {
    kind: optionalValue(textValue('a directory'), 'as before'),
    standard: undefined,
    argument: 'directory',
    description:
      "a second directory, on another disk, for the last level's tables, most of the data; " +
      `'${NO_COLD_DIR}' brings them back`,
  },
  host: {
    kind: textValue('a host name or address'),
    standard: '127.0.0.1',
    argument: 'host',
    description: 'address to listen on',
  },
  port: {
    kind: integerValue(0, 65_535),
    standard: DEFAULT_PORT,
    argument: 'port',
    description: 'port to listen on; 0 lets the system choose',
  },
  respHost: {
    kind: textValue('a host name or address'),
    standard: '127.0.0.1',
    argument: 'host',
    description: 'address to listen on for Redis clients',
  },
  respPort: {
    kind: optionalValue(integerValue(0, 65_535), 'none'),
    standard: undefined,
    argument: 'port',
    description: 'port to listen on for Redis clients, 6379 for instance; none without it',
  },
  httpHost: {
    kind: textValue('a host name or address'),
    standard: '127.0.0.1',
    argument: 'host',
    description: 'address to listen on for HTTP',
  },
  httpPort: {
    kind: optionalValue(integerValue(0, 65_535), 'none'),
    standard: undefined,
    argument: 'port',
    description: 'port to listen on for HTTP, 7780 for instance: REST, health, metrics; else none',
  },
  allowInsecureRemote: {
    kind: switchValue(),
    standard: false,
    description:
      'listen on addresses that other machines reach, without encryption; takes a password',
  },
  user: {
    kind: textValue('the name of a user'),
    standard: DEFAULT_USER,
    argument: 'name',
    description: 'who the password of this node is of',
  },
  passwordFile: {
    kind: optionalValue(textValue('a file'), 'none'),
    standard: undefined,
    argument: 'file',
    description:
      'the password that allows everything, on a line; ' +
      `${PASSWORD_VARIABLE} may hold it instead`,
  },
  usersFile: {
    kind: optionalValue(textValue('a file'), 'none'),
    standard: undefined,
    argument: 'file',
    description:
      'users and what they may do, as kvd user writes it; read again when it changes. The user ' +
      'with the password of this node may do everything',
  },
  tlsCert: {
    kind: optionalValue(textValue('a file'), 'none'),
    standard: undefined,
    argument: 'file',
    description:
      'the certificate of this node, PEM, with those between it and the authority: then all ' +
      'doors speak TLS, those for nodes, too; read again when it changes',
  },
  tlsKey: {
    kind: optionalValue(textValue('a file'), 'none'),
    standard: undefined,
    argument: 'file',
    description: 'the key of the certificate, PEM, without a passphrase',
  },
  tlsCa: {
    kind: optionalValue(textValue('a file'), "the system's"),
    standard: undefined,
    argument: 'file',
    description: 'the authorities that certificates of nodes and clients must be of, PEM',
  },
  tlsClientAuth: {
    kind: choiceValue(CLIENT_AUTH),
    standard: 'none',
    argument: 'which',
    description: `whether clients must show a certificate: ${CLIENT_AUTH.join(', ')}`,
  },
  peerHost: {
    kind: textValue('a host name or address'),
    standard: '127.0.0.1',
    argument: 'host',
    description: 'address to listen on for other nodes; needs a cluster secret',
  },
  peerPort: {
    kind: integerValue(0, 65_535),
    standard: PEER_PORT_DEFAULT,
    argument: 'port',
    description: 'port to listen on for other nodes; 0 lets the system choose',
  },
  peerAddress: {
    kind: optionalValue(textValue('host:port'), 'as it listens'),
    standard: undefined,
    argument: 'host:port',
    description: 'where other nodes reach this one, when that is not where it listens',
  },
  clusterSecretFile: {
    kind: optionalValue(textValue('a file'), 'none'),
    standard: undefined,
    argument: 'file',
    description:
      'what all nodes of the cluster know, on a line, and what makes this one of them; ' +
      `${CLUSTER_SECRET_VARIABLE} may hold it instead`,
  },
  init: {
    kind: switchValue(),
    standard: false,
    description:
      'begin a new cluster on an empty directory, for others to join; a directory that has a ' +
      'cluster keeps it. With a secret, an empty directory takes this or join',
  },
  join: {
    kind: optionalValue(addressesValue(), 'none'),
    standard: undefined,
    argument: 'host:port,...',
    description:
      'peer addresses of nodes whose cluster this one joins, while that is empty; for a member, ' +
      'where to look for the others first',
  },
  rack: {
    kind: optionalValue(textValue('a name'), 'as it has'),
    standard: undefined,
    argument: 'name',
    description:
      'what fails together with this node; replicas are spread over racks; fixed when it ' +
      'becomes a member',
  },
  weight: {
    kind: optionalValue(integerValue(1, WEIGHT_MAX), 'as it has'),
    standard: undefined,
    argument: 'count',
    description:
      'how much of the data this node takes, in relation to others; fixed when it becomes a ' +
      'member (then 1 unless given)',
  },
  trustClock: {
    kind: switchValue(),
    standard: false,
    description:
      'take writes after a start though no other member has agreed with the clock of this ' +
      'machine: for where kvd is started once a time server has set it',
  },
  replicationFactor: {
    kind: optionalValue(integerValue(1, REPLICATION_FACTOR_MAX), 'as made'),
    standard: undefined,
    argument: 'count',
    description: 'nodes that hold each key, fixed when a cluster is made (then 3 unless given)',
  },
  virtualNodes: {
    kind: optionalValue(integerValue(1, VIRTUAL_NODES_MAX), 'as made'),
    standard: undefined,
    argument: 'count',
    description: 'tokens a node, fixed when a cluster is made (then 128 unless given)',
  },
  durability: {
    kind: choiceValue(DURABILITIES),
    standard: 'sync',
    argument: 'level',
    description: 'what an acknowledged write has survived: sync, interval or none',
  },
  syncInterval: {
    kind: durationValue(1, 60_000),
    standard: 100,
    argument: 'duration',
    description: 'time between fsyncs at durability interval',
  },
  memoryBudget: {
    kind: sizeValue(MIB, 1024 * 1024 * MIB),
    standard: 256 * MIB,
    argument: 'size',
    description: 'memory for memtables, cached blocks, filters and indices',
  },
  compactionThreads: {
    kind: integerValue(1, 64),
    standard: 1,
    argument: 'count',
    description: 'compactions at the same time, each on a thread of its own',
  },
  compression: {
    kind: choiceValue(COMPRESSIONS),
    standard: 'none',
    argument: 'codec',
    description: `how blocks are stored: ${COMPRESSIONS.join(', ')} (zstd needs Node.js 22.15)`,
  },
  partitions: {
    kind: optionalValue(integerValue(1, PARTITION_COUNT_MAX), 'as made'),
    standard: undefined,
    argument: 'count',
    description: 'a power of two, fixed when the directory is made (then 1024 unless given)',
  },
  maxValueSize: {
    kind: sizeValue(1, 63 * MIB),
    standard: DEFAULT_SERVER_LIMITS.valueSizeMax,
    argument: 'size',
    description: 'longest value that clients may store',
  },
  maxConnections: {
    kind: integerValue(1, 1_000_000),
    standard: DEFAULT_SERVER_LIMITS.connectionsMax,
    argument: 'count',
    description: 'connections at the same time; fewer where the limit of open files is low',
  },
  slowOperation: {
    kind: durationValue(1, 3_600_000),
    standard: DEFAULT_SERVER_LIMITS.slowOperationMs,
    argument: 'duration',
    description: 'what takes so long, from arrival to answer, is in the log of kvcli slowlog',
  },
  drainTimeout: {
    kind: durationValue(1, 3_600_000),
    standard: 5000,
    argument: 'duration',
    description: 'how long clients may take to finish when the node stops',
  },
  nodes: {
    kind: optionalValue(addressesValue(), 'none'),
    standard: undefined,
    argument: 'host:port,...',
    description:
      'nodes of the cluster that a proxy stands in front of, where clients reach them; one is ' +
      'enough to find the others, several to start while one is down',
  },
  nodesUser: {
    kind: optionalValue(textValue('the name of a user'), 'as user'),
    standard: undefined,
    argument: 'name',
    description: 'as whom the nodes let a proxy in; it may do there what its clients may do',
  },
  nodesPasswordFile: {
    kind: optionalValue(textValue('a file'), 'as of its own'),
    standard: undefined,
    argument: 'file',
    description: `its password, on a line; ${NODES_PASSWORD_VARIABLE} may hold it instead`,
  },
  nodesTls: {
    kind: switchValue(),
    standard: false,
    description:
      'the nodes speak TLS; their certificates are held against tls-ca, and the own one is shown',
  },
  drainDelay: {
    kind: durationValue(0, 3_600_000),
    standard: 2000,
    argument: 'duration',
    description:
      'how long a proxy that stops goes on serving while /readyz says no, for balancers to see it',
  },
  logLevel: {
    kind: choiceValue(LOG_LEVELS),
    standard: 'info',
    argument: 'level',
    description: `what is logged: ${LOG_LEVELS.join(', ')}`,
  },
  jsonLogs: {
    kind: switchValue(),
    standard: false,
    description: 'log one JSON object a line, and no banner',
  },
}

/** The same without the types of the values, for whatever goes over all of them. */
const SETTINGS: Readonly<Record<SettingName, Setting<unknown>>> = TABLE
export const SETTING_NAMES = Object.keys(TABLE) as readonly SettingName[]
const ENVIRONMENT_PREFIX = 'DURAMEN_'

/** The variable that names a file of settings, as --config does. */
export const CONFIG_VARIABLE = `${ENVIRONMENT_PREFIX}CONFIG`

/** `memoryBudget` as the command line has it: `memory-budget`. */
export function flagName(name: SettingName): string {
  return name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)
}

/** `memoryBudget` as the environment has it: `DURAMEN_MEMORY_BUDGET`. */
export function environmentName(name: SettingName): string {
  return ENVIRONMENT_PREFIX + flagName(name).replaceAll('-', '_').toUpperCase()
}

/** What commander declares: flags and help of a setting. */
export function settingHelp(name: SettingName): { flags: string[]; description: string } {
  const { kind, standard, description, argument } = SETTINGS[name]
  const flag = `--${flagName(name)}`
  const flags =
    argument === undefined ? [flag, `--no-${flagName(name)}`] : [`${flag} <${argument}>`]
  const origin = `default: ${kind.format(standard)}, environment: ${environmentName(name)}`
  return { flags, description: `${description} (${origin})` }
}

/** Where a value came from. */
export type SettingSource = 'flag' | 'environment' | 'file' | 'default'

export interface ResolvedSettings {
  readonly values: Settings
  readonly sources: { readonly [Name in SettingName]: SettingSource }
}

export type FlagValues = Readonly<Partial<Record<SettingName, string | boolean>>>
export type Environment = Readonly<Record<string, string | undefined>>

/** What a file says; see settings-file.ts. */
export interface SettingsFile {
  readonly path: string
  readonly values: FlagValues
}

/** Throws UsageError that names the flag, variable or file and says what would be right. */
export function resolveSettings(
  flags: FlagValues,
  environment: Environment,
  file?: SettingsFile,
): ResolvedSettings {
  const values: Partial<Record<SettingName, unknown>> = {}
  const sources: Partial<Record<SettingName, SettingSource>> = {}
  for (const name of SETTING_NAMES) {
    const { kind, standard } = SETTINGS[name]
    const flag = flags[name]
    const variable = environment[environmentName(name)]
    if (flag !== undefined) {
      values[name] = parseSetting(kind, `--${flagName(name)}`, String(flag))
      sources[name] = 'flag'
    } else if (variable !== undefined && variable !== '') {
      values[name] = parseSetting(kind, environmentName(name), variable)
      sources[name] = 'environment'
    } else if (file?.values[name] !== undefined) {
      values[name] = parseSetting(kind, `${file.path}: ${name}`, String(file.values[name]))
      sources[name] = 'file'
    } else {
      values[name] = standard
      sources[name] = 'default'
    }
  }
  return { values: values as Settings, sources: sources as ResolvedSettings['sources'] }
}

function parseSetting(kind: ValueKind<unknown>, name: string, text: string): unknown {
  const value = kind.parse(text)
  if (value !== undefined) return value
  throw new UsageError(`${name} '${text}' is not ${kind.expected}`)
}

export interface SettingRow {
  readonly name: SettingName
  readonly value: string
  /** The flag or variable that gave it, 'file' or 'default'. */
  readonly source: string
}

/** What `kvd config` prints. */
export function settingRows({ values, sources }: ResolvedSettings): SettingRow[] {
  return SETTING_NAMES.map(name => {
    const value = SETTINGS[name].kind.format(values[name])
    const source = sources[name]
    if (source === 'flag') return { name, value, source: `--${flagName(name)}` }
    return { name, value, source: source === 'environment' ? environmentName(name) : source }
  })
}

/**
 * Variables that look like a misspelt setting, each with the one that was probably meant. Others
 * with our prefix may belong to other programs, so they are none of our business.
 */
export function misspeltVariables(environment: Environment): { name: string; meant: string }[] {
  const settings = SETTING_NAMES.map(environmentName)
  const known = [
    ...settings,
    ...[CONFIG_VARIABLE, PASSWORD_VARIABLE, NODES_PASSWORD_VARIABLE, CLUSTER_SECRET_VARIABLE],
  ]
  return Object.keys(environment).flatMap(name => {
    if (!name.startsWith(ENVIRONMENT_PREFIX) || known.includes(name)) return []
    const meant = closestWord(name, known)
    return meant === undefined ? [] : [{ name, meant }]
  })
}

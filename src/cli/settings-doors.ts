/** Settings of the doors of a node or proxy: where they are, who may come in, and how much. */
import {
  CLIENT_AUTH,
  type ClientAuth,
  DEFAULT_PORT,
  DEFAULT_SERVER_LIMITS,
  DEFAULT_USER,
} from '../net/index.ts'
import { PASSWORD_VARIABLE } from './password.ts'
import type { SettingTable } from './setting.ts'
import {
  choiceValue,
  durationValue,
  integerValue,
  optionalValue,
  sizeValue,
  switchValue,
  textValue,
} from './setting-values.ts'

const MIB = 1024 * 1024

export interface DoorSettings {
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
  readonly maxValueSize: number
  readonly maxConnections: number
  readonly slowOperation: number
  readonly drainTimeout: number
}

export const DOOR_TABLE: SettingTable<DoorSettings> = {
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
}

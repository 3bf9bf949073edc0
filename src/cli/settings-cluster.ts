/** Settings of a node as one of a cluster. */
import {
  PEER_PORT_DEFAULT,
  REPLICATION_FACTOR_MAX,
  VIRTUAL_NODES_MAX,
  WEIGHT_MAX,
} from '../cluster/index.ts'
import { CLUSTER_SECRET_VARIABLE } from './password.ts'
import type { SettingTable } from './setting.ts'
import {
  addressesValue,
  integerValue,
  optionalValue,
  switchValue,
  textValue,
} from './setting-values.ts'

export interface ClusterSettings {
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
}

export const CLUSTER_TABLE: SettingTable<ClusterSettings> = {
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
}

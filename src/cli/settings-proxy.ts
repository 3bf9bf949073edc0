/** Settings of a proxy: the nodes that it stands in front of. */
import { NODES_PASSWORD_VARIABLE } from './password.ts'
import type { SettingTable } from './setting.ts'
import {
  addressesValue,
  durationValue,
  optionalValue,
  switchValue,
  textValue,
} from './setting-values.ts'

export interface ProxySettings {
  readonly nodes: readonly string[] | undefined
  readonly nodesUser: string | undefined
  readonly nodesPasswordFile: string | undefined
  readonly nodesTls: boolean
  readonly drainDelay: number
}

export const PROXY_TABLE: SettingTable<ProxySettings> = {
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
}

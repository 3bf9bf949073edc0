// Goal: a setting means the same as a flag, as an environment variable and as a default, is shown
// as it is typed, and a wrong one is refused with what would be right.
// Method: every row of the table through each source, and the values that must not pass.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  environmentName,
  flagName,
  misspeltVariables,
  resolveSettings,
  SETTING_NAMES,
  type SettingName,
  settingHelp,
  settingRows,
} from '../../src/cli/settings.ts'
import { UsageError } from '../../src/cli/usage-error.ts'

/** For each setting a text that is not its default, and what it means. */
const EXAMPLES: { readonly [Name in SettingName]: readonly [text: string, value: unknown] } = {
  dir: ['/tmp/x', '/tmp/x'],
  coldDir: ['/slow/x', '/slow/x'],
  host: ['::1', '::1'],
  port: ['0', 0],
  respHost: ['127.0.0.2', '127.0.0.2'],
  respPort: ['6380', 6380],
  httpHost: ['127.0.0.2', '127.0.0.2'],
  httpPort: ['7780', 7780],
  allowInsecureRemote: ['true', true],
  user: ['me', 'me'],
  passwordFile: ['/run/secrets/kv', '/run/secrets/kv'],
  tlsCert: ['/etc/kv/cert.pem', '/etc/kv/cert.pem'],
  tlsKey: ['/etc/kv/key.pem', '/etc/kv/key.pem'],
  tlsCa: ['/etc/kv/ca.pem', '/etc/kv/ca.pem'],
  tlsClientAuth: ['require', 'require'],
  usersFile: ['/etc/kv/users.json', '/etc/kv/users.json'],
  peerHost: ['::1', '::1'],
  peerPort: ['0', 0],
  peerAddress: ['node1:7701', 'node1:7701'],
  clusterSecretFile: ['/run/secrets/cluster', '/run/secrets/cluster'],
  init: ['true', true],
  join: ['node1:7701,[::1]:7702', ['node1:7701', '[::1]:7702']],
  rack: ['eu-1.b', 'eu-1.b'],
  weight: ['4', 4],
  trustClock: ['true', true],
  replicationFactor: ['5', 5],
  virtualNodes: ['64', 64],
  durability: ['interval', 'interval'],
  syncInterval: ['5s', 5000],
  memoryBudget: ['1.5GiB', 1.5 * 1024 ** 3],
  compression: ['deflate', 'deflate'],
  compactionThreads: ['3', 3],
  partitions: ['64', 64],
  maxValueSize: ['10MB', 10_000_000],
  maxConnections: ['7', 7],
  slowOperation: ['1s', 1000],
  drainTimeout: ['1h', 3_600_000],
  nodes: ['node1:7700,[::1]:7702', ['node1:7700', '[::1]:7702']],
  nodesUser: ['proxy', 'proxy'],
  nodesPasswordFile: ['/run/secrets/nodes', '/run/secrets/nodes'],
  nodesTls: ['true', true],
  drainDelay: ['500ms', 500],
  logLevel: ['debug', 'debug'],
  jsonLogs: ['true', true],
}

/** [setting, texts that are wrong] */
const WRONG: readonly (readonly [SettingName, readonly string[]])[] = [
  ['port', ['65536', '-1', 'http', '1.5', '']],
  ['durability', ['snyc', 'SYNC', 'true']],
  ['syncInterval', ['100', '0ms', '2m', '5 parsecs']],
  ['memoryBudget', ['1kB', 'lots', '-1MiB', '2000TiB', '10MiBs']],
  ['compactionThreads', ['0', '65']],
  ['partitions', ['0', '65537']],
  ['join', ['', 'node1', 'node1:0', 'node1:7701,', '::1:7701', 'kv://node1:7701']],
  ['rack', ['']],
  ['weight', ['0', '65', '1.5']],
  ['replicationFactor', ['0', '8']],
  ['virtualNodes', ['0', '1025']],
  ['jsonLogs', ['yes', '2']],
  ['logLevel', ['trace']],
  ['dir', ['']],
  ['coldDir', ['']],
]

describe('settings', () => {
  for (const name of SETTING_NAMES) {
    test(`${name} comes from flag, environment, file or default, in this order`, () => {
      const [text, value] = EXAMPLES[name]
      const variable = environmentName(name)
      const standard = resolveSettings({}, {})
      assert.equal(standard.sources[name], 'default')
      assert.notDeepEqual(standard.values[name], value)
      const file = { path: 'kvd.json', values: { [name]: text } }
      const filed = resolveSettings({}, {}, file)
      assert.deepEqual(filed.values[name], value)
      assert.equal(filed.sources[name], 'file')
      const wrongFile = { path: 'kvd.json', values: { [name]: '' } }
      const environment = resolveSettings({}, { [variable]: text }, wrongFile)
      assert.deepEqual(environment.values[name], value)
      assert.equal(environment.sources[name], 'environment')
      const flag = resolveSettings({ [name]: text }, { [variable]: 'not looked at' }, wrongFile)
      assert.deepEqual(flag.values[name], value)
      assert.equal(flag.sources[name], 'flag')
      const help = settingHelp(name)
      assert.ok(help.flags[0]?.startsWith(`--${flagName(name)}`))
      assert.ok(help.description.includes(variable))
    })

    test(`${name} is shown as it may be typed`, () => {
      for (const flags of [{}, { [name]: EXAMPLES[name][0] }]) {
        const resolved = resolveSettings(flags, {})
        const row = settingRows(resolved).find(candidate => candidate.name === name)!
        if (resolved.values[name] === undefined) continue
        const again = resolveSettings({ [name]: row.value }, {})
        assert.deepEqual(again.values[name], resolved.values[name])
      }
    })
  }

  for (const [name, texts] of WRONG) {
    for (const text of texts) {
      test(`${name} '${text}' is refused`, () => {
        const isNamed = (what: string) => (error: unknown) => {
          return (
            error instanceof UsageError && error.message.startsWith(`${what} '${text}' is not `)
          )
        }
        assert.throws(() => resolveSettings({ [name]: text }, {}), isNamed(`--${flagName(name)}`))
        if (text === '') return
        const environment = { [environmentName(name)]: text }
        assert.throws(() => resolveSettings({}, environment), isNamed(environmentName(name)))
      })
    }
  }

  test('an empty variable is an unset one', () => {
    assert.equal(resolveSettings({}, { DURAMEN_PORT: '' }).sources.port, 'default')
  })

  test('a switch is turned off by flag against the environment', () => {
    const { values } = resolveSettings({ jsonLogs: false }, { DURAMEN_JSON_LOGS: '1' })
    assert.equal(values.jsonLogs, false)
  })

  test('a misspelt variable is noticed, a foreign one is not', () => {
    const environment = { DURAMEN_PROT: '1', DURAMEN_MEMORYBUDGET: '1', DURAMEN_URL: 'kv://x' }
    assert.deepEqual(misspeltVariables({ ...environment, DURAMEN_PORT: '1', PATH: '/' }), [
      { name: 'DURAMEN_PROT', meant: 'DURAMEN_PORT' },
      { name: 'DURAMEN_MEMORYBUDGET', meant: 'DURAMEN_MEMORY_BUDGET' },
    ])
    assert.deepEqual(misspeltVariables({ DURAMEN_CONFIG: 'x', DURAMEN_CONFGI: 'x' }), [
      { name: 'DURAMEN_CONFGI', meant: 'DURAMEN_CONFIG' },
    ])
  })
})

/** Which settings which command of kvd has as flags. */
import { SETTING_NAMES, type SettingName } from './settings.ts'

/** What only a proxy understands. */
const OF_PROXIES: readonly SettingName[] = [
  ...(['nodes', 'nodesUser', 'nodesPasswordFile', 'nodesTls', 'drainDelay'] as const),
]

/** What a proxy understands, too. */
const OF_DOORS: readonly SettingName[] = [
  ...(['host', 'port', 'respHost', 'respPort', 'httpHost', 'httpPort'] as const),
  ...(['allowInsecureRemote', 'user', 'passwordFile', 'usersFile'] as const),
  ...(['tlsCert', 'tlsKey', 'tlsCa', 'tlsClientAuth', 'maxValueSize', 'maxConnections'] as const),
  ...(['slowOperation', 'drainTimeout', 'logLevel', 'jsonLogs'] as const),
]

/** What all nodes of `kvd dev` get: who may ask them, and what they show. */
export const DEV_SETTINGS: readonly SettingName[] = [
  ...(['user', 'passwordFile', 'usersFile'] as const),
  ...(['tlsCert', 'tlsKey', 'tlsCa', 'tlsClientAuth'] as const),
]

/** The flags of `kvd serve`, and those of `kvd proxy`. */
export const SERVE_SETTINGS = SETTING_NAMES.filter(name => !OF_PROXIES.includes(name))
export const PROXY_SETTINGS = [...OF_PROXIES, ...OF_DOORS]

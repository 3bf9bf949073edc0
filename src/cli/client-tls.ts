/** What kvcli holds the servers of a kvs:// url against, and shows them: PEM files. */
import type { ClientTls } from '../net/index.ts'
import type { CommandOption, OptionValues } from './command.ts'
import { textOption } from './option-values.ts'

const NAMES = ['ca', 'cert', 'key'] as const

/** Of the files; absent ones are not said. */
export type TlsPaths = { readonly [Name in (typeof NAMES)[number]]?: string }

/** As kvd has them: on the machine of a node its own files are the right ones. */
const VARIABLES = {
  ca: 'DURAMEN_TLS_CA',
  cert: 'DURAMEN_TLS_CERT',
  key: 'DURAMEN_TLS_KEY',
} as const

const FLAGS = { ca: 'tlsCa', cert: 'tlsCert', key: 'tlsKey' } as const

export const TLS_OPTIONS: readonly CommandOption[] = [
  {
    flags: '--tls-ca <path>',
    description: "kvs://: authorities that the servers' certificates come from, PEM",
    standard: `${VARIABLES.ca}, else those of the system`,
    completes: 'files',
  },
  {
    flags: '--tls-cert <path>',
    description: 'kvs://: the certificate to show, PEM',
    standard: VARIABLES.cert,
    completes: 'files',
  },
  {
    flags: '--tls-key <path>',
    description: 'kvs://: its key, PEM',
    standard: VARIABLES.key,
    completes: 'files',
  },
]

export function tlsOptions(options: OptionValues): TlsPaths {
  return pathsBy(name => textOption(options, FLAGS[name]))
}

/** An empty variable is an unset one. */
export function tlsVariables(env: Readonly<Record<string, string | undefined>>): TlsPaths {
  return pathsBy(name => env[VARIABLES[name]] || undefined)
}

function pathsBy(pathOf: (name: (typeof NAMES)[number]) => string | undefined): TlsPaths {
  const found = NAMES.flatMap(name => {
    const path = pathOf(name)
    return path === undefined ? [] : [[name, path]]
  })
  return Object.fromEntries(found)
}

/** Undefined when nothing is said: then what the system believes is believed. */
export async function readClientTls(
  paths: TlsPaths,
  readText: (path: string) => Promise<string>,
): Promise<ClientTls | undefined> {
  const tls: { -readonly [Name in keyof ClientTls]: ClientTls[Name] } = {}
  for (const name of NAMES) {
    const path = paths[name]
    if (path !== undefined) tls[name] = await readText(path)
  }
  return Object.keys(tls).length === 0 ? undefined : tls
}

/** What kvcli holds the servers of a kvs:// url against, and shows them: PEM files. */
import type { ClientTls } from '../net/index.ts'

/** As kvd has them: on the machine of a node its own files are the right ones. */
const VARIABLES = {
  ca: 'DURAMEN_TLS_CA',
  cert: 'DURAMEN_TLS_CERT',
  key: 'DURAMEN_TLS_KEY',
} as const

/** Undefined when nothing is said: then what the system believes is believed. */
export async function readClientTls(
  env: Readonly<Record<string, string | undefined>>,
  readText: (path: string) => Promise<string>,
): Promise<ClientTls | undefined> {
  const tls: { -readonly [Name in keyof ClientTls]: ClientTls[Name] } = {}
  for (const name of ['ca', 'cert', 'key'] as const) {
    const path = env[VARIABLES[name]]
    if (path) tls[name] = await readText(path)
  }
  return Object.keys(tls).length === 0 ? undefined : tls
}

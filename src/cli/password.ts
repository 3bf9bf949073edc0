/**
 * Where kvd and kvcli find passwords and secrets: in the environment or in a file, never in an
 * argument, which every user of the machine can read; and which lines of the REPL are kept nowhere.
 * Pure.
 */
import { UsageError } from './usage-error.ts'

export const PASSWORD_VARIABLE = 'DURAMEN_PASSWORD'
export const PASSWORD_FILE_VARIABLE = 'DURAMEN_PASSWORD_FILE'

/** Of a proxy, towards the nodes behind it. */
export const NODES_PASSWORD_VARIABLE = 'DURAMEN_NODES_PASSWORD'

/** What all nodes of a cluster know. */
export const CLUSTER_SECRET_VARIABLE = 'DURAMEN_CLUSTER_SECRET'

/** The first line of a password file. Throws UsageError when it is empty. */
export function passwordIn(text: string, path: string): string {
  return firstLine(text, path, 'password')
}

/** The first line of a file with a cluster's secret. Throws UsageError when it is empty. */
export function clusterSecretIn(text: string, path: string): string {
  return firstLine(text, path, 'cluster secret')
}

function firstLine(text: string, path: string, what: string): string {
  const [line = ''] = text.split(/\r?\n/, 1)
  if (line !== '') return line
  throw new UsageError(`${path} has no ${what}: its first line is empty`)
}

/**
 * Whether a command line may have a password in the address of a server. Rather once too often:
 * what it says yes to is kept nowhere.
 */
export function mayHoldPassword(line: string): boolean {
  if (!/kvs?:\/\/|\bconnect\b|--url/i.test(line)) return false
  return /:.*@/s.test(line.replaceAll('://', ' ')) || /[?&]password=/i.test(line)
}

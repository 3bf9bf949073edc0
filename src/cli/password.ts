/**
 * Where kvd and kvcli find the password: in the environment or in a file, never in an argument,
 * which every user of the machine can read. Pure.
 */
import { UsageError } from './usage-error.ts'

export const PASSWORD_VARIABLE = 'DURAMEN_PASSWORD'
export const PASSWORD_FILE_VARIABLE = 'DURAMEN_PASSWORD_FILE'

/** The first line of a password file. Throws UsageError when it is empty. */
export function passwordIn(text: string, path: string): string {
  const [line = ''] = text.split(/\r?\n/, 1)
  if (line !== '') return line
  throw new UsageError(`${path} has no password: its first line is empty`)
}

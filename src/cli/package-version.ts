/** The version of Duramen that runs, as package.json has it. */
import { readFileSync } from 'node:fs'

export function packageVersion(): string {
  // Two folders up from both src/cli and dist/cli.
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const contents: unknown = JSON.parse(text)
  const isPackage = typeof contents === 'object' && contents !== null && 'version' in contents
  return isPackage ? String(contents.version) : 'unknown'
}

/** The version of Duramen that runs, as package.json has it. */
import { readFileSync } from 'node:fs'

export function packageVersion(): string {
  // By name: the programs are bundled, so this module is not where its source is.
  const text = readFileSync(new URL(import.meta.resolve('duramen/package.json')), 'utf8')
  const contents: unknown = JSON.parse(text)
  const isPackage = typeof contents === 'object' && contents !== null && 'version' in contents
  return isPackage ? String(contents.version) : 'unknown'
}

/**
 * Settings from a file: one JSON object whose members are named as `kvd config` prints them.
 *
 *   { "dir": "/var/lib/duramen", "port": 7701, "memoryBudget": "1GiB", "jsonLogs": true }
 *
 * Values are what a flag would take. A bare number is a count, a port, or a size in bytes; a
 * duration needs its unit, as everywhere. Pure.
 */
import { closestWord } from '../edit-distance.ts'
import { type FlagValues, SETTING_NAMES, type SettingName } from './settings.ts'
import { UsageError } from './usage-error.ts'

/** Throws UsageError that names the file and what is wrong in it. */
export function parseSettingsFile(text: string, path: string): FlagValues {
  const content = parseObject(text, path)
  const values: Partial<Record<SettingName, string | boolean>> = {}
  for (const [name, value] of Object.entries(content)) {
    const known = SETTING_NAMES.find(candidate => candidate === name)
    if (known === undefined) throw new UsageError(`${path}: '${name}' is no setting${meant(name)}`)
    if (!isPlain(value)) {
      throw new UsageError(`${path}: ${name} must be a string, a number, true or false`)
    }
    values[known] = typeof value === 'boolean' ? value : String(value)
  }
  return values
}

function parseObject(text: string, path: string): object {
  let content: unknown
  try {
    // Editors of one platform put a byte order mark in front.
    content = JSON.parse(text.replace(/^\ufeff/, ''))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new UsageError(`${path} is not JSON: ${why}`, { cause: error })
  }
  if (typeof content === 'object' && content !== null && !Array.isArray(content)) return content
  throw new UsageError(`${path} must hold one JSON object`)
}

function isPlain(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

function meant(name: string): string {
  const closest = closestWord(name, SETTING_NAMES)
  return closest === undefined ? '' : `; did you mean '${closest}'?`
}

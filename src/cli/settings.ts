/**
 * The settings of `kvd serve` and `kvd proxy`: one table, from which come the flags, the
 * environment variables, the help, the checks and what `kvd config` prints. Precedence: flag,
 * environment, file, default. The table itself is in settings-*.ts, by topic.
 */
import { closestWord } from '../edit-distance.ts'
import { CLUSTER_SECRET_VARIABLE, NODES_PASSWORD_VARIABLE, PASSWORD_VARIABLE } from './password.ts'
import type { Setting, SettingTable } from './setting.ts'
import type { ValueKind } from './setting-values.ts'
import { CLUSTER_TABLE, type ClusterSettings } from './settings-cluster.ts'
import { DOOR_TABLE, type DoorSettings } from './settings-doors.ts'
import { LOG_TABLE, type LogSettings } from './settings-log.ts'
import { PROXY_TABLE, type ProxySettings } from './settings-proxy.ts'
import {
  DIRECTORY_TABLE,
  type DirectorySettings,
  STORAGE_TABLE,
  type StorageSettings,
} from './settings-storage.ts'
import { UsageError } from './usage-error.ts'

export interface Settings
  extends DirectorySettings,
    StorageSettings,
    DoorSettings,
    ClusterSettings,
    ProxySettings,
    LogSettings {}

export type SettingName = keyof Settings

/** In the order of the help, and of the checks: where the data is comes first. */
const TABLE: SettingTable<Settings> = {
  ...DIRECTORY_TABLE,
  ...DOOR_TABLE,
  ...CLUSTER_TABLE,
  ...STORAGE_TABLE,
  ...PROXY_TABLE,
  ...LOG_TABLE,
}

/** The same without the types of the values, for whatever goes over all of them. */
const SETTINGS: Readonly<Record<SettingName, Setting<unknown>>> = TABLE
export const SETTING_NAMES = Object.keys(TABLE) as readonly SettingName[]
const ENVIRONMENT_PREFIX = 'DURAMEN_'

/** The variable that names a file of settings, as --config does. */
export const CONFIG_VARIABLE = `${ENVIRONMENT_PREFIX}CONFIG`

/** `memoryBudget` as the command line has it: `memory-budget`. */
export function flagName(name: SettingName): string {
  return name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)
}

/** `memoryBudget` as the environment has it: `DURAMEN_MEMORY_BUDGET`. */
export function environmentName(name: SettingName): string {
  return ENVIRONMENT_PREFIX + flagName(name).replaceAll('-', '_').toUpperCase()
}

/** What commander declares: flags and help of a setting. */
export function settingHelp(name: SettingName): { flags: string[]; description: string } {
  const { kind, standard, description, argument } = SETTINGS[name]
  const flag = `--${flagName(name)}`
  const flags =
    argument === undefined ? [flag, `--no-${flagName(name)}`] : [`${flag} <${argument}>`]
  const origin = `default: ${kind.format(standard)}, environment: ${environmentName(name)}`
  return { flags, description: `${description} (${origin})` }
}

/** Where a value came from. */
export type SettingSource = 'flag' | 'environment' | 'file' | 'default'

export interface ResolvedSettings {
  readonly values: Settings
  readonly sources: { readonly [Name in SettingName]: SettingSource }
}

export type FlagValues = Readonly<Partial<Record<SettingName, string | boolean>>>
export type Environment = Readonly<Record<string, string | undefined>>

/** What a file says; see settings-file.ts. */
export interface SettingsFile {
  readonly path: string
  readonly values: FlagValues
}

/** Throws UsageError that names the flag, variable or file and says what would be right. */
export function resolveSettings(
  flags: FlagValues,
  environment: Environment,
  file?: SettingsFile,
): ResolvedSettings {
  const values: Partial<Record<SettingName, unknown>> = {}
  const sources: Partial<Record<SettingName, SettingSource>> = {}
  for (const name of SETTING_NAMES) {
    const { kind, standard } = SETTINGS[name]
    const flag = flags[name]
    const variable = environment[environmentName(name)]
    if (flag !== undefined) {
      values[name] = parseSetting(kind, `--${flagName(name)}`, String(flag))
      sources[name] = 'flag'
    } else if (variable !== undefined && variable !== '') {
      values[name] = parseSetting(kind, environmentName(name), variable)
      sources[name] = 'environment'
    } else if (file?.values[name] !== undefined) {
      values[name] = parseSetting(kind, `${file.path}: ${name}`, String(file.values[name]))
      sources[name] = 'file'
    } else {
      values[name] = standard
      sources[name] = 'default'
    }
  }
  return { values: values as Settings, sources: sources as ResolvedSettings['sources'] }
}

function parseSetting(kind: ValueKind<unknown>, name: string, text: string): unknown {
  const value = kind.parse(text)
  if (value !== undefined) return value
  throw new UsageError(`${name} '${text}' is not ${kind.expected}`)
}

export interface SettingRow {
  readonly name: SettingName
  readonly value: string
  /** The flag or variable that gave it, 'file' or 'default'. */
  readonly source: string
}

/** What `kvd config` prints. */
export function settingRows({ values, sources }: ResolvedSettings): SettingRow[] {
  return SETTING_NAMES.map(name => {
    const value = SETTINGS[name].kind.format(values[name])
    const source = sources[name]
    if (source === 'flag') return { name, value, source: `--${flagName(name)}` }
    return { name, value, source: source === 'environment' ? environmentName(name) : source }
  })
}

/**
 * Variables that look like a misspelt setting, each with the one that was probably meant. Others
 * with our prefix may belong to other programs, so they are none of our business.
 */
export function misspeltVariables(environment: Environment): { name: string; meant: string }[] {
  const settings = SETTING_NAMES.map(environmentName)
  const known = [
    ...settings,
    ...[CONFIG_VARIABLE, PASSWORD_VARIABLE, NODES_PASSWORD_VARIABLE, CLUSTER_SECRET_VARIABLE],
  ]
  return Object.keys(environment).flatMap(name => {
    if (!name.startsWith(ENVIRONMENT_PREFIX) || known.includes(name)) return []
    const meant = closestWord(name, known)
    return meant === undefined ? [] : [{ name, meant }]
  })
}

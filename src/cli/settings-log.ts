/** Settings of the log. */
import { LOG_LEVELS, type LogLevel } from '../logger.ts'
import type { SettingTable } from './setting.ts'
import { choiceValue, switchValue } from './setting-values.ts'

export interface LogSettings {
  readonly logLevel: LogLevel
  readonly jsonLogs: boolean
}

export const LOG_TABLE: SettingTable<LogSettings> = {
  logLevel: {
    kind: choiceValue(LOG_LEVELS),
    standard: 'info',
    argument: 'level',
    description: `what is logged: ${LOG_LEVELS.join(', ')}`,
  },
  jsonLogs: {
    kind: switchValue(),
    standard: false,
    description: 'log one JSON object a line, and no banner',
  },
}

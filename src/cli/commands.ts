/** The commands of kvcli, in the order of their help. */
import { benchCommand } from './bench-command.ts'
import { clusterCommand } from './cluster-command.ts'
import type { Command } from './command.ts'
import { completionCommand } from './completion-command.ts'
import { contextCommand } from './context-command.ts'
import { debugCommand } from './debug-command.ts'
import { devCommand } from './dev-command.ts'
import { exportCommand } from './export-command.ts'
import { importCommand } from './import-command.ts'
import { latencyCommand } from './latency-command.ts'
import { delCommand, getCommand, hasCommand, putCommand } from './point-commands.ts'
import { countCommand, scanCommand } from './scan-commands.ts'
import { pingCommand, statsCommand } from './server-commands.ts'
import type { SessionMode } from './session.ts'
import { connectCommand, helpCommand, historyCommand, quitCommand } from './session-commands.ts'
import { slowlogCommand } from './slowlog-command.ts'
import { topCommand } from './top-command.ts'
import { traceCommand } from './trace-command.ts'
import { watchCommand } from './watch-command.ts'

const COMMANDS: readonly Command[] = [
  getCommand,
  putCommand,
  delCommand,
  hasCommand,
  scanCommand,
  countCommand,
  watchCommand,
  importCommand,
  exportCommand,
  clusterCommand,
  traceCommand,
  statsCommand,
  topCommand,
  slowlogCommand,
  pingCommand,
  latencyCommand,
  benchCommand,
  devCommand,
  debugCommand,
  contextCommand,
  completionCommand,
  helpCommand,
  historyCommand,
  connectCommand,
  quitCommand,
]

/** The commands that there are in this way of using the program. */
export function commandsFor(mode: SessionMode): readonly Command[] {
  return COMMANDS.filter(command => mode === 'repl' || command.replOnly !== true)
}

/** The program `kvd`: its commands, its help, its exit codes for a wrong command line. */
import { Command, CommanderError, Option } from 'commander'
import { IoError, KvError } from '../errors.ts'
import { DEV_SETTINGS, PROXY_SETTINGS, SERVE_SETTINGS } from './command-settings.ts'
import type { DaemonIo } from './daemon-io.ts'
import { runDev } from './dev-cluster.ts'
import type { DevIo } from './dev-io.ts'
import { DEV_FLAGS, type DevFlags, devOptions, nodeFlags } from './dev-options.ts'
import { ExitCode } from './exit-code.ts'
import { nodeDaemonIo } from './node-daemon-io.ts'
import { nodeDevIo } from './node-dev-io.ts'
import { proxy } from './proxy.ts'
import { serve } from './serve.ts'
import {
  CONFIG_VARIABLE,
  type FlagValues,
  type ResolvedSettings,
  resolveSettings,
  SETTING_NAMES,
  type SettingName,
  settingHelp,
  settingRows,
} from './settings.ts'
import { parseSettingsFile } from './settings-file.ts'
import { failStart, wantsJsonLogs } from './start-error.ts'
import { UsageError } from './usage-error.ts'
import { userCommand } from './user-command.ts'

/** Resolves once the command is done, or the node serves. */
export async function main(io: DaemonIo = nodeDaemonIo(), dev: DevIo = nodeDevIo()): Promise<void> {
  try {
    await createProgram(io, dev).parseAsync([...io.argv], { from: 'user' })
  } catch (error) {
    const jsonLogs = wantsJsonLogs(io)
    if (error instanceof KvError) failStart(error, io, jsonLogs)
    else if (!(error instanceof CommanderError)) throw error
    // Help was written by commander, whether it was asked for or `kvd` stands alone.
    else if (error.exitCode === 0) io.exit(ExitCode.ok)
    else if (error.code === 'commander.help') io.exit(ExitCode.usage)
    else failStart(new UsageError(plainMessage(error)), io, jsonLogs)
  }
}

function plainMessage({ message }: CommanderError): string {
  return message.replace(/^error: /, '').replaceAll('\n', ' ')
}

function createProgram(io: DaemonIo, dev: DevIo): Command {
  const program = new Command('kvd')
    .description('Duramen server: a durable key-value store')
    .version(io.packageVersion, '--version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    .addHelpText('after', EXAMPLES)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: text => io.stdout.write(text),
      // Its errors are thrown; what else it would write is the help that `kvd` alone shows.
      writeErr: text => io.stderr.write(text),
      outputError: () => undefined,
    })
  const serveCommand = program
    .command('serve')
    .description('start a node, and serve until Ctrl-C')
    .action(flags => serve(resolve(flags as Flags, io), io))
  const proxyCommand = program
    .command('proxy')
    .description('stand in front of a cluster: any number side by side, without data')
    .action(flags => proxy(resolve(flags as Flags, io), io))
  const devCommand = program
    .command('dev')
    .description('run a cluster on this machine, a process a node, until Ctrl-C')
    .action(flags => {
      const { values } = resolve(nodeFlags(flags as DevFlags), io)
      return runDev(devOptions(flags as DevFlags, values, io), io, dev)
    })
  const users = userCommand(io)
  for (const command of [users, ...users.commands]) command.copyInheritedSettings(program)
  program.addCommand(users)
  for (const [flags, description] of DEV_FLAGS) devCommand.option(flags, description)
  const configCommand = program
    .command('config')
    .description('print every setting, its value and where the value comes from')
    .option('--json', 'print one JSON object')
    .action(flags => printConfig(flags as Flags & { json?: boolean }, io))
  const settingsOf: readonly (readonly [Command, readonly SettingName[]])[] = [
    [serveCommand, SERVE_SETTINGS],
    [proxyCommand, PROXY_SETTINGS],
    [configCommand, SETTING_NAMES],
  ]
  for (const [command, names] of settingsOf) {
    command.option(
      '--config <file>',
      `settings as one JSON object (environment: ${CONFIG_VARIABLE})`,
    )
    addSettings(command, names)
  }
  addSettings(devCommand, DEV_SETTINGS)
  return program
}

function addSettings(command: Command, names: readonly SettingName[]): void {
  for (const name of names) {
    const { flags, description } = settingHelp(name)
    const [first = '', ...negations] = flags
    command.addOption(new Option(first, description))
    for (const negation of negations) command.addOption(new Option(negation).hideHelp())
  }
}

/** As commander gives them. */
type Flags = FlagValues & { readonly config?: string }

/** Throws UsageError. */
function resolve({ config, ...flags }: Flags, io: DaemonIo): ResolvedSettings {
  const path = config ?? (io.env[CONFIG_VARIABLE] || undefined)
  if (path === undefined) return resolveSettings(flags, io.env)
  const values = parseSettingsFile(readSettings(io, path), path)
  return resolveSettings(flags, io.env, { path, values })
}

/** A file that cannot be read was named wrongly, as far as anybody knows. */
function readSettings(io: DaemonIo, path: string): string {
  try {
    return io.readText(path)
  } catch (error) {
    if (!(error instanceof IoError)) throw error
    throw new UsageError(error.message, { cause: error })
  }
}

function printConfig({ json, ...flags }: Flags & { json?: boolean }, io: DaemonIo): void {
  const resolved = resolve(flags, io)
  const rows = settingRows(resolved)
  if (json === true) {
    const entries = rows.map(({ name, source }) => {
      return [name, { value: resolved.values[name] ?? null, source }] as const
    })
    io.stdout.write(`${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`)
    return
  }
  const nameWidth = Math.max(...rows.map(row => row.name.length))
  const valueWidth = Math.max(...rows.map(row => row.value.length))
  for (const { name, value, source } of rows) {
    io.stdout.write(`${name.padEnd(nameWidth)}  ${value.padEnd(valueWidth)}  ${source}\n`)
  }
}

const EXAMPLES = `
Examples:
  kvd dev --nodes 3
  kvd serve
  kvd serve --dir /var/lib/duramen --memory-budget 1GiB
  DURAMEN_PORT=7701 kvd serve --dir ./second
  kvd proxy --nodes 10.0.0.1:7700,10.0.0.2:7700 --port 7800
  kvd config --json

Settings come from flags, then the environment (DURAMEN_...), then the file that
--config names, then defaults.
Exit codes: 0 stopped cleanly, 1 failed, 2 wrong command line or setting.
`

/**
 * Why kvd could not start, on stderr: a line or two for people, or one line of JSON where the logs
 * are JSON, for whoever collects them reads nothing else. A bug comes with its stack.
 */
import { KvError } from '../errors.ts'
import { jsonLogger } from '../logger.ts'
import type { DaemonIo } from './daemon-io.ts'
import { ExitCode } from './exit-code.ts'
import { environmentName, flagName, SETTING_NAMES, settingHelp } from './settings.ts'

const LOCKED_ADVICE =
  'to use the node that runs: npx kvcli; for a second one: --dir, --port and, with a cluster ' +
  'secret, --peer-port'
const DISK_ADVICE =
  'the directory must be one that this user may write to, on a disk with room: see --dir'

interface StartFailure {
  readonly code: string
  readonly action: string
  readonly message: string
  readonly advice?: string
  readonly stack?: string | undefined
}

/** Tells of the error and ends the process: 2 for what the operator wrote, 1 for the rest. */
export function failStart(error: unknown, io: DaemonIo, jsonLogs: boolean): void {
  const failure = describeFailure(error)
  if (jsonLogs) {
    // Whatever the log level: without this line nobody would know.
    const logger = jsonLogger(
      line => io.stderr.write(line),
      () => io.clock.wallMs(),
      'error',
    )
    const { message, ...fields } = failure
    logger.error(message, fields)
  } else {
    const { message, code, advice, stack } = failure
    const shown = stack ?? (code === 'KV_INVALID_ARGUMENT' ? message : `${message} [${code}]`)
    io.stderr.write(`kvd: ${shown}\n${advice === undefined ? '' : `  -> ${advice}\n`}`)
  }
  io.exit(failure.code === 'KV_INVALID_ARGUMENT' ? ExitCode.usage : ExitCode.failed)
}

/** Whether logs are JSON, for an error that comes before the settings are known. */
export function wantsJsonLogs({ argv, env }: DaemonIo): boolean {
  const flag = `--${flagName('jsonLogs')}`
  const given = env[environmentName('jsonLogs')]
  if (argv.includes(`--no-${flagName('jsonLogs')}`)) return false
  return argv.includes(flag) || given === 'true' || given === '1'
}

function describeFailure(error: unknown): StartFailure {
  if (error instanceof KvError) {
    const { code, action } = error
    // A copy of a node's directory comes with advice of its own.
    const isInUse = code === 'KV_LOCKED' && !error.message.includes('kvcli debug readmit')
    const advice = isInUse ? { advice: LOCKED_ADVICE } : {}
    return { code, action, message: withFlags(error.message), ...advice }
  }
  if (error instanceof Error && 'syscall' in error && 'code' in error) {
    return { code: 'KV_IO', action: 'check-disk', message: error.message, advice: DISK_ADVICE }
  }
  const bug = { code: 'KV_INTERNAL', action: 'report' }
  if (!(error instanceof Error)) return { ...bug, message: String(error) }
  return { ...bug, message: error.message, stack: error.stack }
}

/** The layers below name their options; here they are flags. */
function withFlags(message: string): string {
  return SETTING_NAMES.filter(name => /[A-Z]/.test(name)).reduce((text, name) => {
    const [flag = ''] = settingHelp(name).flags
    return text.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), flag.replace(/ .*/, ''))
  }, message)
}

/** The program `kvcli`: one command and out, commands from a pipe, or the shell. */
import { utf8Decode } from '../bytes.ts'
import { IoError } from '../errors.ts'
import type { ClientTls } from '../net/index.ts'
import type { CliIo, StopSignal } from './cli-io.ts'
import { readClientTls } from './client-tls.ts'
import { CommandParser, type Invocation } from './command-parser.ts'
import { runPipe } from './command-pipe.ts'
import { commandsFor } from './commands.ts'
import { connectClient } from './connect.ts'
import { DEV_DIRECTORY, decodeRun, runningPath } from './dev-layout.ts'
import { EXIT_CODE_OF_SIGNAL, ExitCode } from './exit-code.ts'
import { HistoryFile, historyPath } from './history-file.ts'
import { exitProcess, nodeCliIo } from './node-cli-io.ts'
import { durationOption, flagOption, textOption } from './option-values.ts'
import { Output } from './output.ts'
import { PASSWORD_FILE_VARIABLE, PASSWORD_VARIABLE, passwordIn } from './password.ts'
import type { Connect } from './remote-store.ts'
import { Repl } from './repl.ts'
import { type CommandRun, printError, runCommand } from './run-command.ts'
import { DEFAULT_URL, normalizeUrl, Session, type SessionMode, splitUrl } from './session.ts'
import { colourWanted } from './style.ts'

/** Runs kvcli in this process, and ends the process. */
export async function main(): Promise<void> {
  const io = nodeCliIo()
  await exitProcess(io, await runKvcli(io, connectClient))
}

/** Runs kvcli from its arguments to its exit code. */
export async function runKvcli(io: CliIo, connect: Connect): Promise<ExitCode> {
  const parser = new CommandParser(commandsFor('once'), 'once')
  const output = openOutput(io)
  let start: Start
  try {
    start = await readStart(io, parser)
  } catch (error) {
    const shown = output.forCommand(io.argv.includes('--json'))
    const scene = { session: { url: DEFAULT_URL }, signal: new AbortController().signal }
    return (await printError(error, shown, scene)).code
  }
  const program = { io, connect, start, parser, output: output.forCommand(start.json) }
  if (flagOption(start.invocation.options, 'version')) return await printVersion(program)
  if (start.invocation.command !== undefined) return await runOne(program)
  return io.stdin.isTTY === true ? await runShell(program) : await runCommands(program)
}

/** What the arguments and the environment ask for. */
interface Start {
  readonly invocation: Invocation
  readonly url: string
  /** The nodes are those of the cluster that `kvd dev` runs in this directory. */
  readonly isDev: boolean
  readonly urlPassword: string | undefined
  readonly password: string | undefined
  readonly tls: ClientTls | undefined
  readonly timeoutMs: number | undefined
  readonly json: boolean
}

/** Throws UsageError, and what reading a password file fails with. */
async function readStart(io: CliIo, parser: CommandParser): Promise<Start> {
  const invocation = parser.parse(io.argv)
  const { options } = invocation
  const given = textOption(options, 'url')
  // As with all of our variables, an empty one is an unset one.
  const devUrl = given === undefined && !io.env['DURAMEN_URL'] ? await readDevUrl(io) : undefined
  const found = splitUrl(given ?? (io.env['DURAMEN_URL'] || (devUrl ?? DEFAULT_URL)))
  return {
    invocation,
    url: given === undefined ? found.url : normalizeUrl(given),
    isDev: devUrl !== undefined,
    urlPassword: found.password,
    password: await readPassword(io),
    tls: await readClientTls(io.env, async path => utf8Decode(await io.files.readBytes(path))),
    timeoutMs: durationOption(options, 'timeout'),
    json: flagOption(options, 'json'),
  }
}

/** The nodes of the cluster that `kvd dev` runs in this directory; undefined when none runs. */
async function readDevUrl(io: CliIo): Promise<string | undefined> {
  try {
    const run = decodeRun(await io.files.readText(runningPath(DEV_DIRECTORY)))
    return run !== undefined && io.isAlive(run.pid) ? run.url : undefined
  } catch (error) {
    // What is there is nothing of ours, or of another user.
    if (error instanceof IoError) return undefined
    throw error
  }
}

async function readPassword({ env, files }: CliIo): Promise<string | undefined> {
  const path = env[PASSWORD_FILE_VARIABLE]
  if (!path) return env[PASSWORD_VARIABLE] || undefined
  return passwordIn(utf8Decode(await files.readBytes(path)), path)
}

interface Program {
  readonly io: CliIo
  readonly connect: Connect
  readonly start: Start
  readonly parser: CommandParser
  readonly output: Output
}

function openOutput(io: CliIo): Output {
  return Output.open({
    stdout: io.stdout,
    stderr: io.stderr,
    json: false,
    stdoutColour: colourWanted(io.stdout.isTTY === true, io.env),
    stderrColour: colourWanted(io.stderr.isTTY === true, io.env),
  })
}

function createSession({ io, connect, start }: Program, mode: SessionMode): Session {
  const { invocation: _, json: __, ...rest } = start
  return new Session({ io, connect, mode, ...rest })
}

/** One command, named by the arguments. */
async function runOne(program: Program): Promise<ExitCode> {
  const session = createSession(program, 'once')
  return await untilInterrupted(program, session, async run => {
    return (await runCommand(program.start.invocation, run)).code
  })
}

/** The commands that standard input holds. */
async function runCommands(program: Program): Promise<ExitCode> {
  const session = createSession(program, 'pipe')
  const keepGoing = flagOption(program.start.invocation.options, 'keepGoing')
  return await untilInterrupted(program, session, async run => {
    return await runPipe({ ...run, input: program.io.stdin, keepGoing })
  })
}

async function untilInterrupted(
  { io, parser, output }: Program,
  session: Session,
  work: (run: CommandRun) => Promise<ExitCode>,
): Promise<ExitCode> {
  const controller = new AbortController()
  let interruptedBy: StopSignal | undefined
  // A second Ctrl-C finds no listener, and ends the process at once.
  const stopListening = io.onInterrupt(signal => {
    interruptedBy = signal
    stopListening()
    controller.abort()
  })
  try {
    const code = await work({ session, parser, output, signal: controller.signal })
    if (interruptedBy === undefined || code !== ExitCode.interrupted) return code
    return EXIT_CODE_OF_SIGNAL[interruptedBy]
  } finally {
    stopListening()
    await session.close()
  }
}

async function runShell({ io, connect, start, output }: Program): Promise<ExitCode> {
  const history = new HistoryFile(historyPath(io), io.files)
  await history.load()
  const { invocation: _, json: __, ...rest } = start
  const lines = (): readonly string[] => history.lines
  const session = new Session({
    io,
    connect,
    mode: 'repl',
    ...rest,
    history: lines,
  })
  const parser = new CommandParser(commandsFor('repl'), 'repl')
  try {
    return await new Repl({ session, parser, output, history }).run()
  } finally {
    await session.close()
  }
}

async function printVersion({ io, output }: Program): Promise<ExitCode> {
  const { version } = io
  await output.print({ version: version.package, node: version.node }, () => {
    return `kvcli ${version.package} (Node.js ${version.node})`
  })
  return ExitCode.ok
}

/** The program `kvcli`: one command and out, commands from a pipe, or the shell. */
import type { CliIo, StopSignal } from './cli-io.ts'
import { CommandParser, type Invocation } from './command-parser.ts'
import { runPipe } from './command-pipe.ts'
import { commandsFor } from './commands.ts'
import { connectClient } from './connect.ts'
import { EXIT_CODE_OF_SIGNAL, ExitCode } from './exit-code.ts'
import { HistoryFile, historyPath } from './history-file.ts'
import { exitProcess, nodeCliIo } from './node-cli-io.ts'
import { durationOption, flagOption } from './option-values.ts'
import { Output } from './output.ts'
import type { Connect } from './remote-store.ts'
import { Repl } from './repl.ts'
import { type CommandRun, printError, runCommand } from './run-command.ts'
import { chooseServer, type ServerChoice } from './server-choice.ts'
import { DEFAULT_URL, Session, type SessionMode } from './session.ts'
import { completeInShell } from './shell-completion.ts'
import { COMPLETE_WORD } from './shell-words.ts'
import { colourWanted } from './style.ts'

/** Runs kvcli in this process, and ends the process. */
export async function main(): Promise<void> {
  const io = nodeCliIo()
  await exitProcess(io, await runKvcli(io, connectClient))
}

/** Runs kvcli from its arguments to its exit code. */
export async function runKvcli(io: CliIo, connect: Connect): Promise<ExitCode> {
  if (io.argv[0] === COMPLETE_WORD) {
    await completeInShell(io, connect)
    return ExitCode.ok
  }
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
  readonly server: ServerChoice
  readonly timeoutMs: number | undefined
  readonly json: boolean
}

/** Of commands that need none. */
const NO_SERVER: ServerChoice = {
  url: DEFAULT_URL,
  source: 'nothing',
  isDev: false,
  urlPassword: undefined,
  password: undefined,
  tls: undefined,
  otherTls: async () => undefined,
  consistency: undefined,
}

/** Throws UsageError, and what reading a file of a password, certificate or context fails with. */
async function readStart(io: CliIo, parser: CommandParser): Promise<Start> {
  const invocation = parser.parse(io.argv)
  const { options, command } = invocation
  const isOffline = command?.needsServer === false || flagOption(options, 'version')
  return {
    invocation,
    server: isOffline ? NO_SERVER : await chooseServer(io, options),
    timeoutMs: durationOption(options, 'timeout'),
    json: flagOption(options, 'json'),
  }
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
  const { server, timeoutMs } = start
  return new Session({ io, connect, mode, ...server, timeoutMs })
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
  const { server, timeoutMs } = start
  const lines = (): readonly string[] => history.lines
  const session = new Session({ io, connect, mode: 'repl', ...server, timeoutMs, history: lines })
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

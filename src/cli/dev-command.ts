/** dev: looks at the local cluster that `kvd dev` runs, and kills and starts its nodes. */
import { constants } from 'node:os'
import type { Command, CommandContext } from './command.ts'
import { askDev, type DevNodeStatus, type DevRequest } from './dev-control.ts'
import { DEV_DIRECTORY } from './dev-layout.ts'
import { ExitCode } from './exit-code.ts'
import { textOption } from './option-values.ts'
import { renderTable } from './render.ts'
import type { Style } from './style.ts'
import { unknownChoice } from './unknown-choice.ts'
import { UsageError } from './usage-error.ts'

const ACTIONS = ['status', 'kill', 'start'] as const
type Action = (typeof ACTIONS)[number]

/** As `kill` numbers them everywhere. */
const SIGNAL_NAMES: Readonly<Record<string, string>> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  6: 'SIGABRT',
  9: 'SIGKILL',
  15: 'SIGTERM',
}

export const devCommand: Command = {
  name: 'dev',
  summary: 'kill and start nodes of a local cluster, one that kvd dev runs',
  details:
    'A node that was killed stays away until it is started. SIGSTOP pauses one, as if its ' +
    'machine hung; SIGCONT lets it go on. For how the cluster sees it: kvcli cluster status.',
  lists: [
    {
      title: 'Actions',
      items: [
        ['status', 'which nodes run'],
        ['kill', 'send a signal to a node, SIGKILL unless --signal says another'],
        ['start', 'start a node that does not run'],
      ],
    },
  ],
  args: [
    { name: 'action', description: ACTIONS.join(', '), choices: ACTIONS },
    { name: 'node', description: 'of kill and start: its number, from 1', required: false },
  ],
  options: [
    { flags: '--signal <signal>', description: 'kill: its number or name', standard: 'KILL' },
    {
      flags: '--dir <path>',
      description: 'the directory that kvd dev was given',
      standard: DEV_DIRECTORY,
    },
  ],
  examples: [
    { line: 'kvcli dev status', says: 'which nodes run?' },
    { line: 'kvcli dev kill 2', says: 'as kill -9' },
    { line: 'kvcli dev kill 2 --signal STOP', says: 'it hangs' },
    { line: 'kvcli dev start 2', says: 'it is back' },
  ],
  run: runDev,
}

async function runDev(context: CommandContext): Promise<ExitCode> {
  const { args, options, output, session } = context
  const request = requestOf(args[0]!, args[1], textOption(options, 'signal'))
  const { files, clock, random, isAlive } = session.io
  const directory = textOption(options, 'dir') ?? DEV_DIRECTORY
  const id = Buffer.from(random.bytes(8)).toString('hex')
  const nodes = await askDev(directory, request, { files, clock, isAlive, id })
  await output.print({ nodes }, () => renderNodes(nodes, output.style).trimEnd())
  return ExitCode.ok
}

function requestOf(
  action: string,
  node: string | undefined,
  signal: string | undefined,
): DevRequest {
  if (!ACTIONS.includes(action as Action)) {
    throw unknownChoice('dev', action, ACTIONS)
  }
  const command = action as Action
  if (signal !== undefined && command !== 'kill') {
    throw new UsageError('only dev kill sends a signal')
  }
  if (command === 'status') {
    if (node !== undefined) throw new UsageError('dev status tells of all nodes')
    return { command }
  }
  if (node === undefined || !/^[1-9]\d*$/.test(node)) {
    throw new UsageError(
      `dev ${command} needs the number of a node, from 1: kvcli dev ${command} 2`,
    )
  }
  return command === 'start'
    ? { command, node: Number(node) }
    : { command, node: Number(node), signal: signalName(signal ?? 'KILL') }
}

function signalName(text: string): string {
  const upper = text.toUpperCase()
  const name = SIGNAL_NAMES[text] ?? (upper.startsWith('SIG') ? upper : `SIG${upper}`)
  // The nodes run on this very machine.
  if (Object.hasOwn(constants.signals, name)) return name
  throw new UsageError(
    `--signal '${text}' is no signal of this system: use KILL, STOP, CONT, TERM, INT, HUP or QUIT`,
  )
}

function renderNodes(nodes: readonly DevNodeStatus[], style: Style): string {
  const cells = nodes.map(({ number, state, pid, address, ended }) => {
    const paint = state === 'running' ? style.good : state === 'crashed' ? style.bad : style.warn
    return [
      String(number),
      paint(state),
      pid === null ? '' : String(pid),
      address,
      pid === null && ended !== null ? `ended with ${ended}` : '',
    ]
  })
  const titles = ['node', 'state', 'pid', 'address', ''].map(title => ({ title }))
  return renderTable(titles, cells, style)
}

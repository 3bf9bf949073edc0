/**
 * trace: what each replica has of a key, and how long it took to say so. Also the part of `get`
 * that tells of the version.
 */
import { type Command, type CommandContext, callOptions } from './command.ts'
import { decodeArgument, jsonField, showToken } from './data-encoding.ts'
import { ExitCode } from './exit-code.ts'
import {
  formatBytes,
  formatCount,
  formatDuration,
  renderTable,
  type TableColumn,
} from './render.ts'
import { shortenIds, shortIds } from './short-ids.ts'
import type { Style } from './style.ts'
import { UsageError } from './usage-error.ts'

/** Of a writer's id: it is of a client or of a node, and longer ones are in the JSON. */
const WRITER_DIGITS = 8

/** What the server answers to the command `trace`; see the cluster's key-trace.ts. */
export interface KeyTrace {
  readonly partition: number
  readonly epoch: number
  readonly agreed: boolean
  readonly replicas: readonly ReplicaTrace[]
}

export interface ReplicaTrace {
  readonly node: string
  readonly state: string
  readonly tookMs: number
  readonly version?: { readonly timeMs: number; readonly counter: number; readonly writer: string }
  readonly expiryMs?: number
  readonly size?: number
  readonly hash?: string
  readonly error?: string
}

export const traceCommand: Command = {
  name: 'trace',
  summary: 'show what each replica has of a key',
  details:
    'Asks every owner of the key for its own copy, and repairs nothing. ' +
    'Ends with exit code 1 when one cannot answer, or they differ.',
  args: [
    { name: 'action', description: 'get', choices: ['get'] },
    { name: 'key', description: '1 to 65,533 bytes', completes: 'keys' },
  ],
  options: [],
  examples: [
    { line: 'kvcli trace get user:1', says: 'do all replicas agree?' },
    { line: 'kvcli trace get user:1 --json', says: 'with hashes of what they hold' },
  ],
  async run(context) {
    const { output, encoding } = context
    const [action, text = ''] = context.args
    if (action !== 'get') throw new UsageError(`trace does not know '${action}': use get`)
    const key = decodeArgument(text, encoding, 'key')
    const trace = await fetchTrace(context, key)
    await output.print({ ...jsonField('key', key, encoding), ...trace }, () =>
      renderTrace(showToken(key, encoding), trace, output.style),
    )
    return trace.agreed ? ExitCode.ok : ExitCode.failed
  },
}

export async function fetchTrace(context: CommandContext, key: Uint8Array): Promise<KeyTrace> {
  const client = await context.session.client(context.signal)
  const command = { command: 'trace', key: Buffer.from(key).toString('base64') }
  const answer = await client.admin(command, callOptions(context))
  return answer as unknown as KeyTrace
}

/** The replica with the newest copy; undefined when none has any. */
export function newestOf({ replicas }: KeyTrace): ReplicaTrace | undefined {
  return replicas
    .filter(({ version }) => version !== undefined)
    .reduce<ReplicaTrace | undefined>((newest, replica) => {
      return newest === undefined || compareVersions(replica, newest) > 0 ? replica : newest
    }, undefined)
}

function compareVersions({ version: a }: ReplicaTrace, { version: b }: ReplicaTrace): number {
  if (a === undefined || b === undefined) return 0
  if (a.timeMs !== b.timeMs) return a.timeMs - b.timeMs
  if (a.counter !== b.counter) return a.counter - b.counter
  return a.writer < b.writer ? -1 : Number(a.writer > b.writer)
}

/** A version as people read it: when, and by whom. */
export function showVersion({ version }: ReplicaTrace): string {
  if (version === undefined) return ''
  return `${showTime(version)} by ${version.writer}`
}

function showTime({ timeMs, counter }: NonNullable<ReplicaTrace['version']>): string {
  return `${new Date(timeMs).toISOString()} +${counter}`
}

const COLUMNS: readonly TableColumn[] = [
  { title: 'replica' },
  { title: 'has' },
  { title: 'version' },
  { title: 'written by' },
  { title: 'size', align: 'right' },
  { title: 'took', align: 'right' },
]

function renderTrace(key: string, trace: KeyTrace, style: Style): string {
  const nameOf = shortIds(trace.replicas.map(({ node }) => node))
  const rows = trace.replicas.map(({ node, state, version, size, tookMs }) => [
    nameOf(node),
    isWell(state) ? state : style.bad(state === 'failed' ? 'no answer' : state),
    version === undefined ? '' : showTime(version),
    version?.writer.slice(0, WRITER_DIGITS) ?? '',
    size === undefined ? '' : formatBytes(size),
    formatDuration(tookMs),
  ])
  const place = `partition ${formatCount(trace.partition)} of epoch ${formatCount(trace.epoch)}`
  const lines = [
    `${key} is in ${place}`,
    verdictOf(trace, style),
    renderTable(COLUMNS, rows, style).trimEnd(),
  ]
  for (const { node, error } of trace.replicas) {
    if (error !== undefined)
      lines.push(`${style.dim('  ->')} ${nameOf(node)}: ${shortenIds(error)}`)
  }
  return lines.join('\n')
}

function isWell(state: string): boolean {
  return state !== 'failed' && state !== 'damaged'
}

export function verdictOf({ replicas, agreed }: KeyTrace, style: Style): string {
  if (agreed) return style.good('all replicas hold the same')
  const there = replicas.filter(({ state }) => state !== 'failed')
  const missing = replicas.length - there.length
  const isSame = there.every(({ state, hash }) => isWell(state) && hash === there[0]?.hash)
  if (there.length === 0) return style.bad('no replica answers')
  if (missing === 0 || !isSame) return style.bad('the replicas differ')
  return style.warn(
    `${formatCount(missing)} of ${formatCount(replicas.length)} replicas ` +
      `${missing === 1 ? 'does' : 'do'} not answer, ${
        there.length === 1 ? 'one does' : 'the others hold the same'
      }`,
  )
}

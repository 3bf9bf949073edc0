/**
 * cluster status: what a server thinks of each member of its cluster, in one word, one table and
 * what it means. Its ring says who they are and what they own, its statistics say how they are, and
 * all of them say what they owe.
 */
import { delay } from '../clock.ts'
import type { ClusterStatus, MemberStatus, RingTable } from '../cluster/index.ts'
import { AbortedError } from '../errors.ts'
import { type ClusterHealth, clusterHealth } from './cluster-health.ts'
import { fetchHints, formatWrites } from './cluster-hints.ts'
import { type CommandContext, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { formatCount, formatDuration, renderTable, type TableColumn } from './render.ts'
import { shortIds } from './short-ids.ts'
import { StatusLine } from './status-line.ts'
import type { Style } from './style.ts'

const POLL_MS = 500

interface Status {
  readonly status: ClusterStatus
  readonly health: ClusterHealth
}

/**
 * Exit code 1 unless it is green. With `isWaiting` resolves once it is, telling meanwhile how it
 * goes where somebody looks.
 */
export async function runStatus(
  context: CommandContext,
  fetchTable: () => Promise<RingTable>,
  isWaiting: boolean,
): Promise<ExitCode> {
  const { output, session, signal } = context
  const { clock, stderr } = session.io
  const line = new StatusLine(stderr, !output.json)
  let shown = await fetchStatus(context, await fetchTable())
  try {
    while (isWaiting && !shown.status.isWell) {
      line.show(headOf(shown, output.noteStyle))
      await delay(clock, POLL_MS)
      if (signal.aborted) throw new AbortedError('not green yet', { outcome: 'rejected' })
      shown = await fetchStatus(context, await fetchTable())
    }
  } finally {
    line.clear()
  }
  const { status } = shown
  await output.print({ ...status }, () => renderStatus(shown, output.style))
  return status.isWell ? ExitCode.ok : ExitCode.failed
}

async function fetchStatus(context: CommandContext, table: RingTable): Promise<Status> {
  const client = await context.session.client(context.signal)
  const [stats, hints] = await Promise.all([
    client.stats(callOptions(context)),
    fetchHints(context),
  ])
  // Loaded when first needed: every other command starts sooner without the cluster.
  const { clusterStatus } = await import('../cluster/index.ts')
  const status = clusterStatus(table, stats, hints)
  const isAllTold = hints.every(({ error }) => error === undefined)
  return { status, health: clusterHealth(status, table.ring.partitionCount, isAllTold) }
}

const COLUMNS: readonly TableColumn[] = [
  { title: '' },
  { title: 'node' },
  { title: 'address' },
  { title: 'state' },
  { title: 'seen' },
  { title: 'for', align: 'right' },
  { title: 'starts', align: 'right' },
  { title: 'partitions', align: 'right' },
  { title: 'owed', align: 'right' },
]

function renderStatus(shown: Status, style: Style): string {
  const { epoch, replicationFactor, members } = shown.status
  const notes = shown.health.findings.map(finding => `${style.dim('  ->')} ${finding}`)
  if (members.length > 1) {
    notes.push(style.dim('* was asked; seen: what it sees; owed: writes that others keep for it'))
  }
  return [
    headOf(shown, style),
    renderTable(COLUMNS, cellsOf(members, style), style).trimEnd(),
    style.dim(`epoch ${formatCount(epoch)}, replication factor ${replicationFactor}`),
    ...notes,
  ].join('\n')
}

/** The colour stands there as a word, for those who do not see it. */
function headOf({ status, health }: Status, style: Style): string {
  const paint = { green: style.good, yellow: style.warn, red: style.bad }[status.health]
  return `${style.bold(paint(status.health.toUpperCase()))}: ${health.summary}`
}

function cellsOf(members: readonly MemberStatus[], style: Style): string[][] {
  const nameOf = shortIds(members.map(({ nodeId }) => nodeId))
  return members.map(member => {
    const { liveness, forMs, generation } = member
    return [
      member.isAsked ? '*' : '',
      nameOf(member.nodeId),
      member.clientAddress,
      member.state,
      liveness === 'up' ? 'up' : style.bad(liveness),
      forMs === 0 ? '' : formatDuration(forMs),
      generation === undefined ? '' : formatCount(generation),
      formatCount(member.partitions),
      owedText(member),
    ]
  })
}

function owedText({ owedWrites, isOwedEstimate, owedPartitions }: MemberStatus): string {
  const writes = formatWrites(owedWrites, isOwedEstimate)
  if (owedPartitions === 0) return writes
  return `${writes} + ${formatCount(owedPartitions)} partitions`
}

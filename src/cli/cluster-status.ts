/**
 * cluster status: what a server thinks of each member of its cluster, in one word, one table and
 * what it means. Its ring says who they are and what they own, its statistics say how they are, and
 * all of them say what they owe.
 */
import { delay } from '../clock.ts'
import type { RingMember, RingTable } from '../cluster/index.ts'
import { AbortedError } from '../errors.ts'
import { type ClusterHealth, clusterHealth } from './cluster-health.ts'
import { fetchHints, formatWrites, type HintReport } from './cluster-hints.ts'
import { type CommandContext, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { formatCount, formatDuration, renderTable, type TableColumn } from './render.ts'
import { shortIds } from './short-ids.ts'
import { StatusLine } from './status-line.ts'
import type { Style } from './style.ts'

const POLL_MS = 500

/** What a server's statistics say of a member; see members in stats. */
interface MemberFigures {
  readonly liveness: string
  readonly forMs: number
  readonly incarnation?: number
  readonly generation?: number
  readonly epoch?: number
  readonly clientAddress?: string
  readonly peerAddress?: string
  readonly states?: Readonly<Record<string, number>>
}

interface MemberStatus {
  readonly member: RingMember
  readonly isAsked: boolean
  readonly figures: MemberFigures
  readonly partitions: number
  /** By all members that answer. */
  readonly owedWrites: number
  readonly isEstimate: boolean
  readonly owedPartitions: number
}

interface Status {
  readonly table: RingTable
  readonly rows: readonly MemberStatus[]
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
  let status = await fetchStatus(context, await fetchTable())
  try {
    while (isWaiting && status.health.colour !== 'green') {
      line.show(headOf(status.health, output.noteStyle))
      await delay(clock, POLL_MS)
      if (signal.aborted) throw new AbortedError('not green yet', { outcome: 'rejected' })
      status = await fetchStatus(context, await fetchTable())
    }
  } finally {
    line.clear()
  }
  const { colour } = status.health
  await output.print(statusJson(status), () => renderStatus(status, output.style))
  return colour === 'green' ? ExitCode.ok : ExitCode.failed
}

async function fetchStatus(context: CommandContext, table: RingTable): Promise<Status> {
  const client = await context.session.client(context.signal)
  const [stats, hints] = await Promise.all([
    client.stats(callOptions(context)),
    fetchHints(context),
  ])
  const self = readSelf(stats)
  const figures = readMembers(stats)
  const owned = table.readers.partitionsOwned()
  const rows = table.ring.members.map((member, index): MemberStatus => {
    const isAsked = member.nodeId === self
    const known = figures.get(member.nodeId)
    return {
      member,
      isAsked,
      figures: known ?? { liveness: isAsked ? 'up' : 'unknown', forMs: 0 },
      partitions: owned[index]!,
      ...owedTo(member.nodeId, hints),
    }
  })
  const health = clusterHealth(
    table,
    rows.map(({ member, figures: { liveness, epoch }, ...owed }) => {
      const { owedWrites, isEstimate, owedPartitions } = owed
      return { nodeId: member.nodeId, liveness, epoch, owedWrites, isEstimate, owedPartitions }
    }),
    hints.every(({ error }) => error === undefined),
  )
  return { table, rows, health }
}

function owedTo(
  nodeId: string,
  hints: readonly HintReport[],
): Pick<MemberStatus, 'owedWrites' | 'isEstimate' | 'owedPartitions'> {
  const owed = hints.flatMap(({ owes }) => owes).filter(({ peer }) => peer === nodeId)
  return {
    owedWrites: owed.reduce((sum, { writes }) => sum + writes, 0),
    isEstimate: owed.some(({ isEstimate }) => isEstimate),
    owedPartitions: owed.reduce((sum, { partitions }) => sum + partitions, 0),
  }
}

function readSelf(stats: Readonly<Record<string, unknown>>): string | undefined {
  const { node } = stats as { readonly node?: { readonly id?: string } }
  return node?.id
}

/** By node id; empty for a node that stands alone. */
function readMembers(stats: Readonly<Record<string, unknown>>): Map<string, MemberFigures> {
  type Entry = MemberFigures & { readonly nodeId: string }
  const { members = [] } = stats as { readonly members?: readonly Entry[] }
  return new Map(members.map(entry => [entry.nodeId, entry]))
}

function statusJson({ table, rows, health }: Status): Record<string, unknown> {
  const { clusterId, epoch, phase, replicationFactor } = table.ring
  const { colour, partitionsWithoutReplica, partitionsWithoutQuorum } = health
  return {
    clusterId,
    epoch,
    phase,
    replicationFactor,
    health: colour,
    isWell: colour === 'green',
    partitionsWithoutReplica,
    partitionsWithoutQuorum,
    members: rows.map(rowJson),
  }
}

function rowJson(row: MemberStatus): Record<string, unknown> {
  const { member, isAsked, figures, partitions, owedWrites, isEstimate, owedPartitions } = row
  const { nodeId, rack, weight, state } = member
  const { clientAddress, peerAddress, states = {}, ...rest } = figures
  return {
    nodeId,
    isAsked,
    state,
    rack,
    weight,
    partitions,
    owedWrites,
    isOwedEstimate: isEstimate,
    owedPartitions,
    clientAddress: clientAddress || member.clientAddress,
    peerAddress: peerAddress || member.peerAddress,
    ...rest,
    states,
  }
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

function renderStatus({ table, rows, health }: Status, style: Style): string {
  const { epoch, replicationFactor } = table.ring
  const notes = health.findings.map(finding => `${style.dim('  ->')} ${finding}`)
  if (rows.length > 1) {
    notes.push(style.dim('* was asked; seen: what it sees; owed: writes that others keep for it'))
  }
  return [
    headOf(health, style),
    renderTable(COLUMNS, cellsOf(rows, style), style).trimEnd(),
    style.dim(`epoch ${formatCount(epoch)}, replication factor ${replicationFactor}`),
    ...notes,
  ].join('\n')
}

/** The colour stands there as a word, for those who do not see it. */
function headOf({ colour, summary }: ClusterHealth, style: Style): string {
  const paint = { green: style.good, yellow: style.warn, red: style.bad }[colour]
  return `${style.bold(paint(colour.toUpperCase()))}: ${summary}`
}

function cellsOf(rows: readonly MemberStatus[], style: Style): string[][] {
  const nameOf = shortIds(rows.map(({ member }) => member.nodeId))
  return rows.map(({ member, isAsked, figures, partitions, ...owed }) => [
    isAsked ? '*' : '',
    nameOf(member.nodeId),
    figures.clientAddress || member.clientAddress,
    member.state,
    figures.liveness === 'up' ? 'up' : style.bad(figures.liveness),
    figures.forMs === 0 ? '' : formatDuration(figures.forMs),
    figures.generation === undefined ? '' : formatCount(figures.generation),
    formatCount(partitions),
    owedText(owed),
  ])
}

function owedText(
  owed: Pick<MemberStatus, 'owedWrites' | 'isEstimate' | 'owedPartitions'>,
): string {
  const writes = formatWrites(owed.owedWrites, owed.isEstimate)
  if (owed.owedPartitions === 0) return writes
  return `${writes} + ${formatCount(owed.owedPartitions)} partitions`
}

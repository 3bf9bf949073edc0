/**
 * cluster status: what a server thinks of each member of its cluster. Its ring says who they are
 * and what they own, its statistics say how they are.
 */
import type { RingMember, RingTable } from '../cluster/index.ts'
import { type CommandContext, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { formatCount, formatDuration, renderTable, type TableColumn } from './render.ts'
import { shortIds } from './short-ids.ts'

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
}

/** Exit code 1 when a member is not up, or goes by another ring. */
export async function runStatus(context: CommandContext, table: RingTable): Promise<ExitCode> {
  const { output, session } = context
  const client = await session.client(context.signal)
  const stats = await client.stats(callOptions(context))
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
    }
  })
  const { epoch, phase, clusterId, replicationFactor } = table.ring
  const isWell = rows.every(row => isUp(row) && isCurrent(row, epoch))
  const result = { clusterId, epoch, phase, replicationFactor, isWell, members: rows.map(rowJson) }
  await output.print(result, () => {
    const lines = [titleOf(table, rows), renderTable(COLUMNS, cellsOf(rows, epoch), output.style)]
    return `${lines.join('\n').trimEnd()}\n${notesOf(table, rows).join('\n')}`.trimEnd()
  })
  return isWell ? ExitCode.ok : ExitCode.failed
}

function isUp({ figures }: MemberStatus): boolean {
  return figures.liveness === 'up'
}

/** True also where that is not known. */
function isCurrent({ figures }: MemberStatus, epoch: number): boolean {
  return figures.epoch === undefined || figures.epoch === epoch
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

function rowJson({ member, isAsked, figures, partitions }: MemberStatus): Record<string, unknown> {
  const { nodeId, rack, weight, state } = member
  const { clientAddress, peerAddress, states = {}, ...rest } = figures
  return {
    nodeId,
    isAsked,
    state,
    rack,
    weight,
    partitions,
    clientAddress: clientAddress || member.clientAddress,
    peerAddress: peerAddress || member.peerAddress,
    ...rest,
    states,
  }
}

function titleOf({ ring }: RingTable, rows: readonly MemberStatus[]): string {
  const nodes = rows.length === 1 ? '1 node' : `${formatCount(rows.length)} nodes`
  const up = rows.filter(isUp).length
  return [
    `epoch ${formatCount(ring.epoch)}`,
    up === rows.length ? `${nodes}, up` : `${nodes}, ${up} up`,
    `replication factor ${ring.replicationFactor}`,
  ].join(', ')
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
  { title: 'epoch', align: 'right' },
]

function cellsOf(rows: readonly MemberStatus[], epoch: number): string[][] {
  const nameOf = shortIds(rows.map(({ member }) => member.nodeId))
  return rows.map(({ member, isAsked, figures, partitions }) => [
    isAsked ? '*' : '',
    nameOf(member.nodeId),
    figures.clientAddress || member.clientAddress,
    member.state,
    figures.liveness,
    figures.forMs === 0 ? '' : formatDuration(figures.forMs),
    figures.generation === undefined ? '' : formatCount(figures.generation),
    formatCount(partitions),
    formatCount(figures.epoch ?? epoch),
  ])
}

function notesOf({ ring }: RingTable, rows: readonly MemberStatus[]): string[] {
  const notes: string[] = []
  if (ring.phase !== 'stable') notes.push('the ring is changing: see kvcli cluster ring')
  if (rows.some(row => !isCurrent(row, ring.epoch))) {
    notes.push('not all nodes go by the same ring yet')
  }
  if (rows.length > 1) notes.push('* was asked: what the others are is what it sees')
  return notes
}

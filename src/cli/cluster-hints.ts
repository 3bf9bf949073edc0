/** cluster hints: what the nodes hold for each other, until those that were away have it. */
import { type CommandContext, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { formatBytes, formatCount, renderTable, type TableColumn } from './render.ts'
import { shortenIds, shortIds } from './short-ids.ts'
import type { Style } from './style.ts'

/** What a server answers to the command `hints`; see the cluster's hint-reports.ts. */
export interface HintReport {
  readonly node: string
  readonly owes: readonly OwedHints[]
  readonly error?: string
}

export interface OwedHints {
  readonly peer: string
  readonly keys: number
  readonly bytes: number
  readonly partitions: number
  readonly isSendable: boolean
}

/** Of every member; none for a node that stands alone. */
export async function fetchHints(context: CommandContext): Promise<readonly HintReport[]> {
  const client = await context.session.client(context.signal)
  const answer = await client.admin({ command: 'hints' }, callOptions(context))
  return answer['members'] as readonly HintReport[]
}

/** Exit code 1 when anything is owed, or somebody cannot be asked. */
export async function runHints(context: CommandContext): Promise<ExitCode> {
  const { output } = context
  const members = await fetchHints(context)
  await output.print({ members }, () => renderHints(members, output.style))
  const isNothing = members.every(({ owes, error }) => owes.length === 0 && error === undefined)
  return isNothing ? ExitCode.ok : ExitCode.failed
}

const COLUMNS: readonly TableColumn[] = [
  { title: 'node' },
  { title: 'owes' },
  { title: 'keys', align: 'right' },
  { title: 'hints', align: 'right' },
  { title: 'partitions', align: 'right' },
  { title: '' },
]

function renderHints(members: readonly HintReport[], style: Style): string {
  const ids = members.flatMap(({ node, owes }) => [node, ...owes.map(({ peer }) => peer)])
  const nameOf = shortIds(ids)
  const rows = members.flatMap(({ node, owes }) =>
    owes.map(({ peer, keys, bytes, partitions, isSendable }) => [
      nameOf(node),
      nameOf(peer),
      formatCount(keys),
      formatBytes(bytes),
      formatCount(partitions),
      isSendable ? 'being sent' : style.warn('waits for its return'),
    ]),
  )
  const lines =
    rows.length === 0
      ? [style.good('no node owes another one anything')]
      : [renderTable(COLUMNS, rows, style).trimEnd()]
  for (const { node, error } of members) {
    if (error === undefined) continue
    lines.push(`${style.dim('  ->')} what ${nameOf(node)} owes is not known: ${shortenIds(error)}`)
  }
  if (members.some(({ owes }) => owes.some(({ partitions }) => partitions > 0))) {
    lines.push(`${style.dim('  ->')} partitions are compared whole: see kvcli cluster repair`)
  }
  return lines.join('\n')
}

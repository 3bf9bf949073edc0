/** cluster hints: what the nodes hold for each other, until those that were away have it. */
import type { HintReport, OwedHints } from '../cluster/index.ts'
import { type CommandContext, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { formatBytes, formatCount, renderTable, type TableColumn } from './render.ts'
import { shortenIds, shortIds } from './short-ids.ts'
import type { Style } from './style.ts'

/** Of every member; none for a node that stands alone. */
export async function fetchHints(context: CommandContext): Promise<readonly HintReport[]> {
  const client = await context.session.client(context.signal)
  const answer = await client.admin({ command: 'hints' }, callOptions(context))
  return answer['members'] as readonly HintReport[]
}

/** Beyond what is on its way at any time while somebody writes. */
export function isOwed({ writes, partitions }: OwedHints): boolean {
  return writes > 0 || partitions > 0
}

/** `~1,500` for an estimate, which is too much rather than too little. */
export function formatWrites(writes: number, isEstimate: boolean): string {
  return `${isEstimate && writes > 0 ? '~' : ''}${formatCount(writes)}`
}

/** Exit code 1 when anything is owed, or somebody cannot be asked. */
export async function runHints(context: CommandContext): Promise<ExitCode> {
  const { output } = context
  const members = await fetchHints(context)
  await output.print({ members }, () => renderHints(members, output.style))
  const isNothing = members.every(({ owes, error }) => !owes.some(isOwed) && error === undefined)
  return isNothing ? ExitCode.ok : ExitCode.failed
}

const COLUMNS: readonly TableColumn[] = [
  { title: 'node' },
  { title: 'owes' },
  { title: 'writes', align: 'right' },
  { title: 'hints', align: 'right' },
  { title: 'partitions', align: 'right' },
  { title: '' },
]

function renderHints(members: readonly HintReport[], style: Style): string {
  const ids = members.flatMap(({ node, owes }) => [node, ...owes.map(({ peer }) => peer)])
  const nameOf = shortIds(ids)
  const rows = members.flatMap(({ node, owes }) =>
    owes
      .filter(isOwed)
      .map(owed => [
        nameOf(node),
        nameOf(owed.peer),
        formatWrites(owed.writes, owed.isEstimate),
        formatBytes(owed.bytes),
        formatCount(owed.partitions),
        stateOf(owed, style),
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
  if (members.some(({ owes }) => owes.some(({ isEstimate }) => isEstimate))) {
    lines.push(`${style.dim('  ->')} ~: a key that was written several times may count as often`)
  }
  if (members.some(({ owes }) => owes.some(({ partitions }) => partitions > 0))) {
    lines.push(`${style.dim('  ->')} partitions are compared whole: see kvcli cluster repair`)
  }
  return lines.join('\n')
}

function stateOf({ isSendable, isUp }: OwedHints, style: Style): string {
  if (isSendable) return 'being sent'
  return style.warn(isUp ? 'waits until it takes writes' : 'waits for its return')
}

/** cluster repair: a full round of anti-entropy by every member, now, and how it goes. */
import { delay } from '../clock.ts'
import { AbortedError } from '../errors.ts'
import { type CommandContext, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { formatCount, renderTable, type TableColumn } from './render.ts'
import type { Style } from './style.ts'

const POLL_MS = 500

/** What a server answers to the command `repair`; see the cluster's repair-runs.ts. */
interface MemberRepair {
  readonly node: string
  readonly isRunning: boolean
  readonly compared: number
  readonly total: number
  readonly divergent: number
  readonly failures: readonly { readonly peer: string; readonly reason: string }[]
  readonly error?: string
}

export async function runRepair(context: CommandContext): Promise<ExitCode> {
  const { output, session, signal } = context
  const client = await session.client(signal)
  const ask = async (action: string): Promise<readonly MemberRepair[]> => {
    const answer = await client.admin({ command: 'repair', action }, callOptions(context))
    return answer['members'] as readonly MemberRepair[]
  }
  let members = await ask('start')
  while (members.some(({ isRunning }) => isRunning)) {
    output.note(renderProgress(members))
    await delay(session.io.clock, POLL_MS)
    if (signal.aborted) throw new AbortedError('the repair goes on without being watched')
    members = await ask('status')
  }
  await output.print({ members }, () => renderMembers(members, output.style))
  const isWhole = members.every(
    ({ failures, error }) => failures.length === 0 && error === undefined,
  )
  return isWhole ? ExitCode.ok : ExitCode.failed
}

function renderProgress(members: readonly MemberRepair[]): string {
  const compared = members.reduce((sum, member) => sum + member.compared, 0)
  const total = members.reduce((sum, member) => sum + member.total, 0)
  const divergent = members.reduce((sum, member) => sum + member.divergent, 0)
  return (
    `${formatCount(compared)} of ${formatCount(total)} partitions compared, ` +
    `${formatCount(divergent)} keys differed`
  )
}

const COLUMNS: readonly TableColumn[] = [
  { title: 'member' },
  { title: 'keys that differed', align: 'right' },
  { title: 'result' },
]

function renderMembers(members: readonly MemberRepair[], style: Style): string {
  const rows = members.map(({ node, divergent, failures, error }) => {
    const [failure] = failures
    const problem = error ?? (failure && `not with ${failure.peer}: ${failure.reason}`)
    return [node, formatCount(divergent), problem ?? 'holds what the others hold']
  })
  return renderTable(COLUMNS, rows, style).trimEnd()
}

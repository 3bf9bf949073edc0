/** cluster repair: a full round of anti-entropy by every member, now, and how it goes. */
import { delay } from '../clock.ts'
import { AbortedError } from '../errors.ts'
import { type CommandContext, callOptions } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { formatCount, renderTable, type TableColumn } from './render.ts'
import { shortenIds, shortIds } from './short-ids.ts'
import { StatusLine } from './status-line.ts'
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
  const line = new StatusLine(session.io.stderr, !output.json)
  let members = await ask('start')
  try {
    while (members.some(({ isRunning }) => isRunning)) {
      line.show(renderProgress(members))
      await delay(session.io.clock, POLL_MS)
      if (signal.aborted) throw new AbortedError('the repair goes on without being watched')
      members = await ask('status')
    }
  } finally {
    line.clear()
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
  const percent = total === 0 ? 0 : Math.floor((compared / total) * 100)
  return (
    `repairing  ${percent} %  ${formatCount(compared)} of ${formatCount(total)} comparisons of ` +
    `partitions, ${formatCount(divergent)} keys differed`
  )
}

const COLUMNS: readonly TableColumn[] = [
  { title: 'member' },
  { title: 'keys that differed', align: 'right' },
  { title: 'result' },
]

function renderMembers(members: readonly MemberRepair[], style: Style): string {
  const ids = members.flatMap(({ node, failures }) => [node, ...failures.map(({ peer }) => peer)])
  const nameOf = shortIds(ids)
  const rows = members.map(({ node, divergent, failures, error }) => {
    const result =
      error !== undefined
        ? style.bad('cannot be asked')
        : failures.length > 0
          ? style.warn(`not compared with ${failures.map(({ peer }) => nameOf(peer)).join(', ')}`)
          : style.good('holds what the others hold')
    return [nameOf(node), formatCount(divergent), result]
  })
  const notes = members.flatMap(({ node, failures, error }) => {
    const reasons = failures.map(
      ({ peer, reason }) => `${nameOf(node)}, ${nameOf(peer)}: ${reason}`,
    )
    return error === undefined ? reasons : [`${nameOf(node)}: ${error}`]
  })
  const lines = [...new Set(notes)].map(note => `${style.dim('  ->')} ${shortenIds(note)}`)
  return [renderTable(COLUMNS, rows, style).trimEnd(), ...lines].join('\n')
}

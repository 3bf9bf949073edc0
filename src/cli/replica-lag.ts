/**
 * What replicas have not got yet of the writes that were acknowledged, as far as whoever counts,
 * scans or has just imported should know it. With consistency `one` a write is acknowledged once
 * one replica has it; a scan or count reads one replica of each partition, maybe another one.
 *
 * What is kept for nodes that are down is told apart: it waits until they are back, and nobody
 * reads there meanwhile.
 */
import { delay } from '../clock.ts'
import type { HintReport } from '../cluster/index.ts'
import { KvError } from '../errors.ts'
import { fetchHints, formatWrites, isOwed } from './cluster-hints.ts'
import type { CommandContext } from './command.ts'
import { formatBytes, formatDuration } from './render.ts'
import { shortIds } from './short-ids.ts'
import { StatusLine } from './status-line.ts'

const POLL_MS = 250

export interface ReplicaLag {
  /** Hinted for replicas that are up. */
  readonly writes: number
  readonly isEstimate: boolean
  /** Partitions of which replicas that are up may lack anything. */
  readonly partitions: number
  /** Sent to them, or about to be. */
  readonly pendingBytes: number
  readonly pendingAgeMs: number
  /** Nodes that are down, and get what they lack once they are back. */
  readonly away: readonly string[]
  /** Nodes that did not say what they owe. */
  readonly silent: readonly string[]
}

/** Undefined when the server does not tell. Rejects never: it is told beside something else. */
export async function fetchLag(context: CommandContext): Promise<ReplicaLag | undefined> {
  try {
    return lagOf(await fetchHints(context))
  } catch (error) {
    if (error instanceof KvError) return undefined
    throw error
  }
}

function lagOf(reports: readonly HintReport[]): ReplicaLag {
  const all = reports.flatMap(({ owes }) => owes)
  const here = all.filter(({ isUp }) => isUp)
  const nameOf = shortIds(reports.map(({ node }) => node))
  const away = all.filter(owed => !owed.isUp && isOwed(owed)).map(({ peer }) => nameOf(peer))
  const silent = reports.filter(({ error }) => error !== undefined)
  return {
    writes: here.reduce((sum, { writes }) => sum + writes, 0),
    isEstimate: here.some(({ isEstimate }) => isEstimate),
    partitions: here.reduce((sum, { partitions }) => sum + partitions, 0),
    pendingBytes: here.reduce((sum, { pendingBytes }) => sum + pendingBytes, 0),
    pendingAgeMs: Math.max(0, ...here.map(({ pendingAgeMs }) => pendingAgeMs)),
    away: [...new Set(away)],
    silent: silent.map(({ node }) => nameOf(node)),
  }
}

/** True when replicas that are asked may lack something that was acknowledged. */
export function isBehind({ writes, partitions, pendingBytes }: ReplicaLag): boolean {
  return writes > 0 || partitions > 0 || pendingBytes > 0
}

/** '~1,500 writes and 2 partitions'; what is in queues is told when there is nothing else. */
export function lagText({ writes, isEstimate, partitions, pendingBytes }: ReplicaLag): string {
  const parts: string[] = []
  if (writes > 0) parts.push(`${formatWrites(writes, isEstimate)} ${plural(writes, 'write')}`)
  if (partitions > 0)
    parts.push(`${formatWrites(partitions, false)} ${plural(partitions, 'partition')}`)
  return parts.length > 0 ? parts.join(' and ') : `${formatBytes(pendingBytes)} of writes`
}

function plural(count: number, noun: string): string {
  return count === 1 ? noun : `${noun}s`
}

/**
 * What was read, and whether replicas were behind meanwhile: null when the server does not tell.
 * `what` is what may lack something then: 'the count'.
 */
export async function readWithLag<T>(
  context: CommandContext,
  what: string,
  read: () => Promise<T>,
): Promise<{ result: T; replicasBehind: boolean | null }> {
  const reading = read()
  const asking = fetchLag(context)
  const result = await reading
  const lag = await asking
  if (lag === undefined) return { result, replicasBehind: null }
  if (isBehind(lag)) {
    const { output } = context
    output.note(
      `${output.noteStyle.warn('note')} ${lagText(lag)} were still on their way to replicas: ` +
        `${what} may be short of them; when all have them: kvcli cluster status --wait`,
    )
  }
  return { result, replicasBehind: isBehind(lag) }
}

/** How waiting for replicas ended. */
export interface Settling {
  /** Undefined when the server does not tell. */
  readonly lag: ReplicaLag | undefined
  /** Replicas that are up have all that was acknowledged before. */
  readonly isSettled: boolean
  readonly tookMs: number
}

/**
 * Waits until all replicas that are up have what was acknowledged before, for so long at most, or
 * until Ctrl-C; a line on the terminal tells meanwhile how it goes.
 */
export async function waitForReplicas(context: CommandContext, maxMs: number): Promise<Settling> {
  const { output, session, signal } = context
  const { clock, stderr } = session.io
  const line = new StatusLine(stderr, !output.json)
  const beginMs = clock.monotonicMs()
  let lag: ReplicaLag | undefined
  try {
    for (;;) {
      const tookMs = clock.monotonicMs() - beginMs
      const told = await fetchLag(context)
      lag = told ?? lag
      // What is younger was written by others since.
      const isSettled =
        told !== undefined &&
        told.writes + told.partitions === 0 &&
        (told.pendingBytes === 0 || told.pendingAgeMs < tookMs)
      if (told === undefined || isSettled || tookMs >= maxMs || signal.aborted) {
        return { lag, isSettled, tookMs }
      }
      line.show(
        `waiting for replicas: ${lagText(told)} on their way, ${formatDuration(tookMs)} ` +
          '(Ctrl-C: not to wait)',
      )
      await delay(clock, POLL_MS)
    }
  } finally {
    line.clear()
  }
}

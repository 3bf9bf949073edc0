/**
 * What reads found, against what clients were told before:
 *
 *  1. A read finds what somebody wrote to that key, who had begun by then and was not told that it
 *     was rejected.
 *  2. A strong read never goes back: it finds no older version than any strong write acknowledged
 *     before it began, or any strong read that ended before it began, and nothing only when the key
 *     may have been deleted since.
 *  3. A read of a session finds no older version than any write of its client that was acknowledged
 *     before it began.
 *
 * Strong: at `quorum` or `all`, or of a key with a single replica.
 */
import { describeRead, describeWrite, type History, type Read, type Write } from './history.ts'
import type { Violations } from './violations.ts'

export interface ReadCheck {
  readonly history: History
  readonly isStrong: (operation: Read | Write) => boolean
}

export function checkReads({ history, isStrong }: ReadCheck, violations: Violations): void {
  for (const read of history.reads) checkOrigin(history, read, violations)
  const writes = history.writesByKey()
  for (const [key, reads] of history.readsByKey()) {
    const strong = reads.filter(isStrong)
    const bounds = boundsOf(history, strong, (writes.get(key) ?? []).filter(isStrong))
    const all = writes.get(key) ?? []
    for (const read of strong) checkBound(STRONG, read, history, bounds, all, violations)
    checkSessions(reads, all, history, violations)
  }
}

const STRONG = 'strong reads do not go back'
const SESSION = 'a session sees what it wrote'

function checkSessions(
  reads: readonly Read[],
  writes: readonly Write[],
  history: History,
  violations: Violations,
): void {
  const ownBounds = new Map<string, readonly Bound[]>()
  for (const read of reads) {
    if (!read.session) continue
    const { client } = read
    let bounds = ownBounds.get(client)
    if (bounds === undefined) {
      bounds = boundsOf(
        history,
        [],
        writes.filter(write => write.client === client),
      )
      ownBounds.set(client, bounds)
    }
    checkBound(SESSION, read, history, bounds, writes, violations)
  }
}

function checkOrigin(history: History, read: Read, violations: Violations): void {
  if (read.value === undefined) return
  const write = history.writeOf(read.value)
  const what = describeRead(read)
  if (write === undefined || write.key !== read.key || write.invoked > read.completed) {
    violations.add('what is read was written', what)
  } else if (write.outcome === 'rejected') {
    violations.add('a rejected write has no effect', `${what}; ${describeWrite(write)}`)
  }
}

/** From `at` on, a strong read finds this version or a later one. */
interface Bound {
  readonly at: number
  readonly version: string
  readonly why: string
}

/** In the order of their times, versions ascending. */
function boundsOf(
  history: History,
  reads: readonly Read[],
  writes: readonly Write[],
): readonly Bound[] {
  const all: Bound[] = []
  for (const write of writes) {
    if (write.outcome !== 'ok' || write.version === undefined) continue
    all.push({ at: write.completed, version: write.version, why: describeWrite(write) })
  }
  for (const read of reads) {
    const version = read.value === undefined ? undefined : history.writeOf(read.value)?.version
    if (version === undefined) continue
    all.push({ at: read.completed, version, why: describeRead(read) })
  }
  all.sort((a, b) => a.at - b.at)
  const rising: Bound[] = []
  for (const bound of all) {
    if (bound.version > (rising.at(-1)?.version ?? '')) rising.push(bound)
  }
  return rising
}

function checkBound(
  promise: string,
  read: Read,
  history: History,
  bounds: readonly Bound[],
  writes: readonly Write[],
  violations: Violations,
): void {
  const bound = bounds.findLast(({ at }) => at < read.invoked)
  if (bound === undefined) return
  const found = read.value === undefined ? undefined : history.writeOf(read.value)?.version
  if (found !== undefined && found >= bound.version) return
  const mayBeDeleted = writes.some(
    ({ value, version, outcome, invoked }) =>
      value === undefined &&
      outcome !== 'rejected' &&
      invoked < read.completed &&
      (version ?? '') >= bound.version,
  )
  if (read.value === undefined && mayBeDeleted) return
  violations.add(promise, `${describeRead(read)}; before: ${bound.why}`)
}

/**
 * What reads found, against what clients were told before:
 *
 *  1. A read finds what somebody wrote to that key, who had begun by then and was not told that it
 *     was rejected.
 *  2. A strong read never goes back: it finds no older version than any strong write acknowledged
 *     before it began, or any strong read that ended before it began, and nothing only when the key
 *     may have been deleted since, or have expired.
 *  3. A read of a session finds no older version than any write of its client that was acknowledged
 *     before it began.
 *
 *  4. What has expired is not found, and nothing is missing before it has: by the true time, but
 *     for what clocks may be wrong by.
 *
 * Strong: at `quorum` or `all`, or of a key with a single replica.
 */
import {
  describeRead,
  describeWrite,
  expiryOf,
  type History,
  type Read,
  type Write,
} from './history.ts'
import type { Violations } from './violations.ts'

export interface ReadCheck {
  readonly history: History
  readonly isStrong: (operation: Read | Write) => boolean
  /** The clocks of nodes are wrong by at most so much. Milliseconds. */
  readonly clockErrorMs: number
}

interface ClockedHistory {
  readonly history: History
  readonly clockErrorMs: number
}

export function checkReads(check: ReadCheck, violations: Violations): void {
  const { history, isStrong } = check
  for (const read of history.reads) checkOrigin(check, read, violations)
  const writes = history.writesByKey()
  for (const [key, reads] of history.readsByKey()) {
    const strong = reads.filter(isStrong)
    const bounds = boundsOf(history, strong, (writes.get(key) ?? []).filter(isStrong))
    const all = writes.get(key) ?? []
    for (const read of strong) checkBound(STRONG, read, check, bounds, all, violations)
    checkSessions(reads, all, check, violations)
  }
}

const STRONG = 'strong reads do not go back'
const SESSION = 'a session sees what it wrote'

function checkSessions(
  reads: readonly Read[],
  writes: readonly Write[],
  check: ClockedHistory,
  violations: Violations,
): void {
  const ownBounds = new Map<string, readonly Bound[]>()
  for (const read of reads) {
    if (!read.session) continue
    const { client } = read
    let bounds = ownBounds.get(client)
    if (bounds === undefined) {
      bounds = boundsOf(
        check.history,
        [],
        writes.filter(write => write.client === client),
      )
      ownBounds.set(client, bounds)
    }
    checkBound(SESSION, read, check, bounds, writes, violations)
  }
}

function checkOrigin(
  { history, clockErrorMs }: ClockedHistory,
  read: Read,
  violations: Violations,
): void {
  if (read.value === undefined) return
  const write = history.writeOf(read.value)
  const what = describeRead(read)
  if (write === undefined || write.key !== read.key || write.invoked > read.completed) {
    violations.add('what is read was written', what)
  } else if (write.outcome === 'rejected') {
    violations.add('a rejected write has no effect', `${what}; ${describeWrite(write)}`)
  } else if (expiryOf(write) + clockErrorMs < history.wallMsAt(read.invoked)) {
    violations.add('what has expired is not found', `${what}; ${describeWrite(write)}`)
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
    const write = read.value === undefined ? undefined : history.writeOf(read.value)
    const version = write?.version
    if (version === undefined || write?.mayBeLost === true) continue
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
  { history, clockErrorMs }: ClockedHistory,
  bounds: readonly Bound[],
  writes: readonly Write[],
  violations: Violations,
): void {
  const bound = bounds.findLast(({ at }) => at < read.invoked)
  if (bound === undefined) return
  const found = read.value === undefined ? undefined : history.writeOf(read.value)?.version
  if (found !== undefined && found >= bound.version) return
  const latestMs = history.wallMsAt(read.completed) + clockErrorMs
  const mayBeGone = writes.some(
    write =>
      (write.value === undefined || (write.ttlMs > 0 && expiryOf(write) <= latestMs)) &&
      write.outcome !== 'rejected' &&
      write.invoked < read.completed &&
      (write.version ?? '') >= bound.version,
  )
  const { tombstones } = history
  const isDeleted = tombstones.wasDeleted(read.key, bound.version, read.completed)
  if (read.value === undefined && (mayBeGone || isDeleted)) return
  violations.add(promise, `${describeRead(read)}; before: ${bound.why}`)
}

/**
 * The clock of a node that starts: of the machine, believed as far as others agree, and that of
 * versions, which goes on above the mark that the last process left.
 */
import { delay } from '../clock.ts'
import type { Db } from '../engine/index.ts'
import type { Logger } from '../logger.ts'
import { WRITER_SIZE } from '../write-version.ts'
import { BelievedClock } from './believed-clock.ts'
import { type ClockMarks, readClockMark, writeClockMark } from './clock-mark.ts'
import type { CurrentRing } from './current-ring.ts'
import { HybridLogicalClock, LEASE_MS, SKEW_AHEAD_MAX_MS } from './hybrid-logical-clock.ts'
import type { NodeEnvironment } from './options.ts'

/**
 * A node that starts with nobody to ask may be so far past its mark, in milliseconds. By more, its
 * clock may be one that came up wrong; what it writes wins until then at worst.
 */
const START_AHEAD_MAX_MS = 3_600_000

/**
 * The clock goes on above the mark that the last process left. `isNear`: the machine's clock has
 * not passed it by more than START_AHEAD_MAX_MS, so it cannot be far ahead of the time.
 */
export async function startClock(
  db: Db,
  path: string,
  ring: CurrentRing,
  { clock: machineClock, entropy }: NodeEnvironment,
  logger: Logger,
): Promise<{ wallClock: BelievedClock; versions: HybridLogicalClock; isNear: boolean }> {
  // Steps of its own clock are doubted by a node that has others to ask.
  const clock = new BelievedClock(machineClock, () => ring.ring.members.length > 1)
  const marks = await readClockMark(db, path)
  const { markMs } = marks
  const aheadMs = markMs - clock.wallMs()
  const isNear = aheadMs >= -START_AHEAD_MAX_MS
  if (aheadMs > LEASE_MS + SKEW_AHEAD_MAX_MS) {
    logger.warn('the clock of this machine was set back; versions go on above the old time', {
      aheadMs: Math.round(aheadMs),
    })
  } else if (aheadMs > 0) {
    // A restart right after a crash: better late than with versions from the clients' future.
    await delay(clock, aheadMs)
  }
  const persistMarks = (next: ClockMarks) => writeClockMark(db, next)
  const newWriter = () => entropy(WRITER_SIZE)
  const versions = new HybridLogicalClock({ clock, newWriter, marks, persistMarks })
  return { wallClock: clock, versions, isNear }
}

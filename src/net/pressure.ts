/**
 * What is done when the memory for replies, or for frames that came in part, is nearly used up:
 * connections that hold much of it and do not move are closed. Before that they are tolerated much
 * longer, for a peer may be slow for good reasons.
 */
import type { Admission, Share } from './admission.ts'
import type { ServerLimits } from './limits.ts'

/** Of a budget: above it connections are closed, until no more than the lower part is held. */
const HIGH = 0.75
const LOW = 0.5

/** A connection, as something that holds memory. */
export interface MemoryHolder {
  readonly session: { readonly share: Share }
  /** Milliseconds for which the peer has hardly taken any of what waits for it. */
  outputStalledMs(nowMs: number): number
  /** Milliseconds for which the peer has hardly brought any of the frame it began. */
  inputStalledMs(nowMs: number): number
  /** Closes it, and gives back what it holds. */
  failUnderPressure(what: string): void
}

export function relievePressure(
  holders: Iterable<MemoryHolder>,
  admission: Admission,
  limits: ServerLimits,
  nowMs: number,
): void {
  const { outputTotalBytesMax, receiveBytesMax, stallUnderPressureMs } = limits
  if (admission.outputBytes > outputTotalBytesMax * HIGH) {
    const excess = admission.outputBytes - outputTotalBytesMax * LOW
    const stalled = stalledOf(holders, holder => {
      const isStalled = holder.outputStalledMs(nowMs) >= stallUnderPressureMs
      return isStalled ? holder.session.share.outputBytes : 0
    })
    closeLargest(stalled, excess, 'replies')
  }
  if (admission.receiveBytes > receiveBytesMax * HIGH) {
    const excess = admission.receiveBytes - receiveBytesMax * LOW
    const stalled = stalledOf(holders, holder => {
      const isStalled = holder.inputStalledMs(nowMs) >= stallUnderPressureMs
      return isStalled ? holder.session.share.receiveBytes : 0
    })
    closeLargest(stalled, excess, 'incomplete frames')
  }
}

interface Stalled {
  readonly holder: MemoryHolder
  readonly bytes: number
}

function stalledOf(
  holders: Iterable<MemoryHolder>,
  bytesOf: (holder: MemoryHolder) => number,
): Stalled[] {
  const stalled: Stalled[] = []
  for (const holder of holders) {
    const bytes = bytesOf(holder)
    if (bytes > 0) stalled.push({ holder, bytes })
  }
  return stalled.sort((a, b) => b.bytes - a.bytes)
}

function closeLargest(stalled: readonly Stalled[], excess: number, what: string): void {
  let freed = 0
  for (const { holder, bytes } of stalled) {
    if (freed >= excess) return
    holder.failUnderPressure(what)
    freed += bytes
  }
}

/**
 * What a process feels while it works: the delay of its event loop and its resident memory.
 *
 * The delay is how much later than due a timer of one millisecond fires, so everything that keeps
 * the loop counts: the store, the garbage collector, the benchmark itself. Memory is sampled by the
 * same process; the high-water mark of the system catches what lies between two samples.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 1
const NANOSECONDS = 1e6
const KIB_PER_MIB = 1024

export interface ProcessFigures {
  /** Milliseconds beyond the timer's own. */
  readonly delayP99Ms: number
  readonly delayMaxMs: number
  /** Largest resident size since begin(). */
  readonly residentMiB: number
}

export class ProcessMonitor {
  readonly #delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })

  begin(): void {
    resetPeak()
    this.#delays.reset()
    this.#delays.enable()
  }

  end(): ProcessFigures {
    this.#delays.disable()
    const beyond = (nanoseconds: number) => Math.max(0, nanoseconds / NANOSECONDS - RESOLUTION_MS)
    return {
      delayP99Ms: beyond(this.#delays.percentile(99)),
      delayMaxMs: beyond(this.#delays.max),
      residentMiB: peakMiB(),
    }
  }
}

/** Linux forgets the old peak on request; elsewhere the peak is that of the whole life. */
function resetPeak(): void {
  if (process.platform === 'linux') writeFileSync('/proc/self/clear_refs', '5')
}

function peakMiB(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS / KIB_PER_MIB
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return Number(match?.[1] ?? Number.NaN) / KIB_PER_MIB
}

/** Processor time of processes that come and go, from /proc; none where there is none of that. */
import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Linux has counted in hundredths of a second for all programs since 2.6. */
const TICK_MS = 10
/** Places of user and system time behind the name of the program, in /proc/<pid>/stat. */
const USER_PLACE = 11
const SYSTEM_PLACE = 12

export class ProcessCpu {
  /** Milliseconds of those that are gone, as far as they were seen. */
  readonly #seen = new Map<number, number>()

  /** Milliseconds of all processes so far. Those that may die are to be looked at before. */
  total(children: Iterable<ChildProcess | undefined>): number {
    for (const child of children) if (child !== undefined) this.look(child)
    return [...this.#seen.values()].reduce((sum, ms) => sum + ms, 0)
  }

  look({ pid }: ChildProcess): void {
    const ms = pid === undefined ? undefined : cpuMs(pid)
    if (ms !== undefined) this.#seen.set(pid!, ms)
  }
}

/** Undefined when there is no such process. */
function cpuMs(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[USER_PLACE]) + Number(fields[SYSTEM_PLACE])) * TICK_MS
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined
    throw error
  }
}

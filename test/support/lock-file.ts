/** LOCK files as other processes would have left them; see src/engine/directory-lock.ts. */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

/** What a LOCK says. */
export interface LockContent {
  readonly id: string
  readonly pid: number
  readonly bootId: string
  readonly host: string
  readonly startTime: string
  readonly program: string
}

/** The content of a LOCK of a live process of this host (by default this very one). */
export function lockContent(changes: Partial<LockContent> = {}): string {
  const linux = process.platform === 'linux'
  const bootId = linux ? readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() : ''
  const pid = changes.pid ?? process.pid
  const startTime = linux && changes.startTime === undefined ? startTimeOf(pid) : ''
  const id = '0000000000000000'
  return JSON.stringify({ id, pid, bootId, host: hostname(), startTime, program: 'x', ...changes })
}

/** The content of a LOCK whose process is gone: its pid is above every limit of every system. */
export function deadHolder(): string {
  return lockContent({ pid: 2 ** 30, startTime: '1' })
}

function startTimeOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

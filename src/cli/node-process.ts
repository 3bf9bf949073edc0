/** Other processes of this machine. */

/** False when there is no such process, or no such signal. */
export function sendSignal(pid: number | undefined, signal: string): boolean {
  if (pid === undefined) return false
  try {
    return process.kill(pid, signal)
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false
    throw error
  }
}

/** True also for a process of another user. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/**
 * Ending with the process that started this one. npm and shells between it and us do not pass on
 * every signal: `kill -TERM` of `npm start` would leave the node behind, to hold its directory and
 * port. A process whose parent is gone gets another parent, which is what is looked for.
 */
import type { Clock } from '../clock.ts'

/** Set for the nodes of `kvd dev`, and by whoever wants the same. */
export const STOP_WITH_PARENT_VARIABLE = 'DURAMEN_STOP_WITH_PARENT'
const LOOK_INTERVAL_MS = 500

/** True for `npm start`, and where the variable asks for it. */
export function stopsWithParent(env: Readonly<Record<string, string | undefined>>): boolean {
  return env['npm_lifecycle_event'] === 'start' || env[STOP_WITH_PARENT_VARIABLE] === '1'
}

/** Calls back once when `parentId` does not say any more what it says now. */
export function watchParent(clock: Clock, parentId: () => number, gone: () => void): void {
  const first = parentId()
  const look = (): void => {
    if (parentId() === first) clock.setTimer(LOOK_INTERVAL_MS, look, { background: true })
    else gone()
  }
  clock.setTimer(LOOK_INTERVAL_MS, look, { background: true })
}

/** What happens inside the engine, told to whoever looks at the node. */
import type { Db, DbEvent } from '../engine/index.ts'
import type { EventLog } from '../net/index.ts'

/** Failures are in the log already; files that come and go interest nobody. */
export function tellEngineEvents(db: Db, events: EventLog): void {
  db.onEvent(event => tell(event, events))
}

function tell(event: DbEvent, events: EventLog): void {
  switch (event.type) {
    case 'flushEnd': {
      if (event.error !== undefined) return
      const { entries, bytesIn, bytesOut, durationMs } = event
      events.add('info', 'flush', 'flushed', { entries, bytesIn, bytesOut, durationMs })
      return
    }
    case 'compactionEnd': {
      if (event.error !== undefined) return
      const { kind, reason, tablesIn, bytesIn, bytesOut, durationMs } = event
      const what = `level ${event.inputLevel} to ${event.outputLevel}`
      const fields = { kind, reason, tablesIn, bytesIn, bytesOut, durationMs }
      events.add('info', 'compaction', what, fields)
      return
    }
    case 'stallBegin':
      events.add('warn', 'stall', 'writes are held back', { reason: event.reason })
      return
    case 'stallEnd': {
      const { reason, durationMs, commits, heldMs } = event
      events.add('info', 'stall', 'writes go on', { reason, durationMs, commits, heldMs })
      return
    }
    default:
  }
}

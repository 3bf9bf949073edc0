/**
 * How many connections the operating system's limit of open files leaves room for. Each takes a
 * descriptor, and so does whatever the engine opens: without a reserve a crowd of idle clients
 * would keep it from its own log and tables.
 */
import { OPEN_FILES_MAX_DEFAULT } from '../engine/index.ts'
import { refusedConnectionsMax } from '../net/index.ts'

/** Log, MANIFEST, the inputs and outputs of compactions, standard streams. */
const FILES_RESERVE = 64
/** Six links to each of a dozen other nodes, and as many strangers at their door as it lets in. */
const LINK_FILES_RESERVE = 6 * 12 + 64
/** The event loop of a thread has a handful of its own. */
const FILES_PER_THREAD = 16
/** Of a limit that is below the reserve, connections get so much all the same. */
const SHARE_MIN = 1 / 4

/** What becomes of a wish for so many connections. */
export interface ConnectionRoom {
  /** So many fit, at most as many as are wished for. */
  readonly connections: number
  /** The limit of open files that all of them take. */
  readonly filesNeeded: number
}

/**
 * `fileLimit` is the soft limit of open files; undefined when there is none, or nobody knows. A
 * node that is `linked` with others needs some for its links: they must not starve among clients.
 */
export function connectionRoom(
  wanted: number,
  threads: number,
  fileLimit: number | undefined,
  linked = false,
): ConnectionRoom {
  const files = FILES_RESERVE + (linked ? LINK_FILES_RESERVE : 0)
  const reserve = OPEN_FILES_MAX_DEFAULT + files + threads * FILES_PER_THREAD
  const filesNeeded = reserve + wanted + refusedConnectionsMax(wanted)
  if (fileLimit === undefined || fileLimit >= filesNeeded) {
    return { connections: wanted, filesNeeded }
  }
  const left = Math.max(fileLimit - reserve, Math.floor(fileLimit * SHARE_MIN))
  // Those who are told that the node is full take descriptors meanwhile.
  const connections = Math.max(1, left - refusedConnectionsMax(left))
  return { connections: Math.min(wanted, connections), filesNeeded }
}

/**
 * The soft limit of open files in the text of /proc/self/limits (proc(5)); undefined when it is
 * unlimited or not there.
 */
export function softFileLimit(limits: string): number | undefined {
  const found = /^Max open files\s+(\d+)\s/m.exec(limits)?.[1]
  return found === undefined ? undefined : Number(found)
}

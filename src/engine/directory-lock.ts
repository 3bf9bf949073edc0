/**
 * One process per directory: the LOCK file and the rules by which it is taken and released. What is
 * in it: lock-holder.ts.
 *
 * Node has no flock, so the file itself is the lock. Invariants:
 *  1. LOCK appears whole or not at all: it is a hard link to a claim (`LOCK-<id>.claim`), a file
 *     that was written, synced and only then given its claim name. Where there is no room for what
 *     a file would hold, both are symbolic links that say it by their targets.
 *  2. A holder counts as alive only if host and boot are ours and its pid runs with the recorded
 *     start time and is no zombie. So neither a reboot, nor a recycled pid, nor pid 1 of a
 *     restarted container keeps a directory locked, and nothing but pid and start time is trusted.
 *  3. LOCK is removed only by its holder, or, when the holder is dead, by the one process that saw
 *     no other live claim after making its own. Whoever makes a claim later sees that one and
 *     waits, so two openers never remove each other's LOCK. Claims have unique names, so removing
 *     a dead one can hit no other.
 *  4. What a LOCK says of where it was written is for messages only: one that came along with a
 *     copy of the directory locks the copy, too, for a copy of what was being written is none.
 *  5. A lock of another host is never judged: its processes cannot be seen from here.
 *
 * What it cannot do: a file that a user deletes locks nothing. If LOCK or the directory is removed
 * under a running process, a second one can open the directory; `verifySync` tells the first one,
 * which must stop writing. It opens LOCK; where no descriptor is left for that, it sees by inode
 * and time of writing that the file is the one that was taken. Two containers that share a
 * directory and carry the same host name cannot see each other's processes; give them different
 * host names. Network file systems are not supported.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { LockedError } from '../errors.ts'
import { strangerAt } from './file-kind.ts'
import { type DirectoryLock, joinPath, systemErrorCode } from './file-system.ts'
import { isDiskFull } from './io-failure.ts'
import {
  describeHolder,
  describeSelf,
  type Holder,
  isAlive,
  linkTargetOf,
  readHolder,
} from './lock-holder.ts'

export const LOCK_NAME = 'LOCK'
const CLAIM_PATTERN = /^LOCK-[0-9a-f]+\.(?:claim|tmp)$/

/** How often a contended takeover looks again, and how long it waits between: 2 s in all. */
const ATTEMPTS_MAX = 400
const ATTEMPT_INTERVAL_MS = 5

/**
 * See FileSystem.lockSync. Requires that the directory exists. Fails with EROFS on a file system
 * that is read-only from here only where no process holds the directory from elsewhere.
 */
export function lockDirectorySync(directory: string): DirectoryLock {
  const self = describeSelf()
  const claimPath = joinPath(directory, `LOCK-${self.id}.claim`)
  let isLink: boolean
  try {
    isLink = makeClaim(directory, claimPath, self)
  } catch (error) {
    if (systemErrorCode(error) === 'EROFS') refuseIfHeld(directory, joinPath(directory, LOCK_NAME))
    throw error
  }
  try {
    takeLock(directory, self, lockPath => {
      // Not every system gives a symbolic link a second name.
      if (isLink) symlinkSync(linkTargetOf(self), lockPath)
      else linkSync(claimPath, lockPath)
    })
  } finally {
    removeIfExists(claimPath)
  }
  const lock = heldLock(directory, self)
  try {
    removeDeadClaims(directory, self)
  } catch (error) {
    lock.releaseSync()
    throw error
  }
  return lock
}

function heldLock(directory: string, self: Holder): DirectoryLock {
  const lockPath = joinPath(directory, LOCK_NAME)
  const taken = identityOf(lockPath)
  const isOurs = (): boolean => {
    try {
      const holder = readHolder(lockPath)
      return typeof holder === 'object' && holder.id === self.id
    } catch (error) {
      if (!isOutOfFiles(error)) throw error
      return taken !== undefined && identityOf(lockPath) === taken
    }
  }
  let held = true
  return {
    verifySync() {
      if (held && isOurs()) return
      throw new LockedError(
        `${directory} is no longer locked by this process: ${lockPath} was removed or replaced. ` +
          'Another process may have opened the store; close it here at once, and never delete ' +
          'the LOCK file of a running process',
      )
    },
    releaseSync() {
      if (!held) return
      held = false
      if (isOurs()) removeIfExists(lockPath)
    },
  }
}

/** The system has no file to give in which LOCK could be read. */
function isOutOfFiles(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code === 'EMFILE' || code === 'ENFILE'
}

/**
 * Which file it is, and when it was written, for a look that opens nothing: another LOCK under the
 * same name differs in one of them. Undefined when there is none.
 */
function identityOf(path: string): string | undefined {
  const status = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return status && `${status.dev} ${status.ino} ${status.mtimeNs} ${status.size}`
}

function takeLock(directory: string, self: Holder, make: (lockPath: string) => void): void {
  const lockPath = joinPath(directory, LOCK_NAME)
  const waiter = new Int32Array(new SharedArrayBuffer(4))
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (unlessThere(() => make(lockPath))) return
    refuseIfHeld(directory, lockPath)
    const rival = liveRival(directory, self)
    if (rival === undefined) {
      // Alone among the living, so nobody else removes LOCK from here on. It may have changed hands
      // before we looked for rivals, so look again. An absent LOCK must not be removed: anybody
      // may create it at any time.
      if (refuseIfHeld(directory, lockPath) !== 'absent') removeIfExists(lockPath)
      continue
    }
    if (rival.id < self.id) {
      throw new LockedError(`${directory} is being opened by ${describeHolder(rival)}; try again`)
    }
    Atomics.wait(waiter, 0, 0, ATTEMPT_INTERVAL_MS)
  }
  throw new LockedError(`${directory} is being opened by other processes; try again`)
}

/** False when what it is to make exists. */
function unlessThere(make: () => void): boolean {
  try {
    make()
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false
    throw error
  }
}

/** Throws LockedError unless LOCK is absent or left behind by a process that is gone. */
function refuseIfHeld(directory: string, lockPath: string): 'absent' | 'stale' {
  const holder = readHolder(lockPath)
  if (holder === 'absent') return 'absent'
  if (holder === 'unreadable') {
    const stranger = strangerAt(lockPath)
    const found = stranger === undefined ? `a ${LOCK_NAME} file` : `${stranger} named ${LOCK_NAME}`
    throw new LockedError(
      `${directory} holds ${found} that Duramen did not write. If no other program ` +
        `uses this directory, delete ${lockPath} and try again`,
    )
  }
  if (holder.host !== hostname()) {
    throw new LockedError(
      `${directory} is locked by ${describeHolder(holder)}${since(lockPath)}, on another host ` +
        'whose processes cannot be seen from here. If that process is gone for certain, delete ' +
        `${lockPath} and try again`,
    )
  }
  if (!isAlive(holder)) return 'stale'
  if (isCopied(holder, lockPath)) {
    throw new LockedError(
      `${directory} is a copy of ${holder.directory}, which is open in ` +
        `${describeHolder(holder)}: files that are copied while they are written are not whole. ` +
        'Stop that process and copy ' +
        'again, or take a checkpoint or a backup, which need no stop',
    )
  }
  const where = holder.pid === process.pid ? ' (this very process)' : ''
  throw new LockedError(
    `${directory} is open in ${describeHolder(holder)}${where}${since(lockPath)}; ` +
      'close it, or share the store through `kvd serve`',
  )
}

/** Whether LOCK is not the file that its holder wrote, but came here with a copy of it. */
function isCopied({ directory, inode }: Holder, lockPath: string): boolean {
  if (directory === undefined || inode === undefined) return false
  const found = lstatSync(lockPath, { bigint: true, throwIfNoEntry: false })
  return found !== undefined && String(found.ino) !== inode
}

/** The live claim of another opener with the smallest id, if there is any. */
function liveRival(directory: string, self: Holder): Holder | undefined {
  let rival: Holder | undefined
  for (const name of readdirSync(directory)) {
    if (!CLAIM_PATTERN.test(name) || !name.endsWith('.claim')) continue
    const holder = readHolder(joinPath(directory, name))
    if (typeof holder !== 'object' || holder.id === self.id) continue
    // Rivals of another host count as alive: they cannot be judged.
    if (holder.host === self.host && !isAlive(holder)) continue
    if (rival === undefined || holder.id < rival.id) rival = holder
  }
  return rival
}

/**
 * Clears away what openers that died half-way left. Requires that LOCK is held: an opener whose
 * half-written file is taken from it could not have got the lock.
 */
function removeDeadClaims(directory: string, self: Holder): void {
  for (const name of readdirSync(directory)) {
    if (!CLAIM_PATTERN.test(name)) continue
    const path = joinPath(directory, name)
    const holder = readHolder(path)
    const foreign = typeof holder === 'object' && (holder.host !== self.host || isAlive(holder))
    if (!foreign) removeIfExists(path)
  }
}

/** Makes the claim appear whole. True when it is a link, as there was no room for a file. */
function makeClaim(directory: string, claimPath: string, self: Holder): boolean {
  try {
    writeClaim(directory, claimPath, self)
    return false
  } catch (error) {
    if (!isDiskFull(error)) throw error
    try {
      symlinkSync(linkTargetOf(self), claimPath)
    } catch {
      // What stands in the way is that there is no room: other systems have no such links.
      throw error
    }
    return true
  }
}

function writeClaim(directory: string, claimPath: string, self: Holder): void {
  const temporaryPath = joinPath(directory, `LOCK-${self.id}.tmp`)
  for (let attempt = 1; ; attempt++) {
    const fd = openSync(temporaryPath, 'wx')
    try {
      const inode = String(fstatSync(fd, { bigint: true }).ino)
      const claim: Holder = { ...self, directory: realpathSync(directory), inode }
      writeFileSync(fd, `${JSON.stringify(claim)}\n`)
      fdatasyncSync(fd)
    } catch (error) {
      // A full disk: the name would stay behind, and the next attempt makes another.
      removeIfExists(temporaryPath)
      throw error
    } finally {
      closeSync(fd)
    }
    try {
      renameSync(temporaryPath, claimPath)
      return
    } catch (error) {
      // A process that has just taken the lock clears away what looks half-written.
      if (systemErrorCode(error) !== 'ENOENT' || attempt === ATTEMPTS_MAX) throw error
      refuseIfHeld(directory, joinPath(directory, LOCK_NAME))
    }
  }
}

/** LOCK is written once, when the lock is taken, so its time is that of the taking. */
function since(lockPath: string): string {
  try {
    return ` since ${lstatSync(lockPath).mtime.toISOString()}`
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return ''
    throw error
  }
}

function removeIfExists(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
}

/**
 * Who holds a directory: what LOCK and claims say of a process, and whether that process runs.
 *
 *   LOCK := JSON { id, pid, bootId, host, startTime, program, directory, inode }
 *         | symbolic link to  id "." pid "." startTime "." sum of bootId "." sum of host
 *
 * `startTime` is the process's start in clock ticks since boot (/proc/<pid>/stat, field 22) and
 * `bootId` the kernel's (/proc/sys/kernel/random/boot_id); both are empty where there is no /proc.
 *
 * The second form is for a disk that is full: the target of a short link is kept where the file
 * system keeps the file's own record, and takes no block. 59 bytes are the most for that (ext4), so
 * boot and host are sums: XXH32, seed 0, as eight hexadecimal digits. The link leads nowhere, and
 * to builds that do not know it a directory that has one is taken.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename } from 'node:path'
import { secureBytes } from '../random.ts'
import { strangerAt } from './file-kind.ts'
import { systemErrorCode } from './file-system.ts'
import { sumOf } from './sealed-text.ts'

/** A process as LOCK and claims record it. */
export interface Holder {
  /** Random, so that one process's locks can be told apart. */
  readonly id: string
  readonly pid: number
  readonly bootId: string
  readonly host: string
  readonly startTime: string
  readonly program: string
  /** Where it was written, and the inode of the file; earlier builds and links do not say. */
  readonly directory?: string
  readonly inode?: string
}

const LINK_PATTERN = /^([0-9a-f]{16})\.([0-9]+)\.([0-9]*)\.([0-9a-f]{8})\.([0-9a-f]{8})$/

export function describeSelf(): Holder {
  return {
    id: Buffer.from(secureBytes(8)).toString('hex'),
    pid: process.pid,
    bootId: readBootId(),
    host: hostname(),
    startTime: readProcess(process.pid)?.startTime ?? '',
    program: basename(process.argv[1] ?? process.execPath),
  }
}

export function describeHolder(holder: Holder): string {
  return `process ${holder.pid} (${holder.program}) on host ${holder.host}`
}

export function isAlive(holder: Holder): boolean {
  if (holder.bootId !== readBootId()) return false
  if (holder.startTime !== '') {
    const running = readProcess(holder.pid)
    if (running !== undefined) return !running.dead && running.startTime === holder.startTime
  }
  try {
    process.kill(holder.pid, 0)
    return true
  } catch (error) {
    // EPERM: it runs, under another user.
    return systemErrorCode(error) !== 'ESRCH'
  }
}

/** The process that a LOCK or claim names. */
export function readHolder(path: string): Holder | 'absent' | 'unreadable' {
  let text: string
  try {
    if (strangerAt(path) !== undefined) return 'unreadable'
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return readLink(path)
    throw error
  }
  return parseHolder(text) ?? 'unreadable'
}

/** The target of a link that stands for the holder. */
export function linkTargetOf({ id, pid, startTime, bootId, host }: Holder): string {
  return [id, pid, startTime, sumOf(bootId), sumOf(host)].join('.')
}

function readLink(path: string): Holder | 'absent' | 'unreadable' {
  let target: string
  try {
    target = readlinkSync(path)
  } catch (error) {
    const code = systemErrorCode(error)
    // EINVAL: a file by now, and LOCK changes hands only from absent to there.
    if (code === 'ENOENT' || code === 'EINVAL') return 'absent'
    throw error
  }
  const [, id, pid, startTime, bootSum, hostSum] = LINK_PATTERN.exec(target) ?? []
  if (id === undefined || startTime === undefined) return 'unreadable'
  const [host, bootId] = [hostname(), readBootId()]
  return {
    id,
    pid: Number(pid),
    startTime,
    bootId: bootSum === sumOf(bootId) ? bootId : `another, ${bootSum}`,
    host: hostSum === sumOf(host) ? host : `another, ${hostSum}`,
    program: 'that found the disk full',
  }
}

function readBootId(): string {
  return readProcFile('/proc/sys/kernel/random/boot_id')?.trim() ?? ''
}

/** What the kernel says of a running process; undefined when it runs not, or without /proc. */
function readProcess(pid: number): { startTime: string; dead: boolean } | undefined {
  const stat = readProcFile(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  // The second field is the program's name in parentheses and may itself contain both.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const state = fields[0]
  return { startTime: fields[19] ?? '', dead: state === 'Z' || state === 'X' }
}

function readProcFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    // ESRCH: the process went away between open and read.
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return undefined
    throw error
  }
}

function parseHolder(text: string): Holder | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (typeof value !== 'object' || value === null) return undefined
  const record = value as Partial<Record<string, unknown>>
  const { id, pid, bootId, host, startTime, program, directory, inode } = record
  if (typeof id !== 'string' || typeof pid !== 'number' || !Number.isSafeInteger(pid)) {
    return undefined
  }
  if (typeof bootId !== 'string' || typeof host !== 'string') return undefined
  if (typeof startTime !== 'string' || typeof program !== 'string') return undefined
  const holder = { id, pid, bootId, host, startTime, program }
  if (typeof directory !== 'string' || typeof inode !== 'string') return holder
  return { ...holder, directory, inode }
}

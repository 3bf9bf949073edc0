/** What a reader must know of the machine before believing a number. */
import { closeSync, fdatasyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { median } from './report.ts'

const TMPFS_MAGIC = 0x01021994
const SYNC_COUNT = 200
const RECORD_SIZE = 128
const LOAD_MAX = 0.5

export interface Machine {
  readonly node: string
  readonly processor: string
  readonly cores: number
  readonly memoryGiB: number
  readonly system: string
  readonly directory: string
  /** Median milliseconds of write + fdatasync of 128 bytes at the end of a growing file. */
  readonly syncMs: number
  /** Processes that wanted to run in the last minute, before the benchmark did. */
  readonly load: number
  /** Set when the numbers of the durable rows mean nothing. */
  readonly warning?: string
}

export function describeMachine(directory: string): Machine {
  const processors = cpus()
  const machine: Machine = {
    node: process.version,
    processor: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${release()} ${process.arch}`,
    directory,
    syncMs: measureSyncMs(directory),
    load: loadavg()[0] ?? 0,
  }
  if (statfsSync(directory).type !== TMPFS_MAGIC) return machine
  return { ...machine, warning: `${directory} is memory, not a disk: durable rows mean nothing` }
}

function measureSyncMs(directory: string): number {
  const path = join(directory, 'sync-probe')
  const fd = openSync(path, 'w')
  const record = Buffer.alloc(RECORD_SIZE, 1)
  const elapsed: number[] = []
  for (let count = 0; count < SYNC_COUNT; count++) {
    const startMs = performance.now()
    writeSync(fd, record)
    fdatasyncSync(fd)
    elapsed.push(performance.now() - startMs)
  }
  closeSync(fd)
  rmSync(path)
  return median(elapsed)
}

export function machineLines(machine: Machine, seed: number): string[] {
  const lines = [
    `machine  ${machine.processor}, ${machine.cores} cores, ${machine.memoryGiB} GiB`,
    `system   ${machine.system}`,
    `node     ${machine.node}`,
    `disk     write + fdatasync of ${RECORD_SIZE} B: ${machine.syncMs.toFixed(3)} ms (median)`,
    `seed     ${seed}`,
  ]
  if (machine.load > LOAD_MAX) {
    lines.push(`WARNING  load ${machine.load.toFixed(1)} before the start: figures are too low`)
  }
  if (machine.warning !== undefined) lines.push(`WARNING  ${machine.warning}`)
  return lines
}

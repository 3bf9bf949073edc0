/**
 * Runs the rows of the speed table on all subjects, in rounds that take turns, so that a machine
 * that slows down or speeds up does so for everyone. Each subject lives in a process of its own
 * with a directory of its own; only one of them works at a time.
 */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Child } from './child.ts'
import type { Measurement } from './measure.ts'
import { formatCount, median, note } from './report.ts'
import { MEMORY_BUDGET_MIB, RECOVERY_LOG_SIZE, ROWS, type Row, type RowId } from './rows.ts'
import type { SubjectName } from './subject.ts'
import type { MeasureArgument, OpenArgument } from './subject-process.ts'
import { KEY_SIZE, SEED } from './workloads.ts'

export interface ComparisonOptions {
  readonly directory: string
  readonly subjects: readonly SubjectName[]
  readonly rows: readonly RowId[]
  readonly keyCount: number
  readonly valueSize: number
  readonly rounds: number
  readonly recoveryRounds: number
  /** Point operations a round. */
  readonly operations: number
  /** Milliseconds of a round that the disk decides. */
  readonly durationMs: number
}

export interface Cell {
  /** The median, in the row's unit. */
  readonly value: number
  /** Every round, in the order measured. */
  readonly rounds: readonly number[]
}

export interface RowResult {
  readonly row: Row
  readonly cells: Partial<Record<SubjectName, Cell>>
}

export interface ComparisonResult {
  readonly rows: readonly RowResult[]
  readonly settings: Partial<Record<SubjectName, string>>
}

const MIB = 1024 * 1024
/** A directory that has not changed for so long has settled: no flush or compaction is at work. */
const QUIET_AFTER_LOAD_MS = 1500
const QUIET_AFTER_WRITES_MS = 500
const SETTLE_MS_MAX = 120_000
const POLL_MS = 250
/** Rows that are not rounds of calls. */
const SPECIAL_ROWS: ReadonlySet<RowId> = new Set(['fillrandom', 'space', 'memory', 'recovery'])

interface Running {
  readonly name: SubjectName
  readonly directory: string
  readonly child: Child
}

/** Bytes that the files of a directory take on the disk. */
function allocatedSize(directory: string): number {
  let size = 0
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    const { blocks } = statSync(join(directory, name), { throwIfNoEntry: false }) ?? { blocks: 0 }
    size += blocks * 512
  }
  return size
}

function fingerprint(directory: string): string {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()
  const sizes = names.map(name => statSync(join(directory, name), { throwIfNoEntry: false })?.size)
  return names.map((name, position) => `${name}:${sizes[position]}`).join()
}

/** Waits until the subject's background work is done, as seen from outside. */
async function settle(directory: string, wantedMs: number): Promise<void> {
  let last = fingerprint(directory)
  let quietMs = 0
  for (let waitedMs = 0; quietMs < wantedMs && waitedMs < SETTLE_MS_MAX; waitedMs += POLL_MS) {
    await sleep(POLL_MS)
    const now = fingerprint(directory)
    quietMs = now === last ? quietMs + POLL_MS : 0
    last = now
  }
}

export class Comparison {
  readonly #options: ComparisonOptions
  readonly #cells = new Map<RowId, Partial<Record<SubjectName, Cell>>>()
  readonly #settings: Partial<Record<SubjectName, string>> = {}

  constructor(options: ComparisonOptions) {
    this.#options = options
  }

  async run(): Promise<ComparisonResult> {
    if (this.#options.rows.some(id => id !== 'recovery')) await this.#runLoaded()
    for (const name of this.#participants('recovery')) await this.#recover(name)
    return { rows: this.#results(), settings: this.#settings }
  }

  async #runLoaded(): Promise<void> {
    const running = this.#options.subjects.map(name => this.#start(name, name))
    try {
      for (const subject of running) await this.#load(subject)
      for (const row of ROWS) {
        if (!SPECIAL_ROWS.has(row.id) && this.#isWanted(row.id)) await this.#rounds(row, running)
      }
      for (const { child } of running) await child.call('close')
      for (const name of this.#participants('memory')) await this.#memory(name)
    } finally {
      for (const { child, directory } of running) {
        await child.kill()
        rmSync(directory, { recursive: true, force: true })
      }
    }
  }

  /** The subjects of this run that take part in this row; none when nobody asked for it. */
  #participants(id: RowId): SubjectName[] {
    const row = ROWS.find(candidate => candidate.id === id)
    if (row === undefined || !this.#isWanted(id)) return []
    return this.#options.subjects.filter(name => row.subjects.includes(name))
  }

  #isWanted(id: RowId): boolean {
    return this.#options.rows.includes(id)
  }

  #results(): RowResult[] {
    const wanted = ROWS.filter(row => this.#isWanted(row.id))
    return wanted.map(row => ({ row, cells: this.#cells.get(row.id) ?? {} }))
  }

  #record(id: RowId, name: SubjectName, rounds: readonly number[]): void {
    const row = ROWS.find(candidate => candidate.id === id)
    if (row?.subjects.includes(name) !== true) return
    const cells = this.#cells.get(id) ?? {}
    cells[name] = { value: median(rounds), rounds }
    this.#cells.set(id, cells)
  }

  #start(name: SubjectName, directoryName: string): Running {
    const directory = join(this.#options.directory, directoryName)
    mkdirSync(directory, { recursive: true })
    return { name, directory, child: new Child('subject-process') }
  }

  #open(subject: Running, changes: Partial<OpenArgument> = {}) {
    const { keyCount, valueSize } = this.#options
    const argument: OpenArgument = {
      name: subject.name,
      directory: subject.directory,
      memoryBudget: MEMORY_BUDGET_MIB * MIB,
      keyCount,
      valueSize,
      seed: SEED,
      ...changes,
    }
    return subject.child.call<{ settings: string; elapsedMs: number }>('open', argument)
  }

  async #load(subject: Running): Promise<void> {
    const { settings } = await this.#open(subject)
    this.#settings[subject.name] = settings
    // The limit loop only writes: it has nothing to load and nothing to read.
    if (subject.name === 'write-loop') return
    note(`${subject.name}: loading ${this.#options.keyCount} keys`)
    const { operations, elapsedMs } = await subject.child.call<Measurement>('load')
    this.#record('fillrandom', subject.name, [(operations / elapsedMs) * 1000])
    await settle(subject.directory, QUIET_AFTER_LOAD_MS)
    const { keyCount, valueSize } = this.#options
    const ratio = allocatedSize(subject.directory) / (keyCount * (KEY_SIZE + valueSize))
    this.#record('space', subject.name, [ratio])
  }

  async #rounds(row: Row, running: readonly Running[]): Promise<void> {
    const taking = running.filter(({ name }) => row.subjects.includes(name))
    const perSecond = new Map<SubjectName, number[]>(taking.map(({ name }) => [name, []]))
    note(`${row.id}: ${row.title}`)
    // Round 0 warms caches and compilers and is not counted.
    for (let round = 0; round <= this.#options.rounds; round++) {
      for (const { name, child, directory } of taking) {
        const { operations, durationMs } = this.#options
        const argument: MeasureArgument = { id: row.id, round, operations, durationMs }
        const measured = await child.call<Measurement>('measure', argument)
        const rate = (measured.operations / measured.elapsedMs) * 1000
        if (round > 0) perSecond.get(name)?.push(rate)
        note(`  ${name} ${formatCount(rate)}/s${round === 0 ? ' (warming up)' : ''}`)
        // What this round left to flush and compact must not slow down the next subject.
        if (row.isWrite) await settle(directory, QUIET_AFTER_WRITES_MS)
      }
    }
    for (const [name, rates] of perSecond) this.#record(row.id, name, rates)
  }

  /** The peak of a fresh process that writes, reads and scans, and keeps nothing itself. */
  async #memory(name: SubjectName): Promise<void> {
    note(`memory: ${name}`)
    const subject = this.#start(name, name)
    await this.#open(subject)
    this.#record('memory', name, [await subject.child.call<number>('exercise')])
    await subject.child.kill()
  }

  /** Fills the log, kills the process, and times the next open, in rounds of fresh directories. */
  async #recover(name: SubjectName): Promise<void> {
    note(`recovery: ${name}`)
    const logSize = RECOVERY_LOG_SIZE
    const elapsed: number[] = []
    for (let round = 0; round < this.#options.recoveryRounds; round++) {
      const before = this.#start(name, `${name}-crash`)
      await this.#open(before, { logSize, keyCount: 10_000_000 })
      const count = await before.child.call<number>('fillLog', { logSize })
      await before.child.kill()
      note(`  ${name}: ${Math.round(allocatedSize(before.directory) / MIB)} MiB on disk`)

      const after = this.#start(name, `${name}-crash`)
      const { elapsedMs } = await this.#open(after, { logSize, keyCount: 10_000_000 })
      elapsed.push(elapsedMs)
      await after.child.call('check', count)
      await after.child.kill()
      rmSync(after.directory, { recursive: true, force: true })
    }
    this.#record('recovery', name, elapsed)
  }
}

/**
 * Runs compactions: asks the picker what is worth doing, runs it as a job, installs the result.
 *
 * Invariants:
 *  1. A table takes part in at most one compaction at a time.
 *  2. Inputs are removed from disk only after the edit that replaces them is durable.
 *  3. Whoever waits is woken after every compaction, and when compacting has ended for good.
 *  4. Tables that can be dropped without being read come first, as that costs nothing. Then come
 *     those that the user asked for, unless level 0 is about to slow the writers down.
 *  5. A compaction that met a damaged table is not tried again: its inputs are left alone, the
 *     error is logged, and writers who would have to wait for it get it.
 */
import { ClosedError, CorruptionError, OverloadedError, toError } from '../errors.ts'
import {
  type CompactionPlan,
  compactionDebt,
  cursorAfter,
  pickCompaction,
} from './compaction-picker.ts'
import { conflictsWith, planChanges, planCompaction, sizeOf } from './compaction-plan.ts'
import { CompactionTimers } from './compaction-timers.ts'
import { formatFileName } from './file-names.ts'
import { HiddenTableFinder } from './hidden-table-finder.ts'
import type { BackgroundHost, JobRunner } from './job-runner.ts'
import type { ManualCompaction } from './manual-compaction.ts'
import { outputCountMax } from './output-count.ts'
import { RepeatedFailure } from './repeated-failure.ts'
import type { TableCache } from './table-cache.ts'
import type { TableMetadata } from './table-metadata.ts'
import type { Version } from './version.ts'
import type { LeveledTable } from './version-edit.ts'

/** Level-0 tables, in multiples of the trigger, from which on nothing else is started. */
const LEVEL0_URGENT = 2

/** A compaction that the user asked for. */
interface ManualRun {
  readonly compaction: ManualCompaction
  /** The step under way. */
  plan: CompactionPlan | undefined
  readonly onStep: () => void
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface CompactionStats {
  readonly count: number
  /** Tables that only changed their level. */
  readonly moves: number
  readonly running: number
  readonly bytesRead: number
  readonly bytesWritten: number
  /** Bytes by which levels exceed their target. */
  readonly debt: number
}

export class Compactor {
  readonly #host: BackgroundHost
  readonly #runner: JobRunner
  readonly #tables: TableCache
  readonly #onCompacted: () => void
  readonly #hidden: HiddenTableFinder
  /** Running plans, and those that met a damaged table, whose tables stay out of all others. */
  #plans: readonly CompactionPlan[] = []
  #damagedPlans: readonly CompactionPlan[] = []
  /** The first one is under way. */
  #manual: readonly ManualRun[] = []
  /** By level, where the last plan ended. */
  readonly #cursors: (Uint8Array | undefined)[] = []
  /** What a compaction met last that it could not read. */
  #damage: CorruptionError | undefined
  readonly failures = new RepeatedFailure('a compaction')
  #waiting: (() => void)[] = []
  readonly #timers: CompactionTimers
  /** The debt of `version`, which is asked for with every group commit. */
  #debt: { readonly version: Version; readonly bytes: number } | undefined
  #count = 0
  #moves = 0
  #bytesRead = 0
  #bytesWritten = 0

  constructor(
    host: BackgroundHost,
    runner: JobRunner,
    tables: TableCache,
    onCompacted: () => void,
  ) {
    this.#host = host
    this.#runner = runner
    this.#tables = tables
    this.#onCompacted = onCompacted
    this.#timers = new CompactionTimers(
      host.clock,
      () => this.#startPlans(true),
      () => this.schedule(),
    )
    // What only a snapshot kept is taken away when nothing else is to be done.
    host.state.snapshots.onForgotten = () => this.#waitForIdle()
    this.#hidden = new HiddenTableFinder(host.state, tables, () => {
      this.schedule()
      // Whoever waits looks again, in case that nothing is to be done.
      this.wakeAll()
    })
  }

  /** Bytes that compactions have to write before all levels are within their targets. */
  get debt(): number {
    const { state, options } = this.#host
    if (this.#debt?.version !== state.version) {
      this.#debt = { version: state.version, bytes: compactionDebt(state.version, options) }
    }
    return this.#debt.bytes
  }

  get stats(): CompactionStats {
    return {
      count: this.#count,
      moves: this.#moves,
      running: this.#plans.length,
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
      debt: this.debt,
    }
  }

  /** Runs the steps of a manual compaction, after those asked for before. Rejects if one fails. */
  runManual(compaction: ManualCompaction, onStep: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const run: ManualRun = { compaction, plan: undefined, onStep, resolve, reject }
      this.#manual = [...this.#manual, run]
      this.#rejectManual()
      this.schedule()
      this.#refuseManual()
    })
  }

  /** Makes no further step of it; one that is under way comes to its end. */
  stopManual(compaction: ManualCompaction): void {
    this.#manual = this.#manual.filter(run => run.compaction !== compaction)
    this.schedule()
  }

  /** Starts compactions for as long as there is something to do and a thread to do it. */
  schedule(): void {
    this.#startPlans(false)
    this.#timers.stop()
    this.#waitForIdle()
  }

  /** Looks for more work when nothing happens for a while, or when a table expires. */
  #waitForIdle(): void {
    if (this.#plans.length > 0 || !this.#isAllowed) return
    this.#timers.waitForIdle()
    this.#timers.waitForExpiry(this.#host.state.version, this.#runner.wallMs)
  }

  /** Resolves after the next compaction. Rejects when none will come. */
  async waitForCompaction(): Promise<void> {
    const { state } = this.#host
    if (state.failure !== undefined) throw state.failure
    if (this.#runner.stopped) throw new ClosedError('the database is closed')
    this.schedule()
    if (this.#plans.length === 0 && !this.#hidden.isReading) {
      // Waiting would never end: what stands in the way is a damaged table, or nothing at all.
      throw this.#damage ?? new OverloadedError('compaction has nothing to catch up with', 100)
    }
    await new Promise<void>(resolve => this.#waiting.push(resolve))
  }

  /** Called when no compaction will come any more. */
  wakeAll(): void {
    for (const wake of this.#waiting.splice(0)) wake()
    this.#rejectManual()
  }

  /** Ends the wait for idleness. */
  close(): void {
    this.#timers.stop()
    this.wakeAll()
  }

  get #isAllowed(): boolean {
    return this.#host.state.isRecovered && !this.#runner.stopped
  }

  #startPlans(idle: boolean): void {
    while (this.#isAllowed) {
      const plan = this.#next(idle)
      if (plan === undefined) return
      this.#plans = [...this.#plans, plan]
      this.#cursors[plan.inputLevel] = cursorAfter(plan)
      this.#runner.supervise('compaction', () => this.#run(plan, idle))
    }
  }

  #next(idle: boolean): CompactionPlan | undefined {
    const { state, options } = this.#host
    const hidden = this.#hidden.find()
    // What can be dropped must not be rewritten instead.
    if (hidden === undefined) return undefined
    const drop = this.#dropPlan(hidden)
    if (drop !== undefined) return drop
    const isUrgent =
      state.version.levels[0]!.length >= LEVEL0_URGENT * options.level0CompactionTrigger
    const urgent = isUrgent ? this.#pick(idle) : undefined
    // Where level 0 is damaged no urgent plan ever comes; then nobody is kept waiting for it.
    if (urgent !== undefined || (isUrgent && this.#plans.length > 0)) return urgent
    const hasThread = this.#plans.length < options.compactionThreads
    while (hasThread && this.#manual[0]?.plan === undefined) {
      const run = this.#manual[0]
      if (run === undefined) break
      const step = this.#manualStep(run)
      // What is in its way comes to its end sooner when nothing else is started.
      if (step === 'waits') return undefined
      if (step !== 'over') return step
    }
    return this.#pick(idle)
  }

  /** Takes out tables of one level that are hidden whole, unless a compaction has them. */
  #dropPlan(hidden: readonly LeveledTable[]): CompactionPlan | undefined {
    const plans = [...this.#plans, ...this.#damagedPlans]
    const busy = new Set(plans.flatMap(plan => [...plan.inputs, ...plan.overlapped]))
    const isFree = ({ level, table }: LeveledTable) =>
      !busy.has(table) && (level > 0 || !plans.some(plan => plan.inputLevel === 0))
    const level = hidden.find(isFree)?.level
    if (level === undefined) return undefined
    const inputs = hidden.filter(other => other.level === level && isFree(other))
    return planCompaction(
      this.#host.state.version,
      'drop',
      'ranges',
      level,
      level,
      inputs.map(({ table }) => table),
    )
  }

  #manualStep(run: ManualRun): CompactionPlan | 'waits' | 'over' {
    const { state, options } = this.#host
    const step = run.compaction.next(state.version, options, {
      running: this.#plans,
      wallMs: this.#runner.wallMs,
      purgeableBelow: this.#purgeableBelow,
    })
    if (step === undefined) {
      this.#endManual(run)
      run.resolve()
      return 'over'
    }
    // Whoever leaves out what is damaged takes it up again.
    const { onLost } = run.compaction
    if (onLost !== undefined && !step.conflicts) {
      this.#damagedPlans = this.#damagedPlans.filter(other => !conflictsWith(step.plan, [other]))
    }
    if (conflictsWith(step.plan, this.#damagedPlans)) {
      this.#endManual(run)
      run.reject(this.#damage)
      return 'over'
    }
    if (step.conflicts) return 'waits'
    run.plan = step.plan
    return step.plan
  }

  #endManual(run: ManualRun): void {
    this.#manual = this.#manual.filter(other => other !== run)
  }

  /** Tells those who wait for a manual compaction when there will be no more of it. */
  #rejectManual(): void {
    const { failure } = this.#host.state
    if (failure === undefined && !this.#runner.stopped) return
    const error = failure ?? new ClosedError('the database is closed')
    for (const run of this.#manual) run.reject(error)
    this.#manual = []
  }

  /** While compactions keep failing nobody waits for them; steps under way answer themselves. */
  #refuseManual(): void {
    const refusal = this.failures.refusal(false)
    if (refusal === undefined) return
    for (const run of this.#manual) if (run.plan === undefined) run.reject(refusal)
    this.#manual = this.#manual.filter(run => run.plan !== undefined)
  }

  /** See CompactionState. */
  get #purgeableBelow(): number {
    const { snapshots, purgeBound } = this.#host.state
    return Math.min(snapshots.oldest + 1, purgeBound)
  }

  #pick(idle: boolean): CompactionPlan | undefined {
    const { state, options, tier } = this.#host
    // A damaged plan takes no thread, so it must not count as one.
    const compactionThreads = options.compactionThreads + this.#damagedPlans.length
    return pickCompaction(
      state.version,
      { ...options, compactionThreads },
      {
        running: [...this.#plans, ...this.#damagedPlans],
        cursors: this.#cursors,
        wallMs: this.#runner.wallMs,
        purgeableBelow: this.#purgeableBelow,
        isMisplaced: tier && (table => tier.isMisplaced(table)),
        idle,
      },
    )
  }

  async #run(plan: CompactionPlan, idle: boolean): Promise<void> {
    const manual = this.#manual.find(run => run.plan === plan)
    try {
      await this.#carryOut(plan, manual?.compaction.onLost)
      this.failures.succeeded()
      manual?.compaction.finished(plan)
      manual?.onStep()
    } catch (error) {
      const isDamaged = error instanceof CorruptionError
      // Who waits for a manual compaction decides whether it is tried again.
      if (!isDamaged && (manual === undefined || this.#runner.stopped)) {
        this.failures.failed(error)
        this.#refuseManual()
        this.wakeAll()
        throw error
      }
      if (isDamaged) this.#leaveAlone(plan, error)
      if (manual !== undefined) this.#endManual(manual)
      manual?.reject(error)
    }
    if (manual !== undefined) manual.plan = undefined
    this.#plans = this.#plans.filter(other => other !== plan)
    this.wakeAll()
    this.#onCompacted()
    if (idle) this.#startPlans(true)
    this.schedule()
  }

  #leaveAlone(plan: CompactionPlan, error: CorruptionError): void {
    const { logger, events } = this.#host
    logger.error('a compaction met a damaged table; it is left alone', { error })
    if (events.active) {
      events.emit({ type: 'backgroundError', what: 'compaction', error, retryMs: undefined })
    }
    this.#damagedPlans = [...this.#damagedPlans, plan]
    this.#damage = error
  }

  /** Runs and installs the plan, and tells of both. */
  async #carryOut(plan: CompactionPlan, onLost: ManualCompaction['onLost']): Promise<void> {
    const { events, clock } = this.#host
    const startMs = clock.monotonicMs()
    const { kind, reason, inputLevel, outputLevel, size: bytesIn } = plan
    const tablesIn = plan.inputs.length + plan.overlapped.length
    const fields = { kind, reason, inputLevel, outputLevel, tablesIn, bytesIn }
    const end = (outputs: readonly TableMetadata[], error: Error | undefined) => {
      if (!events.active) return
      const durationMs = clock.monotonicMs() - startMs
      const result = { tablesOut: outputs.length, bytesOut: sizeOf(outputs), durationMs, error }
      events.emit({ type: 'compactionEnd', ...fields, ...result })
    }
    if (events.active) events.emit({ type: 'compactionBegin', ...fields })
    try {
      const outputs = kind === 'merge' ? await this.#merge(plan, onLost) : []
      await this.#install(plan, outputs)
      end(outputs, undefined)
    } catch (error) {
      end([], toError(error))
      throw error
    }
  }

  /** Runs the job and returns the new tables. */
  async #merge(
    plan: CompactionPlan,
    onLost: ManualCompaction['onLost'],
  ): Promise<readonly TableMetadata[]> {
    const { tableSizeTarget } = this.#host.options
    const { runs, outputLevel, deeper } = plan
    const result = await this.#runner.run(
      {
        kind: 'compaction',
        runs,
        outputLevel,
        tableSizeTarget,
        deeper: deeper.map(({ smallestKey, largestKey }) => ({ smallestKey, largestKey })),
        tombstonePurgeBound: this.#host.state.purgeBound,
        salvage: onLost !== undefined,
      },
      outputCountMax(runs.flat(), tableSizeTarget),
    )
    this.#bytesRead += result.bytesRead
    this.#bytesWritten += result.bytesWritten
    const { lost = [] } = result
    if (lost.length > 0) {
      this.#host.logger.error('blocks that cannot be read are left out', { blocks: lost.length })
      try {
        await onLost?.(lost)
      } catch (error) {
        this.#discard(result.tables)
        throw error
      }
    }
    return result.tables
  }

  /** Outputs that are not to be installed. */
  #discard(outputs: readonly TableMetadata[]): void {
    const { tier, obsoleteFiles } = this.#host
    for (const { fileNumber } of outputs) {
      tier?.removed(fileNumber)
      obsoleteFiles.remove(formatFileName('table', fileNumber))
    }
  }

  async #install(plan: CompactionPlan, outputs: readonly TableMetadata[]): Promise<void> {
    const { state, obsoleteFiles, tier } = this.#host
    const edit = { ...planChanges(plan, outputs), wallMsMax: this.#runner.wallMs }
    try {
      state.version = await this.#runner.install(edit)
    } catch (error) {
      for (const { fileNumber } of outputs) tier?.removed(fileNumber)
      throw error
    }
    if (plan.kind === 'move') {
      this.#moves += plan.inputs.length
      return
    }
    if (plan.kind === 'merge') this.#runner.succeeded('compaction')
    this.#count++
    for (const { fileNumber } of [...plan.inputs, ...plan.overlapped]) {
      this.#tables.close(fileNumber)
      tier?.removed(fileNumber)
      obsoleteFiles.remove(formatFileName('table', fileNumber))
    }
  }
}

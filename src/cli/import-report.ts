/** What an import tells while it runs, and what it tells at its end. */
import type { KvError } from '../errors.ts'
import type { InputSource } from './cli-io.ts'
import type { CommandContext } from './command.ts'
import { formatToken } from './command-line.ts'
import type { ImportPlan } from './import-plan.ts'
import type { ImportCounts, Importer } from './importer.ts'
import { ProgressBar } from './progress-bar.ts'
import type { Reject } from './record-batcher.ts'
import { formatBytes, formatCount, formatDuration, formatRate } from './render.ts'
import { lagText, type Settling } from './replica-lag.ts'
import type { Style } from './style.ts'

/** So many bad records are told one by one. */
const NOTES_MAX = 10
/** Retries follow each other quickly; people read slowly. */
const RETRY_NOTE_INTERVAL_MS = 5000

/** How an import ended. */
export interface ImportOutcome {
  readonly complete: boolean
  /** The progress file can take it from here. */
  readonly resumable: boolean
  /** How waiting for replicas ended; undefined when nobody waited. */
  readonly settling: Settling | undefined
}

/** A shorter wait is not worth a word. */
const SETTLED_NOTE_MS = 200

export class ImportReport {
  readonly #context: CommandContext
  readonly #plan: ImportPlan
  readonly #startMs: number
  #bar: ProgressBar | undefined
  #stopMs: number | undefined
  #rejectNotes = 0
  #retryNoteMs = Number.NEGATIVE_INFINITY

  constructor(context: CommandContext, plan: ImportPlan) {
    this.#context = context
    this.#plan = plan
    this.#startMs = context.session.io.clock.monotonicMs()
  }

  /** Shows a progress bar when somebody looks. */
  begin(importer: Importer, input: InputSource): void {
    const { output, session } = this.#context
    const { stderr, clock } = session.io
    if (output.json || stderr.isTTY !== true) return
    this.#bar = new ProgressBar({
      title: 'importing',
      clock,
      terminal: stderr,
      style: output.noteStyle,
      sample: () => ({ done: input.consumed(), total: input.size, ...importer.counts }),
    })
  }

  note(text: string): void {
    if (this.#bar === undefined) this.#context.output.note(text)
    else this.#bar.note(text)
  }

  rejected(reject: Reject): void {
    this.#rejectNotes++
    if (this.#rejectNotes > NOTES_MAX) return
    const { sourceName } = this.#plan
    const { noteStyle } = this.#context.output
    this.note(`${noteStyle.warn('skipped')} ${sourceName}, line ${reject.line}: ${reject.problem}`)
    if (this.#rejectNotes === NOTES_MAX) this.note('further bad records are only counted')
  }

  retrying(error: KvError): void {
    this.#waiting(error.message)
  }

  /** Nothing came back for a while; worth a word only when the connection is gone. */
  silent(): void {
    const why = this.#context.session.whyAway
    if (why !== undefined) this.#waiting(why)
  }

  #waiting(why: string): void {
    const nowMs = this.#context.session.io.clock.monotonicMs()
    if (nowMs - this.#retryNoteMs < RETRY_NOTE_INTERVAL_MS) return
    this.#retryNoteMs = nowMs
    this.note(`${this.#context.output.noteStyle.warn('waiting')} ${why}`)
  }

  /** All that could be stored is: takes the bar away. */
  stop(): void {
    this.#bar?.stop()
    this.#bar = undefined
    this.#stopMs = this.#context.session.io.clock.monotonicMs()
  }

  /** Prints the summary. Requires that it was stopped. */
  async end(counts: ImportCounts, outcome: ImportOutcome): Promise<void> {
    const { output } = this.#context
    const seconds = (this.#stopMs! - this.#startMs) / 1000
    const { complete, resumable, settling } = outcome
    const recordsPerSecond = seconds > 0 ? counts.records / seconds : 0
    const result = {
      ...counts,
      seconds: Number(seconds.toFixed(3)),
      recordsPerSecond: Math.round(recordsPerSecond),
      ...{ complete, resumable, replicasBehind: behindOf(settling) },
      ...(this.#plan.rejectsPath === undefined || counts.rejected === 0
        ? {}
        : { rejects: this.#plan.rejectsPath }),
    }
    await output.print(result, () => this.#summary(counts, outcome, seconds).join('\n'))
  }

  #summary(counts: ImportCounts, outcome: ImportOutcome, seconds: number): string[] {
    const { style } = this.#context.output
    const rate = seconds > 0 ? counts.records / seconds : 0
    const took = formatDuration(seconds * 1000)
    const figures = `${formatCount(counts.records)} records (${formatBytes(counts.bytes)})`
    const done = outcome.complete ? style.good('imported') : style.warn('stopped after')
    const lines = [`${done} ${figures} in ${took}, ${formatRate(rate)}`]
    if (counts.nulls > 0) {
      lines.push(`left out ${formatCount(counts.nulls)} null values (--null-as '' stores them)`)
    }
    if (counts.rejected > 0) {
      const kept = this.#plan.rejectsPath
      const where = kept === undefined ? '' : `, kept in ${kept}`
      lines.push(style.warn(`skipped ${formatCount(counts.rejected)} bad records${where}`))
    }
    if (outcome.resumable) {
      const path = this.#plan.path === undefined ? '-' : formatToken(Buffer.from(this.#plan.path))
      lines.push(`go on from here with the same options and: kvcli import ${path} --resume`)
    } else if (!outcome.complete) {
      lines.push('importing again from the start stores the same records; nothing is doubled')
    }
    lines.push(...settlingLines(outcome.settling, style))
    return lines
  }
}

/** Whether replicas lack something; null when that is not known. */
function behindOf(settling: Settling | undefined): boolean | null {
  if (settling?.lag === undefined || settling.lag.silent.length > 0) return null
  return !settling.isSettled || settling.lag.away.length > 0
}

function settlingLines(settling: Settling | undefined, style: Style): string[] {
  if (settling?.lag === undefined) return []
  const { lag, isSettled, tookMs } = settling
  const lines: string[] = []
  if (!isSettled) {
    lines.push(
      style.warn(`${lagText(lag)} are still on their way to replicas`) +
        ': until they are there, counts and reads may lack them (kvcli cluster status --wait)',
    )
  } else if (tookMs >= SETTLED_NOTE_MS && lag.away.length + lag.silent.length === 0) {
    lines.push(`all replicas had it ${formatDuration(tookMs)} later`)
  }
  for (const name of lag.away) {
    lines.push(`${name} is down: it gets what it lacks when it is back (kvcli cluster status)`)
  }
  for (const name of lag.silent.filter(silent => !lag.away.includes(silent))) {
    lines.push(style.warn(`${name} does not answer: what it took last may not be elsewhere yet`))
  }
  return lines
}

/**
 * When to kill a store: at any time, or just as it does something that matters, seen from outside
 * by the files that it makes, or told by its stats.
 */
import { type FSWatcher, watch } from 'node:fs'
import { delay, systemClock } from '../../src/clock.ts'
import { parseFileName } from '../../src/engine/file-names.ts'
import type { Random } from '../../src/random.ts'

/** Append only: seeds choose by position. */
export const MOMENTS = [
  /** Any time. */
  'random',
  /** A new WAL segment: a memtable has just been frozen. */
  'log',
  /** A table has just been begun, by a flush or a compaction. */
  'table',
  /** The MANIFEST has just been written to, or CURRENT replaced. */
  'manifest',
  /** Stats say that a compaction runs. */
  'compaction',
  /** Milliseconds after a restart. */
  'again',
  /** While recovery runs: the store is killed before it has answered anything. */
  'recovery',
] as const
export type Moment = (typeof MOMENTS)[number]

const WEIGHTS: Readonly<Record<Moment, number>> = {
  random: 6,
  log: 2,
  table: 3,
  manifest: 2,
  compaction: 3,
  again: 2,
  recovery: 3,
}

export function chooseMoment(random: Random, moments: readonly Moment[] = MOMENTS): Moment {
  const total = moments.reduce((sum, moment) => sum + WEIGHTS[moment], 0)
  let at = random.below(total)
  return moments.find(moment => {
    at -= WEIGHTS[moment]
    return at < 0
  })!
}

export interface MomentOptions {
  readonly directory: string
  readonly random: Random
  /** The mean time of load before the moment. */
  readonly meanMs: number
  readonly isCompacting: () => Promise<boolean>
}

const CLOCK = systemClock()
/** What happens after the event that was waited for is hit as well. */
const AFTER_EVENT_MS_MAX = 12
const AGAIN_MS_MAX = 60
const EVENTS_SKIPPED_MAX = 4
const POLL_MS = 5
/** An event that does not come is waited for so many times the mean. */
const PATIENCE = 5

/** Resolves at the moment: with its kind, or 'random' when what it waits for did not happen. */
export async function awaitMoment(moment: Moment, options: MomentOptions): Promise<Moment> {
  const { random, meanMs, directory } = options
  const patienceMs = meanMs * PATIENCE
  const skipped = random.below(EVENTS_SKIPPED_MAX)
  const afterMs = random.below(2) * random.next() * AFTER_EVENT_MS_MAX
  if (moment === 'again') {
    await delay(CLOCK, random.next() * Math.min(AGAIN_MS_MAX, meanMs))
    return moment
  }
  const leadMs = random.next() * meanMs * (moment === 'random' ? 2 : 1)
  await delay(CLOCK, leadMs)
  if (moment === 'random' || moment === 'recovery') return 'random'
  const came =
    moment === 'compaction'
      ? await pollFor(options.isCompacting, patienceMs)
      : await fileEvent(directory, matcher(moment), skipped, patienceMs)
  if (came) await delay(CLOCK, afterMs)
  return came ? moment : 'random'
}

/** Resolves after a random part of `durationMs`, or when the recovery makes its first file. */
export async function awaitRecoveryMoment(
  directory: string,
  random: Random,
  durationMs: number,
): Promise<void> {
  const withinMs = random.next() * durationMs
  if (random.below(2) === 0) await delay(CLOCK, withinMs)
  else await fileEvent(directory, isNumbered, random.below(3), durationMs)
}

type NameMatcher = (name: string) => boolean

function isNumbered(name: string): boolean {
  return (parseFileName(name)?.fileNumber ?? 0) > 0
}

function matcher(moment: 'log' | 'table' | 'manifest'): NameMatcher {
  return name => {
    const kind = parseFileName(name)?.kind
    if (moment === 'log') return kind === 'wal'
    if (moment === 'table') return kind === 'table'
    return kind === 'manifest' || kind === 'current'
  }
}

/** Resolves true at a file event after `skipped` others, each of another file or of a MANIFEST. */
function fileEvent(
  directory: string,
  matches: NameMatcher,
  skipped: number,
  patienceMs: number,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const seen = new Set<string>()
    let left = skipped
    let watcher: FSWatcher | undefined
    const finish = (came: boolean): void => {
      watcher?.close()
      cancel()
      resolve(came)
    }
    const cancel = CLOCK.setTimer(patienceMs, () => finish(false))
    try {
      watcher = watch(directory, (_event, name) => {
        if (name === null || !matches(name)) return
        // A table or segment counts once: it is written to many times.
        const again = seen.has(name) && !name.startsWith('MANIFEST')
        seen.add(name)
        if (!again && left-- === 0) finish(true)
      })
      watcher.on('error', reject)
    } catch (error) {
      cancel()
      reject(error)
    }
  })
}

async function pollFor(condition: () => Promise<boolean>, patienceMs: number): Promise<boolean> {
  const endMs = CLOCK.monotonicMs() + patienceMs
  while (CLOCK.monotonicMs() < endMs) {
    if (await condition()) return true
    await delay(CLOCK, POLL_MS)
  }
  return false
}

/** Lives of a database beside a sorted map (db-model.ts), one a seed, and what they came to. */
import { InlineExecutor } from '../../src/engine/index.ts'
import { DbModel, drawOptions } from './db-model.ts'

/** Steps that are shown of a life that failed. */
const LOG_SHOWN = 12

/** Steps of a life unless said otherwise: a failure is replayed with as many. */
export const MODEL_STEPS = 250

/** What an ordinary run must have come to, or it proves little. */
export const MODEL_DEEDS = [
  'flushes',
  'compactions',
  'reopen',
  'kill',
  'snapshotRead',
  'expired',
  'logData',
  'jumpWall',
  'deleteRange',
] as const

/** The database does not answer as the map does, or fails. Says how to see it again. */
export class ModelError extends Error {
  override readonly name = 'ModelError'
}

/** How often what was done, by name. Throws a ModelError. */
export async function liveModel(
  seed: number,
  executor: typeof InlineExecutor = InlineExecutor,
): Promise<ReadonlyMap<string, number>> {
  const model = new DbModel(seed, executor)
  try {
    await model.run(MODEL_STEPS)
  } catch (error) {
    const last = model.log.slice(-LOG_SHOWN).join('\n')
    throw new ModelError(
      `seed ${seed}: ${error instanceof Error ? error.message : error}\n` +
        `options ${JSON.stringify(drawOptions(seed))}\n${last}`,
      { cause: error },
    )
  }
  return model.counts
}

export function addCounts(totals: Map<string, number>, counts: ReadonlyMap<string, number>): void {
  for (const [name, count] of counts) totals.set(name, (totals.get(name) ?? 0) + count)
}

export function showCounts(totals: ReadonlyMap<string, number>): string {
  return [...totals].map(([name, count]) => `${count} ${name}`).join(', ')
}

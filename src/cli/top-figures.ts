/**
 * What `top` shows, out of two looks at a server: its statistics and what it thinks of its cluster.
 * Figures that a server does not have are null. Pure.
 */

/** One look. */
export interface TopSample {
  readonly monotonicMs: number
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number
  readonly stats: Readonly<Record<string, unknown>>
  /** As the command `status` answers; undefined where nobody knows. */
  readonly cluster: Readonly<Record<string, unknown>> | undefined
}

/** Of reads or of writes, of the last second that was counted. */
export interface TopLoad {
  readonly perSecond: number
  readonly p50Ms: number | null
  readonly p99Ms: number | null
}

/** JSON-serialisable. */
export interface TopFigures {
  readonly atMs: number
  /** The node that was asked. */
  readonly node: string | null
  readonly uptimeMs: number | null
  readonly health: string | null
  readonly reads: TopLoad | null
  readonly writes: TopLoad | null
  readonly connections: number | null
  readonly inFlight: number | null
  /** Since the look before; null in the first one, and when another node answered. */
  readonly errorsPerSecond: number | null
  readonly memory: { readonly totalBytes: number; readonly budgetBytes: number } | null
  readonly disk: { readonly tableBytes: number; readonly logBytes: number } | null
  readonly compaction: TopCompaction | null
  readonly stalls: { readonly count: number; readonly totalMs: number } | null
  /** Writes that members owe each other, all together; null where nobody knows. */
  readonly owedWrites: number | null
  readonly members: readonly TopMember[]
}

export interface TopCompaction {
  readonly running: number
  /** Bytes that are to be compacted. */
  readonly debtBytes: number
  /** Since the look before, as above. */
  readonly readBytesPerSecond: number | null
  readonly writtenBytesPerSecond: number | null
}

export interface TopMember {
  readonly node: string
  readonly isAsked: boolean
  readonly address: string
  readonly state: string
  readonly liveness: string
  readonly readsPerSecond: number | null
  readonly writesPerSecond: number | null
  /** Of the slower kind of both. */
  readonly p99Ms: number | null
  readonly owedWrites: number
}

export function topFigures(sample: TopSample, before: TopSample | undefined): TopFigures {
  const { atMs, stats, cluster } = sample
  const at = new Figures(stats)
  const node = at.text('node.id')
  const earlier = sameLife(sample, before) ? before : undefined
  const rateOf = (path: string): number | null => rate(sample, earlier, path)
  const members = membersOf(cluster)
  return {
    atMs,
    node,
    uptimeMs: at.number('node.uptimeMs'),
    health: new Figures(cluster).text('health'),
    reads: loadOf(at, 'read'),
    writes: loadOf(at, 'write'),
    connections: at.number('net.connections'),
    inFlight: at.number('net.inFlight'),
    errorsPerSecond: errorRate(sample, earlier),
    memory: pair(at, { totalBytes: 'engine.memory.total', budgetBytes: 'engine.memory.budget' }),
    disk: pair(at, { tableBytes: 'engine.tableBytes', logBytes: 'engine.walBytes' }),
    compaction: compactionOf(at, rateOf),
    stalls: pair(at, { count: 'engine.stalls.count', totalMs: 'engine.stalls.totalMs' }),
    owedWrites: cluster === undefined ? null : sum(members.map(({ owedWrites }) => owedWrites)),
    members,
  }
}

/** Figures within figures, by path. */
class Figures {
  readonly #figures: unknown

  constructor(figures: unknown) {
    this.#figures = figures
  }

  at(path: string): unknown {
    let found = this.#figures
    for (const name of path.split('.')) {
      if (typeof found !== 'object' || found === null) return undefined
      found = (found as Readonly<Record<string, unknown>>)[name]
    }
    return found
  }

  number(path: string): number | null {
    const value = this.at(path)
    return typeof value === 'number' ? value : null
  }

  text(path: string): string | null {
    const value = this.at(path)
    return typeof value === 'string' ? value : null
  }
}

/** Counters of one life of one node can be compared. */
function sameLife(sample: TopSample, before: TopSample | undefined): boolean {
  const now = new Figures(sample.stats)
  const then = new Figures(before?.stats)
  const uptimeMs = now.number('node.uptimeMs') ?? 0
  const isSame = now.text('node.id') === then.text('node.id')
  return isSame && uptimeMs >= (then.number('node.uptimeMs') ?? 0)
}

function rate(sample: TopSample, before: TopSample | undefined, path: string): number | null {
  const now = new Figures(sample.stats).number(path)
  const then = new Figures(before?.stats).number(path)
  return perSecond(sample, before, now, then)
}

function errorRate(sample: TopSample, before: TopSample | undefined): number | null {
  const countOf = (at: TopSample | undefined): number | null => {
    const errors = new Figures(at?.stats).at('net.errors')
    return isRecord(errors) ? sum(Object.values(errors).map(Number)) : null
  }
  return perSecond(sample, before, countOf(sample), countOf(before))
}

function perSecond(
  sample: TopSample,
  before: TopSample | undefined,
  now: number | null,
  then: number | null,
): number | null {
  if (before === undefined || now === null || then === null) return null
  const elapsedMs = sample.monotonicMs - before.monotonicMs
  return elapsedMs <= 0 ? null : Math.max(0, ((now - then) * 1000) / elapsedMs)
}

function loadOf(at: Figures, kind: 'read' | 'write'): TopLoad | null {
  const count = at.number(`load.${kind}s`)
  if (count === null) return null
  const [p50Ms, p99Ms] = [at.number(`load.${kind}P50Ms`), at.number(`load.${kind}P99Ms`)]
  return { perSecond: count, p50Ms, p99Ms }
}

function compactionOf(at: Figures, rateOf: (path: string) => number | null): TopCompaction | null {
  const found = pair(at, {
    running: 'engine.compactions.running',
    debtBytes: 'engine.compactions.debt',
  })
  if (found === null) return null
  return {
    ...found,
    readBytesPerSecond: rateOf('engine.compactions.bytesRead'),
    writtenBytesPerSecond: rateOf('engine.compactions.bytesWritten'),
  }
}

/** Figures that belong together: all of them, or null. */
function pair<Name extends string>(
  at: Figures,
  paths: Readonly<Record<Name, string>>,
): Record<Name, number> | null {
  const found: Record<string, number> = {}
  for (const [name, path] of Object.entries<string>(paths)) {
    const value = at.number(path)
    if (value === null) return null
    found[name] = value
  }
  return found as Record<Name, number>
}

function membersOf(cluster: TopSample['cluster']): TopMember[] {
  const members = new Figures(cluster).at('members')
  if (!Array.isArray(members)) return []
  return members.map((member): TopMember => {
    const at = new Figures(member)
    const p99Us = at.number('states.p99Us')
    return {
      node: at.text('nodeId') ?? '',
      isAsked: at.at('isAsked') === true,
      address: at.text('clientAddress') ?? '',
      state: at.text('state') ?? '',
      liveness: at.text('liveness') ?? '',
      readsPerSecond: at.number('states.readsPerSecond'),
      writesPerSecond: at.number('states.writesPerSecond'),
      p99Ms: p99Us === null ? null : p99Us / 1000,
      owedWrites: at.number('owedWrites') ?? 0,
    }
  })
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/**
 * One scenario: a script of faults, a load meanwhile, and then the wait until every replica has
 * every acknowledged write.
 */
import { type Clock, delay, systemClock } from '../../../src/clock.ts'
import { KvError } from '../../../src/errors.ts'
import type { Random } from '../../../src/random.ts'
import { CopyCheck, type CopyVerdict } from './copy-check.ts'
import { keyText, valueText, type WriteHistory } from './history.ts'
import { type ChaosClient, type LoadReport, OpenLoopLoad } from './load.ts'
import type { ChaosSubject } from './subject.ts'

/** How long what the scripts do is to last, in seconds, and how often. */
export interface ChaosLengths {
  readonly baseline: number
  readonly kills: number
  /** From the death of a killed node to its start. */
  readonly away: number
  readonly pause: number
  readonly cut: number
}

export interface ChaosOptions {
  readonly subject: ChaosSubject
  readonly clients: readonly ChaosClient[]
  readonly history: WriteHistory
  readonly random: Random
  readonly callers: number
  readonly rate: number
  readonly readPart: number
  readonly lengths: ChaosLengths
  readonly divergentKeys: number
  readonly progress: (text: string) => void
}

export interface ChaosRow extends CopyVerdict {
  readonly scenario: string
  readonly load: LoadReport | undefined
  /** All counted from the end of the last fault. */
  readonly wholeMs: number | undefined
  readonly hintsMs: number | undefined
  readonly equalMs: number | undefined
  readonly owedAtEnd: number | undefined
  /** Processors that all nodes kept busy under the load. */
  readonly nodesCpu: number
  /** What the script itself found out. */
  readonly notes: readonly string[]
}

export interface Scenario {
  readonly name: string
  readonly title: (options: ChaosOptions) => string
  readonly script: (chaos: Chaos) => Promise<void>
  /** False: the script wants a cluster at rest. */
  readonly isLoaded: boolean
  isPossible(subject: ChaosSubject): boolean
}

const POLL_MS = 250
const RECOVERY_MS_MAX = 180_000
const WRITERS_AT_ONCE = 64

/** What the scripts steer. */
export class Chaos {
  readonly options: ChaosOptions
  readonly subject: ChaosSubject
  readonly notes: string[] = []
  readonly clock: Clock = systemClock()
  #faultEndMs: number | undefined

  constructor(options: ChaosOptions) {
    this.options = options
    this.subject = options.subject
  }

  get lengths(): ChaosLengths {
    return this.options.lengths
  }

  /** When the last fault ended; the present when there was none. */
  get faultEndMs(): number {
    return this.#faultEndMs ?? this.clock.monotonicMs()
  }

  /** What is broken was mended just now. */
  mended(): void {
    this.#faultEndMs = this.clock.monotonicMs()
  }

  async wait(seconds: number): Promise<void> {
    await delay(this.clock, seconds * 1000)
  }

  /** Some node that is worth killing. */
  async victim(): Promise<number> {
    const nodes = await this.subject.victims()
    return nodes[this.options.random.below(nodes.length)]!
  }

  say(text: string): void {
    this.options.progress(text)
  }

  /** Resolves to the seconds it took, from `startMs` on; undefined when it took too long. */
  async until(
    condition: () => Promise<boolean>,
    startMs = this.clock.monotonicMs(),
  ): Promise<number | undefined> {
    while (this.clock.monotonicMs() < startMs + RECOVERY_MS_MAX) {
      if (await condition()) return (this.clock.monotonicMs() - startMs) / 1000
      await delay(this.clock, POLL_MS)
    }
    return undefined
  }

  /** Under load something is always on its way; `hints` asks for what came too late for that. */
  async isNothingOwed(what: 'hints' | 'anything' = 'anything'): Promise<boolean> {
    const owed = await this.subject.owed()
    if (owed === undefined) return true
    return owed.hintBytes === 0 && (what === 'hints' || owed.pendingBytes === 0)
  }

  async all(action: (node: number) => Promise<void>): Promise<void> {
    const nodes = Array.from({ length: this.subject.nodeCount }, (_, index) => index + 1)
    await Promise.all(nodes.map(action))
  }

  /** Writes the first so many keys once, spread over so much time; resolves to the acknowledged. */
  async writeEach(count: number, seconds: number): Promise<number> {
    const { clients, history } = this.options
    const startMs = this.clock.monotonicMs()
    const total = Math.min(count, history.keyCount)
    let next = 0
    let written = 0
    const writer = async (): Promise<void> => {
      while (next < total) {
        const key = next++
        const dueMs = startMs + (key / total) * seconds * 1000
        const earlyMs = dueMs - this.clock.monotonicMs()
        if (earlyMs > 1) await delay(this.clock, earlyMs)
        // Somebody writes it just now, so it diverges all the same.
        if (history.isBusy(key)) continue
        if (await writeKey(clients, history, key)) written++
      }
    }
    await Promise.all(Array.from({ length: WRITERS_AT_ONCE }, writer))
    return written
  }
}

/** False when it failed, which the history knows. */
async function writeKey(
  clients: readonly ChaosClient[],
  history: WriteHistory,
  key: number,
): Promise<boolean> {
  const number = history.begin(key)
  try {
    await clients[key % clients.length]!.put(keyText(key), valueText(key, number))
    history.acknowledged(key, number)
    return true
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    history.failed(key, number, error.outcome === 'unknown')
    return false
  }
}

/** Runs a scenario to its end; the row tells what came of it. */
export async function runScenario(scenario: Scenario, options: ChaosOptions): Promise<ChaosRow> {
  const { subject } = options
  const load = scenario.isLoaded ? new OpenLoopLoad(options) : undefined
  const chaos = new Chaos(options)
  const cpuMs = subject.cpuMs()
  const startMs = chaos.clock.monotonicMs()
  load?.start()
  await scenario.script(chaos)
  const report = await load?.stop()
  const nodesCpu = (subject.cpuMs() - cpuMs) / (chaos.clock.monotonicMs() - startMs)
  const recovery = await recover(chaos)
  const { notes } = chaos
  return { scenario: scenario.title(options), load: report, nodesCpu, notes, ...recovery }
}

type Recovery = Omit<ChaosRow, 'scenario' | 'load' | 'nodesCpu' | 'notes'>

/** Waits until nothing is missing any more, or for too long. */
async function recover(chaos: Chaos): Promise<Recovery> {
  const { subject, options, clock } = chaos
  const startMs = chaos.faultEndMs
  const endMs = clock.monotonicMs() + RECOVERY_MS_MAX
  const elapsedMs = (): number => clock.monotonicMs() - startMs
  let wholeMs: number | undefined
  let hintsMs: number | undefined
  const check = new CopyCheck(subject, options.history)
  for (;;) {
    if (wholeMs === undefined && (await subject.isWhole())) wholeMs = elapsedMs()
    const owed = await subject.owed()
    const owedAtEnd = owed && owed.hintBytes + owed.pendingBytes
    if (hintsMs === undefined && owedAtEnd === 0) hintsMs = elapsedMs()
    const isEqual = wholeMs !== undefined && (await check.look())
    const isDone = isEqual && (owedAtEnd === undefined || owedAtEnd === 0)
    if (isDone || clock.monotonicMs() > endMs) {
      const equalMs = isEqual ? elapsedMs() : undefined
      return { wholeMs, hintsMs, owedAtEnd, equalMs, ...check.verdict() }
    }
    chaos.say(`${check.wrongCount} copies are not right, ${owedAtEnd ?? 0} bytes are owed`)
    await delay(clock, POLL_MS)
  }
}

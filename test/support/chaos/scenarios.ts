/**
 * What is done to a cluster under load, and what came of it: each scenario is a script of faults, a
 * load meanwhile, and then the wait until every replica has every acknowledged write.
 */
import { delay, systemClock } from '../../../src/clock.ts'
import type { Random } from '../../../src/random.ts'
import { keyText, type WriteHistory } from './history.ts'
import { type ChaosClient, type LoadReport, OpenLoopLoad } from './load.ts'
import type { ChaosSubject } from './subject.ts'

export interface ChaosOptions {
  readonly subject: ChaosSubject
  readonly clients: readonly ChaosClient[]
  readonly history: WriteHistory
  readonly random: Random
  readonly callers: number
  readonly rate: number
  readonly readPart: number
  /** Of the usual lengths of time. */
  readonly scale: number
  readonly divergentKeys: number
  readonly progress: (text: string) => void
}

export interface ChaosRow {
  readonly scenario: string
  readonly load: LoadReport | undefined
  /** Keys whose acknowledged value no replica has. */
  readonly lost: number
  /** Keys whose acknowledged value some replicas have, and others still lack at the end. */
  readonly behind: number
  /** Values that nobody wrote. */
  readonly foreign: number
  /** All counted from the end of the last fault, or of the load when that is later. */
  readonly wholeMs: number | undefined
  readonly hintsMs: number | undefined
  readonly equalMs: number | undefined
  readonly owedAtEnd: number | undefined
}

type Script = (chaos: Chaos) => Promise<void>

const POLL_MS = 250
const RECOVERY_MS_MAX = 180_000
const CHECK_COUNT = 5000

/** One run; the scripts below steer it. */
class Chaos {
  readonly options: ChaosOptions
  readonly subject: ChaosSubject
  readonly #clock = systemClock()

  constructor(options: ChaosOptions) {
    this.options = options
    this.subject = options.subject
  }

  async wait(seconds: number): Promise<void> {
    await delay(this.#clock, seconds * 1000 * this.options.scale)
  }

  /** Some node, from 1. */
  anyNode(): number {
    return 1 + this.options.random.below(this.subject.nodeCount)
  }

  say(text: string): void {
    this.options.progress(text)
  }

  async untilWhole(): Promise<void> {
    const endMs = this.#clock.monotonicMs() + RECOVERY_MS_MAX
    while (this.#clock.monotonicMs() < endMs && !(await this.subject.isWhole())) {
      await delay(this.#clock, POLL_MS)
    }
  }

  async all(action: (node: number) => Promise<void>): Promise<void> {
    const nodes = Array.from({ length: this.subject.nodeCount }, (_, index) => index + 1)
    await Promise.all(nodes.map(action))
  }
}

export interface Scenario {
  readonly name: string
  readonly title: string
  readonly script: Script
  /** False: the script wants a cluster at rest. */
  readonly isLoaded: boolean
  isPossible(subject: ChaosSubject): boolean
}

const always = (): boolean => true
const KILLS = 5

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'baseline',
    title: 'baseline',
    isLoaded: true,
    isPossible: always,
    script: chaos => chaos.wait(20),
  },
  {
    name: 'kills',
    title: `kill -9 and restart, ${KILLS} times`,
    isLoaded: true,
    isPossible: always,
    async script(chaos) {
      for (let count = 1; count <= KILLS; count++) {
        await chaos.wait(4)
        const node = chaos.anyNode()
        chaos.say(`kill ${count}: node ${node}`)
        await chaos.subject.kill(node)
        await chaos.wait(4)
        await chaos.subject.restart(node)
        await chaos.untilWhole()
      }
      await chaos.wait(4)
    },
  },
  {
    name: 'pause',
    title: 'SIGSTOP for 30 s',
    isLoaded: true,
    isPossible: always,
    async script(chaos) {
      await chaos.wait(5)
      const node = chaos.anyNode()
      chaos.say(`node ${node} hangs`)
      chaos.subject.pause(node)
      await chaos.wait(30)
      chaos.subject.resume(node)
      await chaos.wait(10)
    },
  },
  {
    name: 'all',
    title: 'all nodes killed at once',
    isLoaded: true,
    isPossible: always,
    async script(chaos) {
      await chaos.wait(5)
      await chaos.all(node => chaos.subject.kill(node))
      await chaos.all(node => chaos.subject.restart(node))
      await chaos.untilWhole()
      await chaos.wait(10)
    },
  },
  {
    name: 'partition',
    title: 'the smaller part cut off, 20 s',
    isLoaded: true,
    isPossible: subject => subject.cut !== undefined,
    async script(chaos) {
      await chaos.wait(5)
      await chaos.subject.cut?.(chaos.subject.nodeCount > 3 ? [1, 2] : [1])
      await chaos.wait(20)
      await chaos.subject.heal()
      await chaos.wait(10)
    },
  },
  {
    name: 'divergent',
    title: 'a node that has lost keys behind its back',
    isLoaded: false,
    isPossible: subject => subject.damage !== undefined,
    async script(chaos) {
      const node = chaos.anyNode()
      await chaos.subject.kill(node)
      const count = await chaos.subject.damage?.(node, chaos.options.divergentKeys)
      chaos.say(`node ${node} has lost ${count} keys`)
      await chaos.subject.restart(node)
    },
  },
]

/** Runs a scenario to its end; the row tells what came of it. */
export async function runScenario(scenario: Scenario, options: ChaosOptions): Promise<ChaosRow> {
  const load = scenario.isLoaded ? new OpenLoopLoad(options) : undefined
  load?.start()
  await scenario.script(new Chaos(options))
  const report = await load?.stop()
  return { scenario: scenario.title, load: report, ...(await recover(options)) }
}

type Recovery = Omit<ChaosRow, 'scenario' | 'load'>

/** Waits until nothing is missing any more, or for too long. */
async function recover(options: ChaosOptions): Promise<Recovery> {
  const { subject, history, progress } = options
  const clock = systemClock()
  const startMs = clock.monotonicMs()
  const elapsedMs = (): number => clock.monotonicMs() - startMs
  let wholeMs: number | undefined
  let hintsMs: number | undefined
  let hints: number | undefined
  const check = new CopyCheck(subject, history)
  for (;;) {
    if (wholeMs === undefined && (await subject.isWhole())) wholeMs = elapsedMs()
    hints = await subject.owedBytes()
    if (hintsMs === undefined && hints === 0) hintsMs = elapsedMs()
    const isEqual = wholeMs !== undefined && (await check.look())
    const isDone = isEqual && (hints === undefined || hints === 0)
    if (isDone || elapsedMs() > RECOVERY_MS_MAX) {
      const equalMs = isEqual ? elapsedMs() : undefined
      return { wholeMs, hintsMs, owedAtEnd: hints, equalMs, ...check.verdict() }
    }
    progress(`${check.wrongCount} copies are not right, ${hints ?? 0} bytes are owed`)
    await delay(clock, POLL_MS)
  }
}

/** Which copies are not right yet. What was right once stays so: nothing is written any more. */
class CopyCheck {
  readonly #subject: ChaosSubject
  readonly #history: WriteHistory
  /** Keys to look at, for each node from 1. */
  readonly #open: number[][]
  /** Keys of which a right copy was seen. */
  readonly #found = new Set<number>()
  readonly #foreign = new Set<number>()

  constructor(subject: ChaosSubject, history: WriteHistory) {
    this.#subject = subject
    this.#history = history
    const written = history.written()
    this.#open = Array.from({ length: subject.nodeCount + 1 }, () => written)
  }

  get wrongCount(): number {
    return this.#open.slice(1).reduce((sum, keys) => sum + keys.length, 0)
  }

  /** True when every copy is right. */
  async look(): Promise<boolean> {
    for (let node = 1; node <= this.#subject.nodeCount; node++) {
      this.#open[node] = await this.#wrongOn(node, this.#open[node]!)
    }
    return this.wrongCount === 0
  }

  async #wrongOn(node: number, keys: readonly number[]): Promise<number[]> {
    const wrong: number[] = []
    for (let at = 0; at < keys.length; at += CHECK_COUNT) {
      const some = keys.slice(at, at + CHECK_COUNT)
      const copies = await this.#subject.copies(node, some.map(keyText))
      for (const [index, copy] of copies.entries()) {
        const key = some[index]!
        if (copy === 'elsewhere') continue
        const verdict = this.#history.judge(key, copy.value)
        if (verdict === 'right') this.#found.add(key)
        else wrong.push(key)
        if (verdict === 'foreign') this.#foreign.add(key)
      }
    }
    return wrong
  }

  verdict(): Pick<ChaosRow, 'lost' | 'behind' | 'foreign'> {
    const wrong = new Set(this.#open.slice(1).flat())
    const lost = [...wrong].filter(key => !this.#found.has(key)).length
    return { lost, behind: wrong.size - lost, foreign: this.#foreign.size }
  }
}

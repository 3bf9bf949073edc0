/**
 * What the nodes of a cut cluster answer, each asked alone: consistency `one` on either side,
 * `quorum` where a side holds most replicas of the key and nowhere else. The nodes have two seconds
 * to find out about the cut: what they answer before is told apart.
 */
import { type Clock, delay } from '../../../src/clock.ts'
import type { Random } from '../../../src/random.ts'
import type { CuttableNetwork, Probe } from './subject.ts'

const PAUSE_MS = 500
const KEYS_EACH_TIME = 4
const REFUSAL_MS_MAX = 100
/** A node that is asked and says nothing is not counted on after a second and a quarter. */
const DETECTION_MS = 2000

interface Finding {
  readonly atMs: number
  readonly what: string
  readonly isExpected: boolean
  readonly tookMs: number
}

export interface ProbesOptions {
  readonly network: CuttableNetwork
  readonly clock: Clock
  readonly random: Random
  /** The nodes of both sides. */
  readonly sides: readonly (readonly number[])[]
  readonly keyCount: number
}

export class QuorumProbes {
  readonly #options: ProbesOptions
  readonly #findings: Finding[] = []

  constructor(options: ProbesOptions) {
    this.#options = options
  }

  /** Asks again and again for so long. */
  async run(seconds: number): Promise<void> {
    const { clock, random, keyCount, sides } = this.#options
    const startMs = clock.monotonicMs()
    while (clock.monotonicMs() < startMs + seconds * 1000) {
      const atMs = clock.monotonicMs() - startMs
      const keys = Array.from({ length: KEYS_EACH_TIME }, () => `probe:${random.below(keyCount)}`)
      const asked = sides.flatMap(side => {
        return keys.map(key => this.#ask(side, side[random.below(side.length)]!, key, atMs))
      })
      await Promise.all(asked)
      await delay(clock, PAUSE_MS)
    }
  }

  async #ask(side: readonly number[], node: number, key: string, atMs: number): Promise<void> {
    const { network, random } = this.#options
    const replicas = await network.replicas(key)
    const there = replicas.filter(replica => side.includes(replica)).length
    const kind = random.below(2) === 0 ? 'read' : 'write'
    const hasQuorum = 2 * there > replicas.length
    const quorum = await network.probe(node, kind, key, 'quorum')
    const isRefused = quorum.error === 'KV_UNAVAILABLE' && quorum.tookMs <= REFUSAL_MS_MAX
    const isExpected = hasQuorum ? quorum.error === undefined : isRefused
    this.#found(hasQuorum ? 'granted' : 'refused', isExpected, quorum, atMs)
    if (there === 0) return
    const one = await network.probe(node, kind, key, 'one')
    this.#found('one', one.error === undefined, one, atMs)
  }

  #found(what: string, isExpected: boolean, { tookMs }: Probe, atMs: number): void {
    this.#findings.push({ atMs, what, isExpected, tookMs })
  }

  /** A sentence. */
  summary(): string {
    const late = this.#findings.filter(({ atMs }) => atMs > DETECTION_MS)
    const part = (what: string): string => {
      const some = late.filter(finding => finding.what === what)
      const right = some.filter(({ isExpected }) => isExpected).length
      const slowestMs = Math.max(0, ...some.map(({ tookMs }) => tookMs))
      return `${right} of ${some.length} (slowest ${Math.round(slowestMs)} ms)`
    }
    const early = this.#findings.filter(({ atMs }) => atMs <= DETECTION_MS)
    const wrong = early.filter(({ isExpected }) => !isExpected).length
    return (
      `from ${DETECTION_MS / 1000} s after the cut on, 'one' was given ${part('one')}, 'quorum' ` +
      `given where most replicas are ${part('granted')}, and refused elsewhere within ` +
      `${REFUSAL_MS_MAX} ms ${part('refused')}; before, ${wrong} of ${early.length} were otherwise`
    )
  }
}

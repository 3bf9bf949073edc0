/**
 * Patterns of KEYS, SCAN and CONFIG GET, as Redis matches them (stringmatchlen): `*`, `?`, `[a-c]`,
 * `[^a]`, and `\` before what is meant literally. Over bytes.
 */

const STAR = 0x2a
const QUESTION = 0x3f
const OPEN = 0x5b
const CLOSE = 0x5d
const CARET = 0x5e
const DASH = 0x2d
const BACKSLASH = 0x5c

/** One step of a pattern: any run of bytes, any byte, or one of a set. */
type Step = 'run' | 'any' | ReadonlySet<number> | number

export class Glob {
  /** What everything that matches begins with. */
  readonly prefix: Uint8Array
  /** True when all that begins with the prefix matches. */
  readonly isPrefix: boolean
  readonly #steps: readonly Step[]

  constructor(pattern: Uint8Array) {
    this.#steps = stepsOf(pattern)
    const literal = this.#steps.findIndex(step => typeof step !== 'number')
    const count = literal < 0 ? this.#steps.length : literal
    this.prefix = Uint8Array.from(this.#steps.slice(0, count) as number[])
    this.isPrefix = this.#steps.length === count + 1 && this.#steps[count] === 'run'
  }

  /** Linear in the text for each run: of several runs the last that can begin later does. */
  matches(text: Uint8Array): boolean {
    const steps = this.#steps
    let step = 0
    let at = 0
    let runStep = -1
    let runAt = 0
    while (at < text.length) {
      const wanted = steps[step]
      if (wanted === 'run') {
        runStep = step++
        runAt = at
      } else if (wanted !== undefined && isMatch(wanted, text[at]!)) {
        step++
        at++
      } else if (runStep >= 0) {
        step = runStep + 1
        at = ++runAt
      } else return false
    }
    while (steps[step] === 'run') step++
    return step === steps.length
  }
}

function isMatch(step: Exclude<Step, 'run'>, byte: number): boolean {
  if (typeof step === 'number') return step === byte
  return step === 'any' || step.has(byte)
}

function stepsOf(pattern: Uint8Array): Step[] {
  const steps: Step[] = []
  let at = 0
  while (at < pattern.length) {
    const byte = pattern[at]!
    if (byte === STAR) {
      if (steps.at(-1) !== 'run') steps.push('run')
      at++
    } else if (byte === QUESTION) {
      steps.push('any')
      at++
    } else if (byte === OPEN) {
      const [members, end] = setOf(pattern, at + 1)
      steps.push(members)
      at = end
    } else if (byte === BACKSLASH && at + 1 < pattern.length) {
      steps.push(pattern[at + 1]!)
      at += 2
    } else {
      steps.push(byte)
      at++
    }
  }
  return steps
}

/** The bytes of a set that begins at `start`, behind its bracket, and where it ends. */
function setOf(pattern: Uint8Array, start: number): [ReadonlySet<number>, number] {
  const members = new Set<number>()
  let at = start
  const isNegated = pattern[at] === CARET
  if (isNegated) at++
  while (at < pattern.length && pattern[at] !== CLOSE) {
    if (pattern[at] === BACKSLASH && at + 1 < pattern.length) {
      members.add(pattern[at + 1]!)
      at += 2
    } else if (pattern[at + 1] === DASH && at + 2 < pattern.length) {
      const [low, high] = [pattern[at]!, pattern[at + 2]!].sort((a, b) => a - b)
      for (let byte = low!; byte <= high!; byte++) members.add(byte)
      at += 3
    } else members.add(pattern[at++]!)
  }
  const end = Math.min(at + 1, pattern.length)
  if (!isNegated) return [members, end]
  const others = new Set<number>()
  for (let byte = 0; byte < 256; byte++) if (!members.has(byte)) others.add(byte)
  return [others, end]
}

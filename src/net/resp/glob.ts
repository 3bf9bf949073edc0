/**
 * Patterns of KEYS, SCAN and CONFIG GET, as Redis matches them (stringmatchlen): `*`, `?`, `[a-c]`,
 * `[^a]`, and `\` before what is meant literally. Over bytes.
 *
 * Invariants, for a client that sends one must not be able to fill or stop the node:
 *  1. A pattern takes memory for as many bytes as a key may have, however long it is.
 *  2. It takes a few steps for each byte of the texts, and STEPS_MAX beyond that.
 */
import { SERVER_KEY_SIZE_MAX } from '../../key-value-store.ts'
import { CommandError } from './reply.ts'

const STAR = 0x2a
const QUESTION = 0x3f
const OPEN = 0x5b
const CLOSE = 0x5d
const CARET = 0x5e
const DASH = 0x2d
const BACKSLASH = 0x5c

/** What texts may take that repeat themselves, as the pattern does: some hundredths of a second. */
const STEPS_MAX = 1_000_000
const STEPS_PER_BYTE = 16

/** One step of a pattern: any run of bytes, any byte, or one of a set. */
type Step = 'run' | 'any' | ByteSet | number

/** A bit for each byte: whatever a set says, it takes no more. */
class ByteSet {
  readonly #bits = new Int32Array(8)

  add(byte: number): void {
    this.#bits[byte >> 5]! |= 1 << (byte & 31)
  }

  invert(): void {
    for (let at = 0; at < this.#bits.length; at++) this.#bits[at] = ~this.#bits[at]!
  }

  has(byte: number): boolean {
    return (this.#bits[byte >> 5]! & (1 << (byte & 31))) !== 0
  }
}

export class Glob {
  /** What everything that matches begins with. */
  readonly prefix: Uint8Array
  /** True when all that begins with the prefix matches. */
  readonly isPrefix: boolean
  /** Undefined when nothing that short matches. */
  readonly #steps: readonly Step[] | undefined
  #stepsLeft = STEPS_MAX

  /** Texts longer than `sizeMax` are none of its business: a pattern may be, and matches none. */
  constructor(pattern: Uint8Array, sizeMax = SERVER_KEY_SIZE_MAX) {
    this.#steps = stepsOf(pattern, sizeMax)
    const steps = this.#steps ?? []
    const literal = steps.findIndex(step => typeof step !== 'number')
    const count = literal < 0 ? steps.length : literal
    this.prefix = Uint8Array.from(steps.slice(0, count) as number[])
    this.isPrefix = steps.length === count + 1 && steps[count] === 'run'
  }

  /**
   * Of several runs the last that can begin later does. Throws CommandError when it takes too many
   * steps.
   */
  matches(text: Uint8Array): boolean {
    const steps = this.#steps
    if (steps === undefined) return false
    let step = 0
    let at = 0
    let runStep = -1
    let runAt = 0
    let left = Math.min(STEPS_MAX, this.#stepsLeft) + text.length * STEPS_PER_BYTE
    while (at < text.length) {
      if (left-- <= 0) throw new CommandError('ERR the pattern takes too many steps: simplify it')
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
    this.#stepsLeft = left
    while (steps[step] === 'run') step++
    return step === steps.length
  }
}

function isMatch(step: Exclude<Step, 'run'>, byte: number): boolean {
  if (typeof step === 'number') return step === byte
  return step === 'any' || step.has(byte)
}

/** Undefined for a pattern of which only texts of more bytes than `sizeMax` can be. */
function stepsOf(pattern: Uint8Array, sizeMax: number): Step[] | undefined {
  const steps: Step[] = []
  let bytes = 0
  let at = 0
  while (at < pattern.length) {
    const byte = pattern[at]!
    if (byte === STAR) {
      if (steps.at(-1) !== 'run') steps.push('run')
      at++
      continue
    }
    if (++bytes > sizeMax) return undefined
    if (byte === QUESTION) {
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
function setOf(pattern: Uint8Array, start: number): [ByteSet, number] {
  const members = new ByteSet()
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
  if (isNegated) members.invert()
  return [members, Math.min(at + 1, pattern.length)]
}

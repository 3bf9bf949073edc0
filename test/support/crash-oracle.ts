/**
 * Knows what a database may hold after a crash, from nothing but what was submitted to it and what
 * it answered.
 *
 * The law: what is found is the state after a prefix of the submission order, a prefix that holds
 * every write that the crash at hand must not take back. A rejected write is in no prefix; one of
 * unknown outcome may be the last. So nothing is invented, torn apart, reordered or lost.
 *
 * The same holds for log data: what recovery hands back is what was submitted, batch for batch,
 * from some batch on without a gap up to the end of the prefix.
 */
import type { ChangeBatch, EngineOperation } from '../../src/engine/index.ts'
import type { BatchOperation, Durability } from '../../src/key-value-store.ts'

/** Keys and values as latin1 text: cheap to compare, and it holds any bytes. */
export type State = ReadonlyMap<string, string>

/** What happened to the machine: a power loss takes what was not synced, a kill only what was
 * not handed to the operating system, a close nothing. */
export type Ending = 'power-loss' | 'kill' | 'close'

/** Of the ranges only this form, which holds a key. */
export type SubmittedOperation =
  | BatchOperation
  | { readonly type: 'del-range'; readonly gte: string; readonly lt: string }

export interface SubmittedWrite {
  readonly operations: readonly SubmittedOperation[]
  readonly durability: Durability
  /** logDataOf(ticket) goes with it. */
  readonly logged?: boolean
}

interface Submission extends SubmittedWrite {
  answer: 'none' | 'acknowledged' | 'rejected'
}

/** The moment of a crash: how much was promised then. */
export interface CrashMoment {
  readonly submitted: number
  /** Writes below this index must be there after a power loss. */
  readonly durable: number
  /** After a kill. */
  readonly handedOver: number
}

export class CrashOracle {
  readonly #submissions: Submission[] = []
  /** What was there before the first submission. */
  readonly #base: State
  #durable = 0
  #handedOver = 0
  #acknowledged = 0

  constructor(base: State = new Map()) {
    this.#base = base
  }

  get submittedCount(): number {
    return this.#submissions.length
  }

  /** Writes from that ticket on that were acknowledged. */
  acknowledgedSince(ticket: number): number {
    return this.#submissions.slice(ticket).filter(({ answer }) => answer === 'acknowledged').length
  }

  /** Before the call. Returns a ticket for the answer. */
  submit(write: SubmittedWrite): number {
    this.#submissions.push({ ...write, answer: 'none' })
    return this.#submissions.length - 1
  }

  acknowledge(ticket: number): void {
    const submission = this.#submissions[ticket]!
    submission.answer = 'acknowledged'
    const end = ticket + 1
    this.#acknowledged = Math.max(this.#acknowledged, end)
    if (submission.durability !== 'none') this.#handedOver = Math.max(this.#handedOver, end)
    if (submission.durability === 'sync') this.#durable = Math.max(this.#durable, end)
  }

  /** The answer was that nothing was written. */
  reject(ticket: number): void {
    this.#submissions[ticket]!.answer = 'rejected'
  }

  /** A close succeeded, or a sync was seen to finish: all that was acknowledged stays. */
  closed(): void {
    this.#durable = this.#acknowledged
    this.#handedOver = this.#acknowledged
  }

  /** What is promised now. */
  moment(): CrashMoment {
    return {
      submitted: this.#submissions.length,
      durable: this.#durable,
      handedOver: Math.max(this.#handedOver, this.#durable),
    }
  }

  /** The state after all that was acknowledged, as long as nothing is under way: what reads see. */
  acknowledgedState(): Map<string, string> {
    return this.#stateAfter(this.#submissions.length, ({ answer }) => answer === 'acknowledged')
  }

  /** The state after all that was not rejected. */
  finalState(): Map<string, string> {
    return this.#stateAfter(this.#submissions.length)
  }

  /**
   * Returns the length of a prefix that explains what was found. Throws when there is none that
   * holds everything promised.
   */
  explain(found: State, moment: CrashMoment, ending: Ending): number {
    const required = ending === 'power-loss' ? moment.durable : moment.handedOver
    const state = this.#stateAfter(required)
    let differences = 0
    for (const [key, value] of found) if (state.get(key) !== value) differences++
    for (const key of state.keys()) if (!found.has(key)) differences++
    const lost = `${differences} keys differ from the ${required} writes promised`
    const example = differences === 0 ? '' : firstDifference(state, found)
    for (let length = required; ; length++) {
      if (differences === 0) return length
      if (length >= moment.submitted) break
      const submission = this.#submissions[length]!
      if (submission.answer === 'rejected') continue
      for (const operation of submission.operations) {
        for (const [key, value] of changesOf(operation, state)) {
          const before = state.get(key) === found.get(key)
          change(state, key, value)
          const after = state.get(key) === found.get(key)
          differences += Number(before) - Number(after)
        }
      }
    }
    throw new OracleError(
      `found ${found.size} keys that are no prefix of ${moment.submitted} writes: ` +
        `${lost}, such as ${example}`,
    )
  }

  /**
   * Holds what recovery handed back against what was submitted with log data. Returns the number of
   * submissions that must be in the prefix that explains the state, since their log data was there.
   * From submission `from` on nothing may be missing; by default from the first that is there.
   */
  explainLog(
    batches: readonly ChangeBatch[],
    moment: CrashMoment,
    ending: Ending,
    from = Number.POSITIVE_INFINITY,
  ): number {
    const required = ending === 'power-loss' ? moment.durable : moment.handedOver
    let ticket = Math.min(from, ticketOf(batches[0]) ?? required)
    const first = ticket
    let sequence: number | undefined
    for (const batch of batches) {
      const found = ticketOf(batch)!
      if (found < first) throw new OracleError(`log data of write ${found} comes back once more`)
      for (; ticket < found; ticket++) {
        if (this.#wasLogged(ticket)) throw new OracleError(`log data of write ${ticket} is lost`)
        if (sequence !== undefined) sequence += this.#operationCount(ticket)
      }
      const submission = this.#submissions[ticket]
      if (found !== ticket || submission === undefined || ticket >= moment.submitted) {
        throw new OracleError(`log data of write ${found} was not expected at ${ticket}`)
      }
      checkBatch(batch, submission, ticket, sequence)
      sequence = batch.lastSequence + 1
      ticket++
    }
    const last = ticket
    for (; ticket < required; ticket++) {
      if (this.#wasLogged(ticket)) throw new OracleError(`log data of write ${ticket} is lost`)
    }
    return batches.length === 0 ? 0 : last
  }

  #wasLogged(ticket: number): boolean {
    const { logged, answer } = this.#submissions[ticket]!
    return logged === true && answer !== 'rejected'
  }

  #operationCount(ticket: number): number {
    const { operations, answer } = this.#submissions[ticket]!
    return answer === 'rejected' ? 0 : operations.length
  }

  #stateAfter(
    length: number,
    counts = ({ answer }: Submission) => answer !== 'rejected',
  ): Map<string, string> {
    const state = new Map(this.#base)
    for (const submission of this.#submissions.slice(0, length)) {
      if (!counts(submission)) continue
      for (const operation of submission.operations) {
        for (const [key, value] of changesOf(operation, state)) change(state, key, value)
      }
    }
    return state
  }
}

/** Keys and what the operation makes of their values. */
function changesOf(
  operation: SubmittedOperation,
  state: State,
): readonly (readonly [string, string | undefined])[] {
  switch (operation.type) {
    case 'put':
      return [[text(operation.key), text(operation.value)]]
    case 'del':
      return [[text(operation.key), undefined]]
    case 'del-range': {
      const [from, to] = [text(operation.gte), text(operation.lt)]
      const keys = [...state.keys()].filter(key => from <= key && key < to)
      return keys.map(key => [key, undefined] as const)
    }
  }
}

function change(state: Map<string, string>, key: string, value: string | undefined): void {
  if (value === undefined) state.delete(key)
  else state.set(key, value)
}

/** What goes with a write that is logged: it names it. */
export function logDataOf(ticket: number): string {
  return `write ${ticket}`
}

function ticketOf(batch: ChangeBatch | undefined): number | undefined {
  if (batch === undefined) return undefined
  const name = /^write (\d+)$/.exec(text(batch.logData ?? ''))
  if (name === null)
    throw new OracleError(`log data ${text(batch.logData ?? '')} was never written`)
  return Number(name[1])
}

function checkBatch(
  batch: ChangeBatch,
  submission: Submission,
  ticket: number,
  sequence: number | undefined,
): void {
  const { operations } = submission
  const same =
    operations.length === batch.operations.length &&
    operations.every((operation, index) => {
      const found = batch.operations[index]!
      return describeSubmitted(operation) === describeFound(found)
    })
  if (submission.answer === 'rejected' || submission.logged !== true || !same) {
    throw new OracleError(`write ${ticket} comes back with its log data, but not as it was`)
  }
  const size = batch.lastSequence - batch.sequence + 1
  if (size !== operations.length || batch.sequence !== (sequence ?? batch.sequence)) {
    throw new OracleError(
      `write ${ticket} has sequences ${batch.sequence} to ${batch.lastSequence}, ` +
        `expected were ${operations.length} from ${sequence} on`,
    )
  }
}

function describeSubmitted(operation: SubmittedOperation): string {
  if (operation.type === 'del-range') {
    return `del-range ${text(operation.gte)} ${text(operation.lt)}`
  }
  const value = operation.type === 'put' ? text(operation.value) : ''
  return `${operation.type} ${text(operation.key)} ${value}`
}

function describeFound(operation: EngineOperation): string {
  const { type, key } = operation
  const rest = type === 'put' ? operation.value : type === 'del-range' ? operation.end : ''
  return `${type} ${text(key)} ${text(rest)}`
}

/** The database broke its word. */
export class OracleError extends Error {
  override readonly name = 'OracleError'
}

/** Every entry that the store has, in its order. */
export async function readState(store: {
  entries(): AsyncIterable<readonly [Uint8Array, Uint8Array]>
}): Promise<Map<string, string>> {
  const state = new Map<string, string>()
  let last: Buffer | undefined
  for await (const [keyBytes, value] of store.entries()) {
    const key = Buffer.from(keyBytes)
    if (last !== undefined && Buffer.compare(last, key) >= 0) {
      throw new OracleError(`key ${key.toString('hex')} comes after ${last.toString('hex')}`)
    }
    last = key
    state.set(text(key), text(value))
  }
  return state
}

export function text(bytes: Uint8Array | string): string {
  if (typeof bytes === 'string') return Buffer.from(bytes).toString('latin1')
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function firstDifference(expected: State, found: State): string {
  for (const key of new Set([...expected.keys(), ...found.keys()])) {
    if (expected.get(key) === found.get(key)) continue
    const show = (value: string | undefined) => value?.slice(0, 24) ?? 'nothing'
    return `${key}: ${show(expected.get(key))} was promised, ${show(found.get(key))} is there`
  }
  return 'none'
}

/**
 * How kvcli talks to the process that runs a local cluster: through files, which every platform
 * has, in the `control` directory of the cluster. Both sides are here.
 *
 *   kvcli writes <id>.request --> kvd dev takes it, does it --> <id>.answer --> kvcli takes that
 *
 * A file gets its name only when it is complete. Whoever runs the cluster looks several times a
 * second, and throws away what an earlier run has left.
 */
import { type Clock, delay } from '../clock.ts'
import type { CliFiles } from './cli-io.ts'
import { DEV_DIRECTORY, decodeRun, parseJson, runningPath } from './dev-layout.ts'
import { RefusedError } from './refused-error.ts'

export type DevFiles = Pick<CliFiles, 'readText' | 'writeText' | 'list' | 'remove'>

export interface DevRequest {
  readonly command: 'status' | 'kill' | 'start'
  /** Undefined for `status`. */
  readonly node?: number | undefined
  /** Of `kill`: as the system names it. */
  readonly signal?: string | undefined
}

/**
 * `running`: it serves, as far as it has said. `paused`: it was sent SIGSTOP, and no SIGCONT since.
 * `stopped`: it was told to end.
 */
export type DevNodeState = 'starting' | 'running' | 'paused' | 'stopped' | 'crashed'

export interface DevNodeStatus {
  readonly number: number
  readonly state: DevNodeState
  readonly pid: number | null
  readonly address: string
  /** How its last process ended; null before. */
  readonly ended: string | null
}

export type DevAnswer =
  | { readonly ok: true; readonly nodes: readonly DevNodeStatus[] }
  | { readonly ok: false; readonly message: string }

const LOOK_INTERVAL_MS = 100
/** A cluster that runs answers within a few looks; what it does then may take a moment. */
const ANSWER_TIMEOUT_MS = 5000

function controlDirectory(directory: string): string {
  return `${directory}/control`
}

export interface DevAskOptions {
  readonly files: DevFiles
  readonly clock: Clock
  /** True when there is a process with this id. */
  readonly isAlive: (pid: number) => boolean
  /** Of letters and digits; no other question has it. */
  readonly id: string
}

/** Asks who runs the cluster of the directory. Rejects with RefusedError when nobody does. */
export async function askDev(
  directory: string,
  request: DevRequest,
  { files, clock, isAlive, id }: DevAskOptions,
): Promise<readonly DevNodeStatus[]> {
  const run = decodeRun(await files.readText(runningPath(directory)))
  if (run === undefined || !isAlive(run.pid)) throw nobodyRuns(directory)
  const base = `${controlDirectory(directory)}/${id}`
  await files.writeText(`${base}.request`, JSON.stringify(request))
  const endMs = clock.monotonicMs() + ANSWER_TIMEOUT_MS
  for (;;) {
    const text = await files.readText(`${base}.answer`)
    if (text !== undefined) {
      await files.remove(`${base}.answer`)
      const answer = parseJson(text) as DevAnswer | undefined
      if (answer?.ok === true) return answer.nodes
      const message = answer?.message ?? 'the local cluster gave no answer that makes sense'
      throw new RefusedError(message, { advice: 'see which nodes run: npx kvcli dev status' })
    }
    if (clock.monotonicMs() >= endMs) break
    await delay(clock, LOOK_INTERVAL_MS)
  }
  await files.remove(`${base}.request`)
  throw new RefusedError(
    `process ${run.pid} runs the cluster of ${directory}, and does not answer`,
    {
      advice: `is it paused? see what it prints, or let it go on: kill -CONT ${run.pid}`,
    },
  )
}

function nobodyRuns(directory: string): RefusedError {
  const place = directory === DEV_DIRECTORY ? '' : ` --dir ${directory}`
  return new RefusedError(`no local cluster runs in ${directory}`, {
    advice: `start one: npx kvd dev${place}${place === '' ? ' (or npm start)' : ''}`,
  })
}

/** The side of who runs the cluster. */
export class DevControl {
  readonly #directory: string
  readonly #files: DevFiles

  constructor(directory: string, files: DevFiles) {
    this.#directory = controlDirectory(directory)
    this.#files = files
  }

  /** Removes what is left of an earlier run. */
  async clear(): Promise<void> {
    for (const name of await this.#files.list(this.#directory)) {
      if (/\.(?:request|answer)$/.test(name)) await this.#files.remove(this.#pathOf(name))
    }
  }

  /** Answers what was asked since the last look. */
  async look(answer: (request: DevRequest) => Promise<DevAnswer>): Promise<void> {
    for (const name of await this.#files.list(this.#directory)) {
      const id = /^(\w+)\.request$/.exec(name)?.[1]
      if (id === undefined) continue
      const text = (await this.#files.readText(this.#pathOf(name))) ?? ''
      await this.#files.remove(this.#pathOf(name))
      const request = parseJson(text) as DevRequest | undefined
      const result: DevAnswer =
        request === undefined ? { ok: false, message: 'that is no request' } : await answer(request)
      await this.#files.writeText(this.#pathOf(`${id}.answer`), JSON.stringify(result))
    }
  }

  #pathOf(name: string): string {
    return `${this.#directory}/${name}`
  }
}

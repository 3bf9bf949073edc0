/**
 * A real `kvd` in a process of its own, on a real disk, to be killed: started on a known port,
 * asked until it answers, ended by its process id.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { delay, systemClock } from '../../src/clock.ts'
import { systemErrorCode } from '../../src/engine/file-system.ts'
import { KvError } from '../../src/errors.ts'
import { type Client, connect } from '../../src/net/index.ts'
import { ROOT, programArguments as runningProgram } from './project-root.ts'

export const HOST = '127.0.0.1'
const OUTPUT_KEPT = 4000
const POLL_MS = 5
const ATTEMPT_MS_MAX = 2000
const ANSWER_MS_MAX = 60_000
const PROBE_KEY = 'kill-loop probe, never written'

/** From `dist`, as users run it, or from the sources, for tests that nobody built before. */
export type ProgramForm = 'dist' | 'sources'

/** Arguments for Node that start a program of src/cli. */
export function programArguments(program: 'kvd' | 'kvcli', form: ProgramForm): string[] {
  if (form === 'dist') return [join(ROOT, 'dist', 'cli', `${program}.cjs`)]
  return runningProgram(program)
}

export interface KvdOptions {
  readonly directory: string
  readonly port: number
  readonly form: ProgramForm
  /** Further arguments of `kvd serve`. */
  readonly args?: readonly string[]
}

export class KvdProcess {
  readonly url: string
  readonly #child: ChildProcessByStdio<null, null, Readable>
  readonly #spawnedMs = performance.now()
  readonly #exited: Promise<string>
  #output = ''
  #ending = false
  #ended: string | undefined

  constructor({ directory, port, form, args = [] }: KvdOptions) {
    this.url = `kv://${HOST}:${port}`
    const place = ['--dir', directory, '--host', HOST, '--port', String(port)]
    const program = programArguments('kvd', form)
    this.#child = spawn(process.execPath, [...program, 'serve', ...place, ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child.stderr.on('data', chunk => {
      this.#output = `${this.#output}${chunk}`.slice(-OUTPUT_KEPT)
    })
    this.#exited = new Promise(resolve => {
      this.#child.once('close', (code, signal) => {
        this.#ended = signal ?? `code ${code}`
        resolve(this.#ended)
      })
      this.#child.once('error', error => resolve(String(error)))
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Throws, with what it said, when it ended although nobody asked it to. */
  checkAlive(): void {
    if (this.#ended === undefined || this.#ending) return
    throw new Error(`kvd ended by itself with ${this.#ended}: ${this.#output}`)
  }

  /** Resolves, at the first answer to a request, with the milliseconds since it was started. */
  async answered(): Promise<number> {
    for (;;) {
      this.checkAlive()
      const client = await this.#tryConnect()
      if (client !== undefined) {
        try {
          await client.get(PROBE_KEY)
          return performance.now() - this.#spawnedMs
        } catch (error) {
          if (!(error instanceof KvError)) throw error
        } finally {
          await client.close()
        }
      }
      if (performance.now() - this.#spawnedMs > ANSWER_MS_MAX) {
        throw new Error(`kvd did not answer within ${ANSWER_MS_MAX} ms: ${this.#output}`)
      }
      await delay(systemClock(), POLL_MS)
    }
  }

  async #tryConnect(): Promise<Client | undefined> {
    try {
      const options = { connectTimeoutMs: ATTEMPT_MS_MAX, timeoutMs: ATTEMPT_MS_MAX }
      return await connect(this.url, options)
    } catch (error) {
      if (error instanceof KvError) return undefined
      throw error
    }
  }

  /** kill -9. Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.checkAlive()
    this.#ending = true
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  /** SIGTERM. Throws unless it ends in order. */
  async stop(): Promise<void> {
    this.checkAlive()
    this.#ending = true
    this.#child.kill('SIGTERM')
    const ended = await this.#exited
    if (ended !== 'code 0') throw new Error(`kvd stopped with ${ended}: ${this.#output}`)
  }

  /** For the end of a test that failed: whatever it does, it is over. */
  async discard(): Promise<void> {
    if (this.#ended === undefined) await this.kill()
  }
}

/** The most memory that a living process has had, in MiB; undefined where nobody tells. */
export function peakMemoryMib(pid: number): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const match = /^VmHWM:\s+(\d+) kB/m.exec(status)
    return match === null ? undefined : Number(match[1]) / 1024
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return undefined
  }
}

/** Bytes of the files in the directory whose names end in `ending`. */
export function fileBytes(directory: string, ending: string): number {
  let sum = 0
  for (const name of readdirSync(directory)) {
    if (!name.endsWith(ending)) continue
    try {
      sum += statSync(join(directory, name)).size
    } catch (error) {
      // A running store removes files at any time.
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
  }
  return sum
}

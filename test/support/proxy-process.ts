/** A real `kvd proxy` in a process of its own, to be killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { delay, systemClock } from '../../src/clock.ts'
import { KvError } from '../../src/errors.ts'
import { connect } from '../../src/net/index.ts'
import type { ProcessCpu } from './chaos/process-cpu.ts'
import { programArguments } from './kvd-process.ts'

const OUTPUT_KEPT = 4000
const POLL_MS = 50
const START_MS_MAX = 30_000

export class ProxyProcess {
  readonly address: string
  readonly #child: ChildProcess
  readonly #gone: Promise<void>
  #output = ''

  constructor(port: number, nodes: readonly string[]) {
    this.address = `127.0.0.1:${port}`
    const program = programArguments('kvd', 'dist')
    const args = ['proxy', '--nodes', nodes.join(','), '--port', String(port), '--json-logs']
    const env = { ...process.env, DURAMEN_STOP_WITH_PARENT: '1' }
    const stdio = ['ignore', 'ignore', 'pipe'] as const
    this.#child = spawn(process.execPath, [...program, ...args], { stdio: [...stdio], env })
    this.#gone = new Promise(resolve => this.#child.once('close', () => resolve()))
    this.#child.stderr?.on('data', chunk => {
      this.#output = `${this.#output}${chunk}`.slice(-OUTPUT_KEPT)
    })
  }

  /** Resolves once it answers. */
  async answered(): Promise<void> {
    const clock = systemClock()
    const endMs = clock.monotonicMs() + START_MS_MAX
    for (;;) {
      try {
        const client = await connect(`kv://${this.address}`, { connectTimeoutMs: 1000 })
        await client.close()
        return
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        if (clock.monotonicMs() > endMs || this.#child.exitCode !== null) {
          throw new Error(`the proxy does not serve: ${this.#output}`, { cause: error })
        }
      }
      await delay(clock, POLL_MS)
    }
  }

  /** Adds what it has used of the processors to what others have. */
  countTo(cpu: ProcessCpu): void {
    cpu.look(this.#child)
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#gone
  }
}

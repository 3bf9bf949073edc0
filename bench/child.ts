/**
 * A process of its own for whatever is measured, so that products neither share a heap, a garbage
 * collector and a compiler's profile, nor count each other's memory. The parent calls, the child
 * answers, one call at a time.
 *
 *   call   := { command, argument }
 *   answer := { result } | { error }
 */
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { PROGRAMS } from './built.ts'

interface Call {
  readonly command: string
  readonly argument: unknown
}
interface Answer {
  readonly result?: unknown
  readonly error?: string
}

export class Child {
  readonly #process: ChildProcess
  readonly #exited: Promise<string>

  /** Starts one of the compiled benchmark programs. */
  constructor(program: string, args: readonly string[] = []) {
    this.#process = fork(join(PROGRAMS, `${program}.js`), [...args], {
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#exited = new Promise(resolve => {
      this.#process.once('exit', (code, signal) => resolve(signal ?? `code ${code}`))
    })
  }

  /** Rejects when the child fails or ends before it answers. */
  call<Result>(command: string, argument: unknown = undefined): Promise<Result> {
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error(`the child ended during ${command}`))
      this.#process.once('exit', gone)
      this.#process.once('message', (answer: Answer) => {
        this.#process.off('exit', gone)
        if (answer.error !== undefined) reject(new Error(answer.error))
        else resolve(answer.result as Result)
      })
      this.#process.send({ command, argument } satisfies Call)
    })
  }

  /** Ends it as a crash would, or waits for the end that it is about to cause itself. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#exited
  }

  async end(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect()
    await this.#exited
  }
}

/** Serves the parent's calls until it disconnects. */
export function serveParent(
  commands: Readonly<Record<string, (argument: never) => Promise<unknown>>>,
): void {
  process.on('message', (call: Call) => {
    const command = commands[call.command]
    const done =
      command === undefined
        ? Promise.reject(new Error(`unknown command ${call.command}`))
        : command(call.argument as never)
    done.then(
      result => process.send?.({ result } satisfies Answer),
      (error: unknown) => {
        const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
        process.send?.({ error: text } satisfies Answer)
      },
    )
  })
  // Workers or handles that a product leaves open must not keep the process.
  process.on('disconnect', () => process.exit(0))
}

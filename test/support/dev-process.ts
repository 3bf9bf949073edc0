/** `kvd dev` as a process of its own, on a real directory and real ports. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { askDev, type DevRequest } from '../../src/cli/dev-control.ts'
import { decodeRun, runningPath } from '../../src/cli/dev-layout.ts'
import { nodeCliFiles } from '../../src/cli/node-cli-files.ts'
import { isAlive } from '../../src/cli/node-process.ts'
import { delay, systemClock } from '../../src/clock.ts'
import { programArguments } from './kvd-process.ts'

const clock = systemClock()
const files = nodeCliFiles()

export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(clock, 50)
}

export class DevProcess {
  readonly child: ChildProcess
  readonly exited: Promise<string>
  readonly #directory: string
  #text = ''
  #isOver = false

  constructor(directory: string, args: readonly string[]) {
    this.#directory = directory
    const options = ['--dir', directory, ...args, '--memory-budget', '16MiB']
    const program = programArguments('kvd', 'sources')
    const stdio = ['ignore', 'ignore', 'pipe'] as const
    this.child = spawn(process.execPath, [...program, 'dev', ...options], { stdio: [...stdio] })
    this.child.stderr!.on('data', chunk => {
      this.#text += String(chunk)
    })
    this.exited = new Promise(resolve => {
      this.child.once('close', (code, signal) => {
        this.#isOver = true
        resolve(signal ?? `code ${code}`)
      })
    })
  }

  /** Resolves once it has told what to type next. */
  static async serving(directory: string, args: readonly string[]): Promise<DevProcess> {
    const dev = new DevProcess(directory, args)
    await until(() => {
      assert.equal(dev.#isOver, false, dev.#text)
      return /In another terminal/.test(dev.#text)
    })
    return dev
  }

  /** What it has said. */
  get text(): string {
    return this.#text
  }

  ask(request: DevRequest) {
    return askDev(this.#directory, request, { files, clock, isAlive, id: `t${process.pid}` })
  }

  async url(): Promise<string> {
    return decodeRun(await files.readText(runningPath(this.#directory)))!.url
  }
}

/** DevIo without processes: nodes that say and do what the test wants. */
import type { DevIo, DevProcess } from '../../src/cli/dev-io.ts'
import { MemoryCliFiles } from './memory-cli-files.ts'

export class FakeDevNode implements DevProcess {
  readonly args: readonly string[]
  readonly pid: number
  readonly signals: string[] = []
  /** How it ends when it is told to; undefined: it does not. */
  obeys = true
  isGone = false
  #line: (line: string) => void = () => undefined
  #exit: (how: string) => void = () => undefined

  constructor(args: readonly string[], pid: number) {
    this.args = args
    this.pid = pid
  }

  /** The number in the name of its directory. */
  get number(): number {
    return Number(/node-(\d)/.exec(this.args.join(' '))?.[1])
  }

  kill(signal: string): boolean {
    if (this.isGone || signal === 'SIGNONSENSE') return false
    this.signals.push(signal)
    if (signal === 'SIGKILL') this.exit('SIGKILL')
    if (signal === 'SIGTERM' && this.obeys) this.exit('code 0')
    return true
  }

  onLine(listener: (line: string) => void): void {
    this.#line = listener
  }

  onExit(listener: (how: string) => void): void {
    this.#exit = listener
  }

  say(line: string): void {
    this.#line(line)
  }

  log(message: string, fields: object = {}): void {
    const time = '2026-01-01T00:00:00.000Z'
    this.say(JSON.stringify({ time, level: 'info', message, ...fields }))
  }

  serve(): void {
    this.log('serving', { address: 'x' })
  }

  exit(how: string): void {
    this.isGone = true
    queueMicrotask(() => this.#exit(how))
  }
}

export class FakeDevIo implements DevIo {
  readonly pid = 1
  readonly files: MemoryCliFiles
  readonly spawned: FakeDevNode[] = []
  readonly usedPorts = new Set<number>()
  /** Processes that there are, itself included. */
  readonly alive = new Set([1])

  constructor(files = new MemoryCliFiles()) {
    this.files = files
  }

  /** Those that run, the newest of each number. */
  get running(): readonly FakeDevNode[] {
    return this.spawned.filter(node => !node.isGone)
  }

  spawnNode(args: readonly string[]): FakeDevNode {
    const node = new FakeDevNode(args, 100 + this.spawned.length)
    this.spawned.push(node)
    // As a node does when it opens its directory.
    const directory = args[args.indexOf('--dir') + 1]
    this.files.files.set(`${directory}/LOCK`, Buffer.alloc(0))
    return node
  }

  isPortFree(port: number): Promise<boolean> {
    return Promise.resolve(!this.usedPorts.has(port))
  }

  isAlive(pid: number): boolean {
    return this.alive.has(pid)
  }

  createSecret(): string {
    return '5e'.repeat(32)
  }
}

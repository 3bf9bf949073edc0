/**
 * A server under measurement: a process of its own on a free port, with a directory of its own,
 * ended by its process id.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { builtPath, PROGRAMS } from '../built.ts'
import type { DriverName } from '../load/driver.ts'

export const HOST = '127.0.0.1'
const START_MS_MAX = 30_000
const STOP_MS_MAX = 15_000
const POLL_MS = 50
const OUTPUT_KEPT = 2000
const SETTLE_MS_MAX = 60_000
const SETTLE_POLL_MS = 500
/** Of a processor: what an idle server's timers may take. */
const IDLE_SHARE = 0.04
/** Of /proc/<pid>/stat, counted from the field behind the name. */
const USER_TICKS_FIELD = 11
const SYSTEM_TICKS_FIELD = 12
const TICK_MS = 10

export interface ServerPlan {
  readonly name: string
  /** What speaks with it; 'http': bench/http. */
  readonly driver: DriverName | 'http'
  /** One line for the reader of the table. */
  readonly settings: string
  readonly command: string
  readonly args: (port: number, directory: string) => readonly string[]
}

export class ServerProcess {
  readonly plan: ServerPlan
  readonly port: number
  readonly #process: ChildProcess
  readonly #exited: Promise<unknown>
  #output = ''

  private constructor(plan: ServerPlan, port: number, directory: string) {
    this.plan = plan
    this.port = port
    this.#process = spawn(plan.command, [...plan.args(port, directory)], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#exited = new Promise(resolve => {
      this.#process.once('exit', resolve)
      this.#process.once('error', error => {
        this.#output += String(error)
        resolve(error)
      })
    })
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.on('data', chunk => {
        this.#output = `${this.#output}${chunk}`.slice(-OUTPUT_KEPT)
      })
    }
  }

  /** Resolves once the server accepts connections. */
  static async start(plan: ServerPlan, parent: string): Promise<ServerProcess> {
    const directory = join(parent, plan.name)
    mkdirSync(directory, { recursive: true })
    const server = new ServerProcess(plan, await freePort(), directory)
    for (let waitedMs = 0; waitedMs < START_MS_MAX; waitedMs += POLL_MS) {
      if (await accepts(server.port)) return server
      if (server.#process.exitCode !== null || server.#process.pid === undefined) break
      await sleep(POLL_MS)
    }
    await server.stop()
    throw new Error(`${plan.name} did not start: ${server.#output}`)
  }

  /** Processor time it has used so far; undefined where the system does not tell. */
  cpuMs(): number | undefined {
    const path = `/proc/${this.#process.pid}/stat`
    if (!existsSync(path)) return undefined
    // Fields are counted behind the name, which is in parentheses and may hold anything.
    const fields = readFileSync(path, 'latin1').split(') ').at(-1)?.split(' ') ?? []
    return (Number(fields[USER_TICKS_FIELD]) + Number(fields[SYSTEM_TICKS_FIELD])) * TICK_MS
  }

  /** Waits until what it does in the background, such as compaction, is done. */
  async settle(): Promise<void> {
    for (let waitedMs = 0; waitedMs < SETTLE_MS_MAX; waitedMs += SETTLE_POLL_MS) {
      const beforeMs = this.cpuMs()
      await sleep(SETTLE_POLL_MS)
      const usedMs = (this.cpuMs() ?? 0) - (beforeMs ?? 0)
      if (usedMs <= IDLE_SHARE * SETTLE_POLL_MS) return
    }
  }

  /** Asks it to end, and ends it when it does not. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_MS_MAX)
    await this.#exited
    clearTimeout(timer)
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host: HOST, port })
    const finish = (answer: boolean) => () => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', finish(true))
    socket.once('error', finish(false))
  })
}

/** A port that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, HOST, () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}

/** Redis with the durability of Duramen's default; undefined when it is not on this machine. */
export function redisPlan(): ServerPlan | undefined {
  const found = spawnSync('redis-server', ['--version'], { encoding: 'utf8' })
  if (found.status !== 0) return undefined
  const version = /v=(\S+)/.exec(found.stdout)?.[1] ?? 'of unknown version'
  const settings = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '']
  const quiet = ['--auto-aof-rewrite-percentage', '0', '--loglevel', 'warning']
  return {
    name: 'redis',
    driver: 'resp',
    settings: `${version}, appendonly yes, appendfsync always, no snapshots, no rewrites`,
    command: 'redis-server',
    args: (port, directory) => [
      ...['--port', String(port), '--bind', HOST, '--dir', directory],
      ...settings,
      ...quiet,
    ],
  }
}

/** One kvd with its defaults; undefined while it is not built. */
export function duramenPlan(): ServerPlan | undefined {
  const program = builtPath('cli', 'kvd.cjs')
  if (!existsSync(program)) return undefined
  return {
    name: 'duramen',
    driver: 'duramen',
    settings: "kvd serve with its defaults: durability 'sync'",
    command: process.execPath,
    args: (port, directory) => [
      program,
      'serve',
      ...['--host', HOST, '--port', String(port), '--dir', join(directory, 'data')],
    ],
  }
}

/** Returns every byte it gets: what a node:net server can do at most. */
export function echoPlan(): ServerPlan {
  return {
    name: 'echo',
    driver: 'echo',
    settings: 'a node:net server that returns every byte, sent the same frames',
    command: process.execPath,
    args: port => [join(PROGRAMS, 'server', 'echo-server.js'), HOST, String(port)],
  }
}

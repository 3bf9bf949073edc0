/**
 * `kvd dev`: a real cluster on this machine, a process a node, for trying out what happens when
 * nodes die. It looks after the processes, shows what they say, and does what `kvcli dev` asks for.
 *
 *   starting --all serve--> running --signal--> stopping --all gone--> exit 0
 *       a node that cannot start: exit 1          second signal: kill -9, exit 1
 */
import type { Clock } from '../clock.ts'
import { InvalidArgumentError } from '../errors.ts'
import { DEFAULT_PORT } from '../net/index.ts'
import type { ClientCommand } from './client-command.ts'
import type { DaemonIo } from './daemon-io.ts'
import { type DevAnswer, DevControl, type DevRequest } from './dev-control.ts'
import type { DevIo } from './dev-io.ts'
import {
  chooseLayout,
  DEV_DIRECTORY,
  DEV_NODES_DEFAULT,
  DEV_NODES_MAX,
  type DevLayout,
  type DevNode,
  decodeLayout,
  decodeRun,
  devUrl,
  encodeLayout,
  isNodeDirectory,
  layoutPath,
  nodeDirectory,
  peerAddress,
  runningPath,
  secretPath,
} from './dev-layout.ts'
import { DevNodeRunner, isPause } from './dev-node.ts'
import { ExitCode } from './exit-code.ts'
import { stopsWithParent, watchParent } from './parent-watch.ts'
import { shortenIds } from './short-ids.ts'
import { colourWanted, createStyle, type Style } from './style.ts'
import { UsageError } from './usage-error.ts'

const LOOK_INTERVAL_MS = 200
const HTTP_PORT_FIRST = 7780
const HTTP_TRIES = 5
/** What was asked for should have happened by then; whoever asked waits a little longer. */
const ANSWER_WAIT_MS = 3000
/** npm passes on the Ctrl-C that the terminal sent to us as well: that is one, not two. */
const REPEATED_SIGNAL_MS = 500
/** Of a node's id, as `kvcli cluster status` shows it. */
const ID_DIGITS = 8

/** Characters of a command that leave room for what it does. */
const STEP_WIDTH_MAX = 44

export interface DevOptions {
  /** Absolute. */
  readonly directory: string
  /** Undefined: as the directory has it, three in a new one. */
  readonly nodes: number | undefined
  /** The first port for clients to look for free ones from; only where the directory is new. */
  readonly port: number | undefined
  /** Where node 1 listens for Redis clients, each further one a port above. Absent: nowhere. */
  readonly respPort?: number
  /** The same for HTTP. Absent: where there are free ones, for the dashboard. */
  readonly httpPort?: number | 'none'
  /** What the nodes ask of clients. */
  readonly client: ClientCommand
  /** For `kvd serve` of each node. */
  readonly nodeArguments: readonly string[]
}

/** Resolves once all nodes serve, or the process was told to exit. Rejects with KvErrors. */
export async function runDev(options: DevOptions, io: DaemonIo, dev: DevIo): Promise<void> {
  const layout = await prepare(options, dev, text => io.stderr.write(`kvd: ${text}\n`))
  const { httpPort = await freeHttpPort(options, layout, dev) } = options
  const cluster = new DevCluster({ ...options, httpPort }, layout, io, dev)
  io.onStopSignal(signal => cluster.signal(signal))
  if (stopsWithParent(io.env)) {
    const gone = (): void => cluster.signal('the process that started this one is gone')
    watchParent(io.clock, io.parentId, gone)
  }
  await cluster.start()
}

/** For as many nodes, from there on; nobody's cluster fails to start because these are taken. */
async function freeHttpPort(
  { respPort = 0 }: DevOptions,
  { nodes }: DevLayout,
  dev: DevIo,
): Promise<number | 'none'> {
  const taken = new Set(nodes.flatMap(({ port, peerPort }, at) => [port, peerPort, respPort + at]))
  for (let tries = 0; tries < HTTP_TRIES; tries++) {
    const first = HTTP_PORT_FIRST + tries * DEV_NODES_MAX
    const ports = nodes.map((_, at) => first + at)
    if (ports.some(port => taken.has(port))) continue
    const isFree = await Promise.all(ports.map(port => dev.isPortFree(port)))
    if (isFree.every(Boolean)) return first
  }
  return 'none'
}

/** Makes the files of a new cluster, or reads those that are there, and checks what can be. */
async function prepare(
  { directory, nodes, port }: DevOptions,
  dev: DevIo,
  say: (text: string) => void,
): Promise<DevLayout> {
  const { files } = dev
  const run = decodeRun(await files.readText(runningPath(directory)))
  if (run !== undefined && run.pid !== dev.pid && dev.isAlive(run.pid)) {
    throw new UsageError(`process ${run.pid} runs the cluster of ${directory} already: ${run.url}`)
  }
  const path = layoutPath(directory)
  const text = await files.readText(path)
  if (text === undefined) {
    const isFree = (candidate: number): Promise<boolean> => dev.isPortFree(candidate)
    const layout = await chooseLayout(nodes ?? DEV_NODES_DEFAULT, port ?? DEFAULT_PORT, isFree)
    await files.writeText(secretPath(directory), `${dev.createSecret()}\n`)
    await files.writeText(path, encodeLayout(layout))
    return layout
  }
  const layout = decodeLayout(text, path)
  if (nodes !== undefined && nodes !== layout.nodes.length) {
    throw new UsageError(
      `${directory} has a cluster of ${layout.nodes.length}; for one of ${nodes} use another --dir`,
    )
  }
  const first = layout.nodes[0]!.port
  if (port !== undefined && port !== first) {
    say(
      `--port ${port} is for a new --dir; the nodes of ${directory} keep theirs, from ${first} on`,
    )
  }
  for (const node of layout.nodes) {
    for (const wanted of [node.port, node.peerPort]) {
      if (await dev.isPortFree(wanted)) continue
      throw new InvalidArgumentError(
        `port ${wanted} of node ${node.number} is in use: stop what listens there, or use ` +
          'another --dir, which gets ports that are free',
      )
    }
  }
  return layout
}

class DevCluster {
  readonly #options: DevOptions
  readonly #layout: DevLayout
  readonly #io: DaemonIo
  readonly #dev: DevIo
  readonly #style: Style
  readonly #control: DevControl
  readonly #runners: readonly DevNodeRunner[]
  /** Undefined until a signal asked for it. */
  #stoppingSinceMs: number | undefined
  #exitCode: ExitCode = ExitCode.ok
  /** True until the nodes of a new directory are one cluster. */
  #isNew = false
  /** True once all nodes have served. */
  #hasServed = false
  #waiting: (() => void)[] = []

  constructor(options: DevOptions, layout: DevLayout, io: DaemonIo, dev: DevIo) {
    this.#options = options
    this.#layout = layout
    this.#io = io
    this.#dev = dev
    this.#style = createStyle(colourWanted(io.stderr.isTTY, io.env))
    this.#control = new DevControl(options.directory, dev.files)
    this.#runners = layout.nodes.map(node => new DevNodeRunner(node, dev, this.#style, this))
  }

  get #clock(): Clock {
    return this.#io.clock
  }

  async start(): Promise<void> {
    const { directory } = this.#options
    const { files, pid } = this.#dev
    await this.#control.clear()
    const url = devUrl(this.#layout, this.#options.client.isSecure ? 'kvs://' : 'kv://')
    await files.writeText(runningPath(directory), `${JSON.stringify({ pid, url })}\n`)
    const names = await files.list(directory)
    // A node whose directory was lost alone must not begin a second cluster.
    this.#isNew = !names.some(isNodeDirectory)
    const [first, ...others] = this.#runners
    this.#startNode(first!)
    // The first one makes the cluster that the others join.
    if (this.#isNew) await this.#until(() => first!.state !== 'starting')
    for (const other of others) if (this.#isGoingOn) this.#startNode(other)
    await this.#until(() => this.#runners.every(({ state }) => state !== 'starting'))
    if (!this.#isGoingOn) return
    this.#hasServed = true
    this.#isNew = false
    this.#io.stderr.write(this.#banner())
    this.#lookLater()
  }

  get #isGoingOn(): boolean {
    return this.#stoppingSinceMs === undefined
  }

  #startNode(runner: DevNodeRunner): void {
    runner.start([...this.#argumentsOf(runner.node), ...this.#options.nodeArguments])
  }

  /** In a new cluster all join the first node, which joins nobody; later each may ask any. */
  #argumentsOf(node: DevNode): readonly string[] {
    const { directory, respPort, httpPort } = this.#options
    const { nodes } = this.#layout
    const known = this.#isNew ? nodes.slice(0, 1) : nodes
    const others = known.filter(other => other !== node).map(peerAddress)
    return [
      'serve',
      ...['--dir', nodeDirectory(directory, node)],
      ...['--port', String(node.port), '--peer-port', String(node.peerPort)],
      ...['--cluster-secret-file', secretPath(directory)],
      ...(respPort === undefined ? [] : ['--resp-port', String(respPort + node.number - 1)]),
      ...(typeof httpPort !== 'number' ? [] : ['--http-port', String(httpPort + node.number - 1)]),
      ...(others.length > 0 ? ['--join', others.join(',')] : this.#isNew ? ['--init'] : []),
      '--json-logs',
    ]
  }

  /** DevNodeOwner. */
  get isForming(): boolean {
    return !this.#hasServed
  }

  /** DevNodeOwner. */
  print(line: string): void {
    const nameOf = (id: string): string => {
      const known = this.#runners.find(({ nodeId }) => nodeId === id)
      const short = id.slice(0, ID_DIGITS)
      return known === undefined ? short : `${short} (node ${known.node.number})`
    }
    this.#io.stderr.write(`${shortenIds(line, nameOf)}\n`)
  }

  /** DevNodeOwner. */
  changed(runner: DevNodeRunner): void {
    const { node, state, ended } = runner
    if (state === 'crashed') {
      const { bad, key } = this.#style
      this.print(`${bad(`node ${node.number} has crashed`)} (${ended}); to start it again:`)
      this.print(`  ${key(`npx kvcli dev start ${node.number}`)}`)
      // Whoever sees a cluster come up with a node missing wants to know why, not to go on.
      if (!this.#hasServed && this.#isGoingOn) this.#stop(ExitCode.failed)
    } else if (state === 'stopped' && this.#isGoingOn && ended !== undefined) {
      this.print(`node ${node.number} was stopped (${ended})`)
    }
    for (const look of [...this.#waiting]) look()
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise(resolve => {
      const look = (): void => {
        if (!condition()) return
        this.#waiting = this.#waiting.filter(other => other !== look)
        resolve()
      }
      this.#waiting.push(look)
      look()
    })
  }

  #lookLater(): void {
    this.#clock.setTimer(LOOK_INTERVAL_MS, () => void this.#look())
  }

  async #look(): Promise<void> {
    if (!this.#isGoingOn) return
    try {
      await this.#control.look(request => this.#answer(request))
    } catch (error) {
      this.print(`cannot take what kvcli asks for: ${String(error)}`)
    }
    this.#lookLater()
  }

  async #answer(request: DevRequest): Promise<DevAnswer> {
    const nodes = (): DevAnswer => ({ ok: true, nodes: this.#runners.map(each => each.status()) })
    if (request.command === 'status') return nodes()
    const runner = this.#runners.find(({ node }) => node.number === request.node)
    if (runner === undefined) return refused(`there are nodes 1 to ${this.#runners.length}`)
    const { number } = runner.node
    if (request.command === 'start') {
      if (runner.isAlive) return refused(`node ${number} runs already`)
      this.#startNode(runner)
      await this.#untilLate(() => runner.state !== 'starting')
      return nodes()
    }
    if (!runner.isAlive) return refused(`node ${number} does not run`)
    const { signal = 'SIGKILL' } = request
    if (!runner.kill(signal)) return refused(`${signal} cannot be sent`)
    this.print(`kvcli: ${signal} to node ${number}`)
    if (!isPause(signal)) await this.#untilLate(() => !runner.isAlive)
    return nodes()
  }

  /** Waits for the condition, but not for longer than somebody waits for an answer. */
  #untilLate(condition: () => boolean): Promise<void> {
    let isLate = false
    const cancel = this.#clock.setTimer(ANSWER_WAIT_MS, () => {
      isLate = true
      for (const look of [...this.#waiting]) look()
    })
    return this.#until(() => isLate || condition()).finally(cancel)
  }

  /** The process was asked to stop. */
  signal(name: string): void {
    if (this.#stoppingSinceMs === undefined) {
      this.print(`${name}: stopping the nodes; once more kills them`)
      this.#stop(ExitCode.ok)
      return
    }
    if (this.#clock.monotonicMs() - this.#stoppingSinceMs < REPEATED_SIGNAL_MS) return
    this.#exitCode = ExitCode.failed
    for (const runner of this.#runners) runner.kill('SIGKILL')
  }

  #stop(exitCode: ExitCode): void {
    this.#stoppingSinceMs = this.#clock.monotonicMs()
    this.#exitCode = exitCode
    for (const runner of this.#runners) {
      runner.kill('SIGTERM')
      // One that was paused would hear of it only when it goes on.
      runner.kill('SIGCONT')
    }
    void this.#untilGone()
  }

  async #untilGone(): Promise<void> {
    await this.#until(() => this.#runners.every(({ isAlive }) => !isAlive))
    try {
      await this.#dev.files.remove(runningPath(this.#options.directory))
    } catch (error) {
      this.print(String(error))
    }
    if (this.#exitCode === ExitCode.ok) this.print('stopped; the data stays')
    this.#io.exit(this.#exitCode)
  }

  #banner(): string {
    const { bold, key } = this.#style
    const { directory, httpPort } = this.#options
    const addresses = this.#layout.nodes.map(({ port }) => `127.0.0.1:${port}`)
    const place = directory === this.#io.absolutePath(DEV_DIRECTORY) ? '' : ` --dir ${directory}`
    const { variables, urlStart, namesUser, isSecure } = this.#options.client
    const isFound = place === '' && !namesUser
    const url = isFound ? '' : ` --url ${devUrl(this.#layout, urlStart)}`
    const client = [...variables, `npx kvcli${url}`].join(' ')
    const lines = [
      '',
      `  ${bold(`kvd dev ${this.#io.packageVersion}`)}  a cluster of ${addresses.length}`,
      `  listening   ${key(addresses.join(', '))}`,
      ...(typeof httpPort === 'number'
        ? [`  dashboard   ${key(`${isSecure ? 'https' : 'http'}://127.0.0.1:${httpPort}/`)}`]
        : []),
      `  data        ${key(directory)}`,
      '',
      '  In another terminal:',
      ...stepLines(
        [
          [`${client} put demo:greeting "hello, heartwood"`, ''],
          [`npx kvcli dev kill 2${place}`, 'a node dies, as by kill -9'],
          [`${client} get demo:greeting`, ''],
          [`npx kvcli dev start 2${place}`, 'and comes back'],
          [`${client} cluster status --wait`, 'until it is GREEN'],
        ],
        this.#style,
      ),
      '',
      '  Ctrl-C stops the nodes; their data stays.',
      '',
    ]
    return `${lines.join('\n')}\n`
  }
}

/** Commands and what they do: in columns, or one below the other where lines would be long. */
function stepLines(steps: readonly (readonly [string, string])[], { key, dim }: Style): string[] {
  const width = Math.max(...steps.map(([line, says]) => (says === '' ? 0 : line.length)))
  return steps.flatMap(([line, says]) => {
    if (says === '') return [`    ${key(line)}`]
    if (width > STEP_WIDTH_MAX) return [`    ${dim(`# ${says}`)}`, `    ${key(line)}`]
    return [`    ${key(line)}${' '.repeat(width - line.length)}  ${says}`]
  })
}

function refused(message: string): DevAnswer {
  return { ok: false, message }
}

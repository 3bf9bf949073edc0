/**
 * watch: the changes of keys with a prefix, as they happen, from all nodes of a cluster. What is
 * promised, and what not, is in COMMANDS.md.
 */
import { KvError } from '../errors.ts'
import { pause } from './abortable.ts'
import { type Command, type CommandContext, callOptions } from './command.ts'
import { decodeArgument, jsonField, showToken } from './data-encoding.ts'
import { ExitCode } from './exit-code.ts'
import { countOption, flagOption } from './option-values.ts'
import { RefusedError } from './refused-error.ts'
import { formatBytes } from './render.ts'
import { shortIds } from './short-ids.ts'
import { versionTimeMs, WatchMerge } from './watch-merge.ts'
import { type NodeChange, type NodeState, WatchedNode } from './watched-node.ts'

/** Nodes that have come or gone are looked for so often. */
const MEMBERS_MS = 5000
/**
 * A write may be acknowledged this long after it got its version. What is older than that when the
 * watch begins was there before: a node that joins or is repaired is sent it only now.
 */
const LATE_MS = 10_000

export const watchCommand: Command = {
  name: 'watch',
  summary: 'show changes of keys as they happen',
  details:
    'Every put and delete of keys with the prefix, or of all keys, once it is durable on a node. ' +
    'Each write is shown once, and none behind a later one of its key; of two that follow each ' +
    'other closely the first may be left out. A node that is away is gone on with where it was ' +
    'left, and said to have a gap if its log is not kept that long (a minute). A key that ' +
    'expires is no change. Ctrl-C ends it.',
  args: [
    { name: 'prefix', description: 'what keys begin with', required: false, completes: 'keys' },
  ],
  options: [
    { flags: '-k, --keys-only', description: 'leave the values out' },
    { flags: '-n, --count <count>', description: 'end after so many changes' },
  ],
  examples: [
    { line: 'kvcli watch user:', says: 'what happens to users?' },
    { line: 'kvcli watch --json', says: 'everything, a line of JSON each' },
    { line: 'kvcli watch lock: -n 1', says: 'wait for a change' },
  ],
  run: runWatch,
}

async function runWatch(context: CommandContext): Promise<ExitCode> {
  const { args, encoding, options, output } = context
  const prefix = decodeArgument(args[0] ?? '', encoding, 'prefix')
  const countMax = countOption(options, 'count', { min: 1, max: 1_000_000_000 })
  const run = new WatchRun(context, prefix, countMax ?? Number.POSITIVE_INFINITY)
  await run.untilOver()
  if (!context.signal.aborted || output.json || run.count > 0) return ExitCode.ok
  return ExitCode.interrupted
}

/** A member of the cluster, as far as a watch is concerned. */
interface Member {
  readonly node: string
  readonly address: string
}

class WatchRun {
  count = 0
  readonly #context: CommandContext
  readonly #prefix: Uint8Array
  readonly #countMax: number
  readonly #merge: WatchMerge
  readonly #nodes = new Map<string, { readonly node: WatchedNode; readonly work: Promise<void> }>()
  /** Ends with the command, and when enough was shown. */
  readonly #over = new AbortController()
  #nameOf: (node: string) => string = node => node
  #failure: unknown
  /** What is written is written one after the other, no faster than it is read. */
  #writing: Promise<void> = Promise.resolve()

  constructor(context: CommandContext, prefix: Uint8Array, countMax: number) {
    this.#context = context
    this.#prefix = prefix
    this.#countMax = countMax
    this.#merge = new WatchMerge(context.session.io.clock.wallMs() - LATE_MS)
  }

  async untilOver(): Promise<void> {
    const { session, signal } = this.#context
    const stop = (): void => this.#over.abort()
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop)
    try {
      // A server that is not there, or that lets nobody watch, is told at once.
      this.#follow(await this.#members())
      while (!this.#over.signal.aborted) {
        await pause(session.io.clock, MEMBERS_MS, this.#over.signal)
        if (!this.#over.signal.aborted) this.#follow(await this.#membersIfThere())
      }
    } finally {
      stop()
      signal.removeEventListener('abort', stop)
      await Promise.all([...this.#nodes.values()].map(({ work }) => work))
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Of whom some may be down. */
  async #members(): Promise<readonly Member[]> {
    const { session, signal } = this.#context
    const client = await session.client(signal)
    const bytes = await client.ringMap(callOptions(this.#context))
    // Loaded when first needed: every other command starts sooner without the cluster.
    const { decodeRingMessage } = await import('../cluster/index.ts')
    const { members } = decodeRingMessage(bytes, session.url)
    if (members.every(({ clientAddress }) => clientAddress === '')) throw behindProxy(session.url)
    return members.map(({ nodeId, clientAddress }) => ({ node: nodeId, address: clientAddress }))
  }

  async #membersIfThere(): Promise<readonly Member[] | undefined> {
    try {
      return await this.#members()
    } catch (error) {
      if (error instanceof KvError) return undefined
      throw error
    }
  }

  #follow(members: readonly Member[] | undefined): void {
    if (members === undefined) return
    this.#nameOf = shortIds(members.map(({ node }) => node))
    for (const [id, { node }] of this.#nodes) {
      const isThere = members.some(member => member.node === id && member.address === node.address)
      if (isThere) continue
      node.stop()
      this.#nodes.delete(id)
    }
    for (const member of members) {
      if (!this.#nodes.has(member.node)) this.#add(member)
    }
  }

  #add({ node: id, address }: Member): void {
    const { session, timeoutMs } = this.#context
    const node = new WatchedNode({
      id,
      address,
      prefix: this.#prefix,
      clock: session.io.clock,
      signal: this.#over.signal,
      timeoutMs,
      connect: () => session.connectTo(address),
      changed: change => this.#write(() => this.#showChange(id, change)),
      became: state => this.#write(() => this.#showState(id, address, state)),
    })
    const work = node.follow().catch((error: unknown) => {
      this.#failure ??= error
      this.#over.abort()
    })
    this.#nodes.set(id, { node, work })
  }

  #write(show: () => Promise<void>): Promise<void> {
    const written = this.#writing.then(async () => {
      if (!this.#over.signal.aborted) await show()
    })
    this.#writing = written.catch(ignore)
    return written
  }

  async #showChange(node: string, change: NodeChange): Promise<void> {
    if (!this.#merge.isNews(change.key, change.version)) return
    const { output, encoding, options } = this.#context
    const key = Buffer.from(change.key, 'base64')
    const isKeyOnly = flagOption(options, 'keysOnly')
    const value = isKeyOnly || change.value === undefined ? undefined : decoded(change.value)
    const atMs = versionTimeMs(change.version)
    const { type, valueBytes, expiryMs } = change
    const shownValue = value === undefined ? {} : jsonField('value', value, encoding)
    const json = { type, ...jsonField('key', key, encoding), ...shownValue }
    await output.print(
      { ...json, valueBytes, expiryMs, atMs, version: change.version, node },
      () => {
        const { style } = output
        const time = style.dim(new Date(atMs).toISOString())
        const name = style.key(showToken(key, encoding))
        if (type === 'del') return `${time}  ${style.warn('del')}  ${name}`
        if (isKeyOnly) return `${time}  put  ${name}`
        const large = `(${formatBytes(valueBytes ?? 0)})`
        return `${time}  put  ${name}  ${value === undefined ? large : showToken(value, encoding)}`
      },
    )
    this.count++
    if (this.count >= this.#countMax) this.#over.abort()
  }

  /** Programs get it among the changes: they must know of a gap, too. */
  async #showState(node: string, address: string, state: NodeState): Promise<void> {
    const { output } = this.#context
    if (output.json) {
      await output.print({ type: 'node', node, address, ...state }, () => '')
      return
    }
    const text = `${this.#nameOf(node)} at ${address}: ${STATE_TEXTS[state.state]}`
    const why = state.why === undefined ? '' : ` (${state.why})`
    output.note(output.noteStyle.dim(`# ${text}${why}`))
  }
}

/** Its clients are to find no node beside it; nor would a node know its users. */
function behindProxy(url: string): RefusedError {
  return new RefusedError(
    `watch asks the nodes for changes, and ${url} is a proxy, which does not say where they are`,
    { advice: "give the address of a node, as one of the nodes' users: --url kv://node:7700" },
  )
}

const STATE_TEXTS: Readonly<Record<NodeState['state'], string>> = {
  watched: 'watched from now on',
  away: 'does not answer; the others are watched',
  back: 'is back, and goes on where it was left',
  gap: 'its log was not kept: it may have changes that nobody has seen; watched from now on',
}

function decoded(text: string): Uint8Array {
  return Buffer.from(text, 'base64')
}

function ignore(): void {}

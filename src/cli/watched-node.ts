/**
 * The changes of one node of a cluster: asks it again and again for what came behind the last page,
 * through restarts and lost connections, and says when that was not possible without a gap.
 *
 *   (begins) -> watched -> away -> back -> away ...
 *                  ^---- gap <----'
 */
import type { Clock } from '../clock.ts'
import { KvError } from '../errors.ts'
import { pause } from './abortable.ts'
import type { RemoteStore } from './remote-store.ts'
import { describeError } from './render.ts'

/** A call waits so long for changes: a node that has gone is noticed soon after. */
const WAIT_MS = 2000
const TIMEOUT_MS = 5000
/** Between two attempts at a node that does not answer. */
const RETRY_MS = 500

/** As the server's command `changes` tells it; base64. */
export interface NodeChange {
  readonly type: 'put' | 'del'
  readonly key: string
  readonly value?: string
  readonly valueBytes?: number
  readonly version: string
  readonly expiryMs?: number
}

export interface NodeState {
  readonly state: 'watched' | 'away' | 'back' | 'gap'
  readonly why?: string
}

export interface WatchedNodeOptions {
  readonly id: string
  readonly address: string
  readonly prefix: Uint8Array
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Of one call to the server, when the user said. */
  readonly timeoutMs: number | undefined
  /** A client of this node alone, which connects by itself, again and again. */
  readonly connect: () => Promise<RemoteStore>
  /** Both resolve when there is room for more. */
  readonly changed: (change: NodeChange) => Promise<void>
  readonly became: (state: NodeState) => Promise<void>
}

interface Page {
  readonly watch: string
  readonly after: number
  readonly changes: readonly NodeChange[]
}

/** Where a watch stands. */
type Place = Pick<Page, 'watch' | 'after'>

export class WatchedNode {
  readonly #options: WatchedNodeOptions
  readonly #stopped = new AbortController()
  #state: NodeState['state'] | undefined

  constructor(options: WatchedNodeOptions) {
    this.#options = options
  }

  get address(): string {
    return this.#options.address
  }

  /** The node is none of the cluster any more. */
  stop(): void {
    this.#stopped.abort()
  }

  /** Resolves once the signal fires, or it is stopped. Rejects where asking again cannot help. */
  async follow(): Promise<void> {
    const { connect, signal } = this.#options
    const over = AbortSignal.any([signal, this.#stopped.signal])
    const store = await connect()
    try {
      let place: Place | undefined
      while (!over.aborted) place = await this.#step(store, place, over)
    } finally {
      await store.close()
    }
  }

  async #step(
    store: RemoteStore,
    place: Place | undefined,
    over: AbortSignal,
  ): Promise<Place | undefined> {
    const { clock, changed, prefix, timeoutMs } = this.#options
    const command = {
      command: 'changes',
      prefix: Buffer.from(prefix).toString('base64'),
      waitMs: this.#state === 'watched' || this.#state === 'back' ? WAIT_MS : 0,
      ...place,
    }
    const call = { signal: over, timeoutMs: WAIT_MS + (timeoutMs ?? TIMEOUT_MS) }
    let page: Page
    try {
      page = (await store.admin(command, call)) as unknown as Page
    } catch (error) {
      if (over.aborted) return place
      if (!(error instanceof KvError)) throw error
      if (error.code === 'KV_CHANGES_GONE') {
        await this.#become('gap', error)
        return undefined
      }
      if (FINAL_CODES.has(error.code)) throw error
      await this.#become('away', error)
      await pause(clock, RETRY_MS, over)
      return place
    }
    if (this.#state === undefined || place === undefined) await this.#become('watched')
    else if (this.#state === 'away') await this.#become('back')
    for (const change of page.changes) await changed(change)
    return { watch: page.watch, after: page.after }
  }

  async #become(state: NodeState['state'], error?: KvError): Promise<void> {
    if (this.#state === state) return
    // What is said of a gap says already that it is watched from now on.
    const isSilent = state === 'watched' && this.#state === 'gap'
    this.#state = state
    if (isSilent) return
    const why = error === undefined ? {} : { why: describeError(error).message }
    await this.#options.became({ state, ...why })
  }
}

/** What is the same for the next attempt. */
const FINAL_CODES: ReadonlySet<string> = new Set([
  'KV_INVALID_ARGUMENT',
  'KV_PERMISSION',
  'KV_AUTHENTICATION',
])

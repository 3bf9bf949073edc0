/**
 * What lasts from one command to the next: the address, the client once a command needed it, and
 * how the program is being used. One-shot use is a session of one command.
 *
 * Invariants: at most one client is in use; it is closed before another address is used. A password
 * that came with an address goes to that address alone.
 */
import type { Consistency } from '../key-value-store.ts'
import { type ClientTls, DEFAULT_PORT, parseConnectionUrl, withoutPassword } from '../net/index.ts'
import { orAborted } from './abortable.ts'
import type { CliIo } from './cli-io.ts'
import { PASSWORD_FILE_VARIABLE, PASSWORD_VARIABLE } from './password.ts'
import type { Connect, RemoteStore } from './remote-store.ts'
import { UsageError } from './usage-error.ts'

/** `once`: arguments of the program. `pipe`: lines of stdin. `repl`: somebody is typing. */
export type SessionMode = 'once' | 'pipe' | 'repl'

/** The address when neither --url nor DURAMEN_URL gives one: where `kvd serve` listens. */
export const DEFAULT_URL = `kv://127.0.0.1:${DEFAULT_PORT}`

/**
 * `host:port` is enough: there is only one scheme. Throws when it is no address, and for a password
 * in what was typed.
 */
export function normalizeUrl(text: string): string {
  const { url, password } = splitUrl(text)
  if (password === undefined) return url
  throw new UsageError(
    'a password typed in can be read by other users, and stays in the history: put it into ' +
      `${PASSWORD_VARIABLE}, or into a file that ${PASSWORD_FILE_VARIABLE} names`,
  )
}

/** The address without the password, and the password. Throws when it is no address. */
export function splitUrl(text: string): { url: string; password: string | undefined } {
  const url = text.includes('://') ? text : `kv://${text}`
  const { password } = parseConnectionUrl(url).options
  return { url: withoutPassword(url), password }
}

export interface SessionOptions {
  readonly io: CliIo
  readonly connect: Connect
  readonly mode: SessionMode
  /** Without a password. */
  readonly url: string
  /** The nodes at `url` are those that `kvd dev` runs here. @defaultValue false */
  readonly isDev?: boolean
  /** That came with `url`. */
  readonly urlPassword?: string | undefined
  /** For each server that has no other. */
  readonly password?: string | undefined
  /** What servers of `url` are held against, if it is a kvs:// one. */
  readonly tls?: ClientTls | undefined
  /** The same for other servers; read when it is needed. @defaultValue what `tls` says */
  readonly otherTls?: () => Promise<ClientTls | undefined>
  /** Of calls to `url` that name none. */
  readonly consistency?: Consistency | undefined
  readonly timeoutMs: number | undefined
  /** The session's own record of commands; only the REPL has one. */
  readonly history?: () => readonly string[]
}

export class Session {
  readonly io: CliIo
  readonly mode: SessionMode
  readonly history: () => readonly string[]
  readonly #connect: Connect
  readonly #devUrl: string | undefined
  readonly #passwordFor: (url: string) => string | undefined
  readonly #tlsFor: (url: string) => Promise<ClientTls | undefined>
  readonly #consistencyFor: (url: string) => Consistency | undefined
  #url: string
  #timeoutMs: number | undefined
  #client: Promise<RemoteStore> | undefined
  /** Counts clients; what an earlier one still has to say is of no interest. */
  #turn = 0
  /** What #client resolved with. */
  #opened: RemoteStore | undefined
  #connected = false
  #whyAway: string | undefined
  #over = false
  #onChange: () => void = ignore

  constructor(options: SessionOptions) {
    this.io = options.io
    this.mode = options.mode
    this.history = options.history ?? (() => [])
    this.#connect = options.connect
    this.#url = options.url
    this.#devUrl = options.isDev === true ? options.url : undefined
    this.#passwordFor = url => {
      return (url === options.url ? options.urlPassword : undefined) ?? options.password
    }
    const { tls, otherTls = async () => tls } = options
    this.#tlsFor = async url => (url === options.url ? tls : await otherTls())
    this.#consistencyFor = url => (url === options.url ? options.consistency : undefined)
    this.#timeoutMs = options.timeoutMs
  }

  get url(): string {
    return this.#url
  }

  /** True while the nodes are those that `kvd dev` runs here. */
  get isDev(): boolean {
    return this.#url === this.#devUrl
  }

  get timeoutMs(): number | undefined {
    return this.#timeoutMs
  }

  /** True while a server is connected. */
  get connected(): boolean {
    return this.#connected
  }

  /** Why no server is connected, after one was or was tried. */
  get whyAway(): string | undefined {
    return this.#whyAway
  }

  /** True once `quit` was said. */
  get over(): boolean {
    return this.#over
  }

  /** Calls back whenever `connected`, `url` or `over` may have changed. */
  onChange(listener: () => void): void {
    this.#onChange = listener
  }

  end(): void {
    this.#over = true
    this.#onChange()
  }

  /**
   * The client. One-shot and pipe fail at once when no server answers; the REPL's client keeps
   * trying, and calls wait for it as long as they may. When the signal fires nobody waits any more.
   */
  client(signal?: AbortSignal): Promise<RemoteStore> {
    this.#client ??= this.#open()
    return signal === undefined ? this.#client : orAborted(this.#client, signal)
  }

  async #open(): Promise<RemoteStore> {
    const turn = ++this.#turn
    try {
      const url = this.#url
      const tls = await this.#tlsFor(url)
      const store = await this.#connect({
        url,
        password: this.#passwordFor(url),
        ...(tls === undefined ? {} : { tls }),
        consistency: this.#consistencyFor(url),
        timeoutMs: this.#timeoutMs,
        lazy: this.mode === 'repl',
        onConnection: (connected, why) => {
          if (turn !== this.#turn) return
          this.#connected = connected
          this.#whyAway = connected ? undefined : (why ?? 'the server closed the connection')
          this.#onChange()
        },
      })
      if (turn === this.#turn) this.#opened = store
      else await store.close()
      return store
    } catch (error) {
      if (turn === this.#turn) this.#client = undefined
      throw error
    }
  }

  /**
   * A client of one server of the cluster at `url`, and of no other, as whoever the session is
   * there. It connects by itself, again and again; whoever asked closes it.
   */
  connectTo(address: string): Promise<RemoteStore> {
    const url = this.#url.replace(/^(kvs?:\/\/(?:[^@/?]*@)?)[^/?]*/, `$1${address}`)
    return this.#connectAlone(url, true)
  }

  /**
   * A client that goes to one of the servers of `url` and stays there while it can. Rejects when
   * none answers; whoever asked closes it.
   */
  connectToOne(): Promise<RemoteStore> {
    return this.#connectAlone(this.#url, false)
  }

  async #connectAlone(url: string, lazy: boolean): Promise<RemoteStore> {
    const password = this.#passwordFor(this.#url)
    const tls = await this.#tlsFor(this.#url)
    return await this.#connect({
      url,
      password,
      ...(tls === undefined ? {} : { tls }),
      timeoutMs: this.#timeoutMs,
      lazy,
      alone: true,
    })
  }

  /** Leaves the server for another one, whose address is one (see normalizeUrl). */
  async moveTo(url: string): Promise<void> {
    await this.close()
    this.#url = url
    this.#onChange()
  }

  /** Idempotent. A connection that is still being made is not waited for. */
  async close(): Promise<void> {
    const opened = this.#opened
    this.#turn++
    this.#opened = undefined
    this.#client = undefined
    this.#connected = false
    this.#whyAway = undefined
    await opened?.close()
  }
}

function ignore(): void {}

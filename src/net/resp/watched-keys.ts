/**
 * WATCH: the keys that must not have changed by EXEC, with what was last written to each.
 *
 * The version of that write says whether there was another, whoever wrote it and through whichever
 * door; a deletion has one as well, and so does a value that was set to what it had been. A key
 * that has expired meanwhile has changed, too.
 *
 * Invariant: what is kept is charged to the budget for input.
 */
import { equalBytes } from '../../bytes.ts'
import type { Share } from '../admission.ts'
import type { EntryVersions, HandlerEntry } from '../request-handler.ts'
import { latin1 } from './characters.ts'
import { CommandError } from './reply.ts'

const KEYS_MAX = 16_384
/** What a key costs besides its own bytes. */
const OVERHEAD = 96

interface Seen {
  readonly key: Uint8Array
  readonly version: Uint8Array | undefined
  readonly isLive: boolean
}

export class WatchedKeys {
  readonly #share: Share
  readonly #seen = new Map<string, Seen>()
  #bytes = 0

  constructor(share: Share) {
    this.#share = share
  }

  get isEmpty(): boolean {
    return this.#seen.size === 0
  }

  get keys(): Uint8Array[] {
    return Array.from(this.#seen.values(), ({ key }) => key)
  }

  /** Those that are not watched yet: what was seen first counts. */
  unwatched(keys: readonly Uint8Array[]): Uint8Array[] {
    return keys.filter(key => !this.#seen.has(latin1(key)))
  }

  /** Remembers keys with what is there now. Throws CommandError when they are too many. */
  add(
    keys: readonly Uint8Array[],
    entries: readonly (HandlerEntry | undefined)[],
    versions: EntryVersions,
  ): void {
    const size = keys.reduce((sum, { length }) => sum + length + OVERHEAD, 0)
    if (this.#seen.size + keys.length > KEYS_MAX) {
      throw new CommandError(`ERR a connection watches at most ${KEYS_MAX} keys`)
    }
    if (!this.#share.reserve(size)) {
      throw new CommandError('KV_OVERLOADED no memory to watch more keys')
    }
    this.#bytes += size
    for (const [index, key] of keys.entries()) {
      const version = versions(index)?.slice()
      const isLive = entries[index] !== undefined
      this.#seen.set(latin1(key), { key: key.slice(), version, isLive })
    }
  }

  /** Whether none of them has changed; `keys` are those that entries and versions are of. */
  areAsSeen(
    keys: readonly Uint8Array[],
    entries: readonly (HandlerEntry | undefined)[],
    versions: EntryVersions,
  ): boolean {
    return keys.every((key, index) => {
      const seen = this.#seen.get(latin1(key))
      if (seen === undefined) return true
      const hasExpired = seen.isLive && entries[index] === undefined
      return !hasExpired && isSame(seen.version, versions(index))
    })
  }

  clear(): void {
    this.#share.release(this.#bytes)
    this.#bytes = 0
    this.#seen.clear()
  }
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equalBytes(a, b)
}

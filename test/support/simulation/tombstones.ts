/**
 * Which tombstones nodes have stored, and which call each of them is of. A deletion has no value by
 * which it would be known. One whose client left the version to the nodes has a version of its own
 * here only when no other call can have made the tombstone; what is known of the others is that the
 * key was deleted, under some version.
 */
import type { Write } from './history.ts'

interface Seen {
  readonly version: string
  /** In the order of all that happened. */
  readonly at: number
}

export class Tombstones {
  readonly #seen = new Map<string, Seen[]>()
  /** By key. */
  readonly #deletions = new Map<string, Write[]>()

  begun(deletion: Write): void {
    const { key } = deletion
    const others = this.#deletions.get(key)
    if (others === undefined) this.#deletions.set(key, [deletion])
    else others.push(deletion)
  }

  /** A node stores one, at this place in the order. */
  stored(key: string, version: string, at: number): void {
    const seen = this.#seen.get(key) ?? []
    this.#seen.set(key, seen)
    if (!seen.some(one => one.version === version)) seen.push({ version, at })
  }

  /** Whether the key was deleted by then, under this version or a later one. */
  wasDeleted(key: string, version: string, by: number): boolean {
    const seen = this.#seen.get(key) ?? []
    return seen.some(one => one.version >= version && one.at <= by)
  }

  /**
   * The earliest version that an acknowledged deletion may have, where it is certain that it has
   * one: it alone can have made the tombstones of unknown origin that came while it was under way.
   */
  versionOf(deletion: Write): string | undefined {
    const { key, invoked, completed } = deletion
    const all = this.#deletions.get(key) ?? []
    const rivals = all.filter(
      other =>
        other !== deletion &&
        other.isVersionedByNode &&
        other.outcome !== 'rejected' &&
        (other.outcome !== 'ok' || other.completed > invoked),
    )
    if (rivals.length > 0) return undefined
    const known = new Set(all.map(other => other.version))
    const own = (this.#seen.get(key) ?? []).filter(
      ({ version, at }) => invoked < at && at <= completed && !known.has(version),
    )
    return own.map(({ version }) => version).sort()[0]
  }

  /** The calls that can have made this tombstone. */
  originsOf(key: string, version: string): readonly Write[] {
    const all = this.#deletions.get(key) ?? []
    const own = all.filter(deletion => deletion.version === version)
    if (own.length > 0) return own
    return all.filter(deletion => deletion.isVersionedByNode)
  }
}

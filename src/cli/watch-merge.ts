/**
 * The changes that several replicas tell, as one: each write is shown once, whoever tells it first,
 * and never behind a later one of its key. Pure, but for its memory, which is bounded: of a key
 * that was not heard of while MEMORY_MAX others were, an old write may be shown again.
 */

/** Keys whose last version is remembered. */
const MEMORY_MAX = 100_000

export class WatchMerge {
  readonly #sinceMs: number
  readonly #memoryMax: number
  /** The last version that was shown, by key; both base64. Those heard of last at the end. */
  readonly #shown = new Map<string, string>()

  /** Writes whose version is older than `sinceMs` are those of before: copied or repaired now. */
  constructor(sinceMs: number, memoryMax = MEMORY_MAX) {
    this.#sinceMs = sinceMs
    this.#memoryMax = memoryMax
  }

  /** Whether this write, of base64 `key` and `version`, is to be shown. */
  isNews(key: string, version: string): boolean {
    if (versionTimeMs(version) < this.#sinceMs) return false
    const shown = this.#shown.get(key)
    this.#shown.delete(key)
    const isNews = shown === undefined || compareVersions(version, shown) > 0
    this.#shown.set(key, isNews ? version : shown)
    if (this.#shown.size > this.#memoryMax) {
      for (const oldest of this.#shown.keys()) {
        this.#shown.delete(oldest)
        break
      }
    }
    return isNews
  }
}

/** Versions compare as bytes. */
function compareVersions(a: string, b: string): number {
  return Buffer.from(a, 'base64').compare(Buffer.from(b, 'base64'))
}

/** When a version was made, in milliseconds since the Unix epoch: its first 48 bits. */
export function versionTimeMs(version: string): number {
  const bytes = Buffer.from(version, 'base64')
  return bytes.length < 6 ? 0 : bytes.readUIntBE(0, 6)
}

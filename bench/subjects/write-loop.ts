/**
 * The limit of a durable write: put what is waiting into one buffer, write it with one call, sync
 * it with another, answer everyone; the next group gathers meanwhile. No checksums, no index, and
 * nothing could be read back: it is the floor under every write-ahead log with group commit.
 */
import { close, fdatasync, open, write } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Subject, SubjectOptions } from '../subject.ts'

const BUFFER_SIZE = 4 * 1024 * 1024
/** Two lengths, as any log needs to be read again. */
const HEADER_SIZE = 6

interface Waiter {
  readonly key: Buffer
  readonly value: Buffer
  resolve(): void
  reject(error: Error): void
}

class WriteLoop {
  readonly #fd: number
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_SIZE)
  #waiting: Waiter[] = []
  #offset = 0
  #busy = false

  constructor(fd: number) {
    this.#fd = fd
  }

  put(key: Buffer, value: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, value, resolve, reject })
      if (this.#busy) return
      this.#busy = true
      // The group forms for the rest of this turn, so that callers of one turn share a sync.
      setImmediate(() => this.#commit())
    })
  }

  #commit(): void {
    let length = 0
    let count = 0
    for (const { key, value } of this.#waiting) {
      const size = HEADER_SIZE + key.length + value.length
      if (length + size > BUFFER_SIZE) break
      this.#buffer.writeUInt16LE(key.length, length)
      this.#buffer.writeUInt32LE(value.length, length + 2)
      this.#buffer.set(key, length + HEADER_SIZE)
      this.#buffer.set(value, length + HEADER_SIZE + key.length)
      length += size
      count++
    }
    const group = this.#waiting.splice(0, count)
    write(this.#fd, this.#buffer, 0, length, this.#offset, (writeError, written) => {
      this.#offset += length
      if (writeError !== null) return this.#finish(group, writeError)
      if (written !== length) return this.#finish(group, new Error('short write'))
      fdatasync(this.#fd, syncError => this.#finish(group, syncError))
    })
  }

  #finish(group: readonly Waiter[], error: Error | null): void {
    if (this.#waiting.length > 0) this.#commit()
    else this.#busy = false
    for (const waiter of group) error === null ? waiter.resolve() : waiter.reject(error)
  }
}

export async function openWriteLoop(options: SubjectOptions): Promise<Subject> {
  const fd = await promisify(open)(join(options.directory, 'log'), 'w')
  const loop = new WriteLoop(fd)
  return {
    settings: 'one growing file, one write and one fdatasync a group',
    putDurable: (key, value) => loop.put(key, value),
    close: () => promisify(close)(fd),
  }
}

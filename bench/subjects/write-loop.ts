/**
 * The limit of a write. Durable: put what is waiting into one buffer, write it with one call, sync
 * it with another, answer everyone; the next group gathers meanwhile. Without sync: one call a put,
 * within it. No checksums, no index, and nothing could be read back: it is the floor under every
 * write-ahead log with group commit.
 */
import { close, fdatasync, open, write, writeSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Subject, SubjectOptions } from '../subject.ts'

const BUFFER_SIZE = 4 * 1024 * 1024
/** Two lengths, as any log needs to be read again. */
const HEADER_SIZE = 6
const DONE = Promise.resolve()

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

  /** The operating system has it when this returns. */
  putFast(key: Buffer, value: Buffer): Promise<void> {
    const length = this.#add(key, value, 0)
    if (writeSync(this.#fd, this.#buffer, 0, length, this.#offset) !== length) {
      return Promise.reject(new Error('short write'))
    }
    this.#offset += length
    return DONE
  }

  /** Returns where the record that begins at `start` of the buffer ends. */
  #add(key: Buffer, value: Buffer, start: number): number {
    this.#buffer.writeUInt16LE(key.length, start)
    this.#buffer.writeUInt32LE(value.length, start + 2)
    this.#buffer.set(key, start + HEADER_SIZE)
    this.#buffer.set(value, start + HEADER_SIZE + key.length)
    return start + HEADER_SIZE + key.length + value.length
  }

  #commit(): void {
    let length = 0
    let count = 0
    for (const { key, value } of this.#waiting) {
      if (length + HEADER_SIZE + key.length + value.length > BUFFER_SIZE) break
      length = this.#add(key, value, length)
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
    settings:
      'one growing file; durable means one write and one fdatasync a group, ' +
      'without sync one write a put',
    putDurable: (key, value) => loop.put(key, value),
    putFast: (key, value) => loop.putFast(key, value),
    close: () => promisify(close)(fd),
  }
}

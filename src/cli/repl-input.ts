/**
 * What is typed in the REPL on its way to readline: one line at a time.
 *
 *   held --release()--> open --line end passed on--> held
 *
 * Readline would take a pasted text or what is typed ahead at once: its lines would be shown in one
 * heap, apart from their results, and keys behind them would edit a line that is not there yet. So
 * whatever follows a line end waits here until the command of that line is done.
 *
 * Invariants:
 *  1. Bytes come out as they came in, in order, unless Ctrl-C drops what was held.
 *  2. Ctrl-C is never held: while a command runs it reaches the listener at once, and what was
 *     typed ahead is dropped, for it was typed without knowing this.
 *  3. The input ends only after all that was held was passed on.
 *  4. A Tab that was typed is the last byte of a chunk, one that was pasted never is: by this
 *     readline tells a wish for completions from a character of the line.
 */
import { Readable } from 'node:stream'
import type { CliInput } from './cli-io.ts'

export interface ReplInputOptions {
  readonly source: CliInput
  /** True when keys arrive one by one, Ctrl-C among them. */
  readonly terminal: boolean
  /** Ctrl-C while a command runs. */
  readonly onInterrupt: () => void
}

/** Held up to here; beyond it the source is not read, so Ctrl-C has to wait for the command. */
const HELD_SIZE_MAX = 16 * 1024 * 1024
const NOTHING = Buffer.alloc(0)
const CTRL_C = 0x03
const TAB = 0x09
const NEWLINE = 0x0a
const RETURN = 0x0d

export class ReplInput extends Readable implements CliInput {
  readonly isTTY: boolean
  readonly #source: CliInput
  readonly #terminal: boolean
  readonly #onInterrupt: () => void
  #held: Buffer[] = []
  #heldSize = 0
  #open = false
  #paste = new PasteMarks()
  /** Pasted Tabs that came last. */
  #tail: Buffer = NOTHING
  #sourceEnded = false

  constructor({ source, terminal, onInterrupt }: ReplInputOptions) {
    super()
    this.isTTY = source.isTTY === true
    this.#source = source
    this.#terminal = terminal
    this.#onInterrupt = onInterrupt
    source.on('data', this.#arrived)
    source.on('end', this.#ended)
    source.on('close', this.#ended)
    source.on('error', this.#ended)
  }

  setRawMode(raw: boolean): this {
    this.#source.setRawMode?.(raw)
    return this
  }

  /** The first line may come, or the one behind that which was passed on last. */
  release(): void {
    this.#open = true
    // Not from within readline, which is still busy with the key that ended the line.
    queueMicrotask(() => this.#passHeld())
  }

  readonly #arrived = (chunk: unknown): void => {
    this.#hold(chunk instanceof Uint8Array ? Buffer.from(chunk) : Buffer.from(String(chunk)))
    if (this.#open) this.#passHeld()
    if (!this.#open && this.#terminal) this.#lookForInterrupt()
  }

  readonly #ended = (): void => {
    if (this.#sourceEnded) return
    this.#sourceEnded = true
    if (this.#open) this.#passHeld()
  }

  #lookForInterrupt(): void {
    const at = this.#held.findLastIndex(bytes => bytes.includes(CTRL_C))
    if (at < 0) return
    const [last, ...behind] = this.#held.slice(at)
    this.#held = [last!.subarray(last!.lastIndexOf(CTRL_C) + 1), ...behind]
    this.#heldSize = this.#held.reduce((size, bytes) => size + bytes.length, 0)
    // The end of a paste may have been among what was dropped.
    this.#paste = new PasteMarks()
    this.#tail = NOTHING
    this.#onInterrupt()
  }

  #hold(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#held.push(bytes)
    this.#heldSize += bytes.length
    if (this.#heldSize > HELD_SIZE_MAX) this.#source.pause()
  }

  /** Passes on what is held, up to and including the next line end. */
  #passHeld(): void {
    if (this.destroyed) return
    while (this.#open) {
      const bytes = this.#held.shift()
      if (bytes === undefined) break
      const end = lineEnd(bytes)
      const line = end < 0 ? bytes : bytes.subarray(0, end)
      if (line.length < bytes.length) this.#held.unshift(bytes.subarray(line.length))
      this.#heldSize -= line.length
      // Closed before the line goes out, for its reader may release it at once.
      if (end >= 0) this.#open = false
      this.#pass(line)
    }
    if (this.#heldSize <= HELD_SIZE_MAX) this.#source.resume()
    if (!this.#sourceEnded || !this.#open || this.#heldSize > 0) return
    if (this.#tail.length > 0) this.push(this.#tail)
    this.#tail = NOTHING
    this.push(null)
  }

  /**
   * Readline pauses its input while it looks for completions, but goes on with the keys of the
   * chunk it has. Cut behind each Tab, the keys that follow find the completion done.
   */
  #pass(line: Buffer): void {
    if (!this.#terminal) {
      this.push(line)
      return
    }
    const bytes = this.#tail.length === 0 ? line : Buffer.concat([this.#tail, line])
    let from = 0
    for (let at = this.#tail.length; at < bytes.length; at++) {
      const byte = bytes[at]!
      this.#paste.take(byte)
      if (byte !== TAB || this.#paste.isOpen) continue
      this.push(bytes.subarray(from, at + 1))
      from = at + 1
    }
    const rest = bytes.subarray(from)
    let end = rest.length
    // The mark at the end of the paste is still to come, so there will be more.
    while (this.#paste.isOpen && rest[end - 1] === TAB) end--
    this.#tail = rest.subarray(end)
    if (end > 0) this.push(rest.subarray(0, end))
  }

  override _read(): void {
    // Whatever may be passed on was pushed when it came.
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#source.off('data', this.#arrived)
    for (const event of ['end', 'close', 'error']) this.#source.off(event, this.#ended)
    this.#source.pause()
    done(error)
  }
}

/** Behind the first line end, or -1. The two characters of "\r\n" stay together. */
function lineEnd(bytes: Buffer): number {
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] === NEWLINE) return at + 1
    if (bytes[at] === RETURN) return bytes[at + 1] === NEWLINE ? at + 2 : at + 1
  }
  return -1
}

const MARK_START = Buffer.from('\u001b[20')
const MARK_END = 0x7e

/** Follows the marks that the terminal puts around what is pasted: ESC [200~ and ESC [201~. */
class PasteMarks {
  isOpen = false
  #matched = 0
  #digit = 0

  take(byte: number): void {
    const matched = this.#matched
    this.#matched = 0
    if (byte === MARK_START[0]) this.#matched = 1
    else if (matched > 0 && matched < MARK_START.length) {
      if (byte === MARK_START[matched]) this.#matched = matched + 1
    } else if (matched === MARK_START.length) {
      this.#digit = byte - 0x30
      if (this.#digit === 0 || this.#digit === 1) this.#matched = matched + 1
    } else if (matched > MARK_START.length && byte === MARK_END) {
      this.isOpen = this.#digit === 0
    }
  }
}

/** One line on a terminal that says how far a long run is; nothing where nobody looks. */
import type { WriteStream } from 'node:tty'

const INTERVAL_MS = 100

export class ProgressLine {
  readonly #stream: WriteStream
  #shownMs = 0

  constructor(stream: WriteStream = process.stderr) {
    this.#stream = stream
  }

  /** Shows the text in place of the last one; `text` is called only when it is time for it. */
  show(text: () => string): void {
    if (!this.#stream.isTTY) return
    const nowMs = performance.now()
    if (nowMs - this.#shownMs < INTERVAL_MS) return
    this.#shownMs = nowMs
    this.#stream.write(`\r\u001b[K${text().slice(0, this.#stream.columns - 1)}`)
  }

  /** Takes the line away, so that something else can be printed. */
  clear(): void {
    if (this.#stream.isTTY) this.#stream.write('\r\u001b[K')
  }
}

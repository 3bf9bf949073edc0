/**
 * One line on a terminal that says how far a long run is. In a log it is written once a minute, so
 * that a short run leaves none.
 */
import type { WriteStream } from 'node:tty'

const INTERVAL_MS = 100
const LOG_INTERVAL_MS = 60_000

export class ProgressLine {
  readonly #stream: WriteStream
  #shownMs = performance.now()

  constructor(stream: WriteStream = process.stderr) {
    this.#stream = stream
  }

  /** Shows the text in place of the last one; `text` is called only when it is time for it. */
  show(text: () => string): void {
    const nowMs = performance.now()
    const { isTTY } = this.#stream
    if (nowMs - this.#shownMs < (isTTY ? INTERVAL_MS : LOG_INTERVAL_MS)) return
    this.#shownMs = nowMs
    if (!isTTY) this.#stream.write(`${text()}\n`)
    else this.#stream.write(`\r\u001b[K${text().slice(0, this.#stream.columns - 1)}`)
  }

  /** Takes the line away, so that something else can be printed. */
  clear(): void {
    if (this.#stream.isTTY) this.#stream.write('\r\u001b[K')
  }
}

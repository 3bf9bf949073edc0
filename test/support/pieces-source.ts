/** An input of an import whose pieces come as the test lets them. */
import type { InputSource } from '../../src/cli/cli-io.ts'

export interface PiecesSourceOptions {
  /** Where to begin. */
  readonly offset?: number
  /** Offsets at which a piece ends. */
  readonly cuts?: readonly number[]
  /** The reading fails there. */
  readonly failure?: { readonly at: number; readonly error: Error }
  /** Resolves before each piece: a slow input. */
  readonly pace?: () => Promise<void>
}

/** Closing it ends a read that waits, as it does with a stream. */
export function piecesSource(content: Uint8Array, options: PiecesSourceOptions = {}): InputSource {
  const { offset = 0, cuts = [], failure, pace } = options
  const end = failure?.at ?? content.length
  let consumed = offset
  let close: () => void = () => undefined
  const closed = new Promise<never>((_resolve, reject) => {
    close = () => reject(new Error('the input was closed'))
  })
  closed.catch(() => undefined)
  async function* read(): AsyncGenerator<Uint8Array, void, undefined> {
    const edges = [...cuts.filter(cut => cut > offset && cut < end), end].sort((a, b) => a - b)
    for (const edge of edges) {
      await Promise.race([pace?.(), closed])
      const piece = content.slice(consumed, edge)
      consumed = edge
      if (piece.length > 0) yield piece
    }
    if (failure !== undefined) throw failure.error
  }
  return {
    size: content.length,
    modifiedMs: 1,
    chunks: read(),
    consumed: () => consumed,
    close,
  }
}

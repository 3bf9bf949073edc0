/** Standard input as a source of an import, and what all sources share. */
import { IoError } from '../errors.ts'
import type { CliInput, InputSource } from './cli-io.ts'

/**
 * The chunks without their first `size` bytes. Throws IoError when there are not that many: this
 * is not the input that was read so far before.
 */
export async function* skipBytes(
  chunks: AsyncIterable<Uint8Array>,
  size: number,
  name: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  let left = size
  for await (const chunk of chunks) {
    if (left >= chunk.length) {
      left -= chunk.length
      continue
    }
    yield left > 0 ? chunk.subarray(left) : chunk
    left = 0
  }
  if (left === 0) return
  throw new IoError(
    `${name} ends at byte ${size - left}, before byte ${size} where the import is to go on`,
  )
}

/** Standard input from byte `offset` on: what comes before is read and dropped. */
export function stdinSource(stdin: CliInput, offset: number): InputSource {
  let consumed = 0
  async function* read(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of stdin) {
      const bytes = chunk instanceof Uint8Array ? chunk : Buffer.from(String(chunk), 'utf8')
      consumed += bytes.length
      yield bytes
    }
  }
  return {
    size: undefined,
    modifiedMs: undefined,
    chunks: skipBytes(read(), offset, 'standard input'),
    consumed: () => consumed,
    close: () => stdin.destroy(),
  }
}

/** The key that a request of the binary protocol begins with, for the slow-operation log. Pure. */
import { copyBytes } from '../bytes.ts'
import { Opcode, RequestFlag } from './opcode.ts'
import type { RequestHeader } from './request.ts'
import { SLOW_KEY_SIZE } from './slow-operations.ts'

const TTL_SIZE = 8
const KEY_LENGTH_SIZE = 2

/** A copy of its beginning, of requests with one key whose body was decoded; `end` is theirs. */
export function beginningOfKey(
  { opcode, bodyStart, flags }: RequestHeader,
  bytes: Uint8Array,
  end: number,
): Uint8Array | undefined {
  switch (opcode) {
    case Opcode.put: {
      const at = bodyStart + ((flags & RequestFlag.ttl) === 0 ? 0 : TTL_SIZE)
      const start = at + KEY_LENGTH_SIZE
      const keyEnd = start + bytes[at]! + 256 * bytes[at + 1]!
      return copyBytes(bytes, start, Math.min(keyEnd, start + SLOW_KEY_SIZE))
    }
    case Opcode.get:
    case Opcode.getEntry:
    case Opcode.delete:
      return copyBytes(bytes, bodyStart, Math.min(end, bodyStart + SLOW_KEY_SIZE))
    default:
      return undefined
  }
}

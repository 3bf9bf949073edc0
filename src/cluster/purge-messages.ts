/**
 * The message with which the marks of partitions are moved (purge-rounds.ts). Little-endian.
 *
 *   purge := step u8 | epoch u64 | time u64 | count varint | partition u16 * count
 *   step  := 1 floor: is anything owed from before `time`?       answer: 0 no | 1 yes
 *          | 2 confirm: all hold the same before `time`           answer: empty, once durable
 *          | 3 advance: all have confirmed                        answer: empty, once durable
 */
import { ByteReader, ByteWriter, DecodeError } from '../bytes.ts'
import { decoded } from './read-messages.ts'

/** Append only; never renumber. */
export const PurgeStep = { floor: 1, confirm: 2, advance: 3 } as const
export type PurgeStep = (typeof PurgeStep)[keyof typeof PurgeStep]

export interface PurgeMessage {
  readonly step: PurgeStep
  readonly epoch: number
  /** Milliseconds since the Unix epoch. */
  readonly timeMs: number
  readonly partitions: readonly number[]
}

export function encodePurge({ step, epoch, timeMs, partitions }: PurgeMessage): Uint8Array {
  const writer = new ByteWriter().uint8(step).uint64(epoch).uint64(timeMs)
  writer.varint(partitions.length)
  for (const partition of partitions) writer.uint16(partition)
  return writer.written
}

export function decodePurge(body: Uint8Array): PurgeMessage {
  return decoded('purge', () => {
    const reader = new ByteReader(body)
    const step = Object.values(PurgeStep).find(known => known === body[0])
    if (step === undefined) throw new DecodeError('an unknown step', 0)
    reader.uint8()
    const epoch = reader.uint64()
    const timeMs = reader.uint64()
    const count = reader.varint()
    if (count * 2 > reader.remaining) throw new DecodeError(`a count of ${count} is too high`, 17)
    const partitions = Array.from({ length: count }, () => reader.uint16())
    reader.expectEnd()
    return { step, epoch, timeMs, partitions }
  })
}

/**
 * A random life of a write-ahead log, with a record of what was written where and what was durable
 * when, for tests that crash, cut or damage it and then look at what replay gives back.
 */
import { yieldToEventLoop } from '../../src/clock.ts'
import type { FileSystem } from '../../src/engine/file-system.ts'
import { EntryKind } from '../../src/engine/internal-key.ts'
import { WalFrameBuilder } from '../../src/engine/wal-frame.ts'
import type { WalVisitor } from '../../src/engine/wal-reader.ts'
import {
  replayWal,
  type WalReplayOptions,
  type WalReplayResult,
} from '../../src/engine/wal-replay.ts'
import { prepareSegment, type WalSegmentOptions, WalWriter } from '../../src/engine/wal-writer.ts'
import type { Hasher } from '../../src/hash.ts'
import type { Random } from '../../src/random.ts'

export const SCRIPT_DATABASE_ID = Uint8Array.from({ length: 16 }, (_, index) => index * 17)
export const SCRIPT_DIRECTORY = '/db'

export interface LoggedFrame {
  readonly fileNumber: number
  /** [offset, end) in the file. */
  readonly offset: number
  readonly end: number
  /** As describeOp gives them. */
  readonly ops: readonly string[]
  /** A sync after it resolved: its writers were told so. */
  acknowledged: boolean
}

export interface WalScriptOptions {
  readonly frameCount: number
  /** The chance of a new segment before a frame. @defaultValue 0.1 */
  readonly rotation?: number
  /** The chance of a sync after a frame. @defaultValue 0.5 */
  readonly sync?: number
  /** @defaultValue 8 */
  readonly opCountMax?: number
  /** Of each segment, see WalSegmentOptions. @defaultValue 0 */
  readonly paddingSize?: number
  /** @defaultValue 60 */
  readonly valueSizeMax?: number
}

/** A new segment, ready for its first frame. */
export async function createSegment(
  disk: FileSystem,
  directory: string,
  options: WalSegmentOptions & { readonly fileNumber: number },
): Promise<WalWriter> {
  return WalWriter.begin(await prepareSegment(disk, directory, options.fileNumber), options)
}

export class WalScript {
  readonly frames: LoggedFrame[] = []
  readonly fileNumbers: number[] = []
  readonly #disk: FileSystem
  readonly #hasher: Hasher
  readonly #random: Random
  readonly #builder: WalFrameBuilder
  #sequence = 1
  #paddingSize = 0

  constructor(disk: FileSystem, hasher: Hasher, random: Random) {
    this.#disk = disk
    this.#hasher = hasher
    this.#random = random
    this.#builder = new WalFrameBuilder(this.#hasher)
  }

  /** Writes the log; returns the last segment, still open. Stops early when the disk fails. */
  async run(options: WalScriptOptions): Promise<WalWriter> {
    const random = this.#random
    this.#paddingSize = options.paddingSize ?? 0
    this.#disk.makeDirectorySync(SCRIPT_DIRECTORY)
    if (random.below(2) === 0) this.#sequence += 2 ** 33
    let wal = await this.#create(0)
    let ahead: WalWriter | undefined
    for (let count = 0; count < options.frameCount; count++) {
      if (random.next() < (options.rotation ?? 0.1)) {
        // Half of the segments are created ahead of time, while the one before is written to.
        if (ahead === undefined && random.below(2) === 0) ahead = await this.#create(wal)
        else {
          await this.#sync(wal)
          wal.close()
          wal = ahead ?? (await this.#create(wal))
          ahead = undefined
        }
      }
      await this.#append(wal, options)
      if (random.next() < (options.sync ?? 0.5)) await this.#sync(wal)
    }
    return wal
  }

  #create(previous: WalWriter | number): Promise<WalWriter> {
    const fileNumber = (this.fileNumbers.at(-1) ?? 4) + 1 + this.#random.below(3)
    const firstSequence = this.#sequence
    this.fileNumbers.push(fileNumber)
    return createSegment(this.#disk, SCRIPT_DIRECTORY, {
      fileNumber,
      databaseId: SCRIPT_DATABASE_ID,
      firstSequence,
      previous,
      paddingSize: this.#paddingSize,
    })
  }

  async #append(wal: WalWriter, options: WalScriptOptions): Promise<void> {
    const { opCountMax = 8, valueSizeMax = 60 } = options
    const builder = this.#builder
    builder.begin()
    const ops: string[] = []
    const firstSequence = this.#sequence
    for (let count = 1 + this.#random.below(opCountMax); count > 0; ) {
      const batch = 1 + this.#random.below(count)
      ops.push(...this.#addBatch(batch, valueSizeMax))
      count -= batch
    }
    const frame = {
      fileNumber: wal.fileNumber,
      offset: wal.size,
      end: wal.size + Math.ceil((builder.size + 4) / 8) * 8,
      ops,
      acknowledged: false,
    }
    // Recorded before it is written: a crash in the middle may leave it.
    this.frames.push(frame)
    const isAsync = this.#random.below(2) === 0
    // Sometimes more than is needed, as where a write is refused that room was made for.
    if (isAsync) await wal.reserve(builder.size * (1 + this.#random.below(3)))
    else wal.tryReserveSync(builder.size)
    if (isAsync) await wal.append(builder, firstSequence)
    else wal.appendSync(builder, firstSequence)
  }

  #addBatch(opCount: number, valueSizeMax: number): string[] {
    const random = this.#random
    const ops: string[] = []
    this.#builder.beginBatch(opCount)
    for (let left = opCount; left > 0; left--) {
      if (left === opCount && left > 1 && random.below(2) === 0) {
        const data = random.bytes(random.below(valueSizeMax + 1))
        this.#builder.addLogData(data)
        ops.push(describeOp(EntryKind.logData, this.#sequence, new Uint8Array(0), data, true))
      } else {
        ops.push(this.#addOp(valueSizeMax, left > 1))
      }
    }
    return ops
  }

  #addOp(valueSizeMax: number, more: boolean): string {
    const random = this.#random
    const key = random.bytes(1 + random.below(random.below(20) === 0 ? 300 : 12))
    const value = random.bytes(random.below(valueSizeMax + 1))
    const which = random.below(7)
    const sequence = this.#sequence++
    if (which === 1) {
      this.#builder.addDelete(key)
      return describeOp(EntryKind.delete, sequence, key, new Uint8Array(0), more)
    }
    if (which === 2) {
      const expiryMs = random.below(2 ** 32) * 1000
      this.#builder.addPutExpiring(key, value, expiryMs)
      const stored = new Uint8Array(8 + value.length)
      new DataView(stored.buffer).setBigUint64(0, BigInt(expiryMs), true)
      stored.set(value, 8)
      return describeOp(EntryKind.putExpiring, sequence, key, stored, more)
    }
    this.#builder.addPut(key, value)
    return describeOp(EntryKind.put, sequence, key, value, more)
  }

  async #sync(wal: WalWriter): Promise<void> {
    const count = this.frames.length
    await wal.sync()
    for (const frame of this.frames.slice(0, count)) frame.acknowledged = true
  }
}

/** An op as a line of text, for comparing. */
export function describeOp(
  kind: number,
  sequence: number,
  key: Uint8Array,
  value: Uint8Array,
  more: boolean,
): string {
  return `${kind} ${sequence} ${toHex(key)}=${toHex(value)}${more ? '+' : ''}`
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** What a replay delivered. */
export interface Replayed {
  readonly ops: readonly string[]
  readonly result: WalReplayResult
}

/** Replays all segments that have one of these numbers, with a pause after every so many ops. */
export async function replayScript(
  disk: FileSystem,
  hasher: Hasher,
  options: Partial<WalReplayOptions> & Pick<WalReplayOptions, 'fileNumbers'>,
  pauseEvery = 0,
): Promise<Replayed> {
  const ops: string[] = []
  const visitor: WalVisitor = {
    op(kind, sequence, keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd, more) {
      const key = keyBytes.subarray(keyStart, keyEnd)
      ops.push(describeOp(kind, sequence, key, valueBytes.subarray(valueStart, valueEnd), more))
      return pauseEvery > 0 && ops.length % pauseEvery === 0
    },
    async resume() {
      await yieldToEventLoop()
    },
  }
  const result = await replayWal(
    {
      fileSystem: disk,
      directory: SCRIPT_DIRECTORY,
      databaseId: SCRIPT_DATABASE_ID,
      hasher,
      logNumber: 0,
      ...options,
    },
    visitor,
  )
  return { ops, result }
}

/** How many frames the ops are; throws when they are no prefix of the frames. */
export function frameCountOf(ops: readonly string[], frames: readonly LoggedFrame[]): number {
  let at = 0
  let count = 0
  for (const frame of frames) {
    if (at === ops.length) break
    for (const op of frame.ops) {
      if (ops[at] !== op) throw new Error(`op ${at} is ${ops[at]}, written was ${op}`)
      at++
    }
    count++
  }
  if (at !== ops.length) throw new Error(`${ops.length - at} ops were never written`)
  return count
}

/**
 * Compressed data blocks: what is stored in place of a block when that saves enough.
 *
 *   data := block size u32 | deflate stream (RFC 1951)      codec 2, deflate-raw
 *         | block size u32 | zstd frame (RFC 8878)          codec 3, zstd
 *
 * Deflate is part of every Node.js; zstd of 22.15, 23.8 and later. A database with zstd blocks says
 * so with KV_VERSION_MISMATCH where it cannot be read, so nobody gets them without asking.
 *
 * Invariants:
 *  1. Decompression never writes more than the size that stands in front, and that is at most
 *     BLOCK_SIZE_MAX: damage costs no memory.
 *  2. What comes out has exactly that size, or the block is corrupt. Want of memory is no damage.
 */
import * as zlib from 'node:zlib'
import {
  CorruptionError,
  InvalidArgumentError,
  OverloadedError,
  VersionMismatchError,
} from '../errors.ts'
import { KEY_SIZE_MAX, VALUE_SIZE_MAX } from '../key-value-store.ts'
import {
  BLOCK_TRAILER_SIZE,
  BlockCodec,
  type BlockFile,
  type CompressedBlockCodec,
} from './block-codec.ts'
import { systemErrorCode } from './file-system.ts'

/** How the data blocks of a level are stored. */
export type Compression = 'none' | 'deflate' | 'zstd'

const CODECS: Readonly<Record<Compression, BlockCodec>> = {
  none: BlockCodec.none,
  deflate: BlockCodec.deflateRaw,
  zstd: BlockCodec.zstd,
}

/** Bytes in front of a stream: the size of the block that comes out. */
const BLOCK_SIZE_SIZE = 4
/** The biggest block: one entry of the biggest key and value, with its record. */
export const BLOCK_SIZE_MAX = VALUE_SIZE_MAX + KEY_SIZE_MAX + 64
/** A block that shrinks by less than an eighth is stored as it is. */
const SAVING_MIN = 1 / 8
/** The quickest: blocks of 4 KiB gain little from more effort (bench/compression). */
const LEVEL = 1
/** Blocks stored without a trial after trials that did not pay, at most. */
const SKIPPED_MAX = 31

/** Codes of a stream that is wrong, if they are none of SHORTAGES; or longer than it says. */
const DAMAGE = /^(?:Z_|ZSTD_error_|ERR_BUFFER_TOO_LARGE$)/
/** Codes when there is no memory, also for the state of a stream. Arrays say it without a code. */
const SHORTAGES: readonly string[] = [
  'Z_MEM_ERROR',
  'ZSTD_error_memory_allocation',
  'ERR_ZLIB_INITIALIZATION_FAILED',
  'ERR_MEMORY_ALLOCATION_FAILED',
  'ENOMEM',
]
/** When memory may be there again. */
const RETRY_AFTER_MS = 1000

/** The part of node:zlib that not every supported version has. */
interface Zstd {
  zstdCompressSync?: (bytes: Uint8Array, options: object) => Uint8Array
  zstdDecompressSync?: (bytes: Uint8Array, options: object) => Uint8Array
  zstdDecompress?: (
    bytes: Uint8Array,
    options: object,
    done: (error: Error | null, result: Uint8Array) => void,
  ) => void
}
const { zstdCompressSync, zstdDecompressSync, zstdDecompress } = zlib as Zstd
/** ZSTD_c_compressionLevel, which the types of older versions do not name. */
const ZSTD_LEVEL_PARAMETER = 100

/** The codec for a setting. Throws InvalidArgumentError where this Node.js lacks it. */
export function codecOf(compression: Compression): BlockCodec {
  if (!Object.hasOwn(CODECS, compression)) {
    throw new InvalidArgumentError(
      `compression must be 'none', 'deflate' or 'zstd', got ${JSON.stringify(compression)}`,
    )
  }
  if (compression === 'zstd' && zstdCompressSync === undefined) {
    throw new InvalidArgumentError(
      `compression 'zstd' needs Node.js 22.15 or later, this is ${process.version}: use 'deflate'`,
    )
  }
  return CODECS[compression]
}

/** The data to store for `block`, or undefined when it would not pay. */
export function compressBlock(
  block: Uint8Array,
  codec: CompressedBlockCodec,
): Uint8Array | undefined {
  const stream =
    codec === BlockCodec.deflateRaw
      ? zlib.deflateRawSync(block, { level: LEVEL })
      : zstdCompressSync!(block, { params: { [ZSTD_LEVEL_PARAMETER]: LEVEL } })
  const size = BLOCK_SIZE_SIZE + stream.length
  if (size > block.length * (1 - SAVING_MIN)) return undefined
  const data = new Uint8Array(size)
  new DataView(data.buffer).setUint32(0, block.length, true)
  data.set(stream, BLOCK_SIZE_SIZE)
  return data
}

/** The block in the data `bytes[start, end)` of a codec, in a buffer of its own. */
export function decompressBlock(
  codec: CompressedBlockCodec,
  bytes: Uint8Array,
  start: number,
  end: number,
  file: BlockFile,
  offset: number,
): Uint8Array {
  const { stream, size } = openCompressed(codec, bytes, start, end, file, offset)
  let block: Uint8Array
  try {
    const options = { maxOutputLength: Math.max(size, 1) }
    block =
      codec === BlockCodec.deflateRaw
        ? zlib.inflateRawSync(stream, options)
        : zstdDecompressSync!(stream, options)
  } catch (cause) {
    throw failureOf(cause, size, file, offset)
  }
  checkSize(block, size, file, offset)
  // What zlib gives is a Buffer and a view of something bigger; a plain array keeps hot code fast.
  return new Uint8Array(block)
}

/** decompressBlock off the calling thread, for large blocks. The bytes are borrowed meanwhile. */
export async function decompressLargeBlock(
  codec: CompressedBlockCodec,
  bytes: Uint8Array,
  start: number,
  end: number,
  file: BlockFile,
  offset: number,
): Promise<Uint8Array> {
  const { stream, size } = openCompressed(codec, bytes, start, end, file, offset)
  let block: Uint8Array
  try {
    block = await new Promise<Uint8Array>((resolve, reject) => {
      // In one piece, which nobody has to put together.
      const chunkSize = Math.max(size, zlib.constants.Z_MIN_CHUNK)
      const options = { maxOutputLength: Math.max(size, 1), chunkSize }
      const done = (error: Error | null, result: Uint8Array): void => {
        if (error === null) resolve(result)
        else reject(error)
      }
      if (codec === BlockCodec.deflateRaw) zlib.inflateRaw(stream, options, done)
      else zstdDecompress!(stream, options, done)
    })
  } catch (cause) {
    throw failureOf(cause, size, file, offset)
  }
  checkSize(block, size, file, offset)
  return new Uint8Array(block.buffer, block.byteOffset, size)
}

/**
 * Bytes of the block that is stored in `bytes[start, end)`, trailer included, as it says itself:
 * nothing was checked yet. For who decides where it is decompressed.
 */
export function plainSize(bytes: Uint8Array, start: number, end: number): number {
  const dataEnd = end - BLOCK_TRAILER_SIZE
  const isCompressed = bytes[dataEnd] !== BlockCodec.none
  if (!isCompressed || dataEnd - start < BLOCK_SIZE_SIZE) return Math.max(0, dataEnd - start)
  return new DataView(bytes.buffer, bytes.byteOffset + start).getUint32(0, true)
}

/** The compressed bytes, and the size that they say the block has. */
function openCompressed(
  codec: CompressedBlockCodec,
  bytes: Uint8Array,
  start: number,
  end: number,
  file: BlockFile,
  offset: number,
): { readonly stream: Uint8Array; readonly size: number } {
  const where = { path: file.path, offset }
  if (end - start < BLOCK_SIZE_SIZE) throw new CorruptionError(where, 'a compressed block is cut')
  const size = new DataView(bytes.buffer, bytes.byteOffset + start).getUint32(0, true)
  if (size > BLOCK_SIZE_MAX) throw new CorruptionError(where, `a block is not ${size} bytes long`)
  const stream = bytes.subarray(start + BLOCK_SIZE_SIZE, end)
  if (codec === BlockCodec.zstd && zstdDecompressSync === undefined) {
    throw new VersionMismatchError(
      `${file.path}@${offset}: the block is compressed with zstd, which Node.js has ` +
        `from 22.15 on; this is ${process.version}`,
    )
  }
  return { stream, size }
}

/** Damage only where the stream is at fault: what is taken for damaged may be dropped. */
function failureOf(cause: unknown, size: number, file: BlockFile, offset: number): unknown {
  const code = systemErrorCode(cause)
  const isShortage = code === undefined ? cause instanceof RangeError : SHORTAGES.includes(code)
  if (isShortage) {
    const words = `${file.path}@${offset}: there is no memory to decompress ${size} bytes`
    return new OverloadedError(`${words}: free some, and try again`, RETRY_AFTER_MS, { cause })
  }
  if (code === undefined || !DAMAGE.test(code)) return cause
  const what = 'a compressed block does not decompress'
  return new CorruptionError({ path: file.path, offset }, what, { cause })
}

function checkSize(block: Uint8Array, size: number, file: BlockFile, offset: number): void {
  if (block.length === size) return
  throw new CorruptionError(
    { path: file.path, offset, expected: String(size), actual: String(block.length) },
    'a compressed block has another size than it says',
  )
}

/**
 * Which blocks are worth a trial. Values that are compressed already (pictures, random bytes) would
 * cost the time of compressing every block for nothing: after a trial that did not pay the next
 * blocks are stored as they are, twice as many each time, up to SKIPPED_MAX.
 */
export class CompressionTrials {
  #skip = 0
  #skipped = 0

  /** Asked once for each block, in their order. */
  shouldTry(): boolean {
    if (this.#skipped >= this.#skip) return true
    this.#skipped++
    return false
  }

  /** Tells how the trial went. */
  tried(paid: boolean): void {
    this.#skip = paid ? 0 : Math.min(this.#skip * 2 + 1, SKIPPED_MAX)
    this.#skipped = 0
  }
}

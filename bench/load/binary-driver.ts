/**
 * Duramen's binary protocol through its own codecs, and the echo of its frames: the same requests
 * sent to a server that returns every byte, the limit of any server of this protocol.
 */
import type { FrameDecoder } from '../../src/net/frame.ts'
import type { OutputBuffer } from '../../src/net/output-buffer.ts'
import type { ReplyHeader } from '../../src/net/reply-header.ts'
import type { Request } from '../../src/net/request.ts'
import { type Codecs, loadCodecs } from '../built.ts'
import { type Driver, type DriverConnection, GREETING_ID, type OnReply } from './driver.ts'

const FRAME_SIZE_MAX = 16 * 1024 * 1024
const STATUS_OK = 1
const STATUS_ABSENT = 2
const OPCODE_GET = 3
/** Where a request carries its id, behind the length. */
const REQUEST_ID_OFFSET = 4
const OPTIONS = {
  budgetMs: 5000,
  consistency: undefined,
  durability: 'sync',
  version: undefined,
} as const

const NO_VALUE = new Uint8Array(0)

/** Encodes requests, each into memory of its own, because a socket may hold it for a while. */
class FrameWriter {
  readonly #codecs: Codecs
  readonly #output: OutputBuffer

  constructor(codecs: Codecs) {
    this.#codecs = codecs
    this.#output = new codecs.OutputBuffer()
  }

  frame(id: number, request: Request): Uint8Array {
    this.#output.length = 0
    this.#codecs.encodeRequest(this.#output, id, OPTIONS, request)
    return Buffer.from(this.#output.written)
  }

  read(id: number, key: Uint8Array): Uint8Array {
    return this.frame(id, { type: 'get', key })
  }

  write(id: number, key: Uint8Array, value: Uint8Array): Uint8Array {
    return this.frame(id, { type: 'put', key, value, ttlMs: 0 })
  }
}

class BinaryConnection implements DriverConnection {
  readonly #writer: FrameWriter
  readonly #decoder: FrameDecoder
  readonly #header: ReplyHeader
  readonly #valueSize: number
  readonly #onReply: OnReply

  constructor(codecs: Codecs, writer: FrameWriter, valueSize: number, onReply: OnReply) {
    this.#writer = writer
    this.#decoder = new codecs.FrameDecoder(FRAME_SIZE_MAX)
    this.#header = new codecs.ReplyHeader()
    this.#valueSize = valueSize
    this.#onReply = onReply
  }

  greet(): Uint8Array {
    return this.#writer.frame(GREETING_ID, {
      type: 'hello',
      versionMin: 1,
      versionMax: 1,
      features: 0,
      clientName: 'bench',
      credentials: NO_VALUE,
    })
  }

  read(id: number, key: Uint8Array): Uint8Array {
    return this.#writer.read(id, key)
  }

  write(id: number, key: Uint8Array, value: Uint8Array): Uint8Array {
    return this.#writer.write(id, key, value)
  }

  receive(chunk: Buffer): void {
    this.#decoder.push(chunk)
    while (this.#decoder.next()) {
      const { bytes, start, end } = this.#decoder
      this.#header.decode(bytes, start, end)
      this.#onReply(this.#header.id, this.#error(end))
    }
  }

  #error(end: number): string | undefined {
    const { status, opcode, bodyStart } = this.#header
    if (status === STATUS_ABSENT) return 'key is absent'
    if (status !== STATUS_OK) return `status ${status}`
    if (opcode !== OPCODE_GET || end - bodyStart === this.#valueSize) return undefined
    return 'value of wrong size'
  }
}

class EchoConnection implements DriverConnection {
  readonly #writer: FrameWriter
  readonly #decoder: FrameDecoder
  readonly #onReply: OnReply

  constructor(codecs: Codecs, writer: FrameWriter, onReply: OnReply) {
    this.#writer = writer
    this.#decoder = new codecs.FrameDecoder(FRAME_SIZE_MAX)
    this.#onReply = onReply
  }

  greet(): undefined {
    return undefined
  }

  read(id: number, key: Uint8Array): Uint8Array {
    return this.#writer.read(id, key)
  }

  write(id: number, key: Uint8Array, value: Uint8Array): Uint8Array {
    return this.#writer.write(id, key, value)
  }

  receive(chunk: Buffer): void {
    this.#decoder.push(chunk)
    while (this.#decoder.next()) {
      const { bytes, start } = this.#decoder
      const at = start + REQUEST_ID_OFFSET
      const low = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16)
      this.#onReply((low | ((bytes[at + 3] ?? 0) << 24)) >>> 0, undefined)
    }
  }
}

export async function binaryDriver(): Promise<Driver> {
  const codecs = await loadCodecs()
  const writer = new FrameWriter(codecs)
  return {
    connect: (valueSize, onReply) => new BinaryConnection(codecs, writer, valueSize, onReply),
  }
}

export async function echoDriver(): Promise<Driver> {
  const codecs = await loadCodecs()
  const writer = new FrameWriter(codecs)
  return { connect: (_valueSize, onReply) => new EchoConnection(codecs, writer, onReply) }
}

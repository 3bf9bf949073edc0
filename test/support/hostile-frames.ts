/**
 * Bytes that a broken or hostile client sends: malformed in every way that the grammar allows to
 * get wrong, from a seed.
 */
import { utf8Encode } from '../../src/bytes.ts'
import { Opcode } from '../../src/net/opcode.ts'
import type { Request } from '../../src/net/request.ts'
import type { Random } from '../../src/random.ts'
import { frameOf, HELLO } from './session-harness.ts'

const OPCODES = Object.values(Opcode)
const OTHER_PROTOCOLS = [
  'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'POST /v1 HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n',
  '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n',
  'PING\r\n',
  'SSH-2.0-OpenSSH_9.0\r\n',
  '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003',
  '\r\n\r\n\u0000\r\nQUIT\n',
]

/** The whole of something hostile: what is written, in pieces, and how it ends. */
export interface HostileConversation {
  readonly greets: boolean
  readonly chunks: readonly Uint8Array[]
  readonly frameCount: number
  /** Ends in good order, or breaks the connection. */
  readonly ending: 'end' | 'reset'
}

function randomRequest(random: Random): Request {
  const key = random.bytes(1 + random.below(12))
  const value = random.bytes(random.below(200))
  const scanId = random.below(6)
  const sizes = { entriesMax: random.below(2 ** 32), bytesMax: random.below(2 ** 32) }
  const scan = {
    reverse: random.below(2) === 0,
    order: random.below(2) === 0 ? ('ordered' as const) : ('unordered' as const),
    keysOnly: random.below(2) === 0,
    cursor: random.below(2) === 0 ? undefined : random.bytes(5),
    ...(random.below(2) === 0 ? { gte: key } : { lt: key }),
  }
  const all: Request[] = [
    HELLO,
    { type: 'ping', payload: value },
    { type: 'get', key },
    { type: 'getEntry', key },
    { type: 'getMany', keys: [key, value, key] },
    { type: 'put', key, value, ttlMs: random.below(100) },
    { type: 'delete', key },
    {
      type: 'batch',
      operations: [
        { type: 'put', key, value, ttlMs: random.below(2) },
        { type: 'del', key },
      ],
    },
    { type: 'scanOpen', scan, scanId, limit: random.below(100), ...sizes },
    { type: 'scanNext', scanId, ...sizes },
    { type: 'scanClose', scanId },
    { type: 'count', scan },
    { type: 'stats' },
    { type: 'ringMap' },
    { type: 'cancel', requestId: random.below(30) },
  ]
  return all[random.below(all.length)]!
}

/** A well-formed request. */
function valid(random: Random): Uint8Array {
  return frameOf(randomRequest(random), 1 + random.below(30), { budgetMs: random.below(3000) })
}

function setLength(frame: Uint8Array, length: number): Uint8Array {
  new DataView(frame.buffer, frame.byteOffset).setUint32(0, length, true)
  return frame
}

/** Each returns the bytes of one frame, or of what stands in place of one. */
const KINDS: readonly ((random: Random) => Uint8Array)[] = [
  valid,
  // Noise, with and without an honest length.
  random => random.bytes(1 + random.below(300)),
  random => {
    const size = 12 + random.below(300)
    return setLength(random.bytes(size + 4), size)
  },
  // One bit of a valid frame flipped behind its length, or anywhere.
  random => flip(valid(random), 4, random),
  random => flip(valid(random), 0, random),
  // Lengths that lie: far too long, too short, a little off.
  random => setLength(valid(random), 2 ** 24 + random.below(2 ** 31)),
  random => setLength(valid(random), random.below(12)),
  random => setLength(valid(random), 1_000_000 + random.below(15_000_000)),
  random => {
    const frame = valid(random)
    return setLength(frame, Math.max(0, frame.length - 4 + random.below(9) - 4))
  },
  // A frame cut short, with what follows sliding into it.
  random => {
    const frame = valid(random)
    return frame.subarray(0, 1 + random.below(frame.length - 1))
  },
  // Every opcode with a random body.
  random => {
    const size = 12 + random.below(100)
    const frame = setLength(random.bytes(size + 4), size)
    frame[4] = OPCODES[random.below(OPCODES.length)]!
    frame[5] = random.below(4)
    frame.fill(0, 6, 8)
    return frame
  },
  // Counts that promise more than the frame has.
  random => {
    const frame = frameOf({ type: 'getMany', keys: [random.bytes(4)] }, 1 + random.below(99))
    new DataView(frame.buffer, frame.byteOffset).setUint32(16, random.below(2 ** 32), true)
    if (random.below(2) === 0) frame[4] = Opcode.batch
    return frame
  },
  // Reserved values: id 0, unknown flags, codes and opcodes.
  random => {
    const frame = valid(random)
    const field = random.below(5)
    if (field === 0) frame.fill(0, 8, 12)
    else frame[3 + field] = 20 + random.below(236)
    return frame
  },
  () => utf8Encode('\u0000'.repeat(40)),
]

function flip(frame: Uint8Array, from: number, random: Random): Uint8Array {
  const at = from + random.below(frame.length - from)
  frame[at]! ^= 1 << random.below(8)
  return frame
}

/** Cuts bytes into pieces, as TCP may. */
function cut(bytes: Uint8Array, random: Random): Uint8Array[] {
  if (random.below(3) > 0) return [bytes]
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + 1 + random.below(40))
    pieces.push(bytes.subarray(at, end))
    at = end
  }
  return pieces
}

export function hostileConversation(random: Random): HostileConversation {
  const ending = random.below(3) === 0 ? 'reset' : 'end'
  if (random.below(12) === 0) {
    const text = OTHER_PROTOCOLS[random.below(OTHER_PROTOCOLS.length)]!
    const chunks = cut(Uint8Array.from(Buffer.from(text, 'latin1')), random)
    return { greets: false, chunks, frameCount: 1, ending }
  }
  const frameCount = 1 + random.below(20)
  const frames: Uint8Array[] = []
  for (let count = 0; count < frameCount; count++) {
    // Half of them are valid, so that conversations get somewhere before they break.
    const kind = random.below(2) === 0 ? valid : KINDS[random.below(KINDS.length)]!
    frames.push(kind(random))
  }
  const chunks = cut(Uint8Array.from(Buffer.concat(frames)), random)
  return { greets: random.below(8) > 0, chunks, frameCount, ending }
}

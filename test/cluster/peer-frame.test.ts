// Goal: frames and handshakes between nodes are what PROTOCOL.md says, and nobody comes in who does
// not know the secret, whatever he says or repeats.
// Method: the bytes of the page against the code and against HMACs computed here; then each flipped
// bit of a handshake, other people's proofs, and frames that end early.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, test } from 'node:test'
import { DecodeError, utf8Decode, utf8Encode } from '../../src/bytes.ts'
import {
  HANDSHAKE_FRAME_SIZE_MAX,
  PeerFrame,
  PeerFrameHeader,
  writePeerFrame,
  writePeerRequest,
} from '../../src/cluster/peer-frame.ts'
import {
  type HandshakeState,
  type Objection,
  PeerHandshake,
} from '../../src/cluster/peer-handshake.ts'
import {
  compareBoots,
  type Hello,
  LANE_CODES,
  PEER_PROTOCOL_MAX,
  PEER_PROTOCOL_MIN,
  PeerRefusal,
  refusalError,
} from '../../src/cluster/peer-hello.ts'
import { DEFAULT_PEER_LIMITS } from '../../src/cluster/peer-limits.ts'
import { OverloadedError } from '../../src/errors.ts'
import { encodeErrorBody, errorBodyOf, OutputBuffer, statusOfError } from '../../src/net/index.ts'
import { SharedSecret } from '../../src/secret.ts'
import { readProjectFile } from '../support/project-files.ts'

const page = readProjectFile('src/cluster/PROTOCOL.md')
const SECRET = utf8Encode('correct horse battery staple')
const EPOCH = 9

/** The bytes of the example in the fence "```hex <name>". */
function example(name: string): Uint8Array {
  const [, block] = new RegExp(`^\`\`\`hex ${name}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(page) ?? []
  assert.ok(block !== undefined, `the page has the example ${name}`)
  const lines = block.trimEnd().split('\n')
  const hex = lines.map(line => /^(?:[0-9a-f]{2} )*[0-9a-f]{2}(?= {2}|$)/.exec(line)![0])
  return Uint8Array.from(Buffer.from(hex.join('').replaceAll(' ', ''), 'hex'))
}

function helloOf(digit: string, fields: Partial<Hello>): Hello {
  return {
    protocolMin: 1,
    protocolMax: 1,
    features: 0,
    lane: 'urgent',
    clusterId: 'cc'.repeat(16),
    nodeId: digit.repeat(32),
    boot: { generation: 1, nonce: `${digit}0`.repeat(16) },
    challenge: new Uint8Array(32).fill(Number.parseInt(`${digit}c`, 16)),
    address: '',
    ...fields,
  }
}

const DIALLER = helloOf('1', {
  lane: 'data',
  boot: { generation: 3, nonce: '10'.repeat(16) },
  address: '10.0.0.1:7701',
})
const ACCEPTOR = helloOf('2', {})

/** One side of a handshake; what it says is kept frame by frame. */
class Side {
  readonly said: Uint8Array[] = []
  readonly handshake: PeerHandshake
  state: HandshakeState = { type: 'waiting' }

  constructor(
    role: 'dialler' | 'acceptor',
    own: Hello,
    options: {
      secret?: Uint8Array
      expected?: string
      judge?: () => Objection | undefined
    } = {},
  ) {
    this.handshake = new PeerHandshake(role, {
      secret: new SharedSecret(options.secret ?? SECRET),
      own,
      expected: options.expected,
      judge: options.judge ?? (() => undefined),
      write: (type, code, body) => {
        const output = new OutputBuffer()
        writePeerFrame(output, type, code, 0, EPOCH, body)
        this.said.push(output.written.slice())
      },
    })
  }

  hear(frame: Uint8Array): void {
    const header = new PeerFrameHeader()
    header.decode(frame, 4, frame.length)
    this.state = this.handshake.take(header, frame, frame.length)
  }
}

/** Lets both sides talk until one has an opinion; `change` stands between them. */
function converse(
  dialler: Side,
  acceptor: Side,
  change = (frame: Uint8Array, _from: Side): Uint8Array => frame,
): void {
  dialler.handshake.begin()
  const heard = new Map([
    [dialler, 0],
    [acceptor, 0],
  ])
  for (let round = 0; round < 4; round++) {
    for (const [from, to] of [
      [dialler, acceptor],
      [acceptor, dialler],
    ] as const) {
      for (let at = heard.get(to)!; at < from.said.length; at++) {
        heard.set(to, at + 1)
        if (to.state.type === 'waiting') to.hear(change(from.said[at]!, from))
      }
    }
  }
}

function hmac(...parts: (string | Uint8Array)[]): string {
  const hash = createHmac('sha256', SECRET)
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

/** As the page defines it, from the bodies of the hellos. */
function transcript(): Uint8Array {
  const parts = [
    example('peer-dialler').subarray(0, 135),
    example('peer-acceptor').subarray(0, 122),
  ]
  return Buffer.concat(
    parts.flatMap(frame => {
      const length = Buffer.alloc(4)
      length.writeUInt32LE(frame.length - 20)
      return [length, Buffer.from(frame.subarray(20))]
    }),
  )
}

describe('the page', () => {
  test('has the handshake', () => {
    const dialler = new Side('dialler', DIALLER)
    const acceptor = new Side('acceptor', ACCEPTOR)
    converse(dialler, acceptor)
    assert.deepEqual(dialler.state, { type: 'open', peer: ACCEPTOR })
    assert.deepEqual(acceptor.state, { type: 'open', peer: DIALLER })
    assert.deepEqual(Uint8Array.from(Buffer.concat(dialler.said)), example('peer-dialler'))
    assert.deepEqual(Uint8Array.from(Buffer.concat(acceptor.said)), example('peer-acceptor'))
  })

  test('has the proofs', () => {
    const dialler = Buffer.from(example('peer-dialler')).subarray(-32).toString('hex')
    const acceptor = Buffer.from(example('peer-acceptor')).subarray(-32).toString('hex')
    assert.equal(dialler, hmac('duramen peer 1 ', 'dialler', transcript()))
    assert.equal(acceptor, hmac('duramen peer 1 ', 'acceptor', transcript()))
    const refusal = Buffer.from(example('peer-refusal')).subarray(20, 52).toString('hex')
    const text = Buffer.from('\u0007removed')
    assert.equal(refusal, hmac('duramen peer 1 refusal', transcript(), text))
  })

  test('has the refusal', () => {
    const dialler = new Side('dialler', DIALLER)
    const judge = () => ({ code: PeerRefusal.removed, message: 'removed' })
    const acceptor = new Side('acceptor', ACCEPTOR, { judge })
    converse(dialler, acceptor)
    assert.deepEqual(acceptor.said.at(-1), example('peer-refusal'))
    const said = { code: PeerRefusal.removed, message: 'removed', isProven: true }
    assert.deepEqual(dialler.state, { type: 'refused', by: 'them', ...said })
    assert.deepEqual(acceptor.state, { type: 'refused', by: 'us', ...said })
  })

  test('is shown in one line, whatever a refusal says', () => {
    const { message } = refusalError(PeerRefusal.removed, `a\u001b[2J\nb${'c'.repeat(5000)}`)
    assert.match(message, /^a\ufffd\[2J\ufffdbccc/)
    assert.ok(message.length < 1100)
  })

  test('has the other frames', () => {
    const output = new OutputBuffer()
    function check(name: string): void {
      assert.deepEqual(output.written.slice(), example(name), name)
      output.reset()
    }
    writePeerRequest(output, 32, 7, EPOCH, 1000, utf8Encode('hi'))
    check('peer-request')
    writePeerRequest(output, 3, 0, EPOCH, 0, utf8Encode('hi'))
    check('peer-message')
    writePeerFrame(output, PeerFrame.reply, 0, 7, EPOCH, utf8Encode('ok'))
    check('peer-reply')
    const busy = new OverloadedError('busy', 50)
    const body = encodeErrorBody(errorBodyOf(busy))
    writePeerFrame(output, PeerFrame.error, statusOfError(busy), 7, EPOCH, body)
    check('peer-error')
    writePeerFrame(output, PeerFrame.ping, 0, 1, EPOCH, new Uint8Array(0))
    check('peer-ping')
  })

  test('has every type, lane and refusal, and the limits', () => {
    for (const [name, type] of Object.entries(PeerFrame)) {
      assert.match(page, new RegExp(`^\\| ${type} +\\| ${name} `, 'm'))
    }
    for (const [lane, code] of Object.entries(LANE_CODES)) {
      assert.ok(page.includes(`${code} \`${lane}\``))
    }
    const codes = Object.values(PeerRefusal)
    const rows =
      page
        .split('### Who may speak')[1]!
        .split('###')[0]!
        .match(/^\| \d+ +\|/gm) ?? []
    assert.deepEqual(
      rows.map(row => Number.parseInt(row.slice(1), 10)),
      codes,
    )
    assert.ok(page.includes(`${PEER_PROTOCOL_MIN} to ${PEER_PROTOCOL_MAX}`))
    const { frameSizeMax, inFlightMax, pingAfterMs, silentMaxMs } = DEFAULT_PEER_LIMITS
    const limits = [HANDSHAKE_FRAME_SIZE_MAX, frameSizeMax, inFlightMax, pingAfterMs]
    const { handshakeTimeoutMs, strangersMax } = DEFAULT_PEER_LIMITS
    assert.ok(page.includes(`within ${handshakeTimeoutMs.toLocaleString('en')} ms. At most`))
    assert.ok(page.includes(`At most ${strangersMax} are under way`))
    for (const limit of [...limits, silentMaxMs, 2 * silentMaxMs]) {
      assert.ok(page.includes(limit.toLocaleString('en')), `${limit}`)
    }
  })
})

describe('a handshake', () => {
  test('comes to nothing when any bit of it is changed on the way', () => {
    const plain = [new Side('dialler', DIALLER), new Side('acceptor', ACCEPTOR)] as const
    converse(...plain)
    let count = 0
    for (const side of [0, 1] as const) {
      for (const [at, frame] of plain[side].said.entries()) {
        // Behind the header, which is not covered, as it may differ from link to link.
        for (let bit = 20 * 8; bit < frame.length * 8; bit += 1) {
          const sides = [new Side('dialler', DIALLER), new Side('acceptor', ACCEPTOR)] as const
          const run = (): void =>
            converse(...sides, (said, from) => {
              if (from !== sides[side] || from.said.indexOf(said) !== at) return said
              const changed = said.slice()
              changed[bit >>> 3]! ^= 1 << (bit & 7)
              return changed
            })
          try {
            run()
          } catch (error) {
            assert.ok(error instanceof DecodeError, String(error))
          }
          const bothOpen = sides.every(({ state }) => state.type === 'open')
          assert.equal(bothOpen, false, `bit ${bit} of frame ${at} of side ${side}`)
          // The last proof is the acceptor's, which is open already; nobody else may be.
          const isLastProof = side === 1 && at === 1
          assert.equal(sides[0].state.type === 'open', false)
          assert.equal(sides[1].state.type === 'open', isLastProof)
          count++
        }
      }
    }
    assert.ok(count > 1500)
  })

  test('is not passed with a proof from another one', () => {
    const earlier = [new Side('dialler', DIALLER), new Side('acceptor', ACCEPTOR)] as const
    converse(...earlier)
    // The same dialler says the same; the acceptor has another challenge.
    const acceptor = new Side('acceptor', helloOf('2', { challenge: new Uint8Array(32).fill(9) }))
    for (const frame of earlier[0].said) acceptor.hear(frame)
    assert.equal(acceptor.state.type, 'refused')
    const dialler = new Side('dialler', { ...DIALLER, challenge: new Uint8Array(32).fill(9) })
    dialler.handshake.begin()
    for (const frame of earlier[1].said) dialler.hear(frame)
    assert.equal(dialler.state.type, 'refused')
  })

  test('is not passed by returning what the other side says', () => {
    const acceptor = new Side('acceptor', ACCEPTOR)
    acceptor.hear(new Side('dialler', ACCEPTOR).said[0] ?? frameOf(ACCEPTOR))
    const proof = frame(PeerFrame.proof, new Uint8Array(32))
    acceptor.hear(proof)
    assert.equal(acceptor.state.type, 'refused')
    const dialler = new Side('dialler', DIALLER)
    dialler.handshake.begin()
    dialler.hear(dialler.said[0]!)
    dialler.hear(dialler.said[1]!)
    assert.equal(dialler.state.type, 'refused')
  })

  test('tells nothing to who does not prove first', () => {
    const acceptor = new Side('acceptor', ACCEPTOR)
    acceptor.hear(frameOf(DIALLER))
    assert.equal(acceptor.said.length, 1)
    acceptor.hear(frame(PeerFrame.proof, new Uint8Array(32)))
    const [, refusal] = acceptor.said
    assert.equal(refusal![4], PeerFrame.refusal)
    assert.equal(refusal![5], PeerRefusal.secret)
    assert.ok(refusal!.subarray(20, 52).every(byte => byte === 0))
  })

  test('believes no refusal that is not proven', () => {
    const dialler = new Side('dialler', DIALLER)
    dialler.handshake.begin()
    dialler.hear(frameOf(ACCEPTOR))
    const body = new Uint8Array(40)
    dialler.hear(frame(PeerFrame.refusal, body, PeerRefusal.superseded))
    assert.equal(dialler.state.type, 'refused')
    assert.equal(dialler.state.type === 'refused' && dialler.state.isProven, false)
  })

  const cases: readonly [string, Partial<Hello>, string | undefined, number][] = [
    ['another cluster', { clusterId: 'dd'.repeat(16) }, undefined, PeerRefusal.cluster],
    ['a later protocol', { protocolMin: 2, protocolMax: 3 }, undefined, PeerRefusal.version],
    ['another node', {}, '77'.repeat(16), PeerRefusal.otherNode],
  ]
  for (const [name, fields, expected, code] of cases) {
    test(`is refused with ${name}`, () => {
      const options = expected === undefined ? {} : { expected }
      const dialler = new Side('dialler', DIALLER, options)
      const acceptor = new Side('acceptor', helloOf('2', fields))
      converse(dialler, acceptor)
      for (const { state } of [dialler, acceptor]) {
        assert.equal(state.type === 'refused' && state.code, code)
      }
      // Whoever refuses first does so before anything is proven.
      const refusals = [dialler, acceptor].flatMap(({ said }) =>
        said.filter(frame => frame[4] === PeerFrame.refusal),
      )
      assert.equal(refusals.length, 1)
      const text = utf8Decode(refusals[0]!.subarray(52))
      assert.doesNotMatch(text, /[0-9a-f]{16}/, 'no id is told to strangers')
    })
  }

  test('lets in a node of no cluster, and one that says more than this build knows', () => {
    const dialler = new Side('dialler', { ...DIALLER, clusterId: '00'.repeat(16) })
    const acceptor = new Side('acceptor', ACCEPTOR)
    converse(dialler, acceptor)
    assert.equal(acceptor.state.type, 'open')
    const later = new Side('acceptor', ACCEPTOR)
    const longer = Uint8Array.from([...frameOf({ ...DIALLER, protocolMax: 7 }), 1, 2, 3])
    later.hear(longer)
    assert.equal(later.state.type, 'waiting')
    assert.equal(later.said.length, 1)
  })

  test('ends where it has no place for a frame', () => {
    for (const type of [0, 4, 5, 6, 7, 8, 9, 10, 255]) {
      const acceptor = new Side('acceptor', ACCEPTOR)
      acceptor.hear(frame(type, new Uint8Array(64)))
      assert.equal(acceptor.state.type === 'refused' && acceptor.state.code, PeerRefusal.protocol)
    }
    const early = new Side('acceptor', ACCEPTOR)
    early.hear(frame(PeerFrame.proof, new Uint8Array(32)))
    assert.equal(early.state.type, 'refused')
    const twice = new Side('acceptor', ACCEPTOR)
    twice.hear(frameOf(DIALLER))
    twice.hear(frameOf(DIALLER))
    assert.equal(twice.state.type, 'refused')
  })

  test('decodes no hello that ends early', () => {
    const whole = frameOf(DIALLER)
    for (let size = 20; size < whole.length; size++) {
      assert.throws(() => new Side('acceptor', ACCEPTOR).hear(whole.subarray(0, size)), DecodeError)
    }
    const header = new PeerFrameHeader()
    for (let size = 4; size < 20; size++) {
      assert.throws(() => header.decode(whole, 4, size), DecodeError)
    }
  })
})

function frame(type: number, body: Uint8Array, code = 0): Uint8Array {
  const output = new OutputBuffer()
  writePeerFrame(output, type, code, 0, EPOCH, body)
  return output.written.slice()
}

function frameOf(hello: Hello): Uint8Array {
  const side = new Side('dialler', hello)
  side.handshake.begin()
  return side.said[0]!
}

test('of two lives one is later, whoever compares them, but for those of copies', () => {
  const nonce = (attempt: number, tries: number, rest: string) =>
    `${attempt}`.repeat(16) + tries.toString(16).padStart(8, '0') + rest.repeat(8)
  const lives = [
    { generation: 1, nonce: nonce(3, 1, 'f') },
    { generation: 1, nonce: nonce(3, 2, '0') },
    { generation: 1, nonce: nonce(3, 258, '0') },
    { generation: 2, nonce: nonce(1, 1, '0') },
    { generation: 2 ** 40, nonce: nonce(0, 1, '0') },
  ]
  for (const [i, a] of lives.entries()) {
    for (const [j, b] of lives.entries()) {
      const expected = i < j ? 'earlier' : i > j ? 'later' : 'same'
      assert.equal(compareBoots(a, b), expected)
      const copy = { ...b, nonce: nonce(9, 1, 'a') }
      if (a.generation === b.generation) assert.equal(compareBoots(copy, a), 'copy')
    }
  }
})

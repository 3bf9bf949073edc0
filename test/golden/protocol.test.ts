// Goal: PROTOCOL.md is true. A client written from it, byte by byte, talks to this server.
// Method: every example is parsed out of the document and held against the codecs in both
// directions; every opcode, status and limit that the document names is held against the tables.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Decode, utf8Encode } from '../../src/bytes.ts'
import type { Consistency, Durability } from '../../src/key-value-store.ts'
import { DEFAULT_SERVER_LIMITS } from '../../src/net/limits.ts'
import { Opcode, Status } from '../../src/net/opcode.ts'
import { OutputBuffer } from '../../src/net/output-buffer.ts'
import { decodeRequest, encodeRequest, type Request } from '../../src/net/request.ts'
import { decodeResponse, encodeResponse, type Response } from '../../src/net/response.ts'
import { readProjectFile } from '../support/project-files.ts'

const TEXT = readProjectFile('src/net/PROTOCOL.md')
/** The same with the cells of tables unpadded. */
const TABLES = TEXT.replace(/ +\|/g, ' |')

interface Example {
  readonly name: string
  readonly json: ExampleJson
  readonly bytes: Uint8Array
  readonly lines: readonly string[]
}

interface ExampleJson {
  readonly id: number
  readonly opcode?: keyof typeof Opcode
  readonly budgetMs?: number
  readonly consistency?: Consistency
  readonly durability?: Durability
  readonly version?: string
  readonly request?: unknown
  readonly response?: unknown
}

const HEX_LINE = /^((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: |$)/

function parseExamples(): Example[] {
  return [...TEXT.matchAll(/^```hex ([\w-]+)\n([\s\S]*?)^```$/gm)].map(match => {
    const lines = match[2]!.trimEnd().split('\n')
    const firstHex = lines.findIndex(line => HEX_LINE.test(line))
    const json = lines.slice(0, firstHex).join('')
    const hexLines = lines.slice(firstHex)
    const hex = hexLines.map(line => HEX_LINE.exec(line)?.[1] ?? assert.fail(`no hex: ${line}`))
    const bytes = Uint8Array.from(Buffer.from(hex.join('').replaceAll(' ', ''), 'hex'))
    return { name: match[1]!, json: JSON.parse(json) as ExampleJson, bytes, lines: hexLines }
  })
}

/** Fields whose strings stand for bytes. */
const BYTE_FIELDS = new Set(
  'key value keys values gt gte lt lte cursor payload credentials detail ring version'.split(' '),
)

function bytesOf(text: string): Uint8Array {
  if (!text.startsWith('0x')) return utf8Encode(text)
  return Uint8Array.from(Buffer.from(text.slice(2), 'hex'))
}

/** A message as the codecs have it, from its JSON. */
function fromJson(value: unknown, name = ''): unknown {
  if (value === null) return undefined
  if (typeof value === 'string') return BYTE_FIELDS.has(name) ? bytesOf(value) : value
  if (Array.isArray(value)) return value.map(item => fromJson(item, name))
  if (typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromJson(item, key)]))
}

/** The JSON of a message; the reverse of fromJson. */
function toJson(value: unknown): unknown {
  if (value === undefined) return null
  if (value instanceof Uint8Array) {
    const isText = value.every(byte => byte >= 0x20 && byte < 0x7f)
    return isText ? utf8Decode(value) : `0x${Buffer.from(value).toString('hex')}`
  }
  if (Array.isArray(value)) return value.map(toJson)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toJson(item)]))
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

const examples = parseExamples()

describe('PROTOCOL.md', () => {
  test('has an example of every request and every kind of reply', () => {
    const seen = new Set<string>()
    for (const { json } of examples) {
      const message = (json.request ?? json.response) as { readonly type: string }
      seen.add(`${json.request === undefined ? 'response' : 'request'} ${message.type}`)
    }
    for (const [name, code] of Object.entries(Opcode)) {
      const isLater = ['ringMap', 'admin', 'getEntry'].includes(name)
      if (code < Opcode.goaway || isLater)
        assert.ok(seen.has(`request ${name}`), `no example of ${name}`)
    }
    const replies =
      'hello pong value entry absent values done page count stats ring admin goaway error'.split(
        ' ',
      )
    for (const type of replies) assert.ok(seen.has(`response ${type}`), `no example of ${type}`)
  })

  for (const { name, json, bytes, lines } of examples) {
    test(`example ${name} is what the codecs read and write`, () => {
      const output = new OutputBuffer(16)
      if (json.request !== undefined) {
        const version = json.version === undefined ? undefined : bytesOf(json.version)
        const { id, budgetMs = 0, consistency, durability } = json
        const options = { budgetMs, consistency, durability, version }
        encodeRequest(output, id, options, fromJson(json.request) as Request)
        const decoded = decodeRequest(bytes, 4, bytes.length)
        assert.deepEqual(toJson(decoded.request), json.request)
        assert.equal(decoded.id, id)
        assert.deepEqual(decoded.options, options)
      } else {
        const opcode = Opcode[json.opcode!]
        encodeResponse(output, opcode, json.id, fromJson(json.response) as Response)
        const decoded = decodeResponse(bytes, 4, bytes.length)
        assert.deepEqual(toJson(decoded.response), json.response)
        assert.equal(decoded.id, json.id)
        assert.equal(decoded.opcode, opcode)
      }
      assert.equal(hexOf(output.written), hexOf(bytes))
    })

    test(`example ${name} says its length`, () => {
      const length = Buffer.from(bytes).readUInt32LE(0)
      assert.equal(length, bytes.length - 4)
      assert.match(lines[0]!, new RegExp(`length ${length}$`))
    })
  }

  test('lists every opcode', () => {
    for (const [name, code] of Object.entries(Opcode)) {
      const spelled = name.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase()
      assert.match(TABLES, new RegExp(`\\| ${code} \\| ${spelled}\\b`), `${name} is not listed`)
    }
  })

  test('lists every error status', () => {
    for (const [name, code] of Object.entries(Status)) {
      if (code >= 16) assert.match(TABLES, new RegExp(`^\\| ${code} \\| ${name} \\|`, 'm'))
    }
  })

  test('names the limits that servers have', () => {
    const limits = DEFAULT_SERVER_LIMITS
    const MIB = 1024 * 1024
    for (const [name, shown] of [
      ['valueSizeMax', `${limits.valueSizeMax / MIB} MiB`],
      ['frameSizeMax', `${limits.frameSizeMax / MIB} MiB`],
      ['inFlightMax', limits.connectionInFlightMax.toLocaleString('en')],
      ['getManyKeysMax', limits.getManyKeysMax.toLocaleString('en')],
      ['batchOperationsMax', limits.batchOperationsMax.toLocaleString('en')],
      ['scansMax', String(limits.scansMax)],
    ] as const) {
      assert.match(TABLES, new RegExp(`\\| ${shown} \\| HELLO: ${name} \\|`), name)
    }
    const credits = new RegExp(`SCAN_NEXTs of a scan \\| ${limits.scanCreditsMax} \\|`)
    assert.match(TABLES, credits)
  })
})

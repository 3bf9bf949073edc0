/**
 * Certificates for tests, made on the spot: an authority, and what it signs, valid for the names,
 * addresses and times that a test wants. X.509 v3 (RFC 5280) in DER, with ECDSA over P-256.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { isIPv4 } from 'node:net'

export interface Certificate {
  readonly cert: string
  readonly key: string
}

export interface CertificateOptions {
  /** Host names and IPv4 addresses. */
  readonly names?: readonly string[]
  /** Days from now. @defaultValue yesterday to tomorrow */
  readonly validDays?: readonly [from: number, to: number]
}

const DAY_MS = 86_400_000
const ECDSA_SHA256 = oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02)
const COMMON_NAME = oid(0x55, 0x04, 0x03)
const ALT_NAMES = oid(0x55, 0x1d, 0x11)
const BASIC_CONSTRAINTS = oid(0x55, 0x1d, 0x13)
const DNS_NAME = 0x82
const IP_ADDRESS = 0x87

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  const size = [body.length >> 8, body.length & 0xff]
  const head = body.length < 0x80 ? [tag, body.length] : [tag, 0x82, ...size]
  return Buffer.concat([Buffer.from(head), body])
}

function oid(...bytes: readonly number[]): Buffer {
  return der(0x06, Buffer.from(bytes))
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return der(0x30, ...parts)
}

function nameOf(text: string): Buffer {
  return sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(text)))))
}

function timeOf(days: number): Buffer {
  const text = new Date(Date.now() + days * DAY_MS).toISOString().replace(/\D/g, '')
  return der(0x18, Buffer.from(`${text.slice(0, 14)}Z`))
}

function extension(id: Buffer, value: Buffer): Buffer {
  return sequence(id, der(0x04, value))
}

function altNames(names: readonly string[]): Buffer {
  const entries = names.map(name => {
    if (!isIPv4(name)) return der(DNS_NAME, Buffer.from(name))
    return der(IP_ADDRESS, Buffer.from(name.split('.').map(Number)))
  })
  return extension(ALT_NAMES, sequence(...entries))
}

function pem(what: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${what}-----\n${lines.join('\n')}\n-----END ${what}-----\n`
}

export class Authority {
  readonly cert: string
  readonly #name: string
  readonly #key: KeyObject
  #count = 0

  constructor(name: string) {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#name = name
    this.#key = privateKey
    const isAuthority = extension(BASIC_CONSTRAINTS, sequence(der(0x01, Buffer.of(0xff))))
    this.cert = this.#certify(name, publicKey, [-30, 30], isAuthority)
  }

  issue({ names = ['127.0.0.1', 'localhost'], validDays = [-1, 1] }: CertificateOptions = {}) {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const cert = this.#certify(`of ${this.#name}`, publicKey, validDays, altNames(names))
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    return { cert, key } satisfies Certificate
  }

  #certify(
    subject: string,
    publicKey: KeyObject,
    [from, to]: readonly [number, number],
    extensions: Buffer,
  ): string {
    const hash = createHash('sha256')
      .update(`${this.#name} ${++this.#count}`)
      .digest()
    const serial = der(0x02, Buffer.of(1), hash.subarray(0, 8))
    const algorithm = sequence(ECDSA_SHA256)
    const toSign = sequence(
      der(0xa0, der(0x02, Buffer.of(2))),
      serial,
      algorithm,
      nameOf(this.#name),
      sequence(timeOf(from), timeOf(to)),
      nameOf(subject),
      publicKey.export({ type: 'spki', format: 'der' }),
      der(0xa3, sequence(extensions)),
    )
    const signature = sign('sha256', toSign, this.#key)
    return pem('CERTIFICATE', sequence(toSign, algorithm, der(0x03, Buffer.of(0), signature)))
  }
}

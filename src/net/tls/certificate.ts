/** What a certificate says of itself: whose it is, how long it holds, which hosts it names. */
import { X509Certificate } from 'node:crypto'
import { checkServerIdentity } from 'node:tls'

/** The first certificate of a PEM text: the one that is shown, before those that vouch for it. */
export class Certificate {
  readonly subject: string
  /** Milliseconds since the Unix epoch. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly #parsed: X509Certificate

  /** Throws what crypto throws for what is no certificate. */
  constructor(pem: string) {
    this.#parsed = new X509Certificate(pem)
    const { subject, validFrom, validTo } = this.#parsed
    this.subject = subject.split('\n').reverse().join(', ')
    this.notBeforeMs = Date.parse(validFrom)
    this.notAfterMs = Date.parse(validTo)
  }

  /** ISO 8601. */
  get notAfter(): string {
    return new Date(this.notAfterMs).toISOString()
  }

  /** Why who connects to the host would not believe it; undefined when it names the host. */
  objectionTo(host: string): string | undefined {
    return checkServerIdentity(host, this.#parsed.toLegacyObject())?.message
  }
}

/** For an error: never throws. */
export function describeCertificate(pem: string): string {
  try {
    const { subject, notAfter } = new Certificate(pem)
    return `${subject}, valid until ${notAfter}`
  } catch {
    // Who showed it was told what is wrong with it when it was loaded.
    return 'which cannot be read'
  }
}

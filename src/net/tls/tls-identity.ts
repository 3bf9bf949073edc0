/**
 * The certificate of a node, with its key, and the authority whose certificates it believes; taken
 * anew while it serves. Who listens with it is told, so that new connections see the new one; those
 * that are open stay.
 */
import { createSecureContext, type SecureContext } from 'node:tls'
import { InvalidArgumentError } from '../../errors.ts'
import { Certificate } from './certificate.ts'

/** PEM texts. */
export interface TlsFiles {
  /** The certificate, and those between it and the authority. */
  readonly cert: string
  readonly key: string
  /** Authorities that the other side must have its certificate from. @defaultValue the system's */
  readonly ca?: string | undefined
}

/** What a client or a node shows: nothing older. */
export const TLS_VERSION_MIN = 'TLSv1.2'

export class TlsIdentity {
  #files: TlsFiles
  readonly #listeners = new Set<(files: TlsFiles) => void>()

  /** Throws InvalidArgumentError when certificate and key do not fit. */
  constructor(files: TlsFiles) {
    contextOf(files)
    this.#files = files
  }

  get files(): TlsFiles {
    return this.#files
  }

  /** These from now on. Throws InvalidArgumentError, and changes nothing, when they do not fit. */
  replace(files: TlsFiles): void {
    contextOf(files)
    this.#files = files
    for (const listener of this.#listeners) listener(files)
  }

  /** Returns what ends it. */
  onChange(listener: (files: TlsFiles) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

function contextOf(files: TlsFiles): SecureContext {
  try {
    new Certificate(files.cert)
    return createSecureContext({ ...files, minVersion: TLS_VERSION_MIN })
  } catch (error) {
    // OpenSSL's texts name what is wrong, and show nothing of a key.
    const why = error instanceof Error ? error.message : String(error)
    throw new InvalidArgumentError(
      `certificate and key cannot be used: ${why}; both are PEM files, the key without a ` +
        'passphrase, and the certificate is of that key',
      { cause: error },
    )
  }
}

/** The certificate of `kvd serve`, from PEM files that are read again when they change. */
import type { LogFields } from '../logger.ts'
import { Certificate, type ServerTls, type TlsFiles, TlsIdentity } from '../net/index.ts'
import type { DaemonIo } from './daemon-io.ts'
import type { Reloads } from './reloads.ts'
import type { Settings } from './settings.ts'
import { UsageError } from './usage-error.ts'

/** Where the certificate is, and who vouches for others: paths. */
type TlsPaths = { readonly [Name in keyof TlsFiles]: string }

/** Undefined without a certificate. Throws what is wrong with the files. */
export function loadTls(settings: Settings, io: DaemonIo, reloads: Reloads): ServerTls | undefined {
  const paths = tlsPaths(settings)
  if (paths === undefined) return undefined
  const identity = new TlsIdentity(readFiles(paths, io))
  const load = (): LogFields => {
    const files = readFiles(paths, io)
    identity.replace(files)
    const { subject, notAfter } = new Certificate(files.cert)
    return { subject, notAfter }
  }
  reloads.add({ what: 'certificate', paths: Object.values(paths), load })
  return { identity, clientAuth: settings.tlsClientAuth }
}

/**
 * Throws what is wrong with the files, and UsageError for a certificate that does not name the
 * host, where nodes and clients are told to connect to.
 */
export function checkTls(settings: Settings, io: DaemonIo, host: string): void {
  const paths = tlsPaths(settings)
  if (paths === undefined) return
  const { files } = new TlsIdentity(readFiles(paths, io))
  const why = new Certificate(files.cert).objectionTo(host)
  if (why === undefined) return
  throw new UsageError(
    `the certificate ${paths.cert} does not name ${host}, where these nodes reach each other: ` +
      `give one with ${host} among its subject alternative names (${why})`,
  )
}

/** Undefined without a certificate. Throws UsageError for settings that do not go together. */
function tlsPaths(settings: Settings): TlsPaths | undefined {
  const { tlsCert, tlsKey, tlsCa, tlsClientAuth } = settings
  if (tlsCert === undefined && tlsKey === undefined) {
    if (tlsCa === undefined && tlsClientAuth === 'none') return undefined
    throw new UsageError('--tls-ca and --tls-client-auth take a certificate: --tls-cert, --tls-key')
  }
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new UsageError('a certificate takes its key, and a key its certificate: give both')
  }
  if (tlsClientAuth === 'require' && tlsCa === undefined) {
    throw new UsageError('say whose certificates clients must show: --tls-ca')
  }
  return { cert: tlsCert, key: tlsKey, ...(tlsCa === undefined ? {} : { ca: tlsCa }) }
}

function readFiles({ cert, key, ca }: TlsPaths, io: DaemonIo): TlsFiles {
  const authorities = ca === undefined ? {} : { ca: io.readText(ca) }
  return { cert: io.readText(cert), key: io.readText(key), ...authorities }
}

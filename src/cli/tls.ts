/** The certificate of `kvd serve`, from PEM files that are read again when they change. */
import type { LogFields } from '../logger.ts'
import { Certificate, type ServerTls, type TlsFiles, TlsIdentity } from '../net/index.ts'
import type { DaemonIo } from './daemon-io.ts'
import type { Reloads } from './reloads.ts'
import type { Settings } from './settings.ts'
import { UsageError } from './usage-error.ts'

/** Undefined without a certificate. Throws what is wrong with the files. */
export function loadTls(settings: Settings, io: DaemonIo, reloads: Reloads): ServerTls | undefined {
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
  const read = (): TlsFiles => {
    const ca = tlsCa === undefined ? {} : { ca: io.readText(tlsCa) }
    return { cert: io.readText(tlsCert), key: io.readText(tlsKey), ...ca }
  }
  const identity = new TlsIdentity(read())
  const load = (): LogFields => {
    const files = read()
    identity.replace(files)
    const { subject, notAfter } = new Certificate(files.cert)
    return { subject, notAfter }
  }
  const paths = [tlsCert, tlsKey, ...(tlsCa === undefined ? [] : [tlsCa])]
  reloads.add({ what: 'certificate', paths, load })
  return { identity, clientAuth: tlsClientAuth }
}

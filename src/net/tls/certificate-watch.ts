/**
 * Looks at the certificate that a node shows: at once, when it is replaced, and once a day. One
 * that nobody will believe is told before they say so: it has ended, is about to, or names other
 * hosts than those at which the node is reached.
 */
import type { Clock } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { Certificate } from './certificate.ts'
import type { TlsIdentity } from './tls-identity.ts'

const DAY_MS = 86_400_000
const WARN_BEFORE_MS = 14 * DAY_MS

export interface CertificateWatchOptions {
  readonly identity: TlsIdentity
  readonly clock: Clock
  readonly logger: Logger
  /** Hosts at which others are told to connect to this node. */
  readonly hosts: readonly CertifiedHost[]
}

export interface CertifiedHost {
  readonly host: string
  /** Nodes expect the host of an address to be named; clients may expect another name. */
  readonly who: 'clients' | 'nodes'
}

/** Returns what ends it. */
export function watchCertificate(options: CertificateWatchOptions): () => void {
  const { identity, clock } = options
  let cancel = (): void => undefined
  const daily = (): void => {
    checkTime(options)
    cancel = clock.setTimer(DAY_MS, daily, { background: true })
  }
  const replaced = (): void => {
    checkTime(options)
    checkHosts(options)
  }
  daily()
  checkHosts(options)
  const stop = identity.onChange(replaced)
  return () => {
    cancel()
    stop()
  }
}

function checkTime({ identity, clock, logger }: CertificateWatchOptions): void {
  const { subject, notBeforeMs, notAfterMs, notAfter } = new Certificate(identity.files.cert)
  const nowMs = clock.wallMs()
  const fields = { subject, notAfter }
  if (notAfterMs <= nowMs) {
    logger.error(
      'the certificate of this node has expired: whoever connects refuses it until there is a ' +
        'new one',
      fields,
    )
  } else if (notBeforeMs > nowMs) {
    const notBefore = new Date(notBeforeMs).toISOString()
    logger.error('the certificate of this node is not valid yet: is the clock here right?', {
      ...fields,
      notBefore,
    })
  } else if (notAfterMs - nowMs < WARN_BEFORE_MS) {
    const days = Math.floor((notAfterMs - nowMs) / DAY_MS)
    logger.warn('the certificate of this node ends soon: put a new one in its place', {
      ...fields,
      days,
    })
  }
}

function checkHosts({ identity, logger, hosts }: CertificateWatchOptions): void {
  const certificate = new Certificate(identity.files.cert)
  for (const { host, who } of hosts) {
    const why = certificate.objectionTo(host)
    if (why === undefined) continue
    const fields = { host, subject: certificate.subject, why }
    const what = 'the certificate of this node does not name the host at which'
    if (who === 'nodes') {
      logger.error(`${what} other nodes are told to connect to it: they refuse it`, fields)
    } else {
      logger.warn(
        `${what} clients are told to connect to it: those that expect no other name refuse it`,
        fields,
      )
    }
  }
}

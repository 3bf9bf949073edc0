/** The watch over a node's certificate, with where the node's options say that others reach it. */
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { type CertifiedHost, watchCertificate } from '../net/index.ts'
import { hostOf, reachableAddress } from './node-address.ts'
import { peerListenOptions } from './node-links.ts'
import type { NodeOptions } from './options.ts'

const HOST_DEFAULT = '127.0.0.1'

/** Returns what ends it. Without a certificate there is nothing to watch. */
export function watchNodeCertificate(
  options: NodeOptions,
  clock: Clock,
  logger: Logger,
): () => void {
  const { tls } = options
  if (tls === undefined) return () => undefined
  const hosts = certifiedHosts(options)
  return watchCertificate({ identity: tls.identity, clock, logger, hosts })
}

function certifiedHosts({ host = HOST_DEFAULT, port = 0, cluster }: NodeOptions): CertifiedHost[] {
  const found: CertifiedHost[] = []
  const add = (who: CertifiedHost['who'], address: string): void => {
    const known = hostOf(address)
    if (known !== undefined && found.every(other => other.host !== known)) {
      found.push({ host: known, who })
    }
  }
  if (cluster !== undefined) {
    add('nodes', cluster.peerAddress || reachableAddress(peerListenOptions(cluster)))
  }
  add('clients', reachableAddress({ host, port }))
  return found
}

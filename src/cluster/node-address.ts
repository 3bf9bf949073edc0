/** Where a node listens, as others write it. Pure. */
import type { ListenAddress } from '../net/index.ts'

/** `host:port` for others; empty when that is every address of the machine. */
export function reachableAddress({ host, port }: ListenAddress): string {
  if (host === '0.0.0.0' || host === '::') return ''
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** The host of `host:port`; undefined of an address that is empty. */
export function hostOf(address: string): string | undefined {
  const colon = address.lastIndexOf(':')
  return colon <= 0 ? undefined : address.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
}

/** Where others will reach it, when that is known before it listens; else empty. */
export function expectedAddress({ host, port }: ListenAddress): string {
  return port === 0 || host === '' ? '' : reachableAddress({ host, port })
}

/** `host:port` of a node, as the ring has it, as what a connector dials. */
import { InvalidArgumentError } from '../errors.ts'
import type { NodeAddress } from '../net/index.ts'
import { checkAddress } from './ring-member.ts'

/** Throws InvalidArgumentError for what is no address. */
export function parsePeerAddress(address: string): NodeAddress {
  checkAddress(address)
  const colon = address.lastIndexOf(':')
  const host = address.slice(0, Math.max(0, colon)).replace(/^\[(.*)\]$/, '$1')
  const port = Number(address.slice(colon + 1))
  if (host !== '' && port >= 1 && port <= 65_535) return { host, port }
  throw new InvalidArgumentError(`the address of a node is host:port, got '${address}'`)
}

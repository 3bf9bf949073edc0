/**
 * One protocol, as the load generator needs it. Requests carry an id that the generator chose;
 * a protocol without ids answers in order, and its driver remembers whose turn it is.
 */

export type Operation = 'read' | 'write'

/** Called for every reply; `error` names what was wrong with it. */
export type OnReply = (id: number, error: string | undefined) => void

/** The protocol state of one connection. */
export interface DriverConnection {
  /** What opens the connection; answered by one reply with the id GREETING_ID. */
  greet(): Uint8Array | undefined
  /** The bytes of a request. Key and value are borrowed. */
  read(id: number, key: Uint8Array): Uint8Array
  write(id: number, key: Uint8Array, value: Uint8Array): Uint8Array
  /** Takes what came from the socket; throws when it is not of the protocol. */
  receive(chunk: Buffer): void
}

/** Requests have ids from 1 on, but for this one. */
export const GREETING_ID = 0xffff_fffe

export interface Driver {
  /** `valueSize` is how long every value read must be. */
  connect(valueSize: number, onReply: OnReply): DriverConnection
}

export type DriverName = 'duramen' | 'resp' | 'echo'

export function isDriverName(text: string): text is DriverName {
  return text === 'duramen' || text === 'resp' || text === 'echo'
}

/** What a client sent is not the protocol: it is told so, and its connection is closed. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation'
}

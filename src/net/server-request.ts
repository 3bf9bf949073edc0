/** A request on the server: the context its handler sees, and the place in its session's list. */
import type { ClientIdentity } from '../fair-queue.ts'
import type { Consistency, Durability } from '../key-value-store.ts'
import type { Caller } from './auth/index.ts'
import type { EncodeReply } from './operations.ts'
import type { RequestContext } from './request-handler.ts'

/**
 * Filled anew for every request; a request that was answered at once is reused for the next, so a
 * hot read allocates none. One that waits belongs to its promise.
 */
export class ServerRequest implements RequestContext {
  readonly client: ClientIdentity
  readonly caller: Caller
  id = 0
  opcode = 0
  deadlineMs = 0
  /** When its bytes arrived, in monotonic milliseconds. */
  receivedMs = 0
  /** Bytes of its frame. */
  size = 0
  consistency: Consistency = 'one'
  durability: Durability | undefined = undefined
  version: Uint8Array | undefined = undefined
  cancelled = false
  /** The beginning of its key, where it has one and waits. */
  key: Uint8Array | undefined = undefined
  /** How its answer is encoded, once it waits for one. */
  encode: EncodeReply<unknown> | undefined = undefined
  /** Place in the session's list of waiting requests; -1 when it is not there. */
  index = -1

  constructor(client: ClientIdentity, caller: Caller) {
    this.client = client
    this.caller = caller
  }
}

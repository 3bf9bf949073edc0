/** A command on its way: the context its handler sees, and the place of its reply. */
import type { ClientIdentity } from '../../fair-queue.ts'
import type { Consistency, Durability } from '../../key-value-store.ts'
import type { Caller } from '../auth/index.ts'
import type { RequestContext } from '../request-handler.ts'
import type { Reply } from './reply.ts'
import { RespOperation } from './resp-operation.ts'

/**
 * Filled anew for every command; one that was answered at once is reused for the next, so a hot
 * read allocates none. One that waits stands in the line of its session.
 */
export class RespRequest implements RequestContext {
  readonly client: ClientIdentity
  readonly caller: Caller
  deadlineMs = 0
  receivedMs = 0
  /** Bytes of the command. */
  size = 0
  /** Its name, how many arguments it has, and the first of them once it has to wait. */
  name = ''
  argCount = 0
  firstArgument: string | undefined = undefined
  /** Commands that it stands for: each gets the same reply. */
  count = 1
  readonly consistency: Consistency = 'one'
  readonly durability: Durability | undefined = undefined
  readonly version: undefined = undefined
  cancelled = false
  /** What it is counted as. */
  operation: RespOperation = RespOperation.other
  /** What is replied once it is done; undefined: what the handler answers. */
  reply: Reply | undefined = undefined
  /** True when nothing is replied. */
  isSilent = false
  /** True once the reply is known, and goes out when all before it have. */
  isDone = false
  /** True for one that nothing may pass, before or behind it. */
  isAlone = false
  /** True for one that writes. */
  isWrite = false

  constructor(client: ClientIdentity, caller: Caller) {
    this.client = client
    this.caller = caller
  }
}

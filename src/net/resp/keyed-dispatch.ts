/**
 * How a command about keys is run, now and here:
 *
 *   put                          handed to the store at once, or with the next of the pipeline
 *   read, no writes pending      reads
 *   one node                     an atomic update, which sees what is still on its way
 *   several nodes                reads wait until the writes before them are over; DEL reads, then
 *                                writes, alone; all else is refused
 */
import { attempt } from '../../attempt.ts'
import type { Share } from '../admission.ts'
import type { HandlerPut } from '../request-handler.ts'
import type { ServerContext } from '../server-context.ts'
import { DECLINED, type KeyedCommand } from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import { GatheredPuts } from './gathered-puts.ts'
import type { KeyViewTerms } from './key-view.ts'
import { applyInUpdate, applyLoosely, applyToRead, refusedInCluster } from './keyed-call.ts'
import { OK } from './reply.ts'
import type { RespReplies } from './resp-replies.ts'
import type { RespRequest } from './resp-request.ts'

/** The session, as the one whose commands they are. */
export interface KeyedOwner {
  readonly share: Share
  /** True when bytes came behind the command at hand. */
  readonly hasMoreInput: boolean
  /** True when the bytes of the command at hand stay where they are until the run is over. */
  readonly inputStays: boolean
  /** Keeps the command until everything before it is over. */
  stall(command: KeyedCommand, args: CommandArguments, request: RespRequest): void
}

export class KeyedDispatch {
  readonly #context: ServerContext
  readonly #owner: KeyedOwner
  readonly #replies: RespReplies
  /** Puts that are not handed to the store yet; none between runs of commands. */
  #gathered: GatheredPuts | undefined
  #terms: KeyViewTerms = { nowMs: 0, valueSizeMax: 0 }

  constructor(context: ServerContext, owner: KeyedOwner, replies: RespReplies) {
    this.#context = context
    this.#owner = owner
    this.#replies = replies
  }

  /** Of the present run of commands. */
  get terms(): KeyViewTerms {
    return this.#terms
  }

  /** A run of commands begins. */
  begin(): void {
    const { clock, limits } = this.#context
    this.#terms = { nowMs: Math.floor(clock.wallMs()), valueSizeMax: limits.valueSizeMax }
  }

  /** Throws what the client is told. */
  dispatch(command: KeyedCommand, args: CommandArguments, request: RespRequest): void {
    const { handler } = this.#context
    this.#owner.share.check(request.size)
    if (command.put !== undefined) {
      const put = command.put(args, this.terms.nowMs)
      if (put !== DECLINED) {
        this.#put(put, request)
        return
      }
    }
    this.submitGathered()
    const isRead = command.flags[0] === 'readonly'
    const seesWrites = !isRead || this.#replies.pendingWrites > 0
    if (command.quick !== undefined && (!isRead || !seesWrites)) {
      const { nowMs } = this.terms
      const result = command.quick({ handler, args, request, nowMs })
      if (result !== DECLINED) {
        this.#replies.settle(request, result, !isRead)
        return
      }
    }
    if (!seesWrites) {
      this.#replies.settle(
        request,
        applyToRead({ handler, command, args, request }, this.terms),
        false,
      )
    } else if (handler.canUpdate === true) {
      const call = { handler, command, args: args.detached(), request }
      const { reply, promise } = applyInUpdate(call, this.terms)
      request.reply = reply
      this.#replies.settle(request, promise, !isRead)
    } else if (this.#replies.waitingCount > 0) this.#owner.stall(command, args, request)
    else if (isRead) {
      this.#replies.settle(
        request,
        applyToRead({ handler, command, args, request }, this.terms),
        false,
      )
    } else if (command.loose === true) {
      const call = { handler, command, args: args.detached(), request }
      // What is written behind it must not be deleted by it.
      this.#replies.runAlone(request)
      this.#replies.settle(request, applyLoosely(call, this.terms), true)
    } else throw refusedInCluster(command)
  }

  /** Writes at once, or, with more input at hand, together with the next. */
  #put(put: HandlerPut, request: RespRequest): void {
    const { handler } = this.#context
    request.reply = OK
    const isLast = this.#gathered === undefined && !this.#owner.hasMoreInput
    const { isFull } = request.caller.access
    // One refused must not take others with it.
    const isGathered = !isLast && isFull && this.#owner.inputStays && handler.canUpdate === true
    if (!isGathered || !GatheredPuts.takes(put)) {
      this.submitGathered()
      this.#replies.settle(request, handler.put(put, request), true)
      return
    }
    this.#gather(put, request)
  }

  #gather(put: HandlerPut, request: RespRequest): void {
    let gathered = this.#gathered
    if (gathered !== undefined && !this.#joins(gathered.request, request)) {
      this.submitGathered()
      gathered = undefined
    }
    if (gathered === undefined) {
      gathered = this.#gathered = new GatheredPuts(request)
      this.#replies.enter(request, true)
    }
    gathered.add(put)
    if (gathered.isFull) this.submitGathered()
  }

  #joins(gathered: RespRequest, { isSilent, size }: RespRequest): boolean {
    return gathered.isSilent === isSilent && this.#replies.extend(gathered, size)
  }

  /** Hands what was gathered to the store. */
  submitGathered(): void {
    const gathered = this.#gathered
    if (gathered === undefined) return
    this.#gathered = undefined
    const written = attempt(() => gathered.submit(this.#context.handler))
    // Its reply waits for those before it, so none is needed now.
    const promise = written instanceof Promise ? written : Promise.resolve()
    this.#context.waits.wait(promise, gathered.request, this.#replies)
  }
}

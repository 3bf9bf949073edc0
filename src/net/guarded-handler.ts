/**
 * The one place where it is decided whether a user may do something: a RequestHandler in front of
 * the node's own, behind all doors. A door that forgets to ask does not exist, for a door has no
 * other handler, and every request names its caller.
 *
 * Refused is refused before anything is looked at, so neither the error nor the time that it takes
 * tells whether a key exists. Whoever may do everything is asked one question.
 */
import { InvalidArgumentError, KvError, PermissionError, UnavailableError } from '../errors.ts'
import type { Access, Audit } from './auth/index.ts'
import type { MetricFamily } from './metrics.ts'
import type {
  AdminNeeds,
  EntryVersions,
  HandlerDecision,
  HandlerEntry,
  HandlerOperation,
  HandlerPut,
  HandlerScan,
  HandlerUpdate,
  HealthCheck,
  MaybePromise,
  RequestContext,
  RequestHandler,
  RingOwnership,
  ScanPage,
  ScanSession,
} from './request-handler.ts'

type Stats = Readonly<Record<string, unknown>>

export class GuardedHandler implements RequestHandler {
  readonly #handler: RequestHandler
  readonly #audit: Audit

  constructor(handler: RequestHandler, audit: Audit) {
    this.#handler = handler
    this.#audit = audit
  }

  /** Runs a check of `access`, and records what it refuses. */
  #check({ caller, name }: RequestContext, what: string, check: (access: Access) => void): void {
    const { access } = caller
    try {
      check(access)
    } catch (error) {
      const why = error instanceof PermissionError ? 'no permission' : 'not logged in any more'
      if (error instanceof KvError) this.#audit.refused(caller, access.user, name || what, why)
      throw error
    }
  }

  get(key: Uint8Array, context: RequestContext): MaybePromise<Uint8Array | undefined> {
    if (!context.caller.access.isFull) this.#check(context, 'get', access => access.checkRead(key))
    return this.#handler.get(key, context)
  }

  getMany(
    keys: readonly Uint8Array[],
    context: RequestContext,
    bytesMax: number,
  ): MaybePromise<(Uint8Array | undefined)[]> {
    this.#checkReads('get', keys, context)
    return this.#handler.getMany(keys, context, bytesMax)
  }

  entry(key: Uint8Array, context: RequestContext): MaybePromise<HandlerEntry | undefined> {
    if (!context.caller.access.isFull) this.#check(context, 'get', access => access.checkRead(key))
    if (this.#handler.entry !== undefined) return this.#handler.entry(key, context)
    const value = this.#handler.get(key, context)
    return value instanceof Promise ? value.then(entryOf) : entryOf(value)
  }

  #checkReads(what: string, keys: readonly Uint8Array[], context: RequestContext): void {
    if (context.caller.access.isFull) return
    this.#check(context, what, access => {
      for (const key of keys) access.checkRead(key)
    })
  }

  #checkWrites(operations: readonly { readonly key: Uint8Array }[], context: RequestContext): void {
    if (context.caller.access.isFull) return
    this.#check(context, 'write', access => {
      for (const { key } of operations) access.checkWrite(key)
    })
  }

  checkKeys(keys: readonly Uint8Array[], action: 'read' | 'update', context: RequestContext): void {
    this.#checkReads(action === 'read' ? 'get' : action, keys, context)
    if (action === 'update')
      this.#checkWrites(
        keys.map(key => ({ key })),
        context,
      )
  }

  get canUpdate(): boolean {
    return this.#handler.canUpdate === true && this.#handler.update !== undefined
  }

  /** What follows from what is there tells of it, so it takes both permissions. */
  update<T>(
    keys: readonly Uint8Array[],
    decide: (
      entries: readonly (HandlerEntry | undefined)[],
      versions: EntryVersions,
    ) => HandlerDecision<T>,
    context: RequestContext,
  ): MaybePromise<HandlerUpdate<T>> {
    this.#checkReads('update', keys, context)
    const { update } = this.#handler
    if (update === undefined) throw new UnavailableError('this server offers no updates')
    const decideIfAllowed = (
      entries: readonly (HandlerEntry | undefined)[],
      versions: EntryVersions,
    ): HandlerDecision<T> => {
      const decision = decide(entries, versions)
      this.#checkWrites(decision.operations, context)
      return decision
    }
    const { isFull } = context.caller.access
    return update.call(
      this.#handler,
      keys,
      isFull ? decide : decideIfAllowed,
      context,
    ) as MaybePromise<HandlerUpdate<T>>
  }

  put(put: HandlerPut, context: RequestContext): MaybePromise<void> {
    if (!context.caller.access.isFull) this.#checkWrites([put], context)
    return this.#handler.put(put, context)
  }

  delete(key: Uint8Array, context: RequestContext): MaybePromise<void> {
    if (!context.caller.access.isFull) this.#checkWrites([{ key }], context)
    return this.#handler.delete(key, context)
  }

  batch(operations: readonly HandlerOperation[], context: RequestContext): MaybePromise<void> {
    this.#checkWrites(operations, context)
    return this.#handler.batch(operations, context)
  }

  openScan(scan: HandlerScan, context: RequestContext): MaybePromise<ScanSession> {
    const { caller } = context
    if (caller.access.isFull) return this.#handler.openScan(scan, context)
    this.#check(context, 'scan', access => access.checkReadRange(scan))
    const opened = this.#handler.openScan(scan, context)
    const guarded = (session: ScanSession): ScanSession => new GuardedScan(session, caller.access)
    return opened instanceof Promise ? opened.then(guarded) : guarded(opened)
  }

  count(scan: HandlerScan, context: RequestContext): MaybePromise<number> {
    if (!context.caller.access.isFull) {
      this.#check(context, 'count', access => access.checkReadRange(scan))
    }
    return this.#handler.count(scan, context)
  }

  stats(context: RequestContext): MaybePromise<Stats> {
    this.#check(context, 'stats', access => access.checkMonitor())
    return this.#handler.stats(context)
  }

  /** Nobody is asked for a password here, and it tells nothing about data. */
  health(): MaybePromise<readonly HealthCheck[]> {
    return this.#handler.health?.() ?? []
  }

  metrics(context: RequestContext): MaybePromise<readonly MetricFamily[]> {
    this.#check(context, 'metrics', access => access.checkMonitor())
    return this.#handler.metrics?.(context) ?? []
  }

  admin(command: Stats, context: RequestContext): MaybePromise<Stats> {
    const { admin } = this.#handler
    const name = String(command['command'])
    const needs: AdminNeeds = this.#handler.adminNeeds?.(command) ?? { permission: 'admin' }
    this.#check(context, name, access => {
      if (needs.permission === 'monitor') access.checkMonitor()
      else if (needs.permission === 'admin' || needs.range === undefined) access.checkAdmin()
      if (needs.range !== undefined) access.checkReadRange(needs.range)
      if (needs.key !== undefined) access.checkRead(needs.key)
    })
    if (admin === undefined) {
      throw new InvalidArgumentError(`this server knows no command '${name}'`)
    }
    const { caller } = context
    if (needs.permission === 'admin') this.#audit.administered(caller, caller.access.user, name)
    return admin.call(this.#handler, command, context)
  }

  checkMonitor(context: RequestContext): void {
    this.#check(context, 'monitor', access => access.checkMonitor())
  }

  overview(context: RequestContext): MaybePromise<Stats> {
    this.checkMonitor(context)
    const { overview } = this.#handler
    if (overview === undefined) throw new UnavailableError('this server knows no cluster')
    return overview.call(this.#handler, context)
  }

  ownership(context: RequestContext): MaybePromise<RingOwnership> {
    this.checkMonitor(context)
    const { ownership } = this.#handler
    if (ownership === undefined) throw new UnavailableError('this server knows no ring')
    return ownership.call(this.#handler, context)
  }

  /** Whoever may do anything needs it to find the replicas of a key. */
  ring(context: RequestContext): MaybePromise<Uint8Array> {
    this.#check(context, 'ring', access => access.checkPresent())
    return this.#handler.ring(context)
  }
}

/** Pages for somebody who may read some of the keys, and perhaps not as long as the scan lasts. */
class GuardedScan implements ScanSession {
  readonly #session: ScanSession
  readonly #access: Access

  constructor(session: ScanSession, access: Access) {
    this.#session = session
    this.#access = access
  }

  next(entriesMax: number, bytesMax: number): MaybePromise<ScanPage> {
    this.#access.checkPresent()
    const page = this.#session.next(entriesMax, bytesMax)
    return page instanceof Promise ? page.then(late => this.#checked(late)) : this.#checked(page)
  }

  /** The range was allowed when the scan began; cursors come from outside. */
  #checked(page: ScanPage): ScanPage {
    for (const key of page.keys) this.#access.checkRead(key)
    return page
  }

  close(): void {
    this.#session.close()
  }
}

function entryOf(value: Uint8Array | undefined): HandlerEntry | undefined {
  return value && { value, expiryMs: 0 }
}

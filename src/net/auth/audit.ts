/**
 * Who was refused, and who changed the node: one line of the log for each, under the message
 * `audit`, with the same fields whatever the door.
 *
 *   { event, door, client, user, what?, why? }
 *
 * No password is in it, and no value. Refusals are bounded in rate, for others cause them; what was
 * left out is counted. What administrators do is always there.
 */
import type { Clock } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import type { HandshakeEnd } from '../tls/index.ts'
import type { Access } from './access.ts'

/** Refusals logged in one interval. */
const REFUSALS_MAX = 20
const INTERVAL_MS = 10_000
const TEXT_MAX = 128

/** Who asks, for a log. */
export interface AuditedCaller {
  /** 'binary', 'redis' or 'http'. */
  readonly door: string
  /** `host:port` */
  readonly remoteAddress: string
}

/** Who asks: the user, and from where. */
export interface Caller extends AuditedCaller {
  readonly access: Access
}

export class Audit {
  readonly #logger: Logger
  readonly #clock: Clock
  #intervalBeganMs = 0
  #refusals = 0
  /** Of all that were refused, for whoever watches. */
  refusedTotal = 0

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger
    this.#clock = clock
  }

  /** Somebody said a name and a password that are not right. */
  loginRefused(caller: AuditedCaller, user: string, why: string): void {
    this.#refused({ event: 'login-refused', ...fieldsOf(caller, user), why })
  }

  /**
   * Somebody did not get as far as to say who it is: TLS did not come about. Who merely went away
   * has done nothing that is worth a look.
   */
  handshakeEnded({ door, remoteAddress }: AuditedCaller, { kind, why }: HandshakeEnd): void {
    const fields = { door, client: remoteAddress, why: cut(why) }
    if (kind === 'gone') this.#logger.debug('a handshake was left', fields)
    else this.#refused({ event: 'handshake-refused', ...fields })
  }

  /** A user asked for what is not allowed. `what`: the operation. */
  refused(caller: AuditedCaller, user: string, what: string, why: string): void {
    this.#refused({ event: 'refused', ...fieldsOf(caller, user), what: cut(what), why })
  }

  /** A command that changes the node, or shows what others do, is about to be carried out. */
  administered(caller: AuditedCaller, user: string, what: string): void {
    const fields = { event: 'admin', ...fieldsOf(caller, user), what: cut(what) }
    this.#logger.info('audit', fields)
  }

  #refused(fields: Readonly<Record<string, unknown>>): void {
    this.refusedTotal++
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#intervalBeganMs >= INTERVAL_MS) {
      const count = this.#refusals - REFUSALS_MAX
      if (count > 0) this.#logger.warn('audit', { event: 'more-refused', count })
      this.#intervalBeganMs = nowMs
      this.#refusals = 0
    }
    if (++this.#refusals <= REFUSALS_MAX) this.#logger.warn('audit', fields)
  }
}

function fieldsOf({ door, remoteAddress }: AuditedCaller, user: string) {
  return { door, client: remoteAddress, user: cut(user) }
}

function cut(text: string): string {
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX)}...`
}

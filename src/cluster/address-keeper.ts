/**
 * Keeps the ring's word on where this node is reached true: a node that has moved has the ring
 * changed, as soon as a majority can agree on that. Until then gossip tells the others.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { KvError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Random } from '../random.ts'
import type { CurrentRing } from './current-ring.ts'
import type { EpochAgreement } from './epoch-agreement.ts'
import type { Addresses } from './profile-book.ts'
import { findMember, type Ring } from './ring.ts'
import { readdress } from './ring-change.ts'
import type { NodeId } from './ring-member.ts'

const AGREEMENT_MS = 5000
const RETRY_MS = 1000
const RETRY_MAX_MS = 30_000

export interface AddressKeeperOptions {
  readonly self: NodeId
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly ring: Pick<CurrentRing, 'ring' | 'onChange'>
  readonly agreement: Pick<EpochAgreement, 'change'>
  /** As they are now; empty where they are not known. */
  readonly addresses: () => Addresses
}

export class AddressKeeper {
  readonly #options: AddressKeeperOptions
  readonly #stopListening: () => void
  #isStopped = false
  #isBusy = false
  #attempt = 0
  #cancelRetry: CancelTimer | undefined

  constructor(options: AddressKeeperOptions) {
    this.#options = options
    this.#stopListening = options.ring.onChange(() => this.check())
  }

  stop(): void {
    this.#isStopped = true
    this.#stopListening()
    this.#cancelRetry?.()
  }

  /** Has the ring changed if it is wrong about this node. */
  check(): void {
    const { ring } = this.#options
    if (this.#isStopped || this.#isBusy || this.#corrected(ring.ring) === ring.ring) return
    this.#isBusy = true
    void this.#correct().then(isCorrected => {
      this.#isBusy = false
      // It may have moved on while the others agreed.
      if (isCorrected) this.check()
    })
  }

  /** False when it is tried again later. */
  async #correct(): Promise<boolean> {
    const { agreement, logger, clock, random } = this.#options
    try {
      await agreement.change(ring => this.#corrected(ring), AGREEMENT_MS)
      this.#attempt = 0
      return true
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      logger.debug('the ring does not know yet where this node is', { error })
      const waitMs = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** this.#attempt++)
      const retry = (): void => this.check()
      this.#cancelRetry?.()
      this.#cancelRetry = clock.setTimer(waitMs * (0.5 + random.next()), retry, {
        background: true,
      })
      return false
    }
  }

  /** The same ring when it is right. */
  #corrected(ring: Ring): Ring {
    const { self, addresses } = this.#options
    const member = findMember(ring, self)
    if (member === undefined || member.state === 'joining') return ring
    const now = addresses()
    const clientAddress = now.clientAddress || member.clientAddress
    const peerAddress = now.peerAddress || member.peerAddress
    const isRight = clientAddress === member.clientAddress && peerAddress === member.peerAddress
    return isRight ? ring : readdress(ring, self, { clientAddress, peerAddress })
  }
}

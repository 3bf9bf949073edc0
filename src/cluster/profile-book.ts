/**
 * The profiles of all members, this node's own among them: others' as they come, its own as its
 * parts publish it, a new version at most once in a while.
 */
import { assert } from '../assert.ts'
import { APP_STATES_MAX, type AppStateKey, isLaterProfile, type Profile } from './member-profile.ts'
import type { NodeId } from './ring-member.ts'

/** Where a node is reached. */
export interface Addresses {
  readonly clientAddress: string
  readonly peerAddress: string
}

export class ProfileBook {
  readonly #profiles = new Map<NodeId, Profile>()
  readonly #states = new Map<AppStateKey, number>()
  #own: Profile
  #isChanged = false
  #publishedMs = Number.NEGATIVE_INFINITY

  constructor(self: NodeId, generation: number, epoch: number, addresses: Addresses) {
    const { clientAddress, peerAddress } = addresses
    const version = 1
    const states = new Map<AppStateKey, number>()
    this.#own = { node: self, generation, version, epoch, clientAddress, peerAddress, states }
  }

  get own(): Profile {
    return this.#own
  }

  get(node: NodeId): Profile | undefined {
    return node === this.#own.node ? this.#own : this.#profiles.get(node)
  }

  /** All that are known, this node's own first. */
  all(): Profile[] {
    return [this.#own, ...this.#profiles.values()]
  }

  /** True when it is news. */
  hear(profile: Profile): boolean {
    const { node } = profile
    if (node === this.#own.node || !isLaterProfile(profile, this.#profiles.get(node))) return false
    this.#profiles.set(node, profile)
    return true
  }

  forget(node: NodeId): void {
    this.#profiles.delete(node)
  }

  /** Tells a number to all others, at the next renewal. Requires an integer in [0, 2^53). */
  publish(key: AppStateKey, value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'a published number is a whole one')
    assert(Number.isInteger(key) && key >= 0 && key <= 255, 'the name of a number has a byte')
    if (this.#states.get(key) === value) return
    this.#states.set(key, value)
    assert(this.#states.size <= APP_STATES_MAX, `a node publishes ${APP_STATES_MAX} numbers`)
    this.#isChanged = true
  }

  /** True when the own profile is a new one: at once with epoch and addresses, else by and by. */
  renew(epoch: number, addresses: Addresses, nowMs: number, intervalMs: number): boolean {
    const { clientAddress, peerAddress } = addresses
    const own = this.#own
    const hasMoved =
      own.epoch !== epoch || own.clientAddress !== clientAddress || own.peerAddress !== peerAddress
    const isDue = this.#isChanged && nowMs - this.#publishedMs >= intervalMs
    if (!hasMoved && !isDue) return false
    this.#isChanged = false
    this.#publishedMs = nowMs
    const states = new Map(this.#states)
    const version = own.version + 1
    this.#own = { ...own, version, epoch, clientAddress, peerAddress, states }
    return true
  }
}

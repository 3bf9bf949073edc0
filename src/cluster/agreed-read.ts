/**
 * A read on which enough replicas agree (quorum, all): the keys of one replica set, as a node that
 * is one of the replicas coordinates it.
 *
 *   collect --enough answered--> settle: newest of each key --> repair --> done
 *
 * Its own copy is read in full, of the others the versions. Where they differ the newest form wins;
 * the replicas that were asked and have an older one are given it, and the answer waits until as
 * many as must agree hold it. So a later quorum read can never go back behind this one (P32 of the
 * research). A copy that is damaged counts as no answer, and is healed afterwards.
 *
 * Only answers of replicas count that have purged the partition equally far (purge-marks.ts): what
 * one has and another has not, both as far, was lost there; of one that has not come as far it may
 * be what was deleted and forgotten. So each is told how far whoever asks knows of, comes as far or
 * refuses; and where one has come farther all are asked anew.
 *
 * When an answer is late one replica more is asked, at once if it failed. Of the reads a tenth at
 * most may do that for slowness alone, so that it adds little when all are slow. Once enough have
 * answered, what others say is dropped: shown, but not given to anybody, it could be gone later.
 */
import { assert } from '../assert.ts'
import { compareBytes } from '../bytes.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import { failUnlessKv, KvError, ProtocolError, TimeoutError, UnavailableError } from '../errors.ts'
import { LARGEST_ANSWER_MS, sendingMs } from './link-rate.ts'
import { enginePartition, engineUserKey } from './partition.ts'
import type { PartitionedStore, StoredEntry } from './partitioned-store.ts'
import { PeerMessage } from './peers.ts'
import type { PurgeMarks } from './purge-marks.ts'
import {
  decodeDigests,
  decoded,
  decodeForms,
  digestOf,
  encodeKeys,
  encodeMarkedKeys,
  encodeRepair,
  type FormDigest,
  isSameDigest,
  type MarkedDigest,
} from './read-messages.ts'
import type { ReplicaChoice } from './replica-choice.ts'
import { formsAtOneMark } from './replica-reads.ts'
import type { NodeId } from './ring-member.ts'
import { checkStored, mergeStored } from './versioned-value.ts'

/** Without an answer for so long, one replica more is asked, within the share below. */
const SPECULATE_MS = 15
/** The same without regard to the share. */
const SLOW_MS = 300
/** At least so many reads for every one that asked one replica more because another was slow. */
const READS_PER_SPECULATION = 10
/** No request waits longer, whatever the deadline, but for what values take for their size. */
const REQUEST_MS_MAX = 5000
/** How often a read begins anew because a replica has purged farther: marks move once an hour. */
const BEGINS_MAX = 4
/** Bytes of one message of repairs; one form alone may be larger. */
const REPAIR_BYTES = 1024 * 1024

/** What reads of a node have met. */
export class ReadFigures {
  agreed = 0
  forwarded = 0
  speculated = 0
  /** Keys on which the replicas differed. */
  mismatched = 0
  /** Stored forms given to replicas that lacked them. */
  repaired = 0
  /** Reads that were begun anew, as some replica had purged farther than others. */
  begunAnew = 0
  /** Keys whose copy on some replica could not be read. */
  damaged = 0
  failed = 0
}

export interface AgreedReadOptions {
  readonly clock: Clock
  readonly store: PartitionedStore
  readonly choice: ReplicaChoice
  readonly figures: ReadFigures
  readonly marks: PurgeMarks
  /** The epoch to tell the replicas. */
  readonly epoch: number
  /** All replicas of the keys, this node among them. */
  readonly nodes: readonly NodeId[]
  /** So many of them must agree. */
  readonly needed: number
  readonly deadlineMs: number
}

/** The newest stored forms, of all keys; undefined for what no replica has. */
export function readAgreed(
  options: AgreedReadOptions,
  engineKeys: readonly Uint8Array[],
): Promise<(Uint8Array | undefined)[]> {
  return new AgreedRead(options, engineKeys).run()
}

const DAMAGED_NEWEST = 'the newest copy of a key cannot be read on its replica: try again'

function checkedForm(stored: Uint8Array): Uint8Array {
  decoded('stored form', () => checkStored(stored))
  return stored
}

interface RepairPart {
  readonly markMs: number
  readonly entries: StoredEntry[]
}

class AgreedRead {
  readonly #options: AgreedReadOptions
  readonly #keys: readonly Uint8Array[]
  /** By key, up to when all that answer have purged its partition. */
  #marksMs: readonly number[]
  #answers = new Map<NodeId, readonly FormDigest[]>()
  /** Those whose copies of some keys cannot be read. */
  #damaged = new Map<NodeId, readonly FormDigest[]>()
  /** Of each key what was read in full so far. */
  #forms: (Uint8Array | undefined)[] = []
  /** The same where some replica has purged farther. */
  #fartherMs: readonly number[] | undefined
  /** A newest form was purged before it was read: what is older must not be taken for it. */
  #isForgotten = false
  #lastError: unknown

  constructor(options: AgreedReadOptions, engineKeys: readonly Uint8Array[]) {
    this.#options = options
    this.#keys = engineKeys
    const { marks } = options
    this.#marksMs = engineKeys.map(engineKey => marks.markMs(enginePartition(engineKey)))
  }

  async run(): Promise<(Uint8Array | undefined)[]> {
    const { figures } = this.#options
    figures.agreed++
    try {
      await this.#collectNewest()
      await this.#repair()
    } catch (error) {
      figures.failed++
      throw error
    }
    this.#healDamaged()
    return this.#forms
  }

  async #collectNewest(): Promise<void> {
    for (let begins = 1; ; begins++) {
      await this.#collectAtOneMark()
      this.#isForgotten = false
      await this.#fetchNewest()
      if (!this.#isForgotten) return
      if (begins === BEGINS_MAX) throw this.#failure()
      this.#options.figures.begunAnew++
    }
  }

  async #collectAtOneMark(): Promise<void> {
    const { figures } = this.#options
    for (let begins = 1; ; begins++) {
      this.#answers = new Map()
      this.#damaged = new Map()
      this.#forms = this.#keys.map(() => undefined)
      this.#fartherMs = undefined
      await this.#collect()
      if (this.#fartherMs === undefined) return
      if (begins === BEGINS_MAX) throw this.#failure()
      this.#marksMs = this.#fartherMs
      figures.begunAnew++
    }
  }

  /** Resolves once as many replicas have answered as must agree, or one has purged farther. */
  #collect(): Promise<void> {
    const { choice, nodes, needed, clock, figures, deadlineMs } = this.#options
    const waiting = choice.order(nodes)
    if (waiting.length < needed) return Promise.reject(choice.tooFew(nodes, needed))
    return new Promise((resolve, reject) => {
      let pending = 0
      let isOver = false
      let cancel: CancelTimer = () => undefined
      const end = (settle: () => void): void => {
        isOver = true
        cancel()
        // What comes from here on is late: nobody else would be given it.
        this.#answers = new Map(this.#answers)
        settle()
      }
      const askNext = (): void => {
        const node = waiting.shift()
        if (node === undefined || isOver) return
        pending++
        this.#ask(node).then(settled, (error: unknown) => {
          this.#lastError = error
          settled()
        })
      }
      const settled = (): void => {
        pending--
        if (isOver) return
        const missing = needed - this.#answers.size
        if (missing <= 0 || this.#fartherMs !== undefined) end(resolve)
        else if (pending >= missing) return
        else if (waiting.length > 0) askNext()
        else end(() => reject(this.#failure()))
      }
      const slow = (afterMs: number): void => {
        const leftMs = deadlineMs - clock.monotonicMs()
        // Who was asked and fell silent will not answer: nobody waits for that.
        if (leftMs <= 0 || this.#answers.size + this.#reachableOthers() < needed) {
          end(() => reject(this.#failure()))
          return
        }
        const mayAsk =
          afterMs >= SLOW_MS || figures.speculated * READS_PER_SPECULATION < figures.agreed
        if (mayAsk && waiting.length > 0) {
          figures.speculated++
          askNext()
        }
        cancel = clock.setTimer(Math.min(SLOW_MS, leftMs), () => slow(SLOW_MS))
      }
      for (let count = 0; count < needed; count++) askNext()
      cancel = clock.setTimer(SPECULATE_MS, () => slow(SPECULATE_MS))
    })
  }

  /** Those that have not answered, and may. */
  #reachableOthers(): number {
    const { nodes, choice } = this.#options
    return nodes.filter(node => !this.#answers.has(node) && choice.isReachable(node)).length
  }

  async #ask(node: NodeId): Promise<void> {
    const { choice, figures } = this.#options
    const [answers, damaged] = [this.#answers, this.#damaged]
    const marked = node === choice.self ? await this.#ownDigests() : await this.#versionsOf(node)
    // Late, for a round that is over.
    if (answers !== this.#answers) return
    if (marked.some(({ markMs }, at) => markMs > this.#marksMs[at]!)) {
      this.#fartherMs = marked.map(({ markMs }, at) => Math.max(markMs, this.#marksMs[at]!))
      return
    }
    if (marked.some(({ markMs }, at) => markMs < this.#marksMs[at]!)) {
      throw new ProtocolError('a replica has purged less than it was told that others have')
    }
    const count = marked.filter(({ state }) => state === 'damaged').length
    figures.damaged += count
    if (count > 0) damaged.set(node, marked)
    else answers.set(node, marked)
  }

  async #ownDigests(): Promise<MarkedDigest[]> {
    const { store, marks } = this.#options
    const source = { store, marks, client: this }
    const answers = this.#answers
    const found = await formsAtOneMark(source, this.#keys, this.#marksMs)
    if (answers === this.#answers) {
      for (const [at, { form }] of found.entries()) {
        if (form.state === 'found') this.#take(at, form.stored)
      }
    }
    return found.map(({ form, markMs }) => ({ ...digestOf(form), markMs }))
  }

  async #versionsOf(node: NodeId): Promise<MarkedDigest[]> {
    const keys = this.#keys.map(engineUserKey)
    const body = encodeMarkedKeys({ epoch: this.#options.epoch, keys, marksMs: this.#marksMs })
    const answer = await this.#request(node, PeerMessage.readVersions, body)
    return decodeDigests(answer, this.#keys.length)
  }

  /** Reads in full what may be the newest form of a key, and is not known yet. */
  async #fetchNewest(): Promise<void> {
    const wanted = new Map<NodeId, number[]>()
    for (const at of this.#keys.keys()) {
      for (const node of this.#newestAt(at)) {
        const list = wanted.get(node) ?? []
        list.push(at)
        wanted.set(node, list)
      }
    }
    await Promise.all([...wanted].map(([node, indices]) => this.#fetchFrom(node, indices)))
  }

  /** From the node, or from another one that told of the same form. */
  async #fetchFrom(
    node: NodeId,
    indices: readonly number[],
    failed: readonly NodeId[] = [],
  ): Promise<void> {
    try {
      await this.#fetch(node, indices)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#lastError = error
      const left = [...failed, node]
      const others = new Map<NodeId, number[]>()
      for (const at of indices) {
        const other = this.#sameElsewhere(node, at, left)
        if (other === undefined) throw this.#failure()
        others.set(other, [...(others.get(other) ?? []), at])
      }
      await Promise.all([...others].map(([other, rest]) => this.#fetchFrom(other, rest, left)))
    }
  }

  #sameElsewhere(node: NodeId, at: number, failed: readonly NodeId[]): NodeId | undefined {
    const digest = this.#answers.get(node)![at]!
    for (const [other, digests] of this.#answers) {
      if (other === this.#options.choice.self || failed.includes(other)) continue
      if (isSameDigest(digests[at]!, digest)) return other
    }
    return undefined
  }

  /** For each form with the greatest version that was not read yet, one node that has it. */
  #newestAt(at: number): NodeId[] {
    const { self } = this.#options.choice
    const answers = [...this.#answers].map(([node, digests]) => ({ node, digest: digests[at]! }))
    const first = answers[0]!.digest
    if (answers.every(({ digest }) => isSameDigest(digest, first)) && this.#answers.has(self)) {
      return []
    }
    if (!answers.every(({ digest }) => isSameDigest(digest, first))) {
      this.#options.figures.mismatched++
    }
    const versions = answers.flatMap(({ digest }) => {
      return digest.state === 'found' ? [digest.version] : []
    })
    if (versions.length === 0) return []
    const greatest = versions.reduce((a, b) => (compareBytes(a, b) >= 0 ? a : b))
    const known = this.#forms[at]
    const seen: FormDigest[] =
      known === undefined ? [] : [digestOf({ state: 'found', stored: known })]
    const nodes: NodeId[] = []
    for (const { node, digest } of answers) {
      if (digest.state !== 'found' || compareBytes(digest.version, greatest) !== 0) continue
      if (seen.some(other => isSameDigest(other, digest))) continue
      seen.push(digest)
      nodes.push(node)
    }
    return nodes
  }

  async #fetch(node: NodeId, indices: readonly number[]): Promise<void> {
    for (let done = 0; done < indices.length; ) {
      const rest = indices.slice(done)
      const answer = await this.#request(node, PeerMessage.readStored, this.#encodeKeys(rest))
      const forms = decodeForms(answer, rest.length)
      for (const [index, form] of forms.entries()) {
        if (form.state === 'damaged') throw new UnavailableError(DAMAGED_NEWEST)
        if (form.state === 'found') this.#take(rest[index]!, checkedForm(form.stored))
        else this.#isForgotten = true
      }
      done += forms.length
    }
  }

  /** Resolves once as many replicas as must agree hold every newest form. */
  #repair(): Promise<void> {
    const { needed, nodes, choice } = this.#options
    const holders = this.#keys.map(() => 0)
    const stale = new Map<NodeId, number[]>()
    const changed = new Set<number>()
    for (const [node, digests] of this.#answers) {
      const list = this.#staleOf(digests)
      for (const at of list) changed.add(at)
      if (list.length > 0) stale.set(node, list)
      const isStale = new Set(list)
      for (const at of this.#keys.keys()) if (!isStale.has(at)) holders[at]! += 1
    }
    if (stale.size === 0) return Promise.resolve()
    const spare = choice.order(nodes.filter(node => !this.#answers.has(node)))
    return new Promise((resolve, reject) => {
      let pending = 0
      const isDone = (): boolean => [...changed].every(at => holders[at]! >= needed)
      const give = (node: NodeId, indices: readonly number[]): void => {
        pending++
        this.#give(node, indices).then(
          () => {
            pending--
            for (const at of indices) holders[at]! += 1
            if (isDone()) resolve()
            else if (pending === 0) reject(this.#failure())
          },
          (error: unknown) => {
            pending--
            this.#lastError = error
            const next = spare.shift()
            if (next !== undefined && !isDone()) give(next, [...changed])
            else if (pending === 0) reject(this.#failure())
          },
        )
      }
      for (const [node, indices] of stale) give(node, indices)
    })
  }

  /** The keys of which that is not the newest form. */
  #staleOf(digests: readonly FormDigest[]): number[] {
    return [...this.#keys.keys()].filter(at => {
      const stored = this.#forms[at]
      return (
        stored !== undefined && !isSameDigest(digestOf({ state: 'found', stored }), digests[at]!)
      )
    })
  }

  /** Gives a replica the newest forms, and resolves once it has stored them durably. */
  async #give(node: NodeId, indices: readonly number[]): Promise<void> {
    const { choice, store, figures, epoch, marks } = this.#options
    for (const { markMs, entries } of this.#partsOf(indices)) {
      if (node === choice.self) {
        await store.applyAgreed(await marks.withoutPurged(entries, markMs))
      } else {
        const body = encodeRepair({ epoch, markMs, entries })
        await this.#request(node, PeerMessage.readRepair, body)
      }
      figures.repaired += entries.length
    }
  }

  /** Each of one mark, so that none is refused for the lower one of another partition. */
  #partsOf(indices: readonly number[]): RepairPart[] {
    const parts: RepairPart[] = []
    let bytes = 0
    for (const at of indices) {
      const entry = { engineKey: this.#keys[at]!, stored: this.#forms[at]! }
      const markMs = this.#marksMs[at]!
      const last = parts.at(-1)
      if (last?.markMs === markMs && bytes + entry.stored.length <= REPAIR_BYTES) {
        last.entries.push(entry)
      } else {
        parts.push({ markMs, entries: [entry] })
        bytes = 0
      }
      bytes += entry.stored.length
    }
    return parts
  }

  /**
   * Nobody waits for it: until this, or anti-entropy, has healed it, a copy stays missing. What
   * fewer than a quorum have may be older than what cannot be read: then a quorum is asked.
   */
  #healDamaged(): void {
    const { nodes, needed } = this.#options
    const quorum = Math.floor(nodes.length / 2) + 1
    if (needed < quorum && this.#damaged.size > 0) {
      readAgreed({ ...this.#options, needed: quorum }, this.#keys).catch(failUnlessKv)
      return
    }
    for (const [node, digests] of this.#damaged) {
      const indices = this.#staleOf(digests)
      if (indices.length === 0) continue
      this.#give(node, indices).catch(failUnlessKv)
    }
  }

  #take(at: number, stored: Uint8Array): void {
    const known = this.#forms[at]
    this.#forms[at] = known === undefined ? stored : mergeStored(known, stored)
  }

  #encodeKeys(indices: Iterable<number>): Uint8Array {
    const keys = Array.from(indices, at => engineUserKey(this.#keys[at]!))
    return encodeKeys({ epoch: this.#options.epoch, keys })
  }

  #request(node: NodeId, kind: number, body: Uint8Array): Promise<Uint8Array> {
    const { choice, clock, deadlineMs } = this.#options
    assert(node !== choice.self, 'a node sends itself no messages')
    const leftMs = Math.max(1, deadlineMs - clock.monotonicMs())
    const answerMs = kind === PeerMessage.readStored ? LARGEST_ANSWER_MS : 0
    const mostMs = REQUEST_MS_MAX + sendingMs(body.length) + answerMs
    return choice.request(node, 'data', kind, body, Math.min(leftMs, mostMs))
  }

  #failure(): TimeoutError | UnavailableError {
    const { choice, nodes, needed, clock, deadlineMs } = this.#options
    const cause = this.#lastError
    if (clock.monotonicMs() < deadlineMs) return choice.tooFew(nodes, needed, cause)
    const answered = this.#answers.size
    return new TimeoutError(
      `${answered} of ${nodes.length} replicas answered in time, ${needed} had to`,
      { cause, outcome: 'rejected' },
    )
  }
}

/**
 * The starts of a node as a member of a cluster, under its node key: what tells the later of two
 * processes that are the same node, and an old copy of its directory from the directory itself.
 *
 *   starts := form u8 (2) | state u8 | starts u48 | generation u48 | attempt id [8] | tries u32
 *           | why (UTF-8, in state 1)                                            big-endian
 *          or form u8 (1) | generation u48, of earlier builds
 *
 *   open --+--> tried, so many times --most members know none later: confirm--> confirmed
 *          +--a member knows a later one: supersede--> superseded --readmit--> tried
 *
 * The generation grows by one with the first start that most members take, and by nothing before:
 * a copy that is refused, or reaches nobody, comes no nearer to the original however often it is
 * started. Until then all tries share an attempt id, by which members tell the next try of one
 * directory from a copy of it (compareBoots). Of an image that was made between two tries that is
 * no help, so members are told of a start that was taken, and take no try of that generation more.
 *
 * Invariants:
 *  1. Nobody hears of a start before it is fsynced here.
 *  2. What is superseded starts no more, until the operator says so.
 */
import { assert } from '../assert.ts'
import { utf8Decode, utf8Encode } from '../bytes.ts'
import { CorruptionError, LockedError, VersionMismatchError } from '../errors.ts'
import { readUint48, writeUint48 } from '../write-version.ts'
import { NodeKey, nodeKey } from './partition.ts'
import { ATTEMPT_ID_SIZE, BOOT_NONCE_SIZE, type Boot } from './peer-hello.ts'
import { nodeIdOf } from './ring-member.ts'
import type { Store } from './store.ts'

const STARTS_FORM = 2
const COUNT_FORM = 1
const COUNT_SIZE = 7
/** Readmitted: taken back as an old copy, once. */
const State = { normal: 0, superseded: 1, readmitted: 2 } as const
const STARTS_OFFSET = 2
const GENERATION_OFFSET = 8
const ATTEMPT_OFFSET = 14
const TRIES_OFFSET = ATTEMPT_OFFSET + ATTEMPT_ID_SIZE
const WHY_OFFSET = TRIES_OFFSET + 4
/**
 * What an operator takes back is later than whatever the others know. Of what came after the image
 * it is by so many starts, for no node starts so often; of the same image, taken back before, by
 * the time: generations go on above the milliseconds since the Unix epoch, and starts, of which
 * there is room for 2^28, above units of 16 seconds.
 */
const READMISSION_STARTS = 1 << 16
const STARTS_UNIT_MS = 16_384

interface Starts {
  /** It was taken back as an old copy, once. */
  readonly isReadmitted: boolean
  /** Why it must not start; empty when it may. */
  readonly superseded: string
  /** All of them, refused ones too. */
  readonly starts: number
  /** The last one that most members took. */
  readonly generation: number
  /** Since then. */
  readonly attemptId: Uint8Array
  readonly tries: number
}

const NEVER: Starts = {
  isReadmitted: false,
  superseded: '',
  starts: 0,
  generation: 0,
  attemptId: new Uint8Array(ATTEMPT_ID_SIZE),
  tries: 0,
}

/** This start. */
export class StartRecord {
  readonly boot: Boot
  readonly #store: Store
  #record: Starts
  /** Writes go one after another. Never rejects. */
  #writing: Promise<unknown> = Promise.resolve()

  private constructor(store: Store, record: Starts, boot: Boot) {
    this.#store = store
    this.#record = record
    this.boot = boot
  }

  /**
   * Resolves once this start is fsynced. Rejects with LockedError, at once and without counting it,
   * when the directory was found to be superseded. `path` is the directory, for messages.
   */
  static async open(
    store: Store,
    path: string,
    entropy: (length: number) => Uint8Array,
  ): Promise<StartRecord> {
    const last = await readStarts(store, path)
    if (last.superseded !== '') throw new LockedError(last.superseded)
    const attemptId = last.tries === 0 ? entropy(ATTEMPT_ID_SIZE) : last.attemptId
    const record = { ...last, starts: last.starts + 1, attemptId, tries: last.tries + 1 }
    await writeStarts(store, record)
    return new StartRecord(store, record, bootOf(record, entropy))
  }

  /** All starts, this one included. */
  get starts(): number {
    return this.#record.starts
  }

  /** True when the operator took the directory back as an old copy, some time. */
  get isReadmitted(): boolean {
    return this.#record.isReadmitted
  }

  /**
   * Most members know no later start of this node. Resolves once that is fsynced: to false when the
   * directory was found to be superseded before.
   */
  confirm(): Promise<boolean> {
    const { generation } = this.boot
    return this.#change(record =>
      record.superseded === '' && record.tries > 0
        ? { ...record, generation, tries: 0 }
        : undefined,
    )
  }

  /** A member knows a later one: the directory is not the node's any more. Until it is fsynced. */
  async supersede(why: string): Promise<void> {
    assert(why !== '', 'a refusal has its reason')
    await this.#change(record =>
      record.superseded === '' ? { ...record, superseded: why } : undefined,
    )
  }

  /** Resolves to false when there was nothing to change. */
  #change(next: (record: Starts) => Starts | undefined): Promise<boolean> {
    const changing = this.#writing.then(async () => {
      const record = next(this.#record)
      if (record === undefined) return false
      await writeStarts(this.#store, record)
      this.#record = record
      return true
    })
    this.#writing = changing.catch(() => undefined)
    return changing
  }
}

function bootOf({ generation, attemptId, tries }: Starts, entropy: (length: number) => Uint8Array) {
  const nonce = entropy(BOOT_NONCE_SIZE)
  nonce.set(attemptId)
  new DataView(nonce.buffer, nonce.byteOffset).setUint32(ATTEMPT_ID_SIZE, tries)
  return { generation: generation + 1, nonce: nodeIdOf(nonce) }
}

/** Why the directory must not start; undefined when nothing speaks against it. */
export async function supersededWhy(store: Store, path: string): Promise<string | undefined> {
  const { superseded } = await readStarts(store, path)
  return superseded === '' ? undefined : superseded
}

/** The next start is later than all that anybody knows of: an operator takes the directory back. */
export async function readmittedStarts(
  store: Store,
  path: string,
  wallMs: number,
): Promise<Uint8Array> {
  const { starts, generation } = await readStarts(store, path)
  return encodeStarts({
    ...NEVER,
    isReadmitted: true,
    starts: Math.max(starts + READMISSION_STARTS, Math.floor(wallMs / STARTS_UNIT_MS)),
    generation: Math.max(generation + READMISSION_STARTS, Math.floor(wallMs)),
  })
}

async function readStarts(store: Store, path: string): Promise<Starts> {
  const record = await store.read(nodeKey(NodeKey.starts))
  return record === undefined ? NEVER : decodeStarts(record, path)
}

function writeStarts(store: Store, starts: Starts): Promise<void> {
  const put = { key: nodeKey(NodeKey.starts), value: encodeStarts(starts), expiryMs: 0 }
  return store.write([{ type: 'put', ...put }], { durability: 'sync' })
}

function encodeStarts(record: Starts): Uint8Array {
  const { isReadmitted, superseded, starts, generation, attemptId, tries } = record
  const why = utf8Encode(superseded)
  const bytes = new Uint8Array(WHY_OFFSET + why.length)
  const usual = isReadmitted ? State.readmitted : State.normal
  bytes[0] = STARTS_FORM
  bytes[1] = superseded === '' ? usual : State.superseded
  writeUint48(bytes, STARTS_OFFSET, starts)
  writeUint48(bytes, GENERATION_OFFSET, generation)
  bytes.set(attemptId, ATTEMPT_OFFSET)
  new DataView(bytes.buffer).setUint32(TRIES_OFFSET, tries)
  bytes.set(why, WHY_OFFSET)
  return bytes
}

function decodeStarts(record: Uint8Array, path: string): Starts {
  const [form = 0, state = 0] = record
  if (form > STARTS_FORM) {
    throw new VersionMismatchError(
      `${path}: the record of starts has form ${form}, this build reads up to ${STARTS_FORM}`,
    )
  }
  if (form === COUNT_FORM && record.length === COUNT_SIZE) {
    const count = readUint48(record, 1)
    return { ...NEVER, starts: count, generation: count }
  }
  const isSuperseded = state === State.superseded
  const isWhole = isSuperseded ? record.length > WHY_OFFSET : record.length === WHY_OFFSET
  if (form !== STARTS_FORM || state > State.readmitted || !isWhole) {
    throw new CorruptionError({ path: `${path}/start record`, offset: 0 }, 'not a record of starts')
  }
  return {
    isReadmitted: state === State.readmitted,
    superseded: isSuperseded ? utf8Decode(record.subarray(WHY_OFFSET)) : '',
    starts: readUint48(record, STARTS_OFFSET),
    generation: readUint48(record, GENERATION_OFFSET),
    attemptId: record.slice(ATTEMPT_OFFSET, TRIES_OFFSET),
    tries: new DataView(record.buffer, record.byteOffset).getUint32(TRIES_OFFSET),
  }
}

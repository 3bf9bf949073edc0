/**
 * This node's own copy of keys, as one replica among others: what cannot be read counts as missing,
 * so that it is pulled from the others and never spreads (P38 of the research: bit rot).
 */
import { DecodeError } from '../bytes.ts'
import { CorruptionError } from '../errors.ts'
import type { ClientIdentity } from '../fair-queue.ts'
import type { PartitionedStore } from './partitioned-store.ts'
import type { ReplicaForm } from './read-messages.ts'
import type { MaybePromise } from './store.ts'
import { TimeSlice } from './time-slice.ts'
import { checkStored } from './versioned-value.ts'

const ABSENT: ReplicaForm = { state: 'absent' }
const DAMAGED: ReplicaForm = { state: 'damaged' }

/** What the node has under an engine key. */
export function localForm(
  store: PartitionedStore,
  engineKey: Uint8Array,
): MaybePromise<ReplicaForm> {
  try {
    const stored = store.readStored(engineKey)
    return stored instanceof Promise ? stored.then(formOf, damagedBy) : formOf(stored)
  } catch (error) {
    return damagedBy(error)
  }
}

/** Visits the same of several keys, in their order, until `visit` says that it is enough. */
export async function eachLocalForm(
  store: PartitionedStore,
  engineKeys: readonly Uint8Array[],
  client: ClientIdentity,
  visit: (form: ReplicaForm) => 'next' | 'stop',
): Promise<void> {
  const slice = new TimeSlice(store.turns, client)
  await slice.begin()
  for (const engineKey of engineKeys) {
    if (slice.isOver) await slice.pause()
    const reading = localForm(store, engineKey)
    const form = reading instanceof Promise ? await reading : reading
    if (visit(form) === 'stop') return
  }
}

function formOf(stored: Uint8Array | undefined): ReplicaForm {
  if (stored === undefined) return ABSENT
  try {
    checkStored(stored)
  } catch (error) {
    if (error instanceof DecodeError) return DAMAGED
    throw error
  }
  return { state: 'found', stored }
}

function damagedBy(error: unknown): ReplicaForm {
  if (error instanceof CorruptionError) return DAMAGED
  throw error
}

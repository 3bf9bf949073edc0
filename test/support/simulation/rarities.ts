/**
 * What most clusters never meet, drawn from a seed beside its faults and its workload. Each has a
 * generator of its own: one more of them leaves all that is drawn elsewhere as it was.
 */
import type { Random } from '../../../src/random.ts'

export interface Rarities {
  /** Bytes of hints for one peer: what would be more is found by comparing. Undefined: as usual. */
  readonly hintBytesMax: number | undefined
  /** The share of puts that expire, and the longest time after which they do, in milliseconds. */
  readonly expiring: number
  readonly ttlMaxMs: number
  /** The share of calls that are batches so large that a node prepares them over many turns. */
  readonly wideBatches: number
  /** The share of values that are of more than a block, up to LARGE_VALUE_MAX bytes. */
  readonly largeValues: number
  /** The share of writes that ask for less durability than `sync`. */
  readonly weakWrites: number
  /** The share of scans that come in small pages, and are not read on at once. */
  readonly idleScans: number
}

export const LARGE_VALUE_MAX = 200_000

export const NO_RARITIES: Rarities = {
  hintBytesMax: undefined,
  expiring: 0,
  ttlMaxMs: 1,
  wideBatches: 0,
  largeValues: 0,
  weakWrites: 0,
  idleScans: 0,
}

/** In one of so many simulations there is room for hardly any hint. */
const SMALL_HINTS_ONE_OF = 4
/** A hint takes some twenty bytes here. */
const HINT_BYTES = [0, 50, 200]
/** In one of so many simulations some of what is put expires. */
const EXPIRING_ONE_OF = 3
/** Less than clocks differ by; while faults last; in the end. */
const TTL_MAX_MS = [300, 10_000, 100_000]
/** In one of so many simulations there are wide batches: one at once, others now and then. */
const WIDE_BATCHES_ONE_OF = 14
const WIDE_BATCHES = 0.004
/** In one of so many simulations there are large values. */
const LARGE_VALUES_ONE_OF = 10
const LARGE_VALUES = 0.02
/** In one of so many simulations some writes ask for less durability than usual. */
const WEAK_WRITES_ONE_OF = 5
const WEAK_WRITES = 0.3
/** In one of so many simulations scans come in small pages, and most are idle now and then. */
const IDLE_SCANS_ONE_OF = 6
const IDLE_SCANS = 0.8

export function drawRarities(random: (purpose: string) => Random): Rarities {
  return {
    ...drawHints(random('hint bytes')),
    ...drawExpiry(random('expiry')),
    wideBatches: random('wide batches').below(WIDE_BATCHES_ONE_OF) === 0 ? WIDE_BATCHES : 0,
    largeValues: random('large values').below(LARGE_VALUES_ONE_OF) === 0 ? LARGE_VALUES : 0,
    weakWrites: random('weak writes').below(WEAK_WRITES_ONE_OF) === 0 ? WEAK_WRITES : 0,
    idleScans: random('idle scans').below(IDLE_SCANS_ONE_OF) === 0 ? IDLE_SCANS : 0,
  }
}

function drawHints(random: Random): Pick<Rarities, 'hintBytesMax'> {
  const isSmall = random.below(SMALL_HINTS_ONE_OF) === 0
  return { hintBytesMax: isSmall ? HINT_BYTES[random.below(HINT_BYTES.length)] : undefined }
}

function drawExpiry(random: Random): Pick<Rarities, 'expiring' | 'ttlMaxMs'> {
  const isOn = random.below(EXPIRING_ONE_OF) === 0
  const ttlMaxMs = TTL_MAX_MS[random.below(TTL_MAX_MS.length)]!
  return { expiring: isOn ? 0.1 + 0.4 * random.next() : 0, ttlMaxMs }
}
